from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

OPENING = """
import sys, threading, napari
from qtpy.QtWidgets import QApplication
from napari_patchseg.plugin.layer_menu import find_panel, install
viewer = napari.Viewer(show=False)
install()
assert "torch" not in sys.modules
find_panel(viewer)
assert not {"torch", "pyqtgraph"} & set(sys.modules)  # the first map would wait for them
QApplication.processEvents()
from napari_patchseg.plugin.preload import preload
import gc
gc.collect()
collected = []
gc.callbacks.append(lambda phase, info: collected.append((info["generation"], is_main())))
is_main = lambda: threading.current_thread() is threading.main_thread()
preload().join()
assert {"torch", "napari_patchseg.pipeline", "pandas"} <= set(sys.modules)
collected.clear()
QApplication.processEvents()
assert (2, True) in collected  # before a run, which would be held up by it
viewer.close()
"""


def test_torch_comes_with_the_panel_and_not_before(
    fresh_python: Callable[..., Any], qapp: Any
) -> None:
    fresh_python("-c", OPENING)


def test_leaving_meanwhile_is_clean(fresh_python: Callable[..., Any]) -> None:
    ended = fresh_python("-c", "from napari_patchseg.plugin.preload import preload; preload()")
    assert ended.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="torch comes with another OpenMP")
@pytest.mark.parametrize(("users", "used"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_openmps_threads_sleep_and_the_environment_stays(
    fresh_python: Callable[..., Any], users: str | None, used: str
) -> None:
    """By what torch's OpenMP says of itself when it is loaded."""
    code = f"""
import os
os.environ["OMP_DISPLAY_ENV"] = "TRUE"
os.environ.pop("OMP_WAIT_POLICY", None)
if {users!r}:
    os.environ["OMP_WAIT_POLICY"] = {users!r}
from napari_patchseg.plugin.preload import preload
preload().join()
assert os.environ.get("OMP_WAIT_POLICY") == {users!r}
"""
    assert f"OMP_WAIT_POLICY = '{used}'" in fresh_python("-c", code).stderr

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from napari_patchseg.plugin.preload import Preload, preload, uncollected

OPENING = """
import sys, napari
from qtpy.QtWidgets import QApplication
from napari_patchseg.plugin.layer_menu import find_panel, install
viewer = napari.Viewer(show=False)
install()
assert "torch" not in sys.modules
find_panel(viewer)
assert not {"torch", "pyqtgraph"} & set(sys.modules)  # the first map would wait for them
QApplication.processEvents()
from napari_patchseg.plugin.preload import preload
preload().join()
assert {"torch", "napari_patchseg.pipeline", "pandas"} <= set(sys.modules)
viewer.close()
"""


def test_torch_comes_with_the_panel_and_not_before(
    fresh_python: Callable[..., Any], qapp: Any
) -> None:
    fresh_python("-c", OPENING)


def test_leaving_meanwhile_is_clean(fresh_python: Callable[..., Any]) -> None:
    ended = fresh_python("-c", "from napari_patchseg.plugin.preload import preload; preload()")
    assert ended.stderr == ""


def test_it_is_done_once() -> None:
    assert preload() is preload()


def test_a_failure_is_left_to_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", raised.append)
    monkeypatch.setitem(sys.modules, "napari_patchseg.pipeline", None)
    thread = Preload()
    thread.start()
    thread.hurry()
    thread.join()
    assert not raised


def test_a_run_waits_for_no_more_than_it_needs(fresh_python: Callable[..., Any]) -> None:
    code = (
        "import sys; from napari_patchseg.plugin.preload import preload;"
        "preload().hurry(); preload().join();"
        "assert 'napari_patchseg.pipeline' in sys.modules;"
        "assert 'pandas' not in sys.modules"
    )
    fresh_python("-c", code)


@pytest.mark.parametrize("collecting", [True, False])
def test_collecting_garbage_is_left_as_it_was(collecting: bool) -> None:
    preload().join()  # of an earlier test
    was = gc.isenabled()
    (gc.enable if collecting else gc.disable)()
    try:
        with uncollected():
            assert not gc.isenabled()
        assert gc.isenabled() == collecting
    finally:
        (gc.enable if was else gc.disable)()

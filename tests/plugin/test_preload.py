from __future__ import annotations

from collections.abc import Callable
from typing import Any

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

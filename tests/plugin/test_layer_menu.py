"""The right-click entry: really clicked, really gone when the plugin is disabled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QMenu

from napari_patchseg.files import preferences
from napari_patchseg.plugin import layer_menu
from napari_patchseg.plugin.dock_widget import PatchSegWidget
from napari_patchseg.settings import Settings

Wait = Callable[[Callable[[], Any]], None]


@pytest.fixture
def shown(make_napari_viewer: Callable[..., Any], quick: Settings) -> Any:
    preferences.save_settings({"preset": quick.preset, **quick.changes()})
    viewer = make_napari_viewer(show=True)
    layer_menu.install()
    return viewer


def right_click(viewer: Any, row: int, qtbot: Any, choose: str | None = None) -> list[str]:
    """Entries of the menu that a right click on a row of the layer list opens; chooses one."""
    entries: list[str] = []

    def look() -> None:
        menu = QApplication.activePopupWidget()
        if not isinstance(menu, QMenu):
            QTimer.singleShot(50, look)
            return
        actions = [action for action in menu.actions() if action.isVisible() and action.text()]
        entries.extend(action.text() for action in actions if action.isEnabled())
        for action in actions:
            if action.text() == choose:
                QTest.mouseClick(
                    menu, Qt.MouseButton.LeftButton, pos=menu.actionGeometry(action).center()
                )
                return
        menu.close()

    view = viewer.window._qt_viewer.layers
    QTimer.singleShot(100, look)
    where: QPoint = view.visualRect(view.model().index(row, 0)).center()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.RightButton, pos=where)
    return entries


def test_right_click_to_labels(
    shown: Any, qtbot: Any, wait: Wait, image: np.ndarray, quick: Settings
) -> None:
    """Nothing but the mouse: the entry, the panel, the run and the labels."""
    shown.add_image(image, rgb=True, name="slide")
    QApplication.processEvents()
    entries = right_click(shown, 0, qtbot, choose="Segment nuclei")
    assert "Segment nuclei" in entries
    wait(lambda: "nuclei · slide" in shown.layers)  # the first ones come with the first map
    panel = next(w for w in shown.window.dock_widgets.values() if isinstance(w, PatchSegWidget))
    wait(lambda: not panel.session.is_busy)
    report = shown.layers["nuclei · slide"].metadata["napari_patchseg"]
    assert (
        report["settings"]["training"]["crop_size"] == quick.training.crop_size
    )  # the remembered settings
    assert report["settings"]["training"]["stop_at_convergence"] is True
    assert report["stop_reason"] in ("converged", "step limit")
    assert {"seed", "versions", "steps"} <= set(report)
    panels = [w for w in shown.window.dock_widgets.values() if isinstance(w, PatchSegWidget)]
    assert len(panels) == 1


def test_other_layers_have_no_entry(shown: Any, qtbot: Any, image: np.ndarray) -> None:
    shown.add_labels(np.zeros((80, 80), int))
    QApplication.processEvents()
    assert "Segment nuclei" not in right_click(shown, 0, qtbot)
    shown.add_image(image, rgb=True)
    QApplication.processEvents()
    assert "Segment nuclei" in right_click(shown, 0, qtbot)
    shown.layers.selection = set(shown.layers)
    QApplication.processEvents()


def test_two_images_have_no_entry(viewer: Any, image: np.ndarray) -> None:
    viewer.add_image(image, rgb=True)
    assert entry_of(viewer).isVisible()
    viewer.add_image(image, rgb=True)
    viewer.layers.selection = set(viewer.layers)
    assert not entry_of(viewer).isVisible()


def entry_of(viewer: Any) -> Any:
    from napari._app_model.context import get_context
    from napari._qt._qapp_model import build_qmodel_menu

    menu = build_qmodel_menu(layer_menu.MENU, parent=viewer.window._qt_window)
    menu.update_from_context(get_context(viewer.layers))
    return menu.findAction(layer_menu.COMMAND)


def test_the_entry_comes_once(viewer: Any, image: np.ndarray) -> None:
    from napari._app_model import get_app_model

    for _ in range(3):
        layer_menu.install()
        layer_menu.install(None)
    items = get_app_model().menus._menu_items[layer_menu.MENU]
    assert (
        sum(
            getattr(i, "command", None) is not None and i.command.id == layer_menu.COMMAND
            for i in items
        )
        == 1
    )


FRESH_NAPARI = """
import napari, numpy
from npe2 import PluginManager
from napari._app_model.context import get_context
from napari._qt._qapp_model import build_qmodel_menu

def entry():
    menu = build_qmodel_menu("napari/layers/context", parent=viewer.window._qt_window)
    menu.update_from_context(get_context(viewer.layers))
    return menu.findAction("napari-patchseg.segment")

viewer = napari.Viewer(show=False)
viewer.add_image(numpy.zeros((80, 80)))
assert entry() is not None and entry().isVisible() and entry().isEnabled()
manager = PluginManager.instance()
manager.disable("napari-patchseg")
assert entry() is None
manager.enable("napari-patchseg")
assert entry().isVisible()
viewer.close()
"""


def test_the_entry_is_there_from_the_start_and_goes_with_the_plugin(
    fresh_python: Callable[..., Any], qapp: Any
) -> None:
    """In a napari of its own: the fixtures' applications share one plugin manager."""
    fresh_python("-c", FRESH_NAPARI)


def test_layers_menu_has_the_command(viewer: Any, image: np.ndarray) -> None:
    from napari._app_model import get_app_model

    items = get_app_model().menus._menu_items["napari/layers/segment"]
    assert any(item.command.id == layer_menu.COMMAND for item in items)


def test_without_the_private_menu_all_else_works(
    make_napari_viewer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    image: np.ndarray,
    quick: Settings,
    wait: Wait,
) -> None:
    import napari._app_model

    viewer = make_napari_viewer()
    with monkeypatch.context() as changed:
        changed.delattr(napari._app_model, "get_app_model")
        with caplog.at_level(logging.WARNING):
            layer_menu.install()
    assert "Layers > Segment" in caplog.text
    viewer.add_image(image, rgb=True, name="slide")
    panel = layer_menu.find_panel(viewer)
    panel.show_settings(quick)
    layer_menu.segment_nuclei(viewer)
    wait(lambda: "nuclei · slide" in viewer.layers)


@pytest.mark.parametrize("layers", ["none", "labels", "two"])
def test_wrong_layers_are_a_sentence(
    viewer: Any, told: list[str], image: np.ndarray, layers: str
) -> None:
    """The command palette and scripts run the command whatever is selected."""
    from napari._app_model import get_app_model

    if layers == "labels":
        viewer.add_labels(np.zeros((80, 80), int))
    elif layers == "two":
        viewer.add_image(image, rgb=True)
        viewer.add_image(image, rgb=True)
        viewer.layers.selection = set(viewer.layers)
    get_app_model().commands.execute_command(layer_menu.COMMAND).result()
    assert len(told) == 1
    assert told[0].endswith(".")


def test_panel_of_the_menu_and_of_the_command_are_one(viewer: Any, image: np.ndarray) -> None:
    from napari._app_model import get_app_model

    panel = layer_menu.find_panel(viewer)
    assert layer_menu.find_panel(viewer) is panel
    dock = panel.parentWidget()
    assert dock is not None
    dock.close()
    assert layer_menu.find_panel(viewer) is panel
    assert dock.isVisibleTo(dock.parentWidget())
    get_app_model().commands.execute_command("napari-patchseg.widget")
    assert sum(isinstance(w, PatchSegWidget) for w in viewer.window.dock_widgets.values()) == 1

"""The panel as its user has it: real buttons, real worker, real window."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QApplication,
    QFileDialog,
    QLabel,
    QMessageBox,
    QPushButton,
    QScrollArea,
    QWidget,
)

from napari_patchseg.files import preferences
from napari_patchseg.objects import keep_numbers
from napari_patchseg.plugin._controls import NumberBox
from napari_patchseg.plugin._layers import View
from napari_patchseg.plugin._run import Phase, RunState
from napari_patchseg.plugin.dock_widget import PatchSegWidget
from napari_patchseg.plugin.layer_source import METADATA_KEY, Region
from napari_patchseg.plugin.session import Activity
from napari_patchseg.settings import PRESETS, Settings

Wait = Callable[[Callable[[], Any]], None]


@pytest.fixture
def layer(viewer: Any, image: np.ndarray) -> Any:
    return viewer.add_image(
        image.copy(), rgb=True, name="slide", scale=(0.5, 0.5), units=("um", "um")
    )


def click(button: QPushButton) -> None:
    assert button.isEnabled()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def step(panel: PatchSegWidget) -> int:
    return panel.session.run_state.step


def train_without_end(panel: PatchSegWidget, long: Settings, wait: Wait) -> None:
    panel.show_settings(long)
    click(panel.run.train_button)
    wait(lambda: step(panel) > 1)


def test_how_large_the_network_sees_the_image_is_said(
    panel: PatchSegWidget, layer: Any, quick: Settings, wait: Wait
) -> None:
    for rescale, words in (("3/2", "rescaled by 3/2"), ("1", "")):
        panel.show_settings(quick.replace(rescale=rescale))
        click(panel.run.train_button)
        wait(lambda: panel.session.is_busy)
        wait(lambda: not panel.session.is_busy)
        assert ("rescaled" in panel.run.image_label.text()) == bool(words)
        assert words in panel.run.image_label.text()


def test_train_pause_resume_stop_label(
    viewer: Any, panel: PatchSegWidget, layer: Any, long: Settings, wait: Wait
) -> None:
    run = panel.run
    assert not run.pause_button.isEnabled()
    assert not run.stop_button.isEnabled()
    train_without_end(panel, long, wait)
    assert run.bar.maximum() == long.training.max_steps
    assert run.bar.format().startswith("step ")
    wait(lambda: "about" in run.state_label.text())  # nothing but the step limit ends it
    assert panel.session.run_state.step >= 5
    assert run.state_label.text().startswith("learning: step ")
    assert f"at most {long.training.max_steps}" in run.state_label.text()
    assert "128 x 128" in run.image_label.text()
    assert run.image_label.isEnabled()  # else too grey to be read
    assert not panel.curves.curves  # nothing is drawn that nobody sees
    click(panel.folds.buttons["Training"])
    wait(lambda: panel.curves.curves and len(panel.curves.curves[0].getData()[0]) > 1)
    steps, loss = panel.curves.curves[0].getData()
    np.testing.assert_array_equal(steps, np.arange(1, len(steps) + 1))
    np.testing.assert_allclose(loss, [row[1] for row in panel.session.run.history[: len(loss)]])
    click(run.pause_button)
    wait(lambda: panel.session.state is Phase.PAUSED)
    assert run.pause_button.text() == "Resume"
    assert run.state_label.text() == "paused"
    click(run.pause_button)
    assert run.pause_button.text() == "Pause"
    click(run.stop_button)
    assert run.stop_button.text() == "Stopping…"
    assert not run.stop_button.isEnabled()
    wait(lambda: not panel.session.is_busy)
    assert run.stop_button.text() == "Stop"
    assert "stopped after" in run.state_label.text()
    click(panel.labels.make_button)
    wait(lambda: "nuclei · slide" in viewer.layers)
    assert "nuclei" in run.state_label.text()


def test_curves_follow_the_theme(viewer: Any, panel: PatchSegWidget, wait: Wait) -> None:
    click(panel.folds.buttons["Training"])
    panel.curves.show_history([(1, 1.0, 0.1, 0.2), (2, 0.5, 0.1, 0.3)])
    viewer.window._qt_window.show()

    def lightness() -> int:
        return panel.curves.grab().toImage().pixelColor(2, 2).lightness()

    wait(lambda: lightness() < 100)
    viewer.theme = "light"
    wait(lambda: lightness() > 150)


def test_keys_do_what_the_buttons_do(
    viewer: Any, panel: PatchSegWidget, layer: Any, long: Settings, wait: Wait
) -> None:
    for button in panel.findChildren(QPushButton):
        assert button.toolTip()
    keys = {b.text(): b.shortcut().toString() for b in panel.findChildren(QPushButton)}
    assert keys["Segment nuclei"] == "F5"
    assert keys["Make labels"] == "F8"
    train_without_end(panel, long, wait)  # Qt takes shortcuts away with a button's old text
    assert panel.run.stop_button.shortcut().toString() == "F7"
    window = viewer.window._qt_window
    window.show()
    window.activateWindow()
    assert QTest.qWaitForWindowActive(window)
    for phase in (Phase.PAUSED, Phase.TRAINING):  # its button is folded away
        QTest.keyClick(window, Qt.Key.Key_F6)
        wait(lambda phase=phase: panel.session.state is phase)


def test_what_matters_fits_a_small_window_in_the_order_of_work(
    viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait
) -> None:
    window = viewer.window._qt_window
    window.resize(1024, 700)
    window.show()
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy and panel.objects.measurements.histogram.handles)
    area = panel.findChild(QScrollArea)
    wait(lambda: area.verticalScrollBar().maximum() == 0)
    for button in panel.findChildren(QPushButton):
        if button.isVisible():
            assert button.width() >= button.fontMetrics().horizontalAdvance(button.text()) + 4
    for box in panel.findChildren(NumberBox):
        line = box.lineEdit()
        if line.isVisible():
            assert line.width() >= line.fontMetrics().horizontalAdvance(line.text()) + 4, (
                line.text()
            )
    heights = []
    control: QWidget = panel.nextInFocusChain()
    while control is not panel:
        tabbed = control.focusPolicy() & Qt.FocusPolicy.TabFocus
        if tabbed and panel.isAncestorOf(control) and control.isVisible() and control is not area:
            heights.append((control.mapTo(panel, control.rect().center()).y(), control))
        control = control.nextInFocusChain()
    assert len(heights) > 15
    assert not [two for two in pairwise(heights) if two[1][0] < two[0][0] - 3]


def test_what_is_folded_is_seen_when_asked_for(viewer: Any, panel: PatchSegWidget) -> None:
    viewer.window._qt_window.resize(1024, 700)
    viewer.window._qt_window.show()
    parts = {"Training": panel.curves, "Settings": panel.form, "Model": panel.models}
    parts["Folder"] = panel.folder
    assert set(parts) == set(panel.folds.buttons)
    for name, part in parts.items():
        assert not part.isVisible()
        click(panel.folds.buttons[name])
        assert part.isVisible()
        QTest.qWait(100)
        assert not part.visibleRegion().isEmpty()  # the panel has scrolled to it
        click(panel.folds.buttons[name])
        assert not part.isVisible()


def test_every_control_explains_itself(panel: PatchSegWidget) -> None:
    from qtpy.QtWidgets import QAbstractSpinBox, QCheckBox, QComboBox

    for kind in (QAbstractSpinBox, QComboBox, QCheckBox):
        for control in panel.findChildren(kind):
            assert (
                control.toolTip()
                or isinstance(control.parent().parent(), QAbstractSpinBox)
                or (control.parent().toolTip())
            ), control
            assert control.focusPolicy() != Qt.FocusPolicy.NoFocus or not control.isEnabled()


def test_image_follows_the_active_layer_while_idle(
    viewer: Any, panel: PatchSegWidget, image: np.ndarray, long: Settings, wait: Wait
) -> None:
    assert panel.image.layer is None
    first = viewer.add_image(image, rgb=True, name="first")
    assert panel.image.layer is first
    second = viewer.add_image(image, rgb=True, name="second")
    assert panel.image.layer is second
    viewer.layers.selection.active = first
    assert panel.image.layer is first
    viewer.add_labels(np.zeros((9, 9), int))
    assert panel.image.layer is first
    first.name = "renamed"
    assert panel.image.combo.current_choice == "renamed"
    train_without_end(panel, long, wait)
    viewer.layers.selection.active = second
    assert panel.image.layer is first
    assert panel.session.run.source.layer is first
    wait(lambda: "confidence · renamed" in viewer.layers)
    offered = [layer.name for layer in panel.image.combo.choices]
    assert "confidence · renamed" not in offered
    panel.session.stop()
    wait(lambda: not panel.session.is_busy)
    viewer.layers.remove(second)
    viewer.layers.remove(first)
    assert panel.image.layer is None


def test_channels_are_offered(
    viewer: Any, panel: PatchSegWidget, image: np.ndarray, wait: Wait
) -> None:
    viewer.add_image(image, rgb=True)
    assert not panel.image.channels.isVisibleTo(panel)
    planes = np.moveaxis(image, -1, 0)[:2]
    layer = viewer.add_image(planes, name="planes")
    assert panel.image.channels.isVisibleTo(panel)
    assert panel.image.channels.currentText() == "2 channels together"
    viewer.dims.set_point(0, 1)
    for choice in (0, 1):
        panel.image.channels.setCurrentIndex(choice)
        click(panel.run.train_button)
        wait(lambda: panel.session.is_busy)
        wait(lambda: not panel.session.is_busy)
        source = panel.session.run.source
        assert source.layer is layer
        expected = planes if choice == 0 else planes[1]
        np.testing.assert_array_equal(source.data[source.index], expected)
    viewer.add_image(np.repeat(planes, 8, 0))
    assert panel.image.channels.currentText() == "the plane shown only"
    layer.name = "renamed"
    viewer.layers.selection.active = layer
    assert panel.image.channels.currentText() == "the plane shown only"  # as it was chosen for it


def test_no_image_is_a_sentence(panel: PatchSegWidget, told: list[str]) -> None:
    click(panel.run.train_button)
    assert told == ["There is no image layer; open an image first."]
    assert not panel.session.is_busy


def test_settings_that_do_not_go_together_are_a_sentence(
    panel: PatchSegWidget, layer: Any, told: list[str], quick: Settings
) -> None:
    panel.show_settings(quick)
    panel.editors["patch_size"].widget.setValue(200)
    click(panel.run.train_button)
    assert len(told) == 1
    assert "crop_size" in told[0]
    assert not panel.session.is_busy


def test_errors_leave_the_panel_ready(
    viewer: Any,
    panel: PatchSegWidget,
    wait: Wait,
    told: list[str],
    monkeypatch: pytest.MonkeyPatch,
    layer: Any,
) -> None:
    from napari_patchseg.image.pixels import Pixels

    def break_down(*_: Any) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    with monkeypatch.context() as broken:
        broken.setattr(Pixels, "read", break_down)
        click(panel.run.train_button)
        wait(lambda: not panel.session.is_busy)
    assert told == ["Training failed: CUDA error: device-side assert triggered."]
    assert panel.run.state_label.text() == f"failed. {told[0]}"
    click(panel.run.train_button)
    wait(lambda: not panel.session.is_busy)
    assert panel.session.state is Phase.FINISHED


def test_diameter_in_micrometres_needs_units(
    viewer: Any, panel: PatchSegWidget, wait: Wait, told: list[str], image: np.ndarray
) -> None:
    viewer.add_image(image, rgb=True)
    panel.diameter.setValue(6)
    panel.image.unit.setCurrentText("µm")
    click(panel.run.train_button)
    wait(lambda: not panel.session.is_busy)
    assert len(told) == 1
    assert "µm" in told[0]


def test_a_device_that_is_not_there_is_a_sentence(
    viewer: Any, panel: PatchSegWidget, wait: Wait, told: list[str], layer: Any
) -> None:
    import torch

    device = "mps" if torch.cuda.is_available() else "cuda"
    panel.show_settings(panel.settings().replace(device=device))
    click(panel.run.train_button)
    wait(lambda: not panel.session.is_busy)
    assert len(told) == 1
    assert device in told[0]


def test_presets_fill_the_form(panel: PatchSegWidget) -> None:
    for name in reversed(PRESETS):
        panel.form.preset.setCurrentIndex(panel.form.preset.findData(name))
        assert panel.form.preset.currentText() == name
        shown, preset = panel.settings(), Settings.create(name)
        for field in ("crop_size", "learning_rate", "max_steps", "prior_weight", "classes"):
            assert shown.flat()[field] == preset.flat()[field]
        assert shown.preset == name


def test_a_changed_preset_says_so_and_can_be_reset(panel: PatchSegWidget) -> None:
    form, editors = panel.form, panel.editors
    changes: list[Callable[[], None]] = [
        lambda: editors["max_steps"].widget.setValue(77),
        lambda: editors["stop_at_convergence"].widget.click(),
        lambda: panel.diameter.setValue(21),
        lambda: panel.objects.threshold.setValue(panel.objects.threshold.value() - 0.1),
        lambda: panel.objects.split.click(),
        lambda: panel.objects.min_area.setValue(9),
    ]
    for preset in PRESETS:
        panel.show_settings(Settings.create(preset, seed=5, device="cpu"))
        assert form.preset.currentText() == preset
        assert not form.reset_button.isEnabled()
        for change in changes:
            change()
            assert form.preset.currentText() == f"{preset}, changed"
            assert panel.settings().preset == preset
            click(form.reset_button)
            assert form.preset.currentText() == preset
            assert panel.settings() == Settings.create(preset, seed=5, device="cpu")
        changes[0]()
        form.preset.activated.emit(form.preset.currentIndex())  # chosen once more
        assert panel.settings() == Settings.create(preset, seed=5, device="cpu")


@pytest.mark.parametrize("units", [("um", "um"), None])
def test_estimates_have_units_and_the_bar_is_full(
    viewer: Any, panel: PatchSegWidget, image: np.ndarray, wait: Wait, units: Any
) -> None:
    layer = viewer.add_image(image, rgb=True, scale=(0.5, 0.5), units=units)
    panel.segment(layer)
    assert panel.diameter.text() == "auto"
    wait(lambda: not panel.session.is_busy)
    assert panel.run.bar.value() == panel.run.bar.maximum() == 1
    objects = panel.session.labels.metadata[METADATA_KEY]["objects"]
    in_px, in_um = f"auto ({objects['diameter']:.0f} px)", f"{objects['diameter'] * 0.5:.3g} µm"
    assert panel.diameter.text() == in_px
    panel.image.unit.setCurrentText("µm")
    assert panel.diameter.text() == (in_px if units is None else f"auto ({in_um})")
    assert panel.objects.min_area.text() == f"auto ({objects['min_area']:.0f} px²)"
    assert panel.settings().objects.nucleus_diameter is None


def test_labels_made_on_the_way_are_counted(
    viewer: Any, panel: PatchSegWidget, layer: Any, long: Settings, wait: Wait
) -> None:
    train_without_end(panel, long, wait)
    click(panel.labels.make_button)
    wait(lambda: panel.session.labels is not None)
    count = panel.session.labels.metadata[METADATA_KEY]["objects"]["count"]
    assert panel.session.is_busy
    assert f" · {count} nuclei" in panel.run.state_label.text()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"preset": "paper", "seed": 2**31 - 1, "threads": 3, "device": "cpu"},
        {"learning_rate": 0.0123, "weight_decay": 0.0, "similarity": "cross-entropy"},
        {"nucleus_diameter": 12.5, "diameter_unit": "µm", "threshold": 0.25, "min_area": 0.0},
        {
            "classes": 7,
            "weights": "random",
            "nucleus_class": 6,
            "nucleus_polarity": "inverted",
            "split": "none",
        },
        {"weights": "random", "stop_at_convergence": False, "split_depth": 0.25},
    ],
)
def test_the_form_shows_settings_as_they_are(
    panel: PatchSegWidget, changes: dict[str, Any]
) -> None:
    settings = Settings.create(**changes)
    panel.show_settings(settings)
    assert panel.settings() == settings


def test_settings_are_remembered(make_napari_viewer: Callable[..., Any], qtbot: Any) -> None:
    first = PatchSegWidget(make_napari_viewer())
    qtbot.addWidget(first)
    first.editors["max_steps"].widget.setValue(77)
    first.editors["patch_size"].widget.setValue(40)
    first.objects.class_box.setCurrentIndex(2)
    first.objects.threshold.setValue(0.3)
    first.diameter.setValue(21)
    qtbot.waitUntil(lambda: preferences.load_settings().get("nucleus_diameter") == 21)
    second = PatchSegWidget(make_napari_viewer())
    qtbot.addWidget(second)
    settings = second.settings()
    assert (
        settings.training.max_steps,
        settings.training.patch_size,
        settings.objects.nucleus_diameter,
    ) == (77, 40, 21)
    assert settings.objects.threshold == pytest.approx(0.3)
    assert settings.objects.nucleus_class is None  # a number means nothing for another run


def test_sliders_redraw_at_once(viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait) -> None:
    click(panel.run.train_button)
    wait(lambda: not panel.session.is_busy)
    click(panel.labels.make_button)
    wait(lambda: "nuclei · slide" in viewer.layers)
    labels = viewer.layers["nuclei · slide"]
    assert panel.objects.class_box.itemText(0).startswith("auto: ")
    before = (labels.data > 0).sum()
    panel.objects.threshold.setValue(0.05)
    assert not panel.objects.threshold_auto.isChecked()
    wait(lambda: (labels.data > 0).sum() > before)
    panel.objects.min_area.setValue(5000)
    wait(lambda: labels.metadata[METADATA_KEY]["objects"]["min_area"] == 5000)
    assert len([layer for layer in viewer.layers if "nuclei" in layer.name]) == 1


def test_regions(
    viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait, told: list[str]
) -> None:
    panel.image.region.setCurrentIndex(panel.image.region.findData(Region.RECTANGLE))
    click(panel.run.train_button)
    assert "rectangle" in told[0]
    viewer.add_shapes([np.array([[5, 5], [5, 50], [50, 50], [50, 5]])], units=("um", "um"))
    click(panel.run.train_button)
    wait(lambda: not panel.session.is_busy)
    # 5 µm are pixel 10's centre, hence in the region
    assert panel.session.run.source.box == (10, 10, 101, 101)
    panel.image.region.setCurrentIndex(panel.image.region.findData(Region.VISIBLE))
    viewer.reset_view()
    click(panel.run.train_button)
    wait(lambda: not panel.session.is_busy)
    assert panel.session.run.source.box == (0, 0, 128, 128)


def test_the_right_click_takes_the_chosen_region_too(
    viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait, told: list[str]
) -> None:
    panel.image.region.setCurrentIndex(panel.image.region.findData(Region.RECTANGLE))
    panel.segment(layer)
    assert "rectangle" in told[0]
    viewer.add_shapes([np.array([[5, 5], [5, 50], [50, 50], [50, 5]])], units=("um", "um"))
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    assert panel.session.run.source.box == (10, 10, 101, 101)
    labels = viewer.layers["nuclei · slide"].data
    assert labels.any()
    labels[10:101, 10:101] = 0
    assert not labels.any()


def test_copy_after_a_run_that_failed_says_that_there_is_nothing(
    viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait, told: list[str]
) -> None:
    panel.segment(layer)
    assert "labels = ps.segment(" in panel.script()  # no step was taken yet
    wait(lambda: not panel.session.is_busy)
    white = viewer.add_image(np.full((96, 96, 3), 255, np.uint8), rgb=True, name="white")
    panel.segment(white)
    wait(lambda: not panel.session.is_busy)
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    clipboard.setText("mine")
    told.clear()
    click(panel.labels.copy_button)
    wait(lambda: told)
    assert "'white'" in told[0]
    assert clipboard.text() == "mine"


def test_streaming_can_be_turned_off(
    viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait
) -> None:
    panel.run.stream_box.setChecked(False)
    click(panel.run.train_button)
    wait(lambda: not panel.session.is_busy)
    assert list(viewer.layers) == [layer]


def question(panel: QWidget) -> QMessageBox | None:
    return panel.findChild(QMessageBox, "stop_the_other_run")


@pytest.mark.parametrize("answer", ["Stop it and start", "Let it run"])
def test_a_second_start_offers_to_stop_the_first(
    viewer: Any,
    panel: PatchSegWidget,
    layer: Any,
    long: Settings,
    wait: Wait,
    image: np.ndarray,
    answer: str,
) -> None:
    train_without_end(panel, long, wait)
    other = viewer.add_image(image, rgb=True, name="other", units=("um", "um"))
    panel.segment(other)
    wait(lambda: question(panel) is not None)
    box = question(panel)
    assert box is not None
    assert "'slide'" in box.text()
    assert "'other'" in box.text()
    (button,) = (b for b in box.buttons() if b.text().replace("&", "") == answer)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    if answer == "Let it run":
        before = step(panel)
        wait(lambda: step(panel) > before)
        assert panel.session.run.source.layer is layer
    else:
        wait(lambda: panel.session.run.source.layer is other and step(panel) > 0)


def test_hiding_the_panel_lets_the_run_go_on(
    viewer: Any, panel: PatchSegWidget, layer: Any, long: Settings, wait: Wait
) -> None:
    train_without_end(panel, long, wait)
    panel.parentWidget().close()
    before = step(panel)
    wait(lambda: step(panel) > before + 2)


def test_the_dock_has_one_title(viewer: Any, panel: PatchSegWidget, wait: Wait) -> None:
    dock = panel.parentWidget()

    def titles() -> list[str]:
        return [label.text() for label in dock.titleBarWidget().findChildren(QLabel)]

    wait(lambda: "PatchSeg" in titles())
    for floating in (True, False):
        dock.setFloating(floating)
        wait(lambda: "PatchSeg" in titles())
        assert not any("(" in title for title in titles())
    assert dock.windowTitle() == "PatchSeg"


@pytest.mark.parametrize("answer", ["End it and close", "Keep the panel", None])
def test_the_close_button_asks_before_a_run_is_lost(
    viewer: Any, panel: PatchSegWidget, layer: Any, long: Settings, wait: Wait, answer: str | None
) -> None:
    if answer is not None:
        train_without_end(panel, long, wait)
    dock = panel.parentWidget()
    QTest.mouseClick(dock.titleBarWidget().close_button, Qt.MouseButton.LeftButton)
    if answer is None:  # nothing to lose
        wait(lambda: panel not in viewer.window.dock_widgets.values())
        return
    box = panel.findChild(QMessageBox, "close_the_panel")
    assert "'slide'" in box.text()
    (button,) = (b for b in box.buttons() if b.text().replace("&", "") == answer)
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)
    if answer == "Keep the panel":
        before = step(panel)
        wait(lambda: step(panel) > before)
        assert panel in viewer.window.dock_widgets.values()
    else:
        wait(lambda: panel not in viewer.window.dock_widgets.values())
        assert not panel.session.is_busy


def test_stop_leaves_labels_of_what_was_reached(
    viewer: Any, panel: PatchSegWidget, layer: Any, long: Settings, wait: Wait
) -> None:
    panel.show_settings(long.replace(batch_size=48))  # each step takes its time
    busy: list[bool] = []
    panel.session.state_changed.connect(lambda state: busy.append(state.is_busy))
    panel.segment(layer)
    wait(lambda: step(panel) > 1)
    click(panel.run.stop_button)
    wait(lambda: not panel.session.is_busy)
    assert busy.index(False) == len(busy) - 1  # it ended once
    labels = panel.session.labels
    assert labels.data.any()
    report = labels.metadata[METADATA_KEY]
    assert report["steps"] == panel.session.run.trained.steps > 0
    assert panel.session.state is Phase.STOPPED
    words = panel.run.state_label.text()
    assert words.startswith("stopped after")
    assert words.endswith("nuclei")


def test_stop_once_more_makes_no_labels(
    viewer: Any,
    panel: PatchSegWidget,
    layer: Any,
    quick_paper: Settings,
    wait: Wait,
    told: list[str],
) -> None:
    panel.show_settings(quick_paper.replace(max_steps=100_000))  # it converges late
    panel.segment(layer)
    panel.session.stop()  # before anything was learnt
    wait(lambda: not panel.session.is_busy)
    assert panel.session.labels is None
    assert told[-1].startswith("Stopped before")
    panel.segment(layer)
    wait(lambda: step(panel) > 1)
    # as soon as it goes on with the labels
    panel.session.state_changed.connect(lambda state: state.hold or panel.session.stop())
    panel.session.stop()
    wait(lambda: not panel.session.is_busy)
    assert panel.session.state is Phase.STOPPED
    labels = panel.session.labels  # none but those that were seen while it learnt
    assert labels is not None
    assert labels.metadata["napari_patchseg"]["sketch"]


def test_removing_the_panel_ends_the_run(
    viewer: Any, panel: PatchSegWidget, layer: Any, long: Settings, wait: Wait
) -> None:
    from superqt.utils import WorkerBase

    train_without_end(panel, long, wait)
    viewer.window.remove_dock_widget(panel)
    wait(lambda: not WorkerBase._worker_set)
    session = panel.session
    assert not session.is_busy


def test_closing_the_viewer_ends_the_run(
    make_napari_viewer: Callable[..., Any], image: np.ndarray, long: Settings, wait: Wait
) -> None:
    from superqt.utils import WorkerBase

    from napari_patchseg.plugin.layer_menu import find_panel

    viewer = make_napari_viewer()
    viewer.add_image(image, rgb=True)
    panel = find_panel(viewer)
    train_without_end(panel, long, wait)
    viewer.close()
    wait(lambda: not WorkerBase._worker_set)


def test_a_new_panel_writes_to_the_same_layers(
    viewer: Any, panel: PatchSegWidget, layer: Any, quick: Settings, wait: Wait
) -> None:
    from napari_patchseg.plugin.layer_menu import find_panel

    click(panel.run.train_button)
    wait(lambda: not panel.session.is_busy)
    layers = list(viewer.layers)
    assert len(layers) == 4
    viewer.window.remove_dock_widget(panel)
    second = find_panel(viewer)
    assert second is not panel
    second.show_settings(quick.replace(seed=1))
    click(second.run.train_button)
    wait(lambda: not second.session.is_busy)
    assert list(viewer.layers) == layers


def test_nothing_of_a_removed_panel_stays(
    viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait
) -> None:
    click(panel.run.train_button)
    wait(lambda: not panel.session.is_busy)
    pixels = weakref.ref(panel.session.run.pixels)
    callbacks = len(viewer.mouse_move_callbacks)
    viewer.window.remove_dock_widget(panel)
    assert len(viewer.mouse_move_callbacks) == callbacks - 1
    panel.session.run = None
    QApplication.processEvents()
    gc.collect()
    assert pixels() is None
    viewer.add_image(np.zeros((80, 80)))  # nobody listens who is no longer there


def lines_in_activity_dock(viewer: Any) -> list[Any]:
    from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar

    found = viewer.window._qt_window.findChildren(QtLabeledProgressBar)
    return [bar for bar in found if "slide" in bar.description_label.text()]


def test_activity_dock_can_stop_the_run(
    viewer: Any, panel: PatchSegWidget, layer: Any, long: Settings, wait: Wait
) -> None:
    train_without_end(panel, long, wait)
    assert not lines_in_activity_dock(viewer)  # napari's spinner would take the run its time
    viewer.window._qt_window.show()
    viewer.window._status_bar._toggle_activity_dock(True)
    wait(lambda: lines_in_activity_dock(viewer))
    (bar,) = lines_in_activity_dock(viewer)
    wait(lambda: bar.qt_progress_bar.value() > 0)
    assert bar.qt_progress_bar.maximum() == long.training.max_steps
    QTest.mouseClick(bar.cancel_button, Qt.MouseButton.LeftButton)
    wait(lambda: not panel.session.is_busy)
    assert panel.session.state is Phase.STOPPED


def test_a_run_may_end_while_its_line_in_the_activity_dock_is_made(viewer: Any, wait: Wait) -> None:
    """napari processes events meanwhile."""
    viewer.window._qt_window.show()
    viewer.window._status_bar._toggle_activity_dock(True)
    activity = Activity(lambda: None)
    QTimer.singleShot(0, activity.close)
    activity._show("slide", RunState(Phase.TRAINING, "learning", step=1, max_steps=9))
    assert activity._progress is None
    wait(lambda: not lines_in_activity_dock(viewer))


CLOSING = """
import sys, napari, numpy as np
from qtpy.QtWidgets import QApplication
from napari_patchseg.plugin.layer_menu import find_panel
viewer = napari.Viewer(show=False)
layer = viewer.add_image(np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8))
panel = find_panel(viewer)
panel.segment(layer)
for _ in range(20):
    QApplication.processEvents()
assert panel.session.is_busy
window = viewer.window._qt_window
viewer.close()
window.deleteLater()
for _ in range(20):
    QApplication.sendPostedEvents(None, 52)  # of deferred deletion
    QApplication.processEvents()
print("closed")
"""


def test_the_window_may_be_destroyed_in_the_middle_of_a_run(
    fresh_python: Callable[..., Any], qapp: Any
) -> None:
    assert "closed" in fresh_python("-c", CLOSING).stdout


def test_save_labels_and_read_them_back(
    viewer: Any,
    panel: PatchSegWidget,
    layer: Any,
    wait: Wait,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
) -> None:
    import tifffile

    assert not panel.labels.save_button.isEnabled()
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    path = tmp_path / "cells.ome.tif"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    click(panel.labels.save_button)
    with tifffile.TiffFile(path) as file:
        np.testing.assert_array_equal(file.asarray(), viewer.layers["nuclei · slide"].data)
        assert 'PhysicalSizeX="0.5"' in (file.ome_metadata or "")
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "no" / "a.tif"), "")
    )
    told.clear()
    click(panel.labels.save_button)
    assert len(told) == 1
    assert "no" in told[0]


def test_models_go_to_a_file_and_back(
    viewer: Any,
    panel: PatchSegWidget,
    layer: Any,
    wait: Wait,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
) -> None:
    assert not panel.models.save_button.isEnabled()
    assert not panel.models.apply_button.isEnabled()
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    trained = viewer.layers["nuclei · slide"].data.copy()
    path = tmp_path / "m.safetensors"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(path), ""))
    click(panel.models.save_button)
    panel.models.take(None)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(path), ""))
    click(panel.models.load_button)
    wait(lambda: panel.models.model is not None)
    assert "m.safetensors" in panel.models.name.text()
    click(panel.models.apply_button)
    wait(lambda: not panel.session.is_busy)
    assert panel.session.run.history == []
    again = viewer.layers["nuclei · slide [1]"].data
    np.testing.assert_array_equal(keep_numbers(again, trained), trained)
    path.write_bytes(path.read_bytes()[:500])
    told.clear()
    click(panel.models.load_button)
    wait(lambda: told)
    assert "truncated" in told[0]
    assert panel.models.load_button.isEnabled()


@pytest.mark.parametrize("edited", [False, True])
def test_a_model_on_a_region_leaves_the_rest_of_the_labels(
    viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait, edited: bool
) -> None:
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    first = panel.session.labels
    if edited:
        first.data_setitem(np.nonzero(first.data == 1), 77)
    before, mine = first.data.copy(), first.data
    viewer.add_shapes([np.array([[5, 5], [5, 40], [50, 40], [50, 5]])], units=("um", "um"))
    panel.image.region.setCurrentIndex(panel.image.region.findData(Region.RECTANGLE))
    panel.models.apply_button.click()
    wait(lambda: not panel.session.is_busy)
    after = panel.session.labels
    assert (after is first) == (not edited)
    if edited:
        np.testing.assert_array_equal(mine, before)
        np.testing.assert_array_equal(first.data, before)

    def check() -> None:
        box = panel.session.run.source.box
        inside = np.zeros(before.shape, bool)
        inside[box[0] : box[2], box[1] : box[3]] = True
        np.testing.assert_array_equal(after.data[~inside], before[~inside])
        numbers = set(np.unique(after.data[inside])) - {0}
        assert numbers
        assert not numbers & (set(np.unique(before[~inside])) - {0})
        count = after.metadata[METADATA_KEY]["objects"]["count"]
        assert len(numbers) == count
        assert f" · {count} nuclei" in panel.run.state_label.text()

    check()
    found = (after.data > 0).sum()
    panel.objects.threshold.setValue(0.2)  # what follows a slider is the region, too
    wait(lambda: (after.data > 0).sum() != found)
    check()


@pytest.mark.parametrize("case", ["converged", "stopped", "on the way", "region", "model"])
def test_copy_as_python_makes_the_same_labels(
    viewer: Any,
    panel: PatchSegWidget,
    layer: Any,
    wait: Wait,
    long: Settings,
    tmp_path: Path,
    told: list[str],
    case: str,
) -> None:
    if case in ("stopped", "on the way"):
        train_without_end(panel, long, wait)
        if case == "stopped":
            click(panel.run.stop_button)
            wait(lambda: not panel.session.is_busy)
        click(panel.labels.make_button)
        wait(lambda: "nuclei · slide" in viewer.layers)
        panel.session.stop()
        wait(lambda: not panel.session.is_busy)
    elif case == "region":
        viewer.add_shapes([np.array([[5, 5], [5, 55], [50, 55], [50, 5]])], units=("um", "um"))
        panel.image.region.setCurrentIndex(panel.image.region.findData(Region.RECTANGLE))
        click(panel.run.train_button)
        wait(lambda: not panel.session.is_busy)
        click(panel.labels.make_button)
        wait(lambda: "nuclei · slide" in viewer.layers)
    else:
        panel.segment(layer)
        wait(lambda: not panel.session.is_busy)
    panel.objects.threshold.setValue(0.42)
    wait(lambda: panel.session.labels.metadata[METADATA_KEY]["objects"].get("threshold") == 0.42)
    if case == "model":
        panel.models.save(str(tmp_path / "m.safetensors"))
        panel.segment_with_model()
        wait(lambda: not panel.session.is_busy)
    made = panel.session.labels.metadata[METADATA_KEY]["settings"]["training"]
    assert made["rescale"] is not None
    assert made["test_time_augmentation"] is not None
    told.clear()
    click(panel.labels.copy_button)
    wait(lambda: told)
    assert "napari's console" in told[0]  # the image is in no file
    clipboard = QApplication.clipboard()
    assert clipboard is not None
    names: dict[str, Any] = {}
    exec(compile(clipboard.text(), "copied", "exec"), names)
    labels = panel.session.labels.data
    row0, column0, row1, column1 = panel.session.run.source.box
    shown = labels[row0:row1, column0:column1]
    # The numbers of nuclei that stayed when the threshold moved are those of before.
    np.testing.assert_array_equal(keep_numbers(names["labels"], shown), shown)
    assert labels.max() > 0
    assert ("load_model" in clipboard.text()) == (case == "model")


def test_windows_say_what_they_are(
    viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait
) -> None:
    from napari_patchseg.plugin.view_switch import text_at

    click(panel.run.train_button)
    wait(lambda: not panel.session.is_busy)
    shapes = next(
        viewer.layers[name]
        for name in ("positive patches · slide", "negative patches · slide")
        if viewer.layers[name].nshapes
    )

    def at(place: Any) -> SimpleNamespace:
        return SimpleNamespace(position=place, view_direction=None, dims_displayed=[0, 1])

    text = text_at(shapes, at(shapes.data_to_world(shapes.data[0].mean(0))))
    for word in ("step ", "class ", "mean confidence ", "mean entropy "):
        assert word in text
    assert text_at(shapes, at((-500, -500))) == ""


def shown(viewer: Any) -> set[str]:
    return {layer.name for layer in viewer.layers if layer.visible}


def test_a_run_ends_with_contours_and_a_switch_shows_the_rest(
    viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait, image: np.ndarray
) -> None:
    live = {f"{kind} · slide" for kind in ("confidence", "positive patches", "negative patches")}
    buttons = panel.view_switch.buttons
    assert not buttons[View.LIVE].isEnabled()
    panel.segment(layer)
    wait(lambda: live <= shown(viewer) or not panel.session.is_busy)
    assert buttons[View.LIVE].isChecked()
    wait(lambda: not panel.session.is_busy)
    assert live <= {one.name for one in viewer.layers}
    assert shown(viewer) == {"slide", "nuclei · slide"}
    nuclei = viewer.layers["nuclei · slide"]
    assert nuclei.contour > 0
    assert buttons[View.CONTOURS].isChecked()
    viewer.dims.ndisplay = 3  # napari has no contours there
    assert nuclei.contour == 0
    viewer.dims.ndisplay = 2
    assert nuclei.contour > 0
    click(buttons[View.FILLED])
    assert nuclei.contour == 0
    viewer.window._qt_window.show()
    buttons[View.FILLED].setFocus()
    QTest.keyClick(buttons[View.FILLED], Qt.Key.Key_Right)
    QTest.keyClick(buttons[View.LIVE], Qt.Key.Key_Space)
    assert shown(viewer) == {"slide", "nuclei · slide", *live}
    assert nuclei.contour > 0
    # The next run, on another image, has these layers again.
    other = viewer.add_image(image, rgb=True, name="other")
    panel.segment(other)
    wait(lambda: not panel.session.is_busy)
    assert not live & {one.name for one in viewer.layers}
    assert len(viewer.layers) == 4 + 3
    assert "nuclei · other" in shown(viewer)
    assert viewer.layers["nuclei · other"].contour == 0
    assert buttons[View.FILLED].isChecked()


def test_labels_made_on_the_way_are_shown_beside_the_live_layers(
    viewer: Any, panel: PatchSegWidget, layer: Any, long: Settings, wait: Wait
) -> None:
    train_without_end(panel, long, wait)
    wait(lambda: "confidence · slide" in viewer.layers)
    click(panel.labels.make_button)
    wait(lambda: "nuclei · slide" in viewer.layers)
    assert {"confidence · slide", "nuclei · slide"} <= shown(viewer)
    assert panel.view_switch.buttons[View.LIVE].isChecked()
    panel.session.stop()
    wait(lambda: not panel.session.is_busy)


def test_a_moved_threshold_keeps_the_numbers_of_nuclei_that_stay(
    viewer: Any, panel: PatchSegWidget, layer: Any, wait: Wait
) -> None:
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    labels = viewer.layers["nuclei · slide"]
    before = labels.data.copy()
    threshold = panel.objects.threshold.value()
    panel.objects.threshold.setValue(threshold + 0.1)
    wait(
        lambda: (
            not panel.session.is_relabelling
            and labels.metadata["napari_patchseg"]["objects"]["threshold"] > threshold
        )
    )
    assert not np.array_equal(labels.data, before)
    both = (labels.data > 0) & (before > 0)
    assert (labels.data[both] == before[both]).mean() > 0.5
    fresh = set(np.unique(labels.data)) - set(np.unique(before))
    for number in fresh:  # of two halves one
        assert number not in before
    moved = labels.data.copy()
    panel.make_labels()
    wait(lambda: not panel.session.is_relabelling)
    np.testing.assert_array_equal(panel.session.labels.data, moved)


def test_image_kind_is_said_can_be_chosen_and_belongs_to_the_image(
    viewer: Any, panel: PatchSegWidget, image: np.ndarray, quick: Settings, wait: Wait
) -> None:
    first = viewer.add_image(image, rgb=True, name="first")

    def understood() -> str:
        click(panel.run.train_button)
        wait(lambda: panel.session.is_busy)
        wait(lambda: not panel.session.is_busy)
        return panel.run.image_label.text()

    assert "haematoxylin" in understood()
    panel.image.kind.setCurrentText("grey")
    assert "darker" in understood()
    panel.make_labels()
    wait(lambda: panel.session.labels is not None)
    assert "image_kind='grey'" in panel.script()
    namespace: dict[str, Any] = {}
    exec(panel.script(), namespace)  # what the user would do
    np.testing.assert_array_equal(namespace["labels"], panel.session.labels.data)
    second = viewer.add_image(image, rgb=True, name="second")
    assert panel.image.kind.currentText() == "auto"
    panel.image.kind.setCurrentText("fluorescence")
    panel.segment(first)  # by the right-click menu, of another layer than the one shown
    wait(lambda: not panel.session.is_busy)
    assert panel.session.run.pixels.kind == "grey"
    assert panel.image.kind.currentText() == "fluorescence"  # again of the active one
    panel.show_settings(quick.replace(image_kind="grey"))
    panel.segment(second)
    wait(lambda: not panel.session.is_busy)
    assert panel.session.run.pixels.kind == "grey"


def test_image_kind_is_not_remembered(make_napari_viewer: Callable[..., Any], qtbot: Any) -> None:
    panel = PatchSegWidget(make_napari_viewer())
    qtbot.addWidget(panel)
    panel.image.kind.setCurrentText("fluorescence")
    panel.diameter.setValue(31)
    qtbot.waitUntil(lambda: preferences.load_settings().get("nucleus_diameter") == 31)
    assert "image_kind" not in preferences.load_settings()


def test_a_guess_at_channels_and_a_refusal_stay_to_be_read(
    viewer: Any, panel: PatchSegWidget, image: np.ndarray, wait: Wait
) -> None:
    notice = panel.run.notice_label
    grey = image[..., 0]
    stack = viewer.add_image(np.stack([grey, grey[::-1], grey.T, grey]), name="stack")
    panel.segment(stack)
    wait(lambda: not panel.session.is_busy)
    assert "'stack' is taken as channels" in notice.text()
    panel.image.channels.setCurrentIndex(1)
    panel.segment(stack)
    wait(lambda: not panel.session.is_busy)
    assert "taken as channels" not in notice.text()
    panel.image.pixel_size.setValue(0)
    panel.image.unit.setCurrentText("µm")
    panel.diameter.setValue(8)
    panel.segment(stack)
    assert not panel.session.is_busy
    assert "pixel size" in notice.text()
    assert not notice.isHidden()

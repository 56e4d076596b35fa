"""Corrections as the panel's user makes them: buttons, strokes on the canvas, files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QPushButton

from napari_patchseg.corrections import Corrections
from napari_patchseg.files.autosave import autosave
from napari_patchseg.plugin._object_tools import Tool
from napari_patchseg.settings import Settings

Wait = Callable[[Callable[[], Any]], None]


@pytest.fixture
def segmented(viewer: Any, panel: Any, image: np.ndarray, wait: Wait) -> Any:
    """A shown window with a panel that has made labels."""
    viewer.window._qt_window.resize(1024, 700)
    viewer.window._qt_window.show()
    buttons = [one for one in panel.hand.findChildren(QPushButton) if one.isVisible()]
    assert len(buttons) == 9
    assert not any(button.isEnabled() for button in buttons)
    panel.run.stream_box.setChecked(False)  # live layers take as long as the run
    panel.segment(viewer.add_image(image, rgb=True, name="slide"))
    wait(lambda: not panel.session.is_busy and panel.session.labels is not None)
    QTest.qWait(100)
    return panel


def click(button: QPushButton) -> None:
    assert button.isEnabled()
    assert button.isVisible()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def drag(viewer: Any, *places: tuple[float, float]) -> None:
    """Press, move and release the left button at pixels of the image."""
    canvas = viewer.window._qt_viewer.canvas
    transform = canvas.view.transform * canvas.view.scene.transform
    points = [QPoint(*map(round, transform.map([column, row])[:2])) for row, column in places]
    QTest.mouseMove(canvas.native, points[0])
    QTest.qWait(10)
    QTest.mousePress(canvas.native, Qt.MouseButton.LeftButton, pos=points[0])
    for point in points[1:]:
        QTest.mouseMove(canvas.native, point)
        QTest.qWait(10)
    QTest.mouseRelease(canvas.native, Qt.MouseButton.LeftButton, pos=points[-1])
    QTest.qWait(10)


def middle(labels: np.ndarray, number: int) -> tuple[int, int]:
    places = np.argwhere(labels == number)
    row, column = places[np.abs(places - places.mean(0)).sum(1).argmin()]
    return int(row), int(column)


def test_tools_are_taken_used_undone_and_put_away(viewer: Any, segmented: Any, wait: Wait) -> None:
    hand, labels = segmented.hand, segmented.session.labels
    before = labels.data.copy()
    count = len(np.unique(before)) - 1
    summary = segmented.objects.measurements.summary
    wait(lambda: summary.text().startswith(f"{count} nuclei"))
    assert not hand.undo_button.isEnabled()
    click(hand.tool_buttons[Tool.DELETE])
    assert hand.tool_buttons[Tool.DELETE].isChecked()
    drag(viewer, middle(before, 2))
    wait(lambda: 2 not in labels.data)
    wait(lambda: summary.text().startswith(f"{len(np.unique(labels.data)) - 1} nuclei"))
    assert hand.undo_button.text() == "Undo delete"
    click(hand.tool_buttons[Tool.SPLIT])
    assert [tool for tool, button in hand.tool_buttons.items() if button.isChecked()] == [
        Tool.SPLIT
    ]
    click(hand.tool_buttons[Tool.SPLIT])
    assert segmented.session.hand.tool is None
    assert not hand.tool_buttons[Tool.SPLIT].isChecked()
    click(hand.undo_button)
    wait(lambda: 2 in labels.data)
    assert not hand.undo_button.isEnabled()
    assert hand.undo_button.text() == "Undo"


def test_brushes_are_taken_and_put_away(viewer: Any, segmented: Any, wait: Wait) -> None:
    hand, session = segmented.hand, segmented.session
    for value, button in hand.paint_buttons.items():
        click(button)
        assert [one for one, other in hand.paint_buttons.items() if other.isChecked()] == [value]
        assert session.hand.painting == value
    click(hand.paint_buttons[0])
    assert session.hand.painting is None
    assert not any(button.isChecked() for button in hand.paint_buttons.values())
    place = np.argwhere(session.labels.data == 0)[40]
    click(hand.paint_buttons[1])
    drag(viewer, tuple(place), tuple(place + 1))
    wait(lambda: hand.undo_button.text() == "Undo stroke")
    wait(lambda: session.labels.data[tuple(place)] > 0)
    viewer.dims.ndisplay = 3
    assert not hand.paint_buttons[1].isEnabled()
    viewer.dims.ndisplay = 2
    assert hand.paint_buttons[1].isEnabled()


def test_corrections_go_to_a_file_and_back(
    viewer: Any,
    segmented: Any,
    wait: Wait,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: list[str],
) -> None:
    hand, labels = segmented.hand, segmented.session.labels
    click(segmented.folds.buttons["Model"])
    assert not hand.save_button.isEnabled()
    click(hand.tool_buttons[Tool.DELETE])
    drag(viewer, middle(labels.data, 3))
    wait(lambda: 3 not in labels.data)
    path = tmp_path / "mine.json"
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_, **__: (str(tmp_path / "mine"), "")
    )
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (str(path), ""))
    click(hand.save_button)
    click(hand.clear_button)
    wait(lambda: 3 in labels.data)
    click(hand.load_button)
    wait(lambda: 3 not in labels.data)
    path.write_text("{}")
    click(hand.load_button)
    assert "no corrections" in told[-1]
    segmented.editors["learn_from_hints"].widget.click()
    assert not segmented.settings().objects.learn_from_hints


def chosen(panel: Any) -> tuple[int | None, str | None]:
    objects = panel.settings().objects
    return objects.nucleus_class, objects.nucleus_polarity


def confidence(viewer: Any) -> np.ndarray:
    return np.asarray(viewer.layers["confidence · slide"].data)


def background(shown: np.ndarray) -> tuple[int, int]:
    """Where the map in the viewer is lowest, away from the border."""
    inner = shown[10:-10, 10:-10]
    row, column = np.unravel_index(inner.argmin(), inner.shape)
    return int(row) + 10, int(column) + 10


@pytest.fixture
def random_weights(viewer: Any, panel: Any, image: np.ndarray, quick_paper: Settings) -> Any:
    """A shown window whose panel learns from random weights, and an image."""
    viewer.window._qt_window.resize(1024, 700)
    viewer.window._qt_window.show()
    panel.show_settings(quick_paper)
    viewer.add_image(image, rgb=True, name="slide")
    return panel


def test_a_click_chooses_the_class_that_is_nuclei(
    viewer: Any, random_weights: Any, wait: Wait, told: list[str]
) -> None:
    panel, session = random_weights, random_weights.session
    click(panel.folds.buttons["Settings"])
    panel.hand.class_button.setFocus()
    assert not panel.hand.class_button.isEnabled()
    panel.segment()
    wait(lambda: not session.is_busy and session.labels is not None)
    QTest.qWait(100)
    labels, before = session.labels, session.labels.data.copy()
    seen = confidence(viewer)
    report = labels.metadata["napari_patchseg"]["nucleus_class"]
    automatic = panel.editors["nucleus_class"].widget
    assert automatic.currentText() == f"auto: {report['index']}"
    click(panel.hand.class_button)
    assert session.hand.tool is Tool.CLASS
    drag(viewer, (60, 60), (60, 80))  # moves the view
    assert chosen(panel) == (None, None)
    place = background(confidence(viewer))
    drag(viewer, place)
    assert session.hand.tool is None
    assert not panel.hand.class_button.isChecked()
    wait(lambda: not session.is_relabelling and not np.array_equal(labels.data, before))
    index, polarity = chosen(panel)
    assert automatic.currentText() == f"class {index}"
    assert automatic.itemText(0) == f"auto: {report['index']}"  # the choice made for the user
    report = labels.metadata["napari_patchseg"]["nucleus_class"]
    assert report["index"] == index
    assert report["inverted"] == (polarity == "inverted")
    assert confidence(viewer)[place] > np.quantile(confidence(viewer), 0.9)
    assert session.labels is labels
    assert panel.hand.undo_button.text() == "Undo class"
    click(panel.hand.undo_button)
    assert chosen(panel) == (None, None)
    np.testing.assert_array_equal(labels.data, before)  # at once, with their numbers
    wait(lambda: not session.is_relabelling)
    np.testing.assert_array_equal(labels.data, before)
    np.testing.assert_array_equal(confidence(viewer), seen)
    assert not session.hand.can_undo
    assert told == []


def test_a_choice_of_the_class_leaves_an_earlier_process_corrections_on_offer(
    viewer: Any, random_weights: Any, wait: Wait
) -> None:
    panel, session = random_weights, random_weights.session
    source = panel.image.source(viewer.layers["slide"])
    painted = np.zeros((128, 128), np.uint8)
    painted[20:23, 20:23] = 1
    name = f"{source.fingerprint:08x}-0-0-128-128"
    autosave(name, Corrections.of_hints(painted))
    panel.segment()
    wait(lambda: not session.is_busy and session.labels is not None)
    session.hand.use(Tool.CLASS)
    drag(viewer, background(confidence(viewer)))
    assert chosen(panel) != (None, None)
    QTest.qWait(1200)  # as long as it takes until a correction is kept
    click(panel.hand.undo_button)
    assert chosen(panel) == (None, None)
    click(panel.hand.restore_button)
    np.testing.assert_array_equal(session.hand.corrections.painted, painted)
    wait(lambda: not session.is_relabelling)


def test_the_class_is_chosen_by_a_key_while_the_network_learns(
    viewer: Any, random_weights: Any, quick_paper: Settings, wait: Wait
) -> None:
    panel, session = random_weights, random_weights.session
    panel.show_settings(quick_paper.replace(max_steps=100_000))
    panel.train()
    wait(lambda: "confidence · slide" in viewer.layers and session.run_state.step > 5)
    canvas = viewer.window._qt_viewer.canvas
    row, column = background(confidence(viewer))
    reduction = viewer.layers["confidence · slide"].metadata["napari_patchseg"]["reduction"]
    drag(viewer, (row * reduction, column * reduction))  # Qt tells of no move without a button
    canvas.native.setFocus()
    viewer.mouse_over_canvas = True  # Qt tells it only of a real mouse
    QTest.keyClick(canvas.native, Qt.Key.Key_K)
    index, polarity = chosen(panel)
    assert index is not None

    def shown() -> tuple[int, bool]:
        metadata = viewer.layers["confidence · slide"].metadata["napari_patchseg"]
        return metadata["class"], metadata["inverted"]

    def step() -> int:
        return viewer.layers["confidence · slide"].metadata["napari_patchseg"]["step"]

    wait(lambda: shown() == (index, polarity == "inverted"))
    before = step()
    wait(lambda: step() > before)  # later maps, too
    assert shown() == (index, polarity == "inverted")
    QTest.keyClick(canvas.native, Qt.Key.Key_U)
    assert chosen(panel) == (None, None)
    session.stop()
    wait(lambda: not session.is_busy and not session.is_relabelling)


def test_where_no_class_can_be_chosen_a_sentence_says_so(
    viewer: Any, segmented: Any, quick_paper: Settings, wait: Wait, told: list[str]
) -> None:
    panel, session = segmented, segmented.session
    click(panel.folds.buttons["Settings"])
    click(panel.hand.class_button)
    assert "taught" in told[-1]
    assert session.hand.tool is None
    assert not panel.hand.class_button.isChecked()
    panel.show_settings(quick_paper)
    shapes = viewer.add_shapes(np.array([[0, 0], [0, 63], [63, 63], [63, 0]]))
    shapes.selected_data = {0}
    panel.image.region.setCurrentIndex(panel.image.region.count() - 1)
    panel.segment(viewer.layers["slide"])
    session.hand.use(Tool.CLASS)
    assert "no confidence map yet" in told[-1]
    wait(lambda: not session.is_busy and session.labels is not None)
    assert session.run.source.box == (0, 0, 64, 64)
    QTest.qWait(100)
    click(panel.hand.class_button)
    drag(viewer, (100, 100))
    assert "outside" in told[-1]
    assert chosen(panel) == (None, None)
    assert session.hand.undo_text == "Undo segmentation"  # there is nothing later

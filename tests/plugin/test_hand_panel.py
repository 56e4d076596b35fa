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

from napari_patchseg.plugin._object_tools import Tool

Wait = Callable[[Callable[[], Any]], None]


@pytest.fixture
def segmented(viewer: Any, panel: Any, image: np.ndarray, wait: Wait) -> Any:
    """A shown window with a panel that has made labels."""
    viewer.window._qt_window.resize(1024, 700)
    viewer.window._qt_window.show()
    buttons = [one for one in panel.hand.findChildren(QPushButton) if one.isVisible()]
    assert len(buttons) == 9
    assert not any(button.isEnabled() for button in buttons)
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
    summary = segmented.objects.histogram.summary
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

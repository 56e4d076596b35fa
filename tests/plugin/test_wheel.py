"""The wheel over every control of the panel, with real wheel events."""

from __future__ import annotations

from typing import Any

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QGraphicsView,
    QScrollArea,
    QScrollBar,
    QWidget,
)

from napari_patchseg.plugin.dock_widget import PatchSegWidget


def turn(widget: QWidget, delta: int = -120) -> None:
    """One notch over a widget; as Qt does it, the parents get what it leaves."""
    over: QWidget | None = widget
    while over is not None and not over.isWindow():
        centre = over.rect().center()
        event = QWheelEvent(
            QPointF(centre),
            QPointF(over.mapToGlobal(centre)),
            QPoint(),
            QPoint(0, delta),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        if QApplication.sendEvent(over, event) and event.isAccepted():
            return
        over = over.parentWidget()


def state(widget: QWidget) -> Any:
    if isinstance(widget, QComboBox):
        return widget.currentIndex()
    return widget.value()  # type: ignore[attr-defined]


def scrolls(bar: QScrollBar, widget: QWidget) -> bool:
    """Whether the wheel over a widget moves the panel, there and back."""
    bar.setValue(0)
    turn(widget)
    down = bar.value()
    turn(widget, 120)
    return down > 0 and bar.value() == 0


@pytest.fixture
def small(viewer: Any, image: Any, qtbot: Any) -> Any:
    """A panel with an image, all its settings and curves, and room for a part of it."""
    viewer.add_image(image, rgb=True)
    panel = PatchSegWidget(viewer)
    qtbot.addWidget(panel)
    panel.form.folded.expand(animate=False)
    panel.curves.show_history([(1, 1.0, 0.1, 0.2), (2, 0.5, 0.1, 0.3)])
    panel.resize(400, 300)
    with qtbot.waitExposed(panel):
        panel.show()
    return panel


def test_the_wheel_scrolls_and_changes_nothing(small: Any) -> None:
    area = small.findChild(QScrollArea)
    bar = area.verticalScrollBar()
    kinds = (QComboBox, QAbstractSpinBox, QAbstractSlider)
    controls = [
        control
        for kind in kinds
        for control in small.findChildren(kind)
        if not isinstance(control, QScrollBar) and control.isEnabled()
    ]
    assert len(controls) > 25
    before = {control: state(control) for control in controls}
    for control in controls:
        assert control.focusPolicy() != Qt.FocusPolicy.WheelFocus
        assert scrolls(bar, control), control.objectName()
    assert {control: state(control) for control in controls} == before
    bar.setValue(bar.maximum())
    (view,) = small.curves.findChildren(QGraphicsView)
    under = small.curves.childAt(view.geometry().center()) or small.curves
    assert not view.isAncestorOf(under)
    assert scrolls(bar, under)


def test_with_the_focus_the_wheel_changes_a_control(small: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(QApplication, "focusWidget", lambda: small.diameter)
    small.diameter.setValue(20)
    turn(small.image.unit)
    turn(small.diameter)
    assert small.image.unit.currentText() == "px"
    assert small.diameter.value() < 20

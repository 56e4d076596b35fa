"""The mouse's wheel scrolls the panel; it changes only the control that is being used."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QScrollBar,
    QWidget,
)


class WheelScrolls(QObject):
    """Leaves the wheel to the panel wherever a control without the focus would take it.

    Parameters
    ----------
    panel : QWidget
        With all its controls.
    """

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)
        for kind in (QComboBox, QAbstractSpinBox, QAbstractSlider):
            for control in panel.findChildren(kind):
                if not isinstance(control, QScrollBar):
                    control.installEventFilter(self)
                    if control.focusPolicy() == Qt.FocusPolicy.WheelFocus:
                        control.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Pass the wheel on to what the control lies on."""
        if event is None or event.type() != QEvent.Type.Wheel or not isinstance(watched, QWidget):
            return False
        focus = QApplication.focusWidget()
        if focus is not None and (watched is focus or watched.isAncestorOf(focus)):
            return False
        event.ignore()
        return True

"""The mouse's wheel scrolls the panel; it changes only the control that is being used."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QGraphicsView,
    QScrollBar,
    QTabBar,
    QWidget,
)

_CONTROLS = (QComboBox, QAbstractSpinBox, QAbstractSlider, QTabBar)


class WheelScrolls(QObject):
    """Leaves the wheel to the panel wherever a control without the focus would take it.

    Parameters
    ----------
    panel : QWidget
        All that is in it now, or comes into it later.
    """

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)
        self._watch(panel)

    def _watch(self, widget: QWidget) -> None:
        widget.installEventFilter(self)
        if widget.focusPolicy() == Qt.FocusPolicy.WheelFocus:  # the wheel would give the focus
            widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        for child in widget.children():
            if isinstance(child, QWidget):
                self._watch(child)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Pass the wheel on to what the control lies on."""
        kind = None if event is None else event.type()
        if kind in (QEvent.Type.ChildAdded, QEvent.Type.ChildPolished):
            child = event.child()  # type: ignore[union-attr]
            if isinstance(child, QWidget) and not child.isWindow():
                self._watch(child)
        elif kind == QEvent.Type.Wheel and event is not None and _leaves_the_wheel(watched):
            event.ignore()
            return True
        return False


def _leaves_the_wheel(widget: QObject | None) -> bool:
    if isinstance(widget, QScrollBar):
        return False
    if isinstance(widget, QWidget) and isinstance(widget.parent(), QGraphicsView):
        return True  # curves are looked at, not changed
    if not isinstance(widget, _CONTROLS):
        return False
    focus = QApplication.focusWidget()
    return focus is None or not (widget is focus or widget.isAncestorOf(focus))

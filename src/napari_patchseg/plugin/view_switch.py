"""The switch between contours, filled nuclei and the live layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QWidget

from ._layers import View

if TYPE_CHECKING:
    from .session import TrainingSession

_TOOLTIPS = {
    View.CONTOURS: "Show the nuclei as contours over the image; confidence and patches are hidden.",
    View.FILLED: "Show the nuclei as filled areas; confidence and patches are hidden.",
    View.LIVE: "Show confidence and sampled patches; the nuclei are hidden.",
}


class ViewSwitch(QWidget):
    """Three buttons of which one is down; the arrow keys move between them.

    Parameters
    ----------
    session : TrainingSession
        What shows the run.
    parent : QWidget or None
        Qt's owner.
    """

    def __init__(self, session: TrainingSession, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.buttons: dict[View, QPushButton] = {}
        group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        label = QLabel("show")
        layout.addWidget(label)
        layout.addSpacing(6)
        for view, tooltip in _TOOLTIPS.items():
            button = QPushButton(str(view))
            button.setCheckable(True)
            button.setToolTip(tooltip)
            button.setAccessibleName(f"show {view}")
            button.setObjectName(f"show_{view}")
            group.addButton(button)
            layout.addWidget(button, 1)
            self.buttons[view] = button
            # Not `toggled`: that tells of `_show_view` as well.
            button.clicked.connect(lambda _checked, chosen=view: session.choose_view(chosen))
        label.setBuddy(self.buttons[View.CONTOURS])
        session.layers.view_changed.connect(self._show_view)
        self._show_view()

    def _show_view(self, _view: View | None = None) -> None:
        self.buttons[self._session.layers.view].setChecked(True)
        for button in self.buttons.values():
            button.setEnabled(self._session.run is not None)

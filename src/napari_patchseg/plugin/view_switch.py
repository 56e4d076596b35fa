"""The switch between contours, filled nuclei and the live layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QWidget

from .views import View

if TYPE_CHECKING:
    from .presenter import Presenter

_TOOLTIPS = {
    View.CONTOURS: "Show the nuclei as contours over the image; confidence and patches are hidden.",
    View.FILLED: "Show the nuclei as filled areas; confidence and patches are hidden.",
    View.LIVE: "Show confidence and sampled patches; the nuclei are hidden.",
}


class ViewSwitch(QWidget):
    """Three buttons of which one is down; the arrow keys move between them.

    Parameters
    ----------
    presenter : Presenter
        What shows the run.
    parent : QWidget or None
        Qt's owner.
    """

    def __init__(self, presenter: Presenter, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._presenter = presenter
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
            button.clicked.connect(lambda _checked, chosen=view: presenter.choose_view(chosen))
        label.setBuddy(self.buttons[View.CONTOURS])
        presenter.view_changed.connect(self._show_view)
        self._show_view()

    def _show_view(self) -> None:
        self.buttons[self._presenter.view].setChecked(True)
        for button in self.buttons.values():
            button.setEnabled(self._presenter.live is not None)

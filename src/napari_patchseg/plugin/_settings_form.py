"""Settings of training and machine: the few that matter in view, the rest folded away."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_patchseg.settings import FIELDS

from ._editors import Editors


class SettingsForm(QWidget):
    """Lays out the editors of the preset, of training, and of all that is not in view.

    Parameters
    ----------
    editors : Editors
        Those of all settings.
    """

    def __init__(self, editors: Editors) -> None:
        super().__init__()
        self.preset = editors["preset"].widget
        self.preset.activated.connect(editors.reset)  # also the same once more
        self.reset_button = QPushButton("Reset")
        self.reset_button.setToolTip("Back to the preset; the seed and the machine stay.")
        self.reset_button.setObjectName("reset_settings")
        self.reset_button.clicked.connect(editors.reset)

        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        chosen = QHBoxLayout()
        chosen.addWidget(self.preset, 1)
        chosen.addWidget(self.reset_button)
        grid.addWidget(editors["preset"].caption(), 0, 0)
        grid.addLayout(chosen, 0, 1, 1, 3)
        content = QWidget()
        folded = QFormLayout(content)
        folded.setContentsMargins(8, 0, 0, 0)
        folded.setVerticalSpacing(2)
        column = 0
        for name, field in FIELDS.items():
            editor = editors[name]
            if not field.in_view:
                folded.addRow(editor.caption(), editor.widget)
            elif field.group == "training":
                grid.addWidget(editor.caption(), 1, column)
                grid.addWidget(editor.widget, 1, column + 1)
                grid.setColumnStretch(column + 1, 1)
                column += 2
        self.folded = QCollapsible("More settings")
        self.folded.setDuration(0)
        self.folded.setContent(content)
        self.folded.collapse(animate=False)
        self.folded.toggleButton().setToolTip("Network, patches, optimisation and machine")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(grid)
        layout.addWidget(self.folded)

    def show_changed(self, changed: bool) -> None:
        """Say whether any setting differs from the preset's."""
        for index in range(self.preset.count()):
            name = str(self.preset.itemData(index))
            mark = changed and index == self.preset.currentIndex()
            self.preset.setItemText(index, f"{name}, changed" if mark else name)
        self.reset_button.setEnabled(changed)

"""Settings of a run: the few that matter in view, the rest folded away."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_patchseg.settings import FIELDS, PRESETS, Settings

from .editors import Editor

_IN_VIEW = ("max_steps", "seed")
#: All other settings about training; those about objects have a panel of their own.
_FOLDED = tuple(
    name
    for name, field in FIELDS.items()
    if name not in ("preset", "image_kind", *_IN_VIEW)
    and (field.group != "objects" or name == "prior_weight")
)
#: A preset is about the method; the seed and the machine stay as they are.
PRESET_LEAVES = frozenset(
    {"seed", *(name for name, field in FIELDS.items() if field.group == "machine")}
)


class SettingsForm(QWidget):
    """Editors of the settings about training."""

    #: The user changed something.
    changed = Signal()
    #: The user chose a preset, perhaps the same once more; its settings are the argument.
    preset_chosen = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._editors = {name: Editor(name) for name in (*_IN_VIEW, *_FOLDED)}
        for editor in self._editors.values():
            editor.on_change = self.changed.emit
        self.preset = QComboBox()
        for name in PRESETS:
            self.preset.addItem(name, name)
        self.preset.setToolTip(
            "Starting point for all settings:\n"
            "default – the fastest that is good; paper – as published."
        )
        self.preset.setAccessibleName("preset")
        self.preset.activated.connect(self._on_preset)
        self.preset.setObjectName("preset")
        self.reset_button = QPushButton("Reset")
        self.reset_button.setToolTip(
            "Back to the preset: all settings but the seed and those of the machine."
        )
        self.reset_button.setObjectName("reset_settings")
        self.reset_button.clicked.connect(self._on_preset)

        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        chosen = QHBoxLayout()
        chosen.addWidget(self.preset, 1)
        chosen.addWidget(self.reset_button)
        grid.addWidget(_caption("preset", self.preset), 0, 0)
        grid.addLayout(chosen, 0, 1, 1, 3)
        for place, name in enumerate(_IN_VIEW):
            editor = self._editors[name]
            grid.addWidget(_caption(editor.label, editor.widget), 1, place * 2)
            grid.addWidget(editor.widget, 1, place * 2 + 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        self.show_changed(False)

        content = QWidget()
        form = QFormLayout(content)
        form.setContentsMargins(8, 0, 0, 0)
        form.setVerticalSpacing(2)
        for name in _FOLDED:
            editor = self._editors[name]
            form.addRow(_caption(editor.label, editor.widget), editor.widget)
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

    def values(self) -> dict[str, Any]:
        """Preset and all fields shown."""
        shown = {name: editor.value() for name, editor in self._editors.items()}
        return {"preset": self.preset.currentData(), **shown}

    def show_settings(self, settings: Settings) -> None:
        """Show the settings' values."""
        self.show_changed(False)
        if (index := self.preset.findData(settings.preset)) >= 0:
            self.preset.setCurrentIndex(index)
        for name, editor in self._editors.items():
            editor.set(FIELDS[name].of(settings))

    @property
    def classes(self) -> int:
        """Number of classes chosen."""
        return int(self._editors["classes"].value())

    def show_changed(self, changed: bool) -> None:
        """Say whether any setting differs from the preset's."""
        for index in range(self.preset.count()):
            name = str(self.preset.itemData(index))
            mark = changed and index == self.preset.currentIndex()
            self.preset.setItemText(index, f"{name}, changed" if mark else name)
        self.reset_button.setEnabled(changed)

    def _on_preset(self) -> None:
        preset = Settings.create(self.preset.currentData())
        for name, editor in self._editors.items():
            if name not in PRESET_LEAVES:
                editor.set(FIELDS[name].of(preset))
        self.preset_chosen.emit(preset)
        self.changed.emit()


def _caption(text: str, widget: QWidget) -> QLabel:
    caption = QLabel(text)
    caption.setToolTip(widget.toolTip())
    caption.setBuddy(widget)
    return caption

"""Settings of a run: the few that matter in view, the rest folded away."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFormLayout, QGridLayout, QLabel, QVBoxLayout, QWidget
from superqt import QCollapsible

from napari_patchseg.method.settings import PRESETS, Settings

from .editors import Editor
from .worker import OBJECT_FIELDS

_IN_VIEW = ("max_steps", "seed", "device")
#: All other settings about training; those about objects have a panel of their own.
_FOLDED = tuple(
    name
    for name in Settings.model_fields
    if name not in ("preset", *_IN_VIEW) and (name not in OBJECT_FIELDS or name == "prior_weight")
)
#: A preset is about the method; the seed and the machine stay as they are.
_PRESET_LEAVES = frozenset({"seed", "device", "precision", "memory_format", "threads"})


class SettingsForm(QWidget):
    """Editors of the settings about training."""

    #: The user changed something.
    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._editors = {name: Editor(name) for name in (*_IN_VIEW, *_FOLDED)}
        for editor in self._editors.values():
            editor.on_change = self.changed.emit
        self.preset = QComboBox()
        self.preset.addItems(list(PRESETS))
        self.preset.setToolTip(
            "Starting point for all settings:\n"
            "default – the fastest that is good; paper – as published."
        )
        self.preset.setAccessibleName("preset")
        self.preset.activated.connect(self._on_preset)
        self.preset.setObjectName("preset")

        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        for place, (label, widget) in enumerate(
            [("preset", self.preset)]
            + [(self._editors[name].label, self._editors[name].widget) for name in _IN_VIEW]
        ):
            caption = QLabel(label)
            caption.setToolTip(widget.toolTip())
            caption.setBuddy(widget)
            grid.addWidget(caption, place // 2, place % 2 * 2)
            grid.addWidget(widget, place // 2, place % 2 * 2 + 1)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)

        content = QWidget()
        form = QFormLayout(content)
        form.setContentsMargins(8, 0, 0, 0)
        form.setVerticalSpacing(2)
        for name in _FOLDED:
            editor = self._editors[name]
            caption = QLabel(editor.label)
            caption.setToolTip(editor.widget.toolTip())
            form.addRow(caption, editor.widget)
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
        return {"preset": self.preset.currentText(), **shown}

    def show_settings(self, settings: Settings) -> None:
        """Show the settings' values."""
        self.preset.setCurrentText(settings.preset)
        for name, editor in self._editors.items():
            editor.set(getattr(settings, name))

    @property
    def classes(self) -> int:
        """Number of classes chosen."""
        return int(self._editors["classes"].value())

    def _on_preset(self) -> None:
        preset = Settings.create(self.preset.currentText())
        for name, editor in self._editors.items():
            if name not in _PRESET_LEAVES:
                editor.set(getattr(preset, name))
        self.changed.emit()

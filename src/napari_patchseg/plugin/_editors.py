"""The settings' widgets, made from what `settings.FIELDS` says of each.

magicgui would make them from the same types, but its number fields drop the decimal sign of another
locale (see `_controls`), and it has no word for None.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QWidget,
)
from superqt import QDoubleSlider
from superqt.utils import signals_blocked

from napari_patchseg.errors import SettingsError
from napari_patchseg.settings import AUTOMATIC, FIELDS, Objects, SettingField, Settings

from ._controls import NumberBox, caption


class Editor(ABC):
    """Shows and changes one setting.

    Parameters
    ----------
    field : SettingField
        The setting.

    Attributes
    ----------
    widget : QWidget
        With the field's name, label and description.
    """

    #: The user changed the value; `set` does not say so.
    changed = Signal()

    def __init__(self, field: SettingField) -> None:
        self.field = field
        self.widget = self._make()
        self.widget.setToolTip(field.info.description or "")
        self.widget.setAccessibleName(field.label)
        self.widget.setObjectName(field.name)

    @abstractmethod
    def _make(self) -> QWidget: ...

    @abstractmethod
    def _show(self, value: Any) -> None: ...

    @abstractmethod
    def get(self) -> Any:
        """The value shown."""

    def set(self, value: Any) -> None:
        """Show a value."""
        with self.changed.blocked():
            self._show(value)

    def _say(self, *_: object) -> None:
        self.changed.emit()

    def caption(self) -> QLabel:
        """Its label, for the left of a form."""
        return caption(self.field.label, self.widget)


class _CheckEditor(Editor):
    """Yes or no; also something or "none"."""

    def _make(self) -> QWidget:
        words = self.field.choices
        self._values = ("none", words[0]) if words else (False, True)
        self._box = QCheckBox(self.field.label if words else "")
        self._box.toggled.connect(self._say)
        return self._box

    def get(self) -> Any:
        return self._values[self._box.isChecked()]

    def _show(self, value: Any) -> None:
        self._box.setChecked(value == self._values[1])


class _ChoiceEditor(Editor):
    """One of several words."""

    def _make(self) -> QWidget:
        self._box = QComboBox()
        self.offer({word: word for word in self.field.choices})
        self._box.currentIndexChanged.connect(self._say)
        return self._box

    def offer(self, choices: Mapping[str, Any]) -> None:
        """Offer values, by their words; one that is no longer there gives way to the first."""
        if self.field.may_be_none:
            choices = {AUTOMATIC: None, **choices}
        if len(choices) == self._box.count():
            return
        chosen = self._box.currentData()
        with signals_blocked(self._box):
            self._box.clear()
            for word, value in choices.items():
                self._box.addItem(word, value)
            self._box.setCurrentIndex(max(0, self._box.findData(chosen)))

    def get(self) -> Any:
        return self._box.currentData()

    def _show(self, value: Any) -> None:
        self._box.setCurrentIndex(self._box.findData(value))

    def show_automatic(self, choice: str) -> None:
        self._box.setItemText(0, f"{AUTOMATIC}: {choice}" if choice else AUTOMATIC)


class _NumberEditor(Editor):
    """A number; below the least one is the automatic choice."""

    def _make(self) -> QWidget:
        field, (low, high, open_low) = self.field, self.field.limits
        if field.kind is int or high is None:
            decimals = 0
        elif high <= 1:
            decimals = 6
        else:  # sizes that are read off the image are not known better
            decimals = 1 if field.may_be_none and high > 10 else 2
        least = (low or 0) + 10.0**-decimals * (open_low - field.may_be_none)
        self._box = box = NumberBox(
            least,
            1e9 if high is None else high,
            decimals,
            unit=field.unit,
            word=AUTOMATIC if field.may_be_none else "",
        )
        if decimals == 6:
            box.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        elif decimals == 2 and high is not None and high <= 10:
            box.setSingleStep(0.05)
        box.valueChanged.connect(self._say)
        return box

    def get(self) -> Any:
        if self.field.may_be_none and self._box.value() == self._box.minimum():
            return None
        return self.field.kind(self._box.value())

    def _show(self, value: Any) -> None:
        self._box.setValue(self._box.minimum() if value is None else value)

    def show_automatic(self, choice: str) -> None:
        self._box.setSpecialValueText(f"{AUTOMATIC} ({choice})" if choice else AUTOMATIC)


class _TextEditor(Editor):
    """Any text, which counts once it is complete."""

    def _make(self) -> QWidget:
        self._box = QLineEdit()
        self._box.setPlaceholderText("none")
        self._box.editingFinished.connect(self._on_edited)
        self._shown = ""
        return self._box

    def get(self) -> Any:
        return self._box.text()

    def _show(self, value: Any) -> None:
        self._shown = value
        self._box.setText(value)

    def _on_edited(self) -> None:
        if self._box.text() != self._shown:
            self._shown = self._box.text()
            self._say()


class _SliderEditor(Editor):
    """A number between 0 and 1 or the automatic choice, which the slider shows, too."""

    def _make(self) -> QWidget:
        self.automatic = QCheckBox(AUTOMATIC)
        self.automatic.setChecked(True)
        self.box = NumberBox(0.01, 0.99, 2)
        self.box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
        self.box.setStyleSheet("background: transparent; min-width: 2em; padding: 0")
        self.slider = QDoubleSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(self.box.minimum(), self.box.maximum())
        line = QWidget()
        layout = QHBoxLayout(line)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.automatic)
        for part, stretch in ((self.slider, 1), (self.box, 0)):
            part.setSingleStep(0.01)
            part.setValue(0.5)
            part.setAccessibleName(self.field.label)
            layout.addWidget(part, stretch)
        self.slider.valueChanged.connect(self.box.setValue)
        self.box.valueChanged.connect(self.slider.setValue)
        self.box.valueChanged.connect(self._on_value)
        self.automatic.toggled.connect(self._say)
        return line

    def get(self) -> float | None:
        return None if self.automatic.isChecked() else self.box.value()

    def _show(self, value: float | None) -> None:
        if value is not None:
            self.box.setValue(value)
        self.automatic.setChecked(value is None)

    def show_automatic(self, choice: float) -> None:
        if self.automatic.isChecked():
            with signals_blocked(self.box):
                self.slider.setValue(choice)

    def _on_value(self) -> None:
        if self.automatic.isChecked():  # whoever moves the slider wants its value
            self.automatic.setChecked(False)
        else:
            self._say()


class Editors:
    """The widgets of all settings, by name, wherever they are laid out."""

    #: The user changed one of them.
    changed = Signal()

    def __init__(self) -> None:
        self._editors = {name: _editor(field) for name, field in FIELDS.items()}
        for editor in self._editors.values():
            editor.changed.connect(self.changed.emit)
        self["classes"].changed.connect(lambda: self.offer_classes(self["classes"].get()))
        self["preset"].changed.connect(self.reset)
        self.show(Settings.create())

    def __getitem__(self, name: str) -> Any:
        """The `Editor` of a setting."""
        return self._editors[name]

    @property
    def settings(self) -> Settings:
        """All settings as shown; raises `SettingsError` where they do not go together."""
        return Settings.create(**{name: editor.get() for name, editor in self._editors.items()})

    @property
    def objects(self) -> Objects:
        """What counts as a nucleus, as shown."""
        return Objects(**{name: self[name].get() for name in Objects.model_fields})

    @property
    def differ(self) -> bool:
        """Whether any setting differs from its preset's."""
        try:
            return any(FIELDS[name].of_preset for name in self.settings.changes())
        except SettingsError:  # of a preset they go together
            return True

    def show(self, settings: Settings) -> None:
        """Show settings."""
        self.offer_classes(settings.training.classes)
        for editor in self._editors.values():
            editor.set(editor.field.of(settings))

    def show_objects(self, objects: Objects, classes: int) -> None:
        """Show what counts as a nucleus in a run that has so many classes."""
        self.offer_classes(classes)
        for name, value in objects:
            self[name].set(value)

    def reset(self) -> None:
        """Show what the chosen preset sets; that counts as the user's change."""
        preset = Settings.create(self["preset"].get())
        for editor in self._editors.values():
            if editor.field.of_preset:
                editor.set(editor.field.of(preset))
        self.offer_classes(preset.training.classes)
        self.changed.emit()

    def offer_classes(self, count: int) -> None:
        """Offer this many classes; a choice that is no longer there becomes automatic."""
        self["nucleus_class"].offer({f"class {number}": number for number in range(count)})


def _editor(field: SettingField) -> Editor:
    if field.kind is bool or field.choices[1:] == ("none",):
        return _CheckEditor(field)
    if field.choices or field.name == "nucleus_class":  # as many as there are
        return _ChoiceEditor(field)
    if field.kind is str:
        return _TextEditor(field)
    if field.may_be_none and field.limits[:2] == (0, 1):
        return _SliderEditor(field)
    return _NumberEditor(field)

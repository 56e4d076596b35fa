"""One small editor for each setting, made from what `Settings` says about it; fields of numbers.

Qt takes the sign that is not the locale's decimal sign for a separator of groups and drops it, so
that 12,5 becomes 125. In the fields here both signs are the decimal sign, in every locale, groups
are not understood, and what is shown has a point, like all other numbers of the panel.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from qtpy.QtCore import QLocale, QObject
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QLineEdit,
    QWidget,
)

from napari_patchseg.settings import AUTOMATIC, FIELDS

if TYPE_CHECKING:
    from superqt import QLabeledDoubleSlider


#: The decimal sign is a point, a comma or the Arabic one; digits are those of any script.
_NUMBER = re.compile(r"[+-]?(\d+[.,\u066b]?\d*|[.,\u066b]\d+)(e[+-]?\d+)?", re.IGNORECASE)
#: Marks of the direction of writing, which some locales put around numbers.
_MARKS = dict.fromkeys(map(ord, "\u200e\u200f\u061c"))
#: The largest number that a spin box of integers holds.
_LARGEST_INT = 2**31 - 1


def number_in(text: str) -> float | None:
    """The number that was typed or pasted; None where it is not one, or has groups of digits."""
    text = text.translate(_MARKS).strip().replace("\N{MINUS SIGN}", "-")
    if not _NUMBER.fullmatch(text):
        return None
    return float(text.replace(",", ".").replace("\N{ARABIC DECIMAL SEPARATOR}", "."))


class NumberBox(QDoubleSpinBox):
    """A field of a number that understands what is typed when it is complete.

    That is on Enter, or when the focus goes; until then any text may stand there. To refuse single
    keys would change what the others mean: without its sign, 12.5 is 125. What is no number in the
    end gives way to the value before; one out of range becomes the nearest that is in range.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setLocale(QLocale.c())
        self.setKeyboardTracking(False)

    def _typed(self, text: str | None) -> float | None:
        bare = (text or "").translate(_MARKS).removeprefix(self.prefix()).strip()
        bare = bare.removesuffix(self.suffix().strip()).rstrip()
        special = self.specialValueText()
        if special and special.startswith(bare):  # nothing at all counts as "auto", too
            return self.minimum()
        return number_in(bare)

    def _nearest(self, number: float) -> float:
        return min(max(number, self.minimum()), self.maximum())

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        """Any text may become a number."""
        number = self._typed(text)
        fits = number is not None and number == self._nearest(number)
        state = QValidator.State.Acceptable if fits else QValidator.State.Intermediate
        return state, text or "", position

    def fixup(self, text: str | None) -> str:
        """The nearest number in range; what is no number stays, and Qt shows the value before."""
        number = self._typed(text)
        return text or "" if number is None else self.textFromValue(self._nearest(number))

    def valueFromText(self, text: str | None) -> float:
        """The number typed, such as 12.5, 12,5 or 1e-3."""
        return round(self._typed(text) or 0.0, self.decimals())

    def textFromValue(self, value: float) -> str:
        """With a point; small numbers without zeros behind."""
        text = f"{value:.{self.decimals()}f}"
        return text.rstrip("0").rstrip(".") if self.decimals() > 2 else text


class _FieldOfSlider(QValidator):
    """The same understanding for the field beside a slider of superqt."""

    def __init__(self, slider: QLabeledDoubleSlider) -> None:
        super().__init__(slider)
        self._slider = slider

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        """Only what `float` takes is complete: that is what the field calls."""
        text = text or ""
        complete = text.isascii() and "," not in text and number_in(text) is not None
        state = QValidator.State.Acceptable if complete else QValidator.State.Intermediate
        return state, text, position

    def fixup(self, text: str | None) -> str:
        """What is no number gives way to the value before."""
        number = number_in(text or "")
        return str(self._slider.value() if number is None else number)


def understand_numbers(slider: QLabeledDoubleSlider) -> None:
    """Have the field beside a slider understand numbers as the other fields do."""
    for field in slider.findChildren(QLineEdit):
        field.setValidator(_FieldOfSlider(slider))


def take_typed(panel: QWidget) -> None:
    """Take over the number in a field that is still being edited: a key may start a run from there.

    Parameters
    ----------
    panel : QWidget
        The fields in it count.
    """
    field: QObject | None = panel.focusWidget()
    while field is not None and field is not panel:
        if isinstance(field, QAbstractSpinBox):
            field.interpretText()
        field = field.parent()


class Editor:
    """A widget that shows and changes one setting.

    Parameters
    ----------
    name : str
        A field of `Settings`.

    Attributes
    ----------
    widget : QWidget
        With the field's description as tooltip.
    on_change : callable or None
        Called after the user changed the value; not after `set`.
    """

    def __init__(self, name: str) -> None:
        field = FIELDS[name].info
        self.name = name
        self.label = FIELDS[name].label
        self.on_change: Callable[[], None] | None = None
        self._silent = False
        low, high, open_low = _limits(field.metadata)
        kinds = _kinds(field.annotation)
        if bool in kinds:
            self.widget: QWidget = self._check_box()
        elif int in kinds:
            self.widget = self._spin_box(low, high, optional=len(kinds) > 1)
        elif float in kinds:
            self.widget = self._double_box(low, high, open_low=open_low, optional=len(kinds) > 1)
        else:
            self.widget = self._combo(_choices(field.annotation), optional=field.default is None)
        self.widget.setToolTip(field.description or "")
        self.widget.setAccessibleName(self.label)
        self.widget.setObjectName(name)

    # What follows is filled in by the constructors of the widgets.
    value: Callable[[], Any]
    _show: Callable[[Any], None]

    def set(self, value: Any) -> None:
        """Show a value."""
        self._silent = True
        try:
            self._show(value)
        finally:
            self._silent = False

    def _changed(self, *_: object) -> None:
        if not self._silent and self.on_change is not None:
            self.on_change()

    def _check_box(self) -> QCheckBox:
        box = QCheckBox()
        self.value, self._show = box.isChecked, box.setChecked
        box.toggled.connect(self._changed)
        return box

    def _combo(self, choices: tuple[str, ...], *, optional: bool) -> QComboBox:
        box = QComboBox()
        if optional:
            box.addItem(AUTOMATIC, None)
        for choice in choices:
            box.addItem(choice, choice)
        self.value = box.currentData
        self._show = lambda value: box.setCurrentIndex(box.findData(value))
        box.currentTextChanged.connect(self._changed)
        return box

    def _spin_box(self, low: float | None, high: float | None, *, optional: bool) -> NumberBox:
        box = NumberBox()
        box.setDecimals(0)
        least = 1 if low is None else int(low)
        box.setRange(least - optional, _LARGEST_INT if high is None else int(high))
        self._finish(box, kind=int, optional=optional)
        return box

    def _double_box(
        self, low: float | None, high: float | None, *, open_low: bool, optional: bool
    ) -> NumberBox:
        box = NumberBox()
        small = high is not None and high <= 1
        decimals = 6 if small else 2
        grain = 10**-decimals
        box.setDecimals(decimals)
        least = (low or 0) + (grain if open_low else 0)
        box.setRange(least - grain if optional else least, high or 1e9)
        if small:
            box.setStepType(QAbstractSpinBox.StepType.AdaptiveDecimalStepType)
        elif high is not None and high <= 20:
            box.setSingleStep(0.1)
        self._finish(box, kind=float, optional=optional)
        return box

    def _finish(self, box: NumberBox, *, kind: type[float], optional: bool) -> None:
        box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.UpDownArrows)
        if optional:
            box.setSpecialValueText(AUTOMATIC)

        def value() -> Any:
            return None if optional and box.value() == box.minimum() else kind(box.value())

        def show(new: Any) -> None:
            number: Any = box.minimum() if new is None else new
            box.setValue(number)

        self.value, self._show = value, show
        box.valueChanged.connect(self._changed)


def _kinds(annotation: Any) -> tuple[Any, ...]:
    """The types of a field, None and literals included."""
    if get_origin(annotation) is Literal:
        return (annotation,)
    return get_args(annotation) or (annotation,)


def _choices(annotation: Any) -> tuple[str, ...]:
    """All words that a field may be."""
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(word for part in get_args(annotation) for word in _choices(part))


def _limits(metadata: list[Any]) -> tuple[float | None, float | None, bool]:
    """Least and largest value, and whether the least itself is excluded."""
    low = high = None
    open_low = False
    for part in metadata:
        if hasattr(part, "ge"):
            low = part.ge
        elif hasattr(part, "gt"):
            low, open_low = part.gt, True
        elif hasattr(part, "le"):
            high = part.le
        elif hasattr(part, "lt"):
            high = part.lt - (1 if isinstance(part.lt, int) and part.lt > 1 else 0)
    return low, high, open_low

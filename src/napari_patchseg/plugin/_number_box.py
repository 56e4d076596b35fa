"""Fields of numbers that understand 12.5 and 12,5 in every locale.

Qt takes the sign that is not the locale's decimal sign for a separator of groups and drops it, so
that 12,5 becomes 125. In the fields here both signs are the decimal sign, in every locale, groups
are not understood, and what is shown has a point, like all other numbers of the panel.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtCore import QLocale, QObject
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QDoubleSpinBox,
    QLineEdit,
    QWidget,
)

if TYPE_CHECKING:
    from superqt import QLabeledDoubleSlider


#: The decimal sign is a point, a comma or the Arabic one; digits are those of any script.
_NUMBER = re.compile(r"[+-]?(\d+[.,\u066b]?\d*|[.,\u066b]\d+)(e[+-]?\d+)?", re.IGNORECASE)
#: Marks of the direction of writing, which some locales put around numbers.
_MARKS = dict.fromkeys(map(ord, "\u200e\u200f\u061c"))


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

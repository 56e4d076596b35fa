"""Controls of the panel: numbers in any locale's writing, and the wheel left to the panel.

Qt takes the sign that is not the locale's decimal sign for a separator of groups and drops it, so
that 12,5 becomes 125. In the fields here both signs are the decimal sign, in every locale, groups
are not understood, and what is shown has a point, like all other numbers of the panel.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from psygnal import Signal
from qtpy.QtCore import QEvent, QLocale, QObject, Qt
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollBar,
    QVBoxLayout,
    QWidget,
)

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

    Parameters
    ----------
    low, high : float
        The range.
    decimals : int
        Digits behind the point.
    unit : str
        Shown behind the number.
    word : str
        Shown instead of the least number.
    """

    def __init__(
        self, low: float, high: float, decimals: int, *, unit: str = "", word: str = ""
    ) -> None:
        super().__init__()
        self.setLocale(QLocale.c())
        self.setKeyboardTracking(False)
        self.setDecimals(decimals)
        self.setRange(low, high)
        self.setSuffix(unit and f" {unit}")
        self.setSpecialValueText(word)

    def _typed(self, text: str | None) -> float | None:
        """The nearest number in range."""
        bare = (text or "").translate(_MARKS).strip()
        bare = bare.removesuffix(self.suffix().strip()).rstrip()
        special = self.specialValueText()
        if special and special.startswith(bare):  # nothing at all counts as "auto", too
            return self.minimum()
        number = number_in(bare)
        return None if number is None else min(max(number, self.minimum()), self.maximum())

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        """Any text may become a number."""
        states = QValidator.State
        state = states.Intermediate if self._typed(text) is None else states.Acceptable
        return state, text or "", position

    def fixup(self, text: str | None) -> str:
        """What is no number stays, and Qt shows the value before; its own way drops separators."""
        return text or ""

    def valueFromText(self, text: str | None) -> float:
        """The number typed, such as 12.5, 12,5 or 1e-3."""
        return round(self._typed(text) or 0.0, self.decimals())

    def textFromValue(self, value: float) -> str:
        """With a point; small numbers without zeros behind."""
        text = f"{value:.{self.decimals()}f}"
        return text.rstrip("0").rstrip(".") if self.decimals() > 2 else text


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
        if event is None or event.type() != QEvent.Type.Wheel:
            return False
        if watched is QApplication.focusWidget():
            return False
        event.ignore()
        return True


def button(
    text: str, tooltip: str, then: Callable[[], object] | None = None, *, key: str = ""
) -> QPushButton:
    """A button that does something when it is clicked, or its key is pressed."""
    made = QPushButton(text)
    made.setToolTip(f"{tooltip} ({key})" if key else tooltip)
    made.setShortcut(key)
    if then is not None:
        made.clicked.connect(lambda: then())
    return made


class Folds(QWidget):
    """Parts that are seen when they are asked for: a row of buttons, the parts below it."""

    #: A part is seen, or seen no more.
    turned = Signal(QWidget, bool)

    def __init__(self) -> None:
        super().__init__()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._row = QHBoxLayout()
        self._row.setSpacing(3)
        layout.addLayout(self._row)
        #: By the names of their parts.
        self.buttons: dict[str, QPushButton] = {}

    def add(self, name: str, tooltip: str, *widgets: QWidget) -> None:
        """Add a part that is folded away at first."""
        part = QWidget()
        layout = QVBoxLayout(part)
        layout.setContentsMargins(0, 0, 0, 0)
        for widget in widgets:
            layout.addWidget(widget)
        self.buttons[name] = fold = button(name, tooltip)
        fold.setCheckable(True)
        self._row.addWidget(fold)
        own = self.layout()
        assert own is not None
        own.addWidget(part)

        def turn(open_: bool) -> None:
            fold.setText(f"{name} {'▾' if open_ else '▸'}")
            part.setVisible(open_)
            self.turned.emit(part, open_)

        fold.toggled.connect(turn)
        turn(False)


def narrow(box: QComboBox, signs: int) -> None:
    """Keep long words from widening the panel."""
    box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
    box.setMinimumContentsLength(signs)


def form(panel: QWidget, *rows: tuple[Any, ...]) -> QFormLayout:
    """Fill a panel with rows: a label or its text, and widgets side by side."""
    layout = QFormLayout(panel)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setVerticalSpacing(3)
    for label, *widgets in rows:
        line = QHBoxLayout()
        line.setSpacing(3)
        for widget in widgets:
            line.addWidget(widget, 0 if isinstance(widget, QLabel) else 1)
        layout.addRow(label, line)
    return layout


def caption(text: str, widget: QWidget) -> QLabel:
    """A label that belongs to a widget."""
    label = QLabel(text)
    label.setToolTip(widget.toolTip())
    label.setBuddy(widget)
    return label

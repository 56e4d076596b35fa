"""One small editor for each setting, made from what `Settings` says about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

from qtpy.QtWidgets import QAbstractSpinBox, QCheckBox, QComboBox, QDoubleSpinBox, QSpinBox, QWidget

from napari_patchseg.method.settings import Settings

AUTO = "auto"
#: The largest number that a spin box of integers holds.
_LARGEST_INT = 2**31 - 1


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
        field = Settings.model_fields[name]
        self.name = name
        self.label = LABELS.get(name, name.replace("_", " "))
        self.on_change: Callable[[], None] | None = None
        self._silent = False
        # What a spin box at its lowest value, which reads "auto", stands for.
        self._auto = AUTO if AUTO in _choices(field.annotation) else None
        low, high, open_low = _limits(field.metadata)
        kinds = _kinds(field.annotation)
        if bool in kinds:
            self.widget: QWidget = self._check_box()
        elif int in kinds:
            self.widget = self._spin_box(low, high, optional=len(kinds) > 1)
        elif float in kinds:
            self.widget = self._double_box(low, high, open_low=open_low, optional=len(kinds) > 1)
        else:
            self.widget = self._combo(_choices(field.annotation))
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

    def _combo(self, choices: tuple[str, ...]) -> QComboBox:
        box = QComboBox()
        box.addItems(list(choices))
        self.value, self._show = box.currentText, box.setCurrentText
        box.currentTextChanged.connect(self._changed)
        return box

    def _spin_box(self, low: float | None, high: float | None, *, optional: bool) -> QSpinBox:
        box = QSpinBox()
        least = 1 if low is None else int(low)
        box.setRange(least - optional, _LARGEST_INT if high is None else int(high))
        self._finish(box, optional=optional)
        return box

    def _double_box(
        self, low: float | None, high: float | None, *, open_low: bool, optional: bool
    ) -> QDoubleSpinBox:
        box = QDoubleSpinBox()
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
        self._finish(box, optional=optional)
        return box

    def _finish(self, box: QSpinBox | QDoubleSpinBox, *, optional: bool) -> None:
        box.setKeyboardTracking(False)
        box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.UpDownArrows)
        if optional:
            box.setSpecialValueText(AUTO)

        def value() -> Any:
            return self._auto if optional and box.value() == box.minimum() else box.value()

        def show(new: Any) -> None:
            number: Any = box.minimum() if new in (None, AUTO) else new
            box.setValue(number)

        self.value, self._show = value, show
        box.valueChanged.connect(self._changed)


#: Names that read better than the field's own.
LABELS = {
    "classes": "classes K",
    "max_steps": "steps at most",
    "batch_size": "crops per step",
    "patches": "patches per crop",
    "stop_at_convergence": "stop at convergence",
    "min_area": "minimum area",
    "split": "split touching",
    "prior_weight": "stain's weight",
}


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

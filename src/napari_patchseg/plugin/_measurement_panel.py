"""The panel's part for measurements: their histogram, whose handles say what is a nucleus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget
from superqt.utils import signals_blocked

from napari_patchseg.conditions import Condition, conditions_of, in_words
from napari_patchseg.report import POSITIVE_COLOUR
from napari_patchseg.words import pluralize

from ._controls import button, narrow
from ._editors import Editors
from ._features import without_pixels
from ._plots import Histogram

if TYPE_CHECKING:
    import pandas as pd

#: The column that there is before anything was measured, and whose limits are settings.
_AREA = {False: "Area px^2", True: "Area µm^2"}
_SIGNS = {"low": ">=", "high": "<="}


class MeasurementPanel(QWidget):
    """How many nuclei there are, of which size and look, and which of them count.

    Parameters
    ----------
    editors : Editors
        Of the limits.
    """

    #: Another measurement is to colour the nuclei, by its header; None: each has its own colour.
    coloured = Signal(object)

    def __init__(self, editors: Editors) -> None:
        super().__init__()
        self._editors = editors
        self._table: pd.DataFrame | None = None
        self._areas: NDArray[Any] = np.empty(0, int)
        self._pixel_size: float | None = None
        self._ground: float | None = None
        self._of = ""
        self._least = 0.0  # what an automatic smallest area came to
        self.summary = QLabel("no nuclei yet")
        self.chooser = QComboBox()
        self.chooser.setToolTip(
            "The measurement in the histogram, and of the colours.\n"
            "docs/measurements.md says what each is."
        )
        self.chooser.setAccessibleName("measurement")
        narrow(self.chooser, 14)
        self.colour_box = QCheckBox("colour")
        self.colour_box.setToolTip("Colour the nuclei by this measurement, as the bars are.")
        self.table_button = button(
            "Table", "All nuclei with all measurements; click a row to find its nucleus."
        )
        self.histogram = Histogram()
        self.others = QLabel()
        self.others.setWordWrap(True)
        self.others.setToolTip("Conditions on other measurements; choose one to move its limits.")
        self.others.setVisible(False)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(3)
        row.addWidget(self.chooser, 1)
        row.addWidget(self.colour_box)
        row.addWidget(self.table_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.summary)
        layout.addWidget(self.histogram)
        layout.addLayout(row)
        layout.addWidget(self.others)
        self.chooser.addItem("Area px²", _AREA[False])
        self.chooser.currentIndexChanged.connect(self._on_chosen)
        self.colour_box.toggled.connect(self._on_coloured)
        self.histogram.moved.connect(self._on_moved)
        self.others.linkActivated.connect(self._forget_others)
        editors.changed.connect(self.show_limits)

    @property
    def header(self) -> str:
        """The measurement shown."""
        return str(self.chooser.currentData())

    @property
    def colour(self) -> str | None:
        """The measurement that colours the nuclei; None where none does."""
        return self.header if self.colour_box.isChecked() else None

    # -- what is shown

    def clear(self) -> None:
        """Another image, or another run."""
        self._table = None
        self._areas = np.empty(0, int)
        self.histogram.clear()
        self._show_summary()

    def show_areas(
        self, areas: NDArray[Any], pixel_size: float | None, ground: float | None = None
    ) -> None:
        """Count the nuclei at once, and draw their areas if these are shown.

        Parameters
        ----------
        areas : ndarray
            (n,) px².
        pixel_size : float or None
            µm per pixel, where it is known.
        ground : float or None
            Pixels in which nuclei were looked for.
        """
        self._areas, self._ground = areas, ground
        if pixel_size != self._pixel_size:
            self._pixel_size, self._table = pixel_size, None
        self._offer_areas()
        self._show_summary()
        if self._is_area:
            self.histogram.show_values(areas / self._per_unit, self._unit)
        self.show_limits()

    def show_name(self, image: str) -> None:
        """Say which image the nuclei are of; empty where nobody can be in doubt."""
        of = f"{image}: " if image else ""
        if of != self._of:
            self._of = of
            self._show_summary()

    def show_table(self, table: pd.DataFrame) -> None:
        """Take what was measured."""
        self._table = table
        from napari_patchseg.objects import is_place

        self._offer([name for name in table.columns if not is_place(name)])
        if not self._is_area:
            self.histogram.show_values(table[self.header].to_numpy(float), self._unit)

    def show_least(self, area: float) -> None:
        """Show what an automatic smallest area came to, in px²."""
        self._least = area
        self.show_limits()

    def show_limits(self) -> None:
        """Put the handles where the settings are."""
        if self._is_area:
            least, most = (self._editors[name].get() for name in ("min_area", "max_area"))
            least = self._least if least is None else least
            limits = [None if one is None else one / self._per_unit for one in (least, most)]
        else:
            own = [one for one in self._conditions if self._is_shown(one)]
            lows, highs = ([one.limit for one in own if one.sign == sign] for sign in (">=", "<="))
            limits = [max(lows, default=None), min(highs, default=None)]
        self.histogram.show_limits(*limits)
        others = [one for one in self._conditions if not self._is_shown(one)]
        self.others.setVisible(bool(others))
        text = in_words(others).replace("^2", "²").replace("<", "&lt;")
        link = f'<a href="#" style="color: {POSITIVE_COLOUR}">remove all</a>'
        self.others.setText(f"only where {text} · {link}")

    # -- inside

    @property
    def _is_area(self) -> bool:
        return self.header in _AREA.values()

    @property
    def _unit(self) -> str:
        """Of what is shown, as people write it."""
        from napari_patchseg.objects import pretty, unit_of

        return pretty(unit_of(self.header))

    @property
    def _per_unit(self) -> float:
        """Square pixels."""
        return 1.0 if self._pixel_size is None else self._pixel_size**-2

    @property
    def _conditions(self) -> tuple[Condition, ...]:
        try:
            return conditions_of(self._editors["keep"].get())
        except ValueError:  # is said when it is used
            return ()

    def _show_summary(self) -> None:
        if not len(self._areas):
            self.summary.setText("no nuclei yet")
            return
        count, median = len(self._areas), float(np.median(self._areas))
        text = f"{self._of}{pluralize(count, 'nucleus', 'nuclei')}"
        if self._pixel_size is None:
            text += f", median {median:.0f} px²"
        else:
            text += f", median {median / self._per_unit:.3g} µm²"
            if self._ground:
                density = 1e6 * count * self._per_unit / self._ground
                text += f", {density:,.0f} per mm²"
        self.summary.setText(text)

    def _offer(self, headers: list[str]) -> None:
        """Offer measurements: in µm where there are such."""
        from napari_patchseg.objects import pretty

        shown = without_pixels(headers)
        if [self.chooser.itemData(index) for index in range(self.chooser.count())] == shown:
            return
        before = self.header
        with signals_blocked(self.chooser):
            self.chooser.clear()
            for name in shown:
                self.chooser.addItem(pretty(name), name)
            self.chooser.setCurrentIndex(max(0, self.chooser.findData(before)))
        if self.header != before:
            self._on_chosen()

    def _offer_areas(self) -> None:
        area = _AREA[self._pixel_size is not None]
        if self._table is None and self._is_area and self.header != area:
            self._offer([area])

    def _on_chosen(self) -> None:
        self.histogram.clear()
        if self._is_area:
            self.histogram.show_values(self._areas / self._per_unit, self._unit)
        elif self._table is not None:
            self.histogram.show_values(self._table[self.header].to_numpy(float), self._unit)
        self.show_limits()
        if self.colour is not None:
            self.coloured.emit(self.colour)

    def _on_coloured(self) -> None:
        self.coloured.emit(self.colour)

    def _on_moved(self, name: str, limit: float | None) -> None:
        if self._is_area:
            field = self._editors["min_area" if name == "low" else "max_area"]
            area = None if limit is None else float(round(limit * self._per_unit))
            field.set((area or 0.0) if name == "low" else area)
            field.changed.emit()
            return
        before = [
            one
            for one in self._conditions
            if not (self._is_shown(one) and one.sign == _SIGNS[name])
        ]
        moved = () if limit is None else (Condition(self.header, _SIGNS[name], limit),)
        self._keep((*before, *moved))

    def _is_shown(self, condition: Condition) -> bool:
        """Whether it is what the handles say; those of the area are settings of their own."""
        return not self._is_area and condition.measurement.casefold() == self.header.casefold()

    def _forget_others(self, _link: str = "") -> None:
        self._keep(tuple(one for one in self._conditions if self._is_shown(one)))

    def _keep(self, conditions: tuple[Condition, ...]) -> None:
        self._editors["keep"].set(in_words(conditions))
        self._editors["keep"].changed.emit()

"""Rows of a table of measurements, as files that hold objects have them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_patchseg.errors import FileError

if TYPE_CHECKING:
    from pandas import DataFrame


def rows_of(measurements: DataFrame | None) -> dict[int, dict[str, float]]:
    """Measurements of every object by its label.

    Columns that are no numbers, and numbers that are not finite, are left out: JSON has none.

    Raises
    ------
    FileError
        If there is no column "Label".
    """
    if measurements is None:
        return {}
    if "Label" not in measurements:
        raise FileError(
            'Measurements to be saved need a column "Label", which says whose they are.'
        )
    numbers = measurements.select_dtypes(["number", "bool"])
    columns = {str(name): column.tolist() for name, column in numbers.items()}
    labels = columns.pop("Label", [])
    return {
        label: {
            name: value
            for name, value in zip(columns, values, strict=True)
            if isinstance(value, int | float) and math.isfinite(value)
        }
        for label, *values in zip(labels, *columns.values(), strict=True)
    }

"""Rows of a table of measurements, as files that hold objects have them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pandas import DataFrame


def rows_of(measurements: DataFrame | None) -> dict[int, dict[str, float]]:
    """Measurements of every object by its label.

    Columns that are no numbers, and numbers that are not finite, are left out: JSON has none.
    """
    if measurements is None:
        return {}
    numbers = measurements.select_dtypes(["number", "bool"])
    columns = {str(column): numbers[column].tolist() for column in numbers}
    labels = columns.pop("Label")
    return {
        label: {
            name: value for name, value in zip(columns, values, strict=True) if math.isfinite(value)
        }
        for label, *values in zip(labels, *columns.values(), strict=True)
    }

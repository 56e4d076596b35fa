"""From a confidence map to nuclei: their class, labels, numbers and measurements."""

from ._choices import (
    ClassChooser,
    choose_nucleus,
    class_at,
    expected_diameter,
    labelling,
    outline,
    sketch,
    typical_diameter,
)
from ._conditions import header_of
from ._editing import Change, apply_edits, change_of, grow, pixels_of
from ._labelling import (
    ResolvedObjects,
    label_nuclei,
    label_steps,
    smallest_area,
    with_additions,
)
from ._measuring import CONFIDENCE_COLUMN, SHAPE_COLUMNS, Column, intensity_columns, measure
from ._numbering import keep_numbers

__all__ = [
    "CONFIDENCE_COLUMN",
    "SHAPE_COLUMNS",
    "Change",
    "ClassChooser",
    "Column",
    "ResolvedObjects",
    "apply_edits",
    "change_of",
    "choose_nucleus",
    "class_at",
    "expected_diameter",
    "grow",
    "header_of",
    "intensity_columns",
    "keep_numbers",
    "label_nuclei",
    "label_steps",
    "labelling",
    "measure",
    "outline",
    "pixels_of",
    "sketch",
    "smallest_area",
    "typical_diameter",
    "with_additions",
]

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
from ._columns import (
    CONFIDENCE_COLUMN,
    SHAPE_COLUMNS,
    Column,
    has_mean,
    in_micrometres,
    in_pixels,
    intensity_columns,
    is_place,
    pretty,
    table_headers,
    unit_of,
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
from ._measuring import measure, measure_steps
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
    "has_mean",
    "header_of",
    "in_micrometres",
    "in_pixels",
    "intensity_columns",
    "is_place",
    "keep_numbers",
    "label_nuclei",
    "label_steps",
    "labelling",
    "measure",
    "measure_steps",
    "outline",
    "pixels_of",
    "pretty",
    "sketch",
    "smallest_area",
    "table_headers",
    "typical_diameter",
    "unit_of",
    "with_additions",
]

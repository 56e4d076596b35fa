"""From a confidence map to nuclei: which class they are, their labels and their numbers."""

from ._choices import (
    ClassChooser,
    choose_nucleus,
    expected_diameter,
    labelling,
    outline,
    typical_diameter,
)
from ._labelling import ResolvedObjects, label_nuclei, label_steps, smallest_area
from ._numbering import keep_numbers

__all__ = [
    "ClassChooser",
    "ResolvedObjects",
    "choose_nucleus",
    "expected_diameter",
    "keep_numbers",
    "label_nuclei",
    "label_steps",
    "labelling",
    "outline",
    "smallest_area",
    "typical_diameter",
]

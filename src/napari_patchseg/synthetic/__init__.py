"""Synthetic images of nuclei with their true labels: stained sections and fluorescence.

For trying out, for tests, and for the pretrained weights (tools/pretrain.py).
"""

from ._fluorescence import Culture, culture, expose, synthetic_fluorescence
from ._nuclei import Tissue
from ._stained import synthetic_field

__all__ = [
    "Culture",
    "Tissue",
    "culture",
    "expose",
    "synthetic_field",
    "synthetic_fluorescence",
]

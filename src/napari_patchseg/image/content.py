"""Whether an image shows anything at the scale of nuclei."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from .instances import estimate_diameter
from .pixels import Box, Pixels

#: Structure of a few pixels must stand this far above pixel noise. White noise has 0.16, noise blurred
#: by one pixel 1.0, real sections 2.4 and more (docs/method.md).
STRUCTURE_TO_NOISE = 1.3
#: ... and must have this much contrast: in units of stain, or as a share of the value range.
CONTRAST = {"stained": 0.0015, "dark on light": 0.01, "bright on dark": 0.01}
#: Images above this many pixels are looked at through nine crops.
_WHOLE_PIXELS = 4_000_000
_CROP = 512


def has_structure(pixels: Pixels) -> bool:
    """Whether anything in the image is of the size and contrast of nuclei.

    Compares the prior's standard deviation between scales of 2 and 20 px with that below 1 px: noise,
    empty glass and evenly coloured fields have none of the former.
    """
    return any(_structured(prior, CONTRAST[pixels.kind]) for prior in _looks(pixels))


def expected_diameter(pixels: Pixels) -> float:
    """Nucleus diameter in pixels estimated from the image: the median over its crops."""
    return float(np.median([estimate_diameter(prior) for prior in _looks(pixels)]))


def _structured(prior: NDArray[np.float32], contrast: float) -> bool:
    structure = float((ndi.gaussian_filter(prior, 2) - ndi.gaussian_filter(prior, 20)).std())
    noise = float((prior - ndi.gaussian_filter(prior, 1)).std())
    return structure > contrast and structure > STRUCTURE_TO_NOISE * noise


def _looks(pixels: Pixels) -> Iterator[NDArray[np.float32]]:
    """The prior of the whole image, or of nine evenly spaced crops of a large one."""
    _, height, width = pixels.shape
    if height * width <= _WHOLE_PIXELS:
        yield pixels.prior()
        return
    tall, wide = min(_CROP, height), min(_CROP, width)
    for row in np.linspace(0, height - tall, 3, dtype=int):
        for column in np.linspace(0, width - wide, 3, dtype=int):
            box: Box = (int(row), int(column), int(row) + tall, int(column) + wide)
            yield pixels.prior(box)

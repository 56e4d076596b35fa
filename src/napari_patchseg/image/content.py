"""Whether an image shows anything at the scale of nuclei."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from .instances import estimate_diameter, typical_diameter
from .pixels import Pixels

#: Structure of a few pixels must stand this far above pixel noise. White noise has 0.16, noise
#: blurred by one pixel 1.0, real sections 2.4 and more (docs/method.md).
STRUCTURE_TO_NOISE = 1.3
#: Images above this many pixels are sampled: by so many crops along each side.
_WHOLE_PIXELS = 4_000_000
_CROP = 512
_SAMPLED_CROPS = 3
#: A core is surer than this, and has so many pixels.
_CORE, _CORE_AREA = 0.6, 12
#: What comes so near to a crop's edge in pixels reaches over it: maps fade there. If it has more
#: than so many pixels, 20 px as a disk, it may be a pen's stroke.
_EDGE, _LARGE_AREA = 5, 314


def has_structure(pixels: Pixels) -> bool:
    """Whether anything in the image is of the size and contrast of nuclei.

    Compares the prior's standard deviation between scales of 2 and 20 px with that below 1 px:
    noise, empty glass and evenly coloured fields have none of the former. Crop by crop: a
    few nuclei in one of them are enough, however empty the others.
    """
    contrast = pixels.modality.least_contrast
    _, height, width = pixels.shape
    return any(
        _structured(pixels.prior((rows.start, columns.start, rows.stop, columns.stop)), contrast)
        for rows, columns in _crops((height, width))
    )


def expected_diameter(nuclei: NDArray[np.float32]) -> float:
    """Nucleus diameter in pixels estimated from a map (H, W), larger where nuclei are.

    The median over its crops where the map is large.
    """
    return float(np.median([estimate_diameter(nuclei[look]) for look in _looks(nuclei.shape)]))


def core_diameter(cores: NDArray[np.float32]) -> float:
    """Diameter in pixels of the nuclei's inner parts, from crops (N, h, w) of confidence in them.

    Their area-weighted median; 0 where there are none. Nuclei that touch, and then read as one,
    have cores that do not. A large one that reaches over its crop's edge is left out: it may be a
    pen's stroke.
    """
    within_crop = np.zeros((3, 3, 3), bool)
    within_crop[1] = ndi.generate_binary_structure(2, 1)
    parts, count = ndi.label(ndi.gaussian_filter(cores, (0, 1, 1)) > _CORE, within_crop)
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    near = np.ones(cores.shape[1:], bool)
    near[_EDGE:-_EDGE, _EDGE:-_EDGE] = False
    cut = np.unique(parts[:, near])
    areas[cut[areas[cut] > _LARGE_AREA]] = 0
    areas = areas[1:][areas[1:] >= _CORE_AREA]
    return typical_diameter(areas) if len(areas) else 0.0


def _structured(prior: NDArray[np.float32], contrast: float) -> bool:
    structure = float((ndi.gaussian_filter(prior, 2) - ndi.gaussian_filter(prior, 20)).std())
    noise = float((prior - ndi.gaussian_filter(prior, 1)).std())
    return structure > contrast and structure > STRUCTURE_TO_NOISE * noise


def _looks(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """The whole image as one, or crops of a large one."""
    height, width = shape
    return [np.s_[0:height, 0:width]] if height * width <= _WHOLE_PIXELS else _crops(shape)


def _crops(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Evenly spaced crops: all of an image, or a sample of a large one."""
    sampled = shape[0] * shape[1] > _WHOLE_PIXELS
    (tops, tall), (lefts, wide) = (_cuts(side, sampled) for side in shape)
    return [np.s_[row : row + tall, column : column + wide] for row in tops for column in lefts]


def _cuts(side: int, sampled: bool) -> tuple[list[int], int]:
    """Where crops along a side begin, and their length."""
    length = min(_CROP, side)
    number = -(-side // _CROP)
    if sampled:
        number = min(number, _SAMPLED_CROPS)
    return [int(cut) for cut in np.linspace(0, side - length, number, dtype=int)], length

"""What a marker pen covers on a stained section, and what is black: no nuclei are seen there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from .components import drop_small, open_close

#: Optical densities (natural logarithm). Haematoxylin absorbs green at least as much as red, eosin
#: far more. Blue and green ink absorb red, and that much more of it than of green.
#: Dense ink, below which tissue adds to the green, need not absorb that much more.
_RED, _RED_BEYOND_GREEN, _DENSE_RED = 0.8, 0.2, 1.0
#: Black ink absorbs all colours, where stains let blue through: so much of each, and of blue at
#: least that share of green.
_BLACK, _BLUE_TO_GREEN = 1.1, 0.7
#: ... and of red: pigments and dense brown stains let that through.
_RED_TO_GREEN = 0.7
#: Tissue absorbs so much green, and where there is eosin more of it than of red. Without eosin
#: nuclei may be as blue as ink.
_TISSUE = 0.15
#: Least share of an image's pixels of the colour of ink that are looked at any further, and the
#: most that may be coloured: more is no stroke but a stain, as of collagen in trichrome sections.
_LEAST_SHARE, _MOST_COLOURED = 0.002, 0.3
#: In pixels: half the width of the thinnest stroke, half of the gaps in one, the area of the
#: smallest (a disk of 62 px, which no nucleus fills) and how far a stroke's faint edge reaches.
_THIN, _GAP, _SMALLEST, _EDGE = 4, 6, 3000, 6


def ink(pixels: NDArray[np.float32], every: int = 1) -> NDArray[np.bool_] | None:
    """Find the strokes of pens on a stained section.

    By colour, as stains never mix to it, and by size: black pens and whatever else is black, such
    as the surroundings of a round field of view, and where the tissue is stained with eosin blue
    and green pens. Red ink looks like eosin and is not found.

    Parameters
    ----------
    pixels : ndarray
        (3, h, w) float32 in [0, 1], bright field.
    every : int
        Which rows and columns of the image these pixels are: lengths are in pixels of the image.

    Returns
    -------
    ndarray or None
        (h, w) bool, True where ink is; None where there is none.
    """
    red, green, blue = pixels
    coloured = (red < np.exp(-_RED)) & (red < np.exp(-_RED_BEYOND_GREEN) * green)
    coloured |= (red < np.exp(-_DENSE_RED)) & (red < green)
    black = pixels.max(0) < np.exp(-_BLACK)
    at = np.nonzero(black)
    floor = np.float32(1 / 256)  # black has no logarithm
    least_green = np.maximum(green[at], floor)
    black[at] = (blue[at] <= least_green**_BLUE_TO_GREEN) & (red[at] <= least_green**_RED_TO_GREEN)
    share = coloured.mean()
    if share > _MOST_COLOURED or (
        share >= _LEAST_SHARE and _is_blue(red, green, ~(coloured | black))
    ):
        coloured[:] = False
    found = coloured | black
    if found.mean() < _LEAST_SHARE:
        return None
    found = open_close(found, max(1, round(_THIN / every)), 0)
    # Before gaps are closed: crowded nuclei would join.
    least = max(_SMALLEST / every**2, 9)
    drop_small(found, least, np.empty(found.shape, np.int32), at_border=least)
    if not found.any():
        return None
    found = open_close(found, 0, max(1, round(_GAP / every)))
    return np.asarray(ndi.distance_transform_edt(~found) <= max(1, _EDGE / every))


def _is_blue(red: NDArray[np.float32], green: NDArray[np.float32], free: NDArray[np.bool_]) -> bool:
    """Whether most of the tissue beside what was found lets more green through than red."""
    tissue = free & (green < np.exp(-_TISSUE))
    return not tissue.any() or bool((green[tissue] > red[tissue]).mean() > 0.5)

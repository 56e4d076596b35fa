"""Working on a map region by region, so that memory does not grow with its size."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

#: (row0, column0, row1, column1) in pixels, ends excluded.
Box = tuple[int, int, int, int]
Window = tuple[slice, slice]

#: Side of a tile. Large beside what is read around it, small beside what the map itself takes.
TILE = 1024
#: Pixels of a strip of whole rows.
_STRIP_PIXELS = 1_000_000
#: More pixels than this are represented by an even grid of them.
ENOUGH = 4_000_000
#: A gaussian reaches that many standard deviations (scipy's own choice).
_TRUNCATE = 4.0
#: Pixels around a box in which its nearest background is first looked for.
_MARGIN = 32


def tiles(shape: tuple[int, int], side: int = TILE) -> list[Box]:
    """Boxes of at most ``side`` px a side that cover a map (H, W) once each."""
    height, width = shape
    return [
        (row, column, min(row + side, height), min(column + side, width))
        for row in range(0, height, side)
        for column in range(0, width, side)
    ]


def strips(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of a map (H, W), about a million pixels at a time."""
    rows = max(1, _STRIP_PIXELS // max(1, shape[1]))
    for row in range(0, shape[0], rows):
        yield slice(row, min(row + rows, shape[0]))


def window(box: Box, within: Box | None = None) -> Window:
    """Index of a box in the whole map, or in the part of it that another box covers."""
    row, column = (0, 0) if within is None else within[:2]
    return slice(box[0] - row, box[2] - row), slice(box[1] - column, box[3] - column)


def grown(box: Box, by: int, shape: tuple[int, int]) -> Box:
    """A box with so many pixels more on every side, as far as the map (H, W) goes."""
    return (
        max(0, box[0] - by),
        max(0, box[1] - by),
        min(shape[0], box[2] + by),
        min(shape[1], box[3] + by),
    )


def every(shape: tuple[int, ...]) -> int:
    """Step of the even grid that stands for a map of more than `ENOUGH` pixels; 1 up to that."""
    return max(1, math.ceil(math.sqrt(shape[0] * shape[1] / ENOUGH)))


def reach(sigma: float) -> int:
    """How many pixels away a gaussian of that standard deviation looks."""
    return int(_TRUNCATE * sigma + 0.5)


def smoothed(values: NDArray[np.float32], sigma: float, box: Box) -> NDArray[np.float32]:
    """A box of the gaussian of a map (H, W), as if the whole of it had been smoothed."""
    wide = grown(box, reach(sigma), (values.shape[0], values.shape[1]))
    part = ndi.gaussian_filter(values[window(wide)], sigma, truncate=_TRUNCATE)
    return np.asarray(part[window(box, wide)])


def distance(mask: NDArray[np.bool_], box: Box) -> NDArray[np.float32]:
    """A box of the Euclidean distance of a mask's pixels to its nearest background.

    It is looked for within 8 Mpx at most: what is deeper inside counts as that deep.
    """
    shape = (mask.shape[0], mask.shape[1])
    margin = _MARGIN
    while True:
        wide = grown(box, margin, shape)
        seen = mask[window(wide)]
        last = wide == (0, 0, *shape) or seen.size > 2 * ENOUGH
        if last or not seen.all():
            found = ndi.distance_transform_edt(seen)[window(box, wide)]
            # Background that was not looked at is farther away than the margin.
            if last or found.max(initial=0) <= margin + 1:
                if wide != (0, 0, *shape):
                    found = np.minimum(found, margin + 1)
                return np.asarray(found, np.float32)
        margin *= 4

"""Masks of nuclei: morphology by disks, and components of any size in one labelling."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from .regions import strips

#: Pixels that touch at a corner belong together.
EIGHT = np.ones((3, 3), bool)


def open_close(mask: NDArray[np.bool_], opening: int, closing: int) -> NDArray[np.bool_]:
    """Open and then close a mask by disks of these radii.

    For the opening the mask goes on beyond its border as in a mirror: what is cut there is not
    rounded off, and a sliver along the border, twice as wide then, is still one.
    """
    if opening > 0:
        beyond = 2 * opening
        outside = ~np.pad(mask, beyond, mode="symmetric")
        opened = _dilated(~_dilated(outside, opening), opening)
        mask = opened[beyond:-beyond, beyond:-beyond]
    if closing > 0:
        dilated = _dilated(np.pad(mask, closing), closing)
        mask = ~_dilated(~dilated, closing)[closing:-closing, closing:-closing]
    return mask


def _dilated(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Dilation by skimage's `disk`, row by row of the disk: each is a run along the rows.

    What scipy does for any footprint takes time with its area, which matters for large nuclei.
    """
    height = len(mask)
    out = np.zeros_like(mask)
    run, half = mask.copy(), 0
    for away in range(radius, -1, -1):
        while half < math.isqrt(radius**2 - away**2):
            half += 1
            run[:, half:] |= mask[:, :-half]
            run[:, :-half] |= mask[:, half:]
        out[away:] |= run[: max(0, height - away)]
        out[: max(0, height - away)] |= run[away:]
    return out


def fill_holes(mask: NDArray[np.bool_], buffer: NDArray[np.int32]) -> None:
    """Fill in place what does not reach the map's border; the buffer is overwritten."""
    count = ndi.label(~mask, output=buffer)
    hole = np.ones(count + 1, bool)
    hole[0] = False
    for edge in (buffer[0], buffer[-1], buffer[:, 0], buffer[:, -1]):
        hole[edge] = False
    if hole.any():
        for rows in strips((mask.shape[0], mask.shape[1])):
            mask[rows] |= hole[buffer[rows]]


def drop_small(
    mask: NDArray[np.bool_], area: float, buffer: NDArray[np.int32], *, at_border: float
) -> None:
    """Drop in place what is `too_small`; the buffer is overwritten."""
    if area <= 1:
        return
    small = too_small(buffer, ndi.label(mask, output=buffer), area, at_border=at_border)
    small[0] = False
    if small.any():
        for rows in strips((mask.shape[0], mask.shape[1])):
            mask[rows] &= ~small[buffer[rows]]


def too_small(
    labels: NDArray[np.int32], largest: int, area: float, *, at_border: float
) -> NDArray[np.bool_]:
    """For every label from 0 to the largest, whether it is smaller than an area in square pixels.

    ``at_border`` is the area asked of those that reach the border of the labels (H, W).
    """
    least = np.full(largest + 1, area, float)
    for edge in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        least[edge] = at_border
    return sizes(labels, largest) < least


def sizes(labels: NDArray[np.int32], largest: int) -> NDArray[np.int64]:
    """Pixels of every label from 0 to the largest."""
    total = np.zeros(largest + 1, np.int64)
    for rows in strips((labels.shape[0], labels.shape[1])):
        total += np.bincount(labels[rows].ravel(), minlength=largest + 1)
    return total

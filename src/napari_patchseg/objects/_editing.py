"""Corrections of objects, each as the pixels that it changes; all others stay as they are."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.draw import line
from skimage.filters import threshold_otsu
from skimage.segmentation import watershed

from napari_patchseg.corrections import Add, Delete, Edit, Merge, Pixels, Split
from napari_patchseg.geometry import Box, grown, window
from napari_patchseg.report import Labels


class Change(NamedTuple):
    """New values of some pixels: `labels[rows, columns] = values`."""

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    values: NDArray[np.int64]


def apply_edits(labels: NDArray[np.integer], edits: Iterable[Edit], smallest: float) -> Labels:
    """Labels with corrections, one after the other.

    Parameters
    ----------
    labels : ndarray
        (H, W), 0 is background; stays as it is.
    edits : iterable of Edit
        In the order in which they were made. One that no longer finds what it is about does
        nothing.
    smallest : float
        Square pixels that each piece of a split must have.

    Returns
    -------
    ndarray
        (H, W) uint16, or uint32 for numbers above 65,535.
    """
    edited: NDArray[Any] = labels.astype(np.int64)
    for edit in edits:
        if (change := change_of(edited, edit, smallest)) is not None:
            edited[change.rows, change.columns] = change.values
    if edited.max(initial=0) < 2**16:
        return edited.astype(np.uint16)
    return edited.astype(np.uint32)


def change_of(labels: NDArray[np.integer], edit: Edit, smallest: float) -> Change | None:
    """What a correction changes in labels (H, W); None where it finds nothing to change.

    Only the surroundings of the objects concerned are looked at, whatever the size of the image,
    but for a new object's number, which is above all others.
    """
    height, width = labels.shape
    pixels = pixels_under(edit, (height, width))
    if not len(pixels[0]):
        return None
    match edit:
        case Delete():
            return _delete(labels, pixels)
        case Add():
            return _add(labels, pixels)
        case Merge():
            return _merge(labels, pixels)
        case Split():
            return _split(labels, pixels, smallest)


def pixels_under(edit: Edit, shape: tuple[int, int]) -> Pixels:
    """Rows and columns in an image (H, W) that an edit is about; of a stroke from first to last."""
    if isinstance(edit, Delete | Add):
        return edit.pixels(shape)
    parts = [line(*a, *b) for a, b in pairwise(edit.path)]
    rows, columns = (np.concatenate(axis) for axis in zip(*parts, strict=True))
    inside = (rows < shape[0]) & (columns < shape[1])
    return rows[inside], columns[inside]


def pixels_of(labels: NDArray[np.integer], point: tuple[int, int]) -> Pixels | None:
    """Rows and columns of the object at a pixel (row, column); None on background."""
    number = labels[point]
    if number <= 0:
        return None
    row, column = point
    box = _extent(labels, np.array([number]), (row, column, row + 1, column + 1))
    rows, columns = np.nonzero(labels[window(box)] == number)
    return rows + box[0], columns + box[1]


def grow(
    confidence: NDArray[np.float32],
    labels: NDArray[np.integer],
    point: tuple[int, int],
    diameter: float,
) -> Pixels | None:
    """The nucleus around a pixel, from the map: what is above its surroundings' Otsu threshold.

    Where the map shows none there, it is a disk of the expected diameter.

    Parameters
    ----------
    confidence : ndarray
        (H, W) float32, that a pixel is nucleus.
    labels : ndarray
        (H, W); other objects are left as they are.
    point : (int, int)
        Row and column inside the nucleus.
    diameter : float
        Expected nucleus diameter in pixels; nothing farther away than that is taken.

    Returns
    -------
    tuple of ndarray or None
        Rows and columns; None where the pixel belongs to another object.
    """
    if labels[point] > 0:
        return None
    row, column = point
    height, width = labels.shape
    box = grown((row, column, row + 1, column + 1), max(1, round(diameter)), (height, width))
    around, free = confidence[window(box)], labels[window(box)] <= 0
    rows, columns = np.ogrid[box[0] : box[2], box[1] : box[3]]
    distance = np.hypot(rows - row, columns - column)
    centre = (row - box[0], column - box[1])
    nuclear = np.zeros(around.shape, bool)
    if np.ptp(around) > 0:
        nuclear = (around > threshold_otsu(around)) & (distance <= diameter)
    if not nuclear[centre]:
        nuclear = distance <= diameter / 2
    pieces, _ = ndi.label(nuclear & free)
    own = ndi.binary_fill_holes(pieces == pieces[centre]) & free
    found_rows, found_columns = np.nonzero(own)
    return found_rows + box[0], found_columns + box[1]


def _delete(labels: NDArray[np.integer], pixels: Pixels) -> Change | None:
    gone = _same(labels, pixels)
    if not len(gone):
        return None
    box = _extent(labels, gone, _box(pixels))
    rows, columns = np.nonzero(np.isin(labels[window(box)], gone))
    return Change(rows + box[0], columns + box[1], np.zeros(len(rows), np.int64))


def _add(labels: NDArray[np.integer], pixels: Pixels) -> Change | None:
    if len(_same(labels, pixels)):
        return None  # it is there
    free = labels[pixels] <= 0
    rows, columns = pixels[0][free], pixels[1][free]
    if not len(rows):
        return None
    return Change(rows, columns, np.full(len(rows), _highest(labels) + 1))


def _merge(labels: NDArray[np.integer], pixels: Pixels) -> Change | None:
    under = labels[pixels]
    hit = np.flatnonzero(under > 0)
    numbers = np.unique(under[hit])
    if len(numbers) < 2:
        return None
    first = under[hit[0]]
    box = _extent(labels, numbers, _box(pixels))
    within = np.isin(labels[window(box)], numbers)
    bridge = slice(hit[0], hit[-1] + 1)  # what lies between them becomes nucleus too
    within[pixels[0][bridge] - box[0], pixels[1][bridge] - box[1]] = True
    rows, columns = np.nonzero(within & (labels[window(box)] != first))
    return Change(rows + box[0], columns + box[1], np.full(len(rows), int(first)))


def _split(labels: NDArray[np.integer], pixels: Pixels, smallest: float) -> Change | None:
    parts: list[Change] = []
    highest = _highest(labels)
    for number in np.unique(labels[pixels][labels[pixels] > 0]):
        box = _extent(labels, np.array([number]), _box(pixels))
        own = labels[window(box)] == number
        cut = own.copy()
        cut[pixels[0] - box[0], pixels[1] - box[1]] = False
        pieces, count = ndi.label(cut)  # by edges: a diagonal line separates
        areas = np.bincount(pieces.ravel(), minlength=count + 1)
        large = [k for k in range(1, count + 1) if areas[k] >= smallest]
        if len(large) < 2:
            continue
        pieces[~np.isin(pieces, large)] = 0
        shares = watershed(np.zeros(own.shape, np.uint8), pieces, mask=own)
        largest = max(large, key=lambda k: areas[k])
        for piece in large:
            if piece != largest:
                highest += 1
                rows, columns = np.nonzero(shares == piece)
                values = np.full(len(rows), highest)
                parts.append(Change(rows + box[0], columns + box[1], values))
    return Change(*map(np.concatenate, zip(*parts, strict=True))) if parts else None


def _same(labels: NDArray[np.integer], pixels: Pixels) -> NDArray[np.integer]:
    """Numbers of the objects that share more than half of the smaller with these pixels."""
    under = labels[pixels]
    numbers: NDArray[np.integer]
    numbers, shared = np.unique(under[under > 0], return_counts=True)
    if not len(numbers):
        return numbers
    box = _extent(labels, numbers, _box(pixels))
    around = labels[window(box)]
    areas = np.array([np.count_nonzero(around == number) for number in numbers])
    same: NDArray[np.integer] = numbers[2 * shared > np.minimum(areas, len(under))]
    return same


def _box(pixels: Pixels) -> Box:
    rows, columns = pixels
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1


def _extent(labels: NDArray[np.integer], numbers: NDArray[np.integer], box: Box) -> Box:
    """A box around this one that holds these objects whole, as far as they hang together."""
    height, width = labels.shape
    while True:
        around = np.isin(labels[window(box)], numbers)
        edges = (around[0].any(), around[:, 0].any(), around[-1].any(), around[:, -1].any())
        larger = grown(box, max(box[2] - box[0], box[3] - box[1]), (height, width))
        wider = tuple(
            large if touched else own
            for touched, large, own in zip(edges, larger, box, strict=True)
        )
        if wider == box:
            return box
        box = (wider[0], wider[1], wider[2], wider[3])


def _highest(labels: NDArray[np.integer]) -> int:
    return int(labels.max(initial=0))

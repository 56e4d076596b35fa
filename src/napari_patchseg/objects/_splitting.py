"""A watershed by tiles: pieces that climb to one peak, joined where no valley parts them.

Which way a pixel climbs depends on its eight neighbours alone, so tiles need no more than a frame
of one pixel around them. A piece that a tile's border cuts off from its peak is parted from the
rest of its basin by no valley at all, and joined to it like any other low peak. The result is that
of `skimage.segmentation.watershed` from the markers of `skimage.morphology.h_maxima`, neither of
which can be had tile by tile: both look as far as a component reaches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_patchseg.geometry import Box

#: The rows and columns of a pixel and its neighbours beside its own, in reading order.
_AROUND = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)]


class Saddles(NamedTuple):
    """Where pieces touch: pairs of pixels, of which the lower is a saddle.

    Attributes
    ----------
    pieces : ndarray
        (N, 2) int32, numbers of the two pieces.
    heights : ndarray
        (N, 2) float32, of the lower and the higher pixel.
    places : ndarray
        (N, 2) int64, indices of these in the flattened map. Of equal saddles that counts which a
        pixel would climb: to the highest neighbour, or the first in reading order.
    """

    pieces: NDArray[np.int32]
    heights: NDArray[np.float32]
    places: NDArray[np.int64]

    def of(self, which: NDArray[Any]) -> Saddles:
        """Some of them."""
        return Saddles(self.pieces[which], self.heights[which], self.places[which])

    def from_the_highest(self, *first_by: NDArray[Any]) -> Saddles:
        """Put into order; first by something else, where it is given."""
        keys: tuple[NDArray[Any], ...] = (*self.places.T, *-self.heights.T[::-1], *first_by)
        return self.of(np.lexsort(keys))


def pieces_of(height: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Divide a tile into pieces whose pixels climb, neighbour by neighbour, to one peak.

    Each pixel climbs to the highest of its eight neighbours, of equal ones to the first in reading
    order; what would leave the tile ends at its border.

    Parameters
    ----------
    height : ndarray
        (h + 2, w + 2) float32, the tile with a frame of one pixel; 0 outside of all objects.

    Returns
    -------
    pieces : ndarray
        (h, w) int32, numbered from 1 on; 0 outside.
    tops : ndarray
        (n,) float32, heights of their peaks.
    """
    values, width = height.ravel(), height.shape[1]
    inside = np.zeros(height.shape, bool)
    inside[1:-1, 1:-1] = height[1:-1, 1:-1] > 0
    at = np.flatnonzero(inside)
    above, best = at, np.zeros(len(at), np.float32)
    for row, column in _AROUND:
        beside = at + row * width + column
        higher = values[beside] > best
        above = np.where(higher, beside, above)
        best = np.where(higher, values[beside], best)
    above = np.where(inside.ravel()[above], above, at)
    peak = np.zeros(height.size, np.intp)
    while not np.array_equal(above, peak[at]):
        peak[at] = above
        above = peak[above]
    peaks, numbers = np.unique(above, return_inverse=True)
    pieces = np.zeros(height.shape, np.int32)
    pieces[inside] = numbers + 1
    return pieces[1:-1, 1:-1], values[peaks]


def saddles_of(
    pieces: NDArray[np.int32], height: NDArray[np.float32], box: Box, width: int
) -> Saddles:
    """The highest saddle between any two pieces of a tile that touch, those in its frame included.

    Parameters
    ----------
    pieces, height : ndarray
        (h + 2, w + 2) int32 and float32, the tile with a frame of one pixel; 0 outside of all
        objects.
    box : Box
        The tile, in a map of so many columns.
    width : int
        Columns of the map.
    """
    numbers, values, across = pieces.ravel(), height.ravel(), height.shape[1]
    inside = np.zeros(height.shape, bool)
    inside[1:-1, 1:-1] = pieces[1:-1, 1:-1] > 0
    at = np.flatnonzero(inside)
    found = []
    for row, column in _AROUND:
        beside = at + row * across + column
        touch = (numbers[beside] > 0) & (numbers[beside] != numbers[at])
        found.append(np.stack([at[touch], beside[touch]]))
    one, other = np.concatenate(found, 1)
    climbs = (values[one] < values[other]) | ((values[one] == values[other]) & (other < one))
    pairs = np.where(climbs, (one, other), (other, one)).T  # the lower, the higher
    rows, columns = np.divmod(pairs, across)
    saddles = Saddles(
        np.sort(numbers[pairs]),
        values[pairs],
        (rows + box[0] - 1) * width + columns + box[1] - 1,
    )
    saddles = saddles.from_the_highest(*saddles.pieces.T)
    is_first = np.ones(len(one), bool)
    is_first[1:] = (saddles.pieces[1:] != saddles.pieces[:-1]).any(1)
    return saddles.of(is_first)


def join(tops: NDArray[np.float32], saddles: Sequence[Saddles], depth: float) -> NDArray[np.int32]:
    """Join pieces to regions whose peaks stand out from each other.

    Parameters
    ----------
    tops : ndarray
        (n,) float32, heights of the pieces' peaks.
    saddles : sequence of Saddles
        Of every tile, with all the map's pieces numbered from 0 on.
    depth : float
        A peak that rises less than this above the saddle to a higher one is none of its own.

    Returns
    -------
    ndarray
        (n,) int32, every piece's region, from 0 on.
    """
    ordered = Saddles(
        *(np.concatenate(column) for column in zip(*saddles, strict=True))
    ).from_the_highest()
    top, parent = tops.tolist(), list(range(len(tops)))

    def land(piece: int) -> int:
        """The land that rises above the sea as it falls, named after its highest piece."""
        while parent[piece] != piece:
            parent[piece] = piece = parent[parent[piece]]
        return piece

    joined = []
    for pair, saddle in zip(ordered.pieces.tolist(), ordered.heights[:, 0].tolist(), strict=True):
        low, high = sorted((land(pair[0]), land(pair[1])), key=top.__getitem__)
        if low != high:
            if top[low] - saddle < depth:  # then all of that land is one region
                joined.append(pair)
            parent[low] = high
    first, second = np.array(joined, np.int32).reshape(-1, 2).T
    graph = coo_array((np.ones(len(first), bool), (first, second)), (len(tops), len(tops)))
    regions: NDArray[np.int32] = connected_components(graph, directed=False)[1]
    return regions

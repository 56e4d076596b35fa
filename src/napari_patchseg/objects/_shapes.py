"""Shapes of all objects of a label image at once, from its runs, equal to scikit-image's.

A run is what an object has in one row without a gap. There are some twelve times fewer of them than
pixels, and sums over a run's pixels are known without going through them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# What a pixel of the outline adds to the perimeter, by its neighbours in the outline: 1 for 2 or 3
# beside it, the diagonal for two at its corners or three and one beside, half of both where the
# outline turns from one to the other. Benkrid and Crookes' table, as `skimage.measure.perimeter`
# has it, which writes these neighbours as 1 + 2 (beside) + 10 (at corners).
_STRAIGHT = {5: 1, 7: 1, 15: 1, 17: 1, 25: 1, 27: 1, 13: 0.5, 23: 0.5}
_DIAGONAL = {21: 1, 33: 1, 13: 0.5, 23: 0.5}
#: Objects whose hulls are found at once.
_AT_A_TIME = 10_000
#: How the table below counts neighbours: by their place, and what each is worth in its index.
_PLACES = [(-1, 0, 1), (1, 0, 1), (0, -1, 3), (0, 1, 3)]
_PLACES += [(y, x, 9) for y in (-1, 1) for x in (-1, 1)]


def _steps() -> Floats:
    """(3, 45): steps down, across and diagonally that a pixel of the outline adds.

    Where pixels are not square, straight steps are shared out between down and across as the
    neighbours beside are.
    """
    index = np.arange(45)
    down, across, corners = index % 3, index // 3 % 3, index // 9
    codes = (1 + 2 * (down + across) + 10 * corners).tolist()
    straight, diagonal = (
        [worth.get(code, 0) for code in codes] for worth in (_STRAIGHT, _DIAGONAL)
    )
    beside = np.maximum(down + across, 1)
    return np.stack([straight * down / beside, straight * across / beside, diagonal])


_STEPS = _steps()


@dataclass(frozen=True)
class Runs:
    """Runs of all objects, in the order in which one reads.

    Attributes
    ----------
    number : ndarray
        (n,) the object's label.
    row, start, length : ndarray
        (n,) int64.
    steps : ndarray
        (3, n), what the run adds to the outline's steps down, across and diagonally.
    """

    number: NDArray[np.integer]
    row: Ints
    start: Ints
    length: Ints
    steps: Floats

    @classmethod
    def within(cls, labels: NDArray[np.integer], rows: slice) -> Runs:
        """Those in some rows of a label image (H, W), of which 0 is background."""
        part = labels[rows]
        begins = np.ones(part.shape, bool)
        np.not_equal(part[:, 1:], part[:, :-1], out=begins[:, 1:])
        at = np.flatnonzero(begins)
        length = np.diff(at, append=part.size)
        number = part[begins]
        objects = np.flatnonzero(number)
        codes = _outline(labels, rows)[part != 0]
        at, length, number = at[objects], length[objects], number[objects]
        first = np.cumsum(length) - length
        steps = np.stack([sums(way[codes], first) for way in _STEPS])
        return cls(number, at // part.shape[1] + rows.start, at % part.shape[1], length, steps)

    @classmethod
    def joined(cls, parts: Sequence[Runs]) -> Runs:
        """Those of several parts, one below the other."""
        names = [one.name for one in fields(cls)]
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in names)
        )


def sums(values: NDArray[Any], first: Ints) -> Floats:
    """Sums over runs of what their pixels have, (..., n), where each run's begin at `first`."""
    if not len(first):
        return np.zeros((*values.shape[:-1], 0))
    return np.asarray(np.add.reduceat(values, first, axis=-1, dtype=np.float64))


def _outline(labels: NDArray[np.integer], rows: slice) -> NDArray[np.uint8]:
    """Index into `_STEPS` of each pixel of some rows; 0 where it is not of an outline."""
    around = slice(max(rows.start - 2, 0), min(rows.stop + 2, len(labels)))
    missing = (2 - (rows.start - around.start), 2 - (around.stop - rows.stop))
    part = np.pad(labels[around], (missing, (2, 2)))
    outline = part[1:-1, 1:-1].copy()
    inside = np.ones(outline.shape, bool)
    for y, x, _ in _PLACES[:4]:
        inside &= _moved(part, y, x) == outline
    outline[inside] = 0
    centre = outline[1:-1, 1:-1]
    index = np.zeros(centre.shape, np.uint8)
    for y, x, worth in _PLACES:
        index += (_moved(outline, y, x) == centre).view(np.uint8) * np.uint8(worth)
    index[centre == 0] = 0
    return index


def _moved(array: NDArray[np.integer], y: int, x: int) -> NDArray[np.integer]:
    """Neighbours at (y, x) of all pixels but those at the array's border."""
    height, width = array.shape
    return array[1 + y : height - 1 + y, 1 + x : width - 1 + x]


def convex_areas(owner: Ints, runs: Runs, count: int) -> Iterator[tuple[slice, Ints]]:
    """Pixels within the convex hull of each of ``count`` objects.

    As `skimage.morphology.convex_hull_image` counts them: the hull is that of the middles of the
    pixels' four sides, and pixels whose centres are in it or on its border count.

    Parameters
    ----------
    owner : ndarray
        (n,) object of each run, from 0.
    runs : Runs
        All of them.
    count : int
        How many objects there are.

    Yields
    ------
    some : slice
        The next objects.
    areas : ndarray
        Theirs.
    """
    order = np.argsort(owner, kind="stable")  # rows stay in order, and runs in a row
    owner, row, start = owner[order], runs.row[order], runs.start[order]
    end = start + runs.length[order] - 1
    for low in range(0, count, _AT_A_TIME):
        high = min(low + _AT_A_TIME, count)
        some = slice(*np.searchsorted(owner, [low, high]))
        areas = _convex_areas(owner[some] - low, row[some], start[some], end[some], high - low)
        yield slice(low, high), areas


def _convex_areas(owner: Ints, row: Ints, start: Ints, end: Ints, count: int) -> Ints:
    first = np.flatnonzero(_differs(owner) | _differs(row))
    last = np.append(first[1:], len(owner)) - 1
    # The left sides, and the right ones in a mirror. Coordinates are doubled: all are whole.
    side = np.repeat(np.concatenate([owner[first], owner[first] + count]), 3)
    y = (2 * np.tile(row[first], 2)[:, None] + np.array([-1, 0, 1])).ravel()
    x = (2 * np.concatenate([start[first], -end[last]])[:, None] + np.array([0, -1, 0])).ravel()
    twice = np.flatnonzero(~(_differs(side) | _differs(y)))  # between two rows: the further left
    x[twice] = np.minimum(x[twice], x[twice - 1])
    side, y, x = _hulls(*(np.delete(values, twice - 1) for values in (side, y, x)))
    # From each corner to the next: in which column the side is, in every row.
    corner = np.flatnonzero(side[1:] == side[:-1])
    top, bottom = (y[corner] + 1) // 2, (y[corner + 1] + 1) // 2
    rows = bottom - top
    a = np.repeat(corner, rows)
    b = a + 1
    at = np.arange(len(a)) - np.repeat(np.cumsum(rows) - rows - top, rows)
    tall = y[b] - y[a]
    column = -(
        -(x[a] * tall + (x[b] - x[a]) * (2 * at - y[a])) // (2 * tall)
    )  # rounded up, exactly
    # From the left side to the right one, both included; the right one's columns are mirrored.
    areas = np.bincount(side[a] % count, 0.5 - column, minlength=count)
    return np.asarray(np.rint(areas), np.int64)


def _differs(values: Ints) -> NDArray[np.bool_]:
    """From the one before; the first does."""
    differs = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=differs[1:])
    return differs


def _hulls(side: Ints, y: Ints, x: Ints) -> tuple[Ints, Ints, Ints]:
    """The corners of the convex hulls' left sides, of points ordered by side and y.

    A point right of the line between its neighbours, or on it, is no corner: such points go, all
    at once, until there are none.
    """
    done = []
    while len(side):
        middle = (side[:-2] == side[1:-1]) & (side[1:-1] == side[2:])
        up, across = y[1:-1] - y[:-2], x[1:-1] - x[:-2]
        right = across * (y[2:] - y[:-2]) >= up * (x[2:] - x[:-2])
        gone = np.zeros(len(side), bool)
        gone[1:-1] = middle & right
        changed = np.zeros(int(side[-1]) + 1, bool)
        changed[side[gone]] = True
        again = changed[side]
        done.append([values[~again] for values in (side, y, x)])
        again &= ~gone
        side, y, x = side[again], y[again], x[again]
    side, y, x = (np.concatenate(values) for values in zip(*done, strict=True))
    order = np.argsort(side, kind="stable")
    return side[order], y[order], x[order]

"""Objects as polygons along pixel edges, and polygons as objects; both exact.

A point is (x, y) in pixels; (0, 0) is the upper left corner of the first pixel, whose centre is
(0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count
from operator import index
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.errors import FileError

#: (n, 2) points; the last one is followed by the first, which is not repeated.
Ring = NDArray[Any]
#: The outer ring and those of the holes.
Polygon = list[Ring]

_Ints = NDArray[np.int64]

#: No image reaches so far, and coordinates are no longer exact.
FARTHEST = 2.0**31

#: Most pixels of a frame that a file asks for for itself: 4 GB as uint16.
_MOST_PIXELS = 2**31
#: Most crossings of outlines with rows, and pixels, that are worked on at once; and the most
#: crossings that an object may have.
_BATCH, _MOST_CROSSINGS = 2**22, 2**27


def outlines(
    labels: NDArray[Any], origin: tuple[int, int] = (0, 0)
) -> Iterator[tuple[int, list[Polygon]]]:
    """Trace the objects of a label image along the edges of their pixels.

    A polygon is a piece of an object whose pixels touch by edges, and valid as the Simple Features
    standard has it: pieces and holes touch at corners only, and no ring touches itself. Outer rings
    go counter-clockwise where y points up, those of holes clockwise, as RFC 7946 wants it.

    Parameters
    ----------
    labels : ndarray
        (H, W) of integers, 0 is background.
    origin : (int, int)
        Row and column of its first pixel in the image.

    Yields
    ------
    label : int
        In ascending order.
    polygons : list of list of ndarray
        (n, 2) int64 rings, without points on straight edges.
    """
    padded = np.pad(labels, 1)
    flat, width = padded.ravel(), padded.shape[1]
    # A run is a straight stretch of an object's outline with the object at its left (y up): above a
    # pixel's upper edge, 0, it goes right, then 1 down at the right edge, 2 left and 3 up.
    ahead = np.array([1, width, -1, -width])
    beyond = np.array([-width, 1, width, -1])  # the neighbour that the edge parts from the pixel
    runs = _runs(padded, width)
    offset = np.cumsum([0, *(len(first) for first, _ in runs)])
    first = np.concatenate([first for first, _ in runs])  # pixel where a run starts
    last = np.concatenate([last for _, last in runs])
    kind = np.repeat(np.arange(4), np.diff(offset))
    if not len(kind):
        return

    def find(kinds: _Ints, pixels: _Ints, ends: int) -> _Ints:
        """Runs of a kind that start (or end) at pixels."""
        found = np.empty(len(kinds), np.int64)
        for k in range(4):
            keys = _in_order_of(k, runs[k][ends], width, len(flat))
            chosen = kinds == k
            wanted = _in_order_of(k, pixels[chosen], width, len(flat))
            found[chosen] = offset[k] + np.searchsorted(keys, wanted)
        return found

    left = last + ahead[kind]
    right = left + beyond[kind]
    own = flat[last]
    turns_left = flat[left] != own  # at a corner where pixels touch, it stays with its own
    follower = find((kind + np.where(turns_left, 1, -1)) % 4, np.where(turns_left, last, right), 0)
    # An outline that passes a corner twice is parted there into two that pass it once. Every such
    # corner can be seen to by itself: an outline touches itself, but never crosses.
    touching = np.flatnonzero(turns_left & (flat[right] == own) & (kind < 2))
    other = find(kind[touching] + 2, right[touching], 1)
    cycle = _cycles(follower)
    same = cycle[touching] == cycle[other]
    touching, other = touching[same], other[same]
    follower[touching], follower[other] = follower[other], follower[touching]

    order, starts = _chain(follower)
    row, column = np.divmod(first - width - 1, width)
    x = (column + ((kind == 1) | (kind == 2)))[order]
    y = (row + (kind >= 2))[order]
    points = np.stack([x, y], axis=1) + origin[::-1]
    ends = np.append(starts[1:], len(order))
    steps = np.arange(1, len(order) + 1)
    steps[ends - 1] = starts  # a ring's last point is followed by its first
    outer = np.add.reduceat(x * y[steps] - y * x[steps], starts) > 0
    pixel = first[order[starts]]
    label = flat[pixel].astype(np.int64)
    piece = _pieces(padded, label, outer, pixel)
    sequence = np.lexsort((~outer, piece, label))
    polygons: list[Polygon] = []
    for this, following in zip(sequence, [*sequence[1:], None], strict=True):
        ring = points[starts[this] : ends[this]]
        if outer[this]:
            polygons.append([ring])
        else:
            polygons[-1].append(ring)
        if following is None or label[following] != label[this]:
            yield int(label[this]), polygons
            polygons = []


def _runs(padded: NDArray[Any], width: int) -> list[tuple[_Ints, _Ints]]:
    """First and last pixel of every run, by kind; the i-th first belongs to the i-th last."""
    found = []
    for kind in range(4):
        image = padded if kind % 2 == 0 else padded.T  # runs lie in rows
        beside = -1 if kind in (0, 3) else 1
        length = image.shape[1] - 1
        rows = max(1, _BATCH // length)
        begins, ends = [], []
        for top in range(1, image.shape[0] - 1, rows):
            stop = min(top + rows, image.shape[0] - 1)
            part = image[top:stop]
            edge = np.where(part == image[top + beside : stop + beside], 0, part)
            steps = edge[:, 1:] != edge[:, :-1]
            begins.append(np.flatnonzero(steps & (edge[:, 1:] != 0)) + top * length)
            ends.append(np.flatnonzero(steps & (edge[:, :-1] != 0)) + top * length)
        pixels = []
        for places, after in ((begins, 1), (ends, 0)):
            row, column = np.divmod(np.concatenate(places), length)
            column += after
            pixels.append(row * width + column if kind % 2 == 0 else column * width + row)
        if kind in (2, 3):  # these go against the order of pixels
            pixels.reverse()
        found.append((pixels[0], pixels[1]))
    return found


def _in_order_of(kind: int, pixels: _Ints, width: int, size: int) -> _Ints:
    """Numbers of pixels in the order in which runs of a kind were found."""
    return pixels if kind % 2 == 0 else pixels % width * (size // width) + pixels // width


def _cycles(follower: _Ints) -> _Ints:
    """A number for every element: that of the cycle that it is in."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    size = len(follower)
    graph = csr_array((np.ones(size, bool), follower, np.arange(size + 1)), shape=(size, size))
    return connected_components(graph, directed=False)[1]


def _chain(follower: _Ints) -> tuple[_Ints, _Ints]:
    """Elements cycle by cycle, and where in that order each cycle starts."""
    following: list[int] = follower.tolist()
    seen = bytearray(len(following))
    order: list[int] = []
    starts = []
    for start in range(len(following)):
        if seen[start]:
            continue
        starts.append(len(order))
        at = start
        while not seen[at]:
            seen[at] = 1
            order.append(at)
            at = following[at]
    return np.array(order), np.array(starts)


def _pieces(padded: NDArray[Any], label: _Ints, outer: NDArray[Any], pixel: _Ints) -> _Ints:
    """A number for every ring, equal within a piece of an object."""
    from skimage.measure import label as connected

    several = np.unique(label[outer], return_counts=True)
    in_pieces = several[0][several[1] > 1]
    unsure = np.isin(label[~outer], in_pieces)
    if not unsure.any():  # outer rings come in their order, and each hole has but one it can be in
        piece = np.zeros(len(label), np.int64)
        alone = np.isin(label, in_pieces)
        piece[alone] = np.arange(alone.sum())
        return piece
    return connected(padded, background=0, connectivity=1).ravel()[pixel]


class Shape(NamedTuple):
    """An object as a file tells it.

    Attributes
    ----------
    label : int or None
        Its number, if the file gives one above 0.
    rings : list of ndarray
        (n, 2) points (x, y); inside is what an odd number of rings surrounds.
    """

    label: int | None
    rings: Sequence[Ring]


def number_in(text: object) -> int | None:
    """The label that a text is; None where it is no whole number above 0."""
    digits = str(text)
    good = digits.isascii() and digits.isdigit() and len(digits) <= 10 and int(digits) > 0
    return int(digits) if good else None


def numbered(shapes: Sequence[Shape]) -> list[int]:
    """Labels of objects: those of the file where they are unique, else new ones above these."""
    numbers: list[int | None] = []
    taken: set[int] = set()
    for shape in shapes:
        known = shape.label
        good = known is not None and 0 < known < 2**32 and known not in taken
        numbers.append(known if good else None)
        if good and known is not None:
            taken.add(known)
    highest = max(taken, default=0)
    new = count(highest + 1 if highest + len(shapes) < 2**32 else 1)
    free = (number for number in new if number not in taken)
    return [next(free) if number is None else number for number in numbers]


def painted(
    shapes: Sequence[Shape],
    file: Path,
    *,
    frame: tuple[int, int] | None = None,
    told: tuple[int, int] | None = None,
    origin: tuple[int, int] = (0, 0),
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Paint objects into a label image: every pixel whose centre is inside.

    Parameters
    ----------
    shapes : sequence of Shape
        Later ones are painted over earlier ones.
    file : Path
        Where they come from, for the sentence of an error.
    frame, told : (int, int), optional
        Height and width that the caller and the file give, the first of them counts; else as far as
        the objects reach. What is outside is cut off.
    origin : (int, int)
        Row and column in the image of what becomes the labels' first pixel.

    Returns
    -------
    labels : ndarray
        (H, W) uint16, or uint32 where a label needs it.
    warnings : tuple of str
        A sentence where objects are lost.

    Raises
    ------
    FileError
        If the image would be too large to be meant.
    """
    if frame is not None:
        frame = _checked(frame)
    numbers = np.array(numbered(shapes), np.int64)
    corner = np.array(origin[::-1], np.float64)
    rings = [np.asarray(ring, np.float64) - corner for shape in shapes for ring in shape.rings]
    points = np.concatenate([*rings, np.empty((0, 2))])
    if frame is None:
        width, height = (max(1, math.ceil(size)) for size in points.max(axis=0, initial=0))
        height, width = frame = told or (height, width)
        if width * height > _MOST_PIXELS:
            raise FileError(
                f"Objects in {file} seem to reach to x = {width:,} and y = {height:,}, farther "
                "than an image does; give the image's shape."
            )
    try:
        labels = np.zeros(frame, np.uint16 if numbers.max(initial=0) < 2**16 else np.uint32)
    except (MemoryError, ValueError) as error:  # ValueError: numpy's word for far too large
        raise FileError(
            f"Labels of {frame[1]:,} x {frame[0]:,} px are too large for this computer's memory."
        ) from error
    lengths = np.array([len(ring) for ring in rings], np.int64)
    owner = np.repeat(np.arange(len(shapes)), [len(shape.rings) for shape in shapes])
    owner = np.repeat(owner, lengths)  # of every point, and of the edge from it to the next
    following = np.arange(1, len(points) + 1)
    ends = np.cumsum(lengths)
    following[ends - 1] = ends - lengths
    # A row is crossed at y = row + 0.5 if one end of an edge lies above that and the other not.
    row = np.ceil(np.clip(points[:, 1], 0, frame[0]) - 0.5).astype(np.int64)
    top, below = np.minimum(row, row[following]), np.maximum(row, row[following])
    crossings = np.bincount(owner, below - top, len(shapes)).astype(np.int64)
    if crossings.max(initial=0) > _MOST_CROSSINGS:
        raise FileError(f"An outline in {file} is too long to be that of an object.")
    batch = np.cumsum(crossings) // _BATCH
    first_objects = np.flatnonzero(np.diff(batch, prepend=-1, append=-1))
    painted_pixels = np.zeros(len(shapes), np.int64)
    for part in np.split(np.arange(len(points)), np.searchsorted(owner, first_objects)):
        painted_pixels += _paint(
            labels,
            points[part],
            points[following[part]],
            top[part],
            (below - top)[part],
            numbers,
            owner[part],
        )
    lost = len(shapes) - np.count_nonzero(painted_pixels)
    if not lost:
        return labels, ()
    return labels, (f"Objects that cover no pixel of the image were left out ({lost}).",)


def _checked(shape: Any) -> tuple[int, int]:
    try:
        height, width = (index(side) for side in shape)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise FileError(f"shape should be height and width of the image in px, not {shape!r}.")
    return height, width


def _paint(
    labels: NDArray[Any],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    top: _Ints,
    rows: _Ints,
    numbers: _Ints,
    owner: _Ints,
) -> _Ints:
    """Paint objects by their edges: at these, along a row's centre line, inside begins or ends.

    Returns how many pixels each object has got.
    """
    width = labels.shape[1]
    edge = np.repeat(np.arange(len(rows)), rows)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(rows) - rows, rows) + top[edge]
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    x = x0 + (row + 0.5 - y0) / (y1 - y0) * (x1 - x0)
    column = np.ceil(np.clip(x, 0, width) - 0.5).astype(np.int64)
    owner = owner[edge]
    order = np.lexsort((column, row, owner))
    row, column, owner = row[order][::2], column[order], owner[order][::2]
    begin, length = row * width + column[::2], column[1::2] - column[::2]
    borders = np.flatnonzero(np.diff(np.cumsum(length) // _BATCH)) + 1
    for part in np.split(np.arange(len(length)), borders):  # objects can be large
        many = length[part]
        place = np.repeat(begin[part] - (np.cumsum(many) - many), many)
        labels.ravel()[place + np.arange(len(place))] = np.repeat(numbers[owner[part]], many)
    return np.bincount(owner, length, len(numbers)).astype(np.int64)

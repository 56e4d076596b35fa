"""What a run shows, as plain arrays: the map on its canvas, the windows as rectangles.

Numpy only, so that the worker's thread can do it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.method.maps import ConfidenceMap, NucleusClass, SampledPatches
from napari_patchseg.method.source import Box

#: Windows shown at most, positive and negative together: a Shapes layer costs by the shape.
MOST_PATCHES = 60
#: A derived layer spans the whole image up to this many pixels, else the region alone.
LARGEST_CANVAS = 2**25
#: A reduced map is shown at full size up to this many pixels, else at its own, coarser grid.
LARGEST_UPSAMPLED = 2**24


@dataclass(frozen=True)
class Canvas:
    """The part of an image plane that derived layers span, and the region in it.

    Attributes
    ----------
    span : Box
        What the layers span, in pixels of the plane.
    region : Box
        What is segmented, in pixels of the plane.
    """

    span: Box
    region: Box

    @classmethod
    def of(cls, shape: tuple[int, int], region: Box) -> Canvas:
        """The whole plane where that is affordable, so that labels fit the image's file."""
        whole = shape[0] * shape[1] <= LARGEST_CANVAS
        return cls((0, 0, *shape) if whole else region, region)

    @property
    def origin(self) -> tuple[int, int]:
        """Row and column of the first pixel in the plane."""
        return self.span[0], self.span[1]

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) at full resolution."""
        return self.span[2] - self.span[0], self.span[3] - self.span[1]

    @property
    def offset(self) -> tuple[int, int]:
        """Row and column of the region in the canvas."""
        return self.region[0] - self.span[0], self.region[1] - self.span[1]

    def place(self, part: NDArray, row: int = 0, column: int = 0) -> NDArray:
        """Zeros of the canvas' shape with `part` (h, w) at a row and column of the region."""
        row, column = row + self.offset[0], column + self.offset[1]
        if part.shape == self.shape and (row, column) == (0, 0):
            return part
        whole = np.zeros(self.shape, part.dtype)
        whole[row : row + part.shape[0], column : column + part.shape[1]] = part
        return whole

    def place_within(self, labels: NDArray, around: NDArray) -> NDArray:
        """Labels (h, w) of the region in earlier labels of the canvas' shape.

        What is outside of the region stays as it is; labels whose number is taken there get others.
        """
        row, column = self.offset
        inside = np.s_[row : row + labels.shape[0], column : column + labels.shape[1]]
        outside = around.copy()
        outside[inside] = 0
        numbers, taken = np.unique(labels[labels > 0]), np.unique(outside)
        clash = np.intersect1d(numbers, taken)
        free = max(int(numbers.max(initial=0)), int(taken.max(initial=0))) + 1
        most = free + len(clash)
        whole = outside.astype(np.result_type(outside, np.min_scalar_type(most)))
        new_number = np.arange(int(numbers.max(initial=0)) + 1, dtype=whole.dtype)
        new_number[clash] = np.arange(free, free + len(clash))
        whole[inside] = new_number[labels]
        return whole


@dataclass(frozen=True)
class ShownMap:
    """A confidence map ready for its layer.

    Attributes
    ----------
    step : int
        The step whose weights made it.
    data : ndarray
        (h, w) float32 in [0, 1].
    origin : tuple of int
        Row and column in the plane of its first pixel.
    reduction : int
        Pixels of the plane per pixel of the map.
    nucleus : NucleusClass
        The class shown.
    """

    step: int
    data: NDArray[np.float32]
    origin: tuple[int, int]
    reduction: int
    nucleus: NucleusClass


def show_map(made: ConfidenceMap, canvas: Canvas, nucleus: NucleusClass | None = None) -> ShownMap:
    """A confidence map on the canvas; outside the map's box confidence is 0.

    Parameters
    ----------
    made : ConfidenceMap
        Its box in pixels of the region.
    canvas : Canvas
        Where it goes.
    nucleus : NucleusClass or None
        The user's choice of class; None: the map's own.
    """
    nucleus = nucleus or made.nucleus
    data = nucleus.of(made.data)
    row0, column0, row1, column1 = made.box
    if made.reduction > 1:
        if canvas.shape[0] * canvas.shape[1] > LARGEST_UPSAMPLED:
            origin = (canvas.region[0] + row0, canvas.region[1] + column0)
            return ShownMap(made.step, _ready(data), origin, made.reduction, nucleus)
        data = data.repeat(made.reduction, 0).repeat(made.reduction, 1)
        data = data[: row1 - row0, : column1 - column0]
    placed = canvas.place(_ready(data), row0, column0)
    return ShownMap(made.step, placed, canvas.origin, 1, nucleus)


def _ready(data: NDArray) -> NDArray[np.float32]:
    return np.ascontiguousarray(data, np.float32)


@dataclass(frozen=True)
class ShownPatches:
    """Windows of the shown class, positive or negative.

    Attributes
    ----------
    rectangles : ndarray
        (n, 4, 2) float64: corners in the plane's pixel coordinates, whose centres are integers.
    features : dict
        "step", "class" (from 1), "mean confidence" in nuclei, "mean entropy" in bits; (n,) each.
    """

    rectangles: NDArray[np.float64]
    features: dict[str, NDArray]


def show_patches(
    patches: SampledPatches, canvas: Canvas, nucleus: NucleusClass
) -> tuple[ShownPatches, ShownPatches]:
    """Positive and negative windows of the shown class, in terms of nuclei.

    Where low confidence is nuclei the two swap, and confidences are turned round.
    """
    shown = (patches.class_index == nucleus.index) & (patches.image_index == 0)
    is_nucleus = patches.positive != nucleus.inverted
    positive, negative = np.flatnonzero(shown & is_nucleus), np.flatnonzero(shown & ~is_nucleus)
    half = MOST_PATCHES // 2
    room = MOST_PATCHES - min(half, len(negative))
    positive = _evenly(positive, room)
    negative = _evenly(negative, MOST_PATCHES - len(positive))
    return (
        _windows(patches, positive, canvas, nucleus),
        _windows(patches, negative, canvas, nucleus),
    )


def _evenly(indices: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).round().astype(int)]


def _windows(
    patches: SampledPatches, chosen: NDArray[np.intp], canvas: Canvas, nucleus: NucleusClass
) -> ShownPatches:
    region = np.array(canvas.region[:2] * 2)
    # A pixel reaches half a unit to either side of its coordinate.
    row0, column0, row1, column1 = (patches.boxes[chosen] + region).T - 0.5
    rectangles = np.stack(
        [
            np.stack([row0, column0], -1),
            np.stack([row0, column1], -1),
            np.stack([row1, column1], -1),
            np.stack([row1, column0], -1),
        ],
        axis=1,
    )
    confidence = patches.confidence[chosen]
    return ShownPatches(
        rectangles,
        {
            "step": np.full(len(chosen), patches.step),
            "class": np.full(len(chosen), nucleus.index),
            "mean confidence": (1 - confidence if nucleus.inverted else confidence).round(4),
            "mean entropy": patches.entropy[chosen].round(4),
        },
    )

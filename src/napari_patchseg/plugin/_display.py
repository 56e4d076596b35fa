"""What a run shows, as plain arrays: the map on its canvas, the patches as rectangles.

Numpy only, so that the worker's thread can do it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.geometry import Box
from napari_patchseg.method.maps import ConfidenceMap, NucleusClass, SampledPatches

#: Patches shown at most, positive and negative together: a Shapes layer costs by the shape.
MOST_PATCHES = 60
#: A derived layer spans the whole image up to this many pixels, else the region alone.
LARGEST_CANVAS = 2**25


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
    def inside(self) -> tuple[slice, slice]:
        """The region in an array of the canvas' shape."""
        row0, column0, row1, column1 = self.region
        top, left = self.origin
        return slice(row0 - top, row1 - top), slice(column0 - left, column1 - left)

    def origin_of(self, confidence: ConfidenceMap) -> tuple[int, int]:
        """Row and column in the plane of the first pixel of a map as it is shown."""
        if confidence.reduction == 1:
            return self.origin
        return self.region[0] + confidence.box[0], self.region[1] + confidence.box[1]

    def place(self, part: NDArray, row: int = 0, column: int = 0) -> NDArray:
        """Zeros of the canvas' shape with `part` (h, w) at a row and column of the region."""
        if part.shape == self.shape:
            return part
        whole = np.zeros(self.shape, part.dtype)
        rows, columns = self.inside
        whole[rows, columns][row : row + part.shape[0], column : column + part.shape[1]] = part
        return whole

    def place_within(self, labels: NDArray, around: NDArray) -> NDArray:
        """Labels (h, w) of the region in earlier labels of the canvas' shape.

        What is outside of the region stays as it is; labels whose number is taken there get others.
        """
        outside = around.copy()
        outside[self.inside] = 0
        numbers, taken = np.unique(labels[labels > 0]), np.unique(outside)
        clash = np.intersect1d(numbers, taken)
        last = int(numbers.max(initial=0))
        free = max(last, int(taken.max(initial=0))) + 1
        most = free + len(clash)
        whole = outside.astype(np.result_type(outside, np.min_scalar_type(most)))
        new_number = np.arange(last + 1, dtype=whole.dtype)
        new_number[clash] = np.arange(free, most)
        whole[self.inside] = new_number[labels]
        return whole


def display_map(confidence: ConfidenceMap, canvas: Canvas) -> NDArray[np.float32]:
    """Confidence in nuclei, (h, w), as the canvas shows it.

    At full size on the canvas, outside of its box 0; a reduced one on a grid of its own.
    """
    data = np.ascontiguousarray(confidence.nuclei, np.float32)
    return data if confidence.reduction > 1 else canvas.place(data, *confidence.box[:2])


@dataclass(frozen=True)
class DisplayPatches:
    """Patches of the shown class, positive or negative.

    Attributes
    ----------
    rectangles : ndarray
        (n, 4, 2) float64: corners in the plane's pixel coordinates, whose centres are integers.
    features : dict
        "step", "class", "mean confidence" in nuclei, "mean entropy" in bits; (n,) each.
    """

    rectangles: NDArray[np.float64]
    features: dict[str, NDArray]


def display_patches(
    patches: SampledPatches, canvas: Canvas, nucleus: NucleusClass
) -> tuple[DisplayPatches, DisplayPatches]:
    """Positive and negative patches of the shown class, in terms of nuclei.

    Where low confidence is nuclei the two swap, and confidences are turned round.
    """
    shown = (patches.class_index == nucleus.index) & (patches.image_index == 0)
    is_nucleus = patches.positive != nucleus.inverted
    positive, negative = np.flatnonzero(shown & is_nucleus), np.flatnonzero(shown & ~is_nucleus)
    room = MOST_PATCHES - min(MOST_PATCHES // 2, len(negative))
    positive = _evenly(positive, room)
    negative = _evenly(negative, MOST_PATCHES - len(positive))
    return (
        _of(patches, positive, canvas, nucleus),
        _of(patches, negative, canvas, nucleus),
    )


def _evenly(indices: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    if len(indices) <= most:
        return indices
    return indices[np.linspace(0, len(indices) - 1, most).round().astype(int)]


def _of(
    patches: SampledPatches, chosen: NDArray[np.intp], canvas: Canvas, nucleus: NucleusClass
) -> DisplayPatches:
    # A pixel reaches half a unit to either side of its coordinate.
    boxes = patches.boxes[chosen] + np.array(canvas.region[:2] * 2) - 0.5
    corners = boxes[:, [0, 1, 0, 3, 2, 3, 2, 1]].reshape(-1, 4, 2)
    confidence = patches.confidence[chosen]
    return DisplayPatches(
        corners,
        {
            "step": np.full(len(chosen), patches.step),
            "class": np.full(len(chosen), nucleus.index),
            "mean confidence": (1 - confidence if nucleus.inverted else confidence).round(4),
            "mean entropy": patches.entropy[chosen].round(4),
        },
    )

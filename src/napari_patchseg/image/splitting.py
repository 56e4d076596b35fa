"""Splitting touching nuclei: each connected component by itself, many of them at a time."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.morphology import h_maxima, local_maxima
from skimage.segmentation import watershed

from .components import EIGHT
from .regions import ENOUGH, TILE, Box, distance, grown, reach, tiles, window

#: Components longer than this many pixels, in maps of more than `ENOUGH`, are split by tiles too...
LARGEST = 2 * TILE
#: ... with that many diameters around them: far more than one peak has to do with another.
_AROUND = 8


class Splitter:
    """Splits the components of a mask by a watershed from the peaks of a height.

    The height is the distance to the border in expected radii, to which the confidence in cores is
    added where there is one, smoothed. Peaks must stand out by a depth from what joins them.
    Components do not depend on each other but for the smoothing, so they are taken by tiles, with
    as much around them as the smoothing and the distance look at.

    Parameters
    ----------
    mask : ndarray
        (H, W) bool.
    components : ndarray
        (H, W) int32, labels of its 8-connected components, 1 to count; becomes the labels of the
        parts, which go on from count + 1. What has no peak becomes 0.
    count : int
        Number of components.
    core : ndarray or None
        (H, W) float32 in [0, 1].
    diameter, depth, sigma : float
        Expected diameter in pixels; least depth between two peaks; smoothing in pixels.
    tile : int
        Side of a tile in pixels; the result does not depend on it, but for what is `LARGEST`.

    Attributes
    ----------
    firsts : list of int
        For every part the first pixel of its peak in the flattened map, which orders the parts.
    """

    def __init__(
        self,
        mask: NDArray[np.bool_],
        components: NDArray[np.int32],
        count: int,
        core: NDArray[np.float32] | None,
        *,
        diameter: float,
        depth: float,
        sigma: float,
        tile: int = TILE,
    ) -> None:
        self.mask = mask
        self.components = components
        self.core = core
        self.diameter, self.depth, self.sigma = diameter, depth, sigma
        self.shape = (mask.shape[0], mask.shape[1])
        self.firsts: list[int] = []
        self._count, self._tile = count, tile
        self._boxes: list[Box] = [
            (rows.start, columns.start, rows.stop, columns.stop)
            for rows, columns in ndi.find_objects(components)
        ]
        self._groups: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._large: list[int] = []
        for number, box in enumerate(self._boxes):
            if mask.size > ENOUGH and max(box[2] - box[0], box[3] - box[1]) > LARGEST:
                self._large.append(number)
            else:
                self._groups[box[0] // tile, box[1] // tile].append(number)

    def __len__(self) -> int:
        """Steps of work in `run`, but for those of large components."""
        return len(self._groups)

    def run(self) -> Iterator[int]:
        """Do it; yields the steps of work done."""
        for done, numbers in enumerate(self._groups.values(), 1):
            self._split(numbers)
            yield done
        for number in self._large:
            for _ in self._split_large(number):
                yield len(self)

    def height(self, box: Box) -> NDArray[np.float32]:
        """A box of the height whose peaks are nuclei, 0 outside the mask."""
        wide = grown(box, reach(self.sigma), self.shape)
        height = distance(self.mask, wide) * (2 / self.diameter)
        if self.core is not None:
            height += self.core[window(wide)]
        height = ndi.gaussian_filter(height, self.sigma)[window(box, wide)]
        height[~self.mask[window(box)]] = 0
        return np.asarray(height)

    def _split(self, numbers: list[int]) -> None:
        """Split some components that lie close together."""
        boxes = [grown(self._boxes[number], 1, self.shape) for number in numbers]
        corners = np.array(boxes)
        box: Box = (*corners[:, :2].min(0).tolist(), *corners[:, 2:].max(0).tolist())
        height = self.height(box)
        seen = self.components[window(box)]
        local = np.zeros(self._count + 2, np.int32)  # 1, 2, ... for these components, 0 for others
        local[np.array(numbers) + 1] = np.arange(1, len(numbers) + 1)
        owner = local[np.minimum(seen, self._count + 1)]
        parts = _Parts(height, owner, len(numbers), self.depth)
        parts.take_single()
        for number in parts.several.tolist():
            parts.take(number, window(boxes[number - 1], box))
        offset = self._count + len(self.firsts)
        made = parts.labels
        seen[...] = np.where(owner > 0, np.where(made > 0, made + offset, 0), seen)
        rows, columns = np.divmod(np.array(parts.firsts, np.int64), height.shape[1])
        self.firsts += ((rows + box[0]) * self.shape[1] + columns + box[1]).tolist()

    def _split_large(self, number: int) -> Iterator[None]:
        """Split a component that reaches far, tile by tile: first all the peaks, then the parts."""
        offset = self._count + len(self.firsts)
        seeds: list[NDArray[np.int64]] = []  # the pixels of each peak in the flattened map
        boxes = [
            box
            for box in tiles(self.shape, self._tile)
            if (self.components[window(box)] == number + 1).any()
        ]
        around = math.ceil(_AROUND * self.diameter)
        for box in boxes:
            wide = grown(box, around, self.shape)
            height, _ = self._seen(number, wide, offset)
            found, _ = ndi.label(h_maxima(height, self.depth), EIGHT)
            at = np.flatnonzero(found)
            at = at[np.argsort(found.ravel()[at], kind="stable")]
            _, first = np.unique(found.ravel()[at], return_index=True)
            for pixels in np.split(at, first[1:]):
                rows, columns = np.divmod(pixels, found.shape[1])
                rows, columns = rows + wide[0], columns + wide[1]
                if pixels.size and _within(box, rows[0], columns[0]):
                    seeds.append(rows * self.shape[1] + columns)
            yield
        self.firsts += [int(pixels[0]) for pixels in seeds]
        if not seeds:
            self.components[self.components == number + 1] = 0
            return
        where = np.concatenate(seeds)
        which = np.repeat(np.arange(1, len(seeds) + 1, dtype=np.int32), [len(s) for s in seeds])
        rows, columns = np.divmod(where, self.shape[1])
        for box in boxes:
            wide = grown(box, around, self.shape)
            height, inside = self._seen(number, wide, offset)
            here = _within(wide, rows, columns)
            markers = np.zeros(height.shape, np.int32)
            markers[rows[here] - wide[0], columns[here] - wide[1]] = which[here]
            parts = watershed(-height, markers, mask=inside)[window(box, wide)]
            mine = inside[window(box, wide)]
            self.components[window(box)][mine] = np.where(parts > 0, parts + offset, 0)[mine]
            yield

    def _seen(
        self, number: int, box: Box, offset: int
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """A box of the height of one component, and where that is."""
        seen = self.components[window(box)]
        inside = (seen == number + 1) | (seen > offset)
        return np.where(inside, self.height(box), np.float32(0)), inside


def _within(box: Box, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether pixels lie in a box."""
    inside = (rows >= box[0]) & (rows < box[2]) & (columns >= box[1]) & (columns < box[3])
    return np.asarray(inside)


class _Parts:
    """The parts of the components (owner, (h, w) int32 from 1 to count) of a height (h, w)."""

    def __init__(
        self, height: NDArray[np.float32], owner: NDArray[np.int32], count: int, depth: float
    ) -> None:
        self.height, self.owner, self.depth = height, owner, depth
        self.labels = np.zeros_like(owner)
        self.firsts: list[int] = []
        peaks = local_maxima(height) & (owner > 0)
        plateaus, _ = ndi.label(peaks, EIGHT)
        at = np.flatnonzero(peaks)
        whose = owner.ravel()[at]
        self.top = np.zeros(count + 1, np.float32)
        np.maximum.at(self.top, whose, height.ravel()[at])
        _, one_each = np.unique(plateaus.ravel()[at], return_index=True)
        one = np.bincount(whose[one_each], minlength=count + 1) == 1
        one[_joined_at_corners(owner)] = False
        high = self.top >= depth
        high[0] = False
        self.single = np.flatnonzero(high & one)
        #: Components that may have more than one part.
        self.several = np.flatnonzero(high & ~one)

    def take_single(self) -> None:
        """The components with one peak: no flooding is needed to know what it floods."""
        part = np.zeros(len(self.top), np.int32)
        part[self.single] = np.arange(1, len(self.single) + 1)
        self.labels = part[self.owner]
        # `h_maxima` takes what is as high as the peak but for rounding, and so must we: the first
        # of these pixels orders the labels.
        almost = np.where(part > 0, self.top * np.float32(0.9999), np.float32(np.inf))
        at = np.flatnonzero(self.height >= almost[self.owner])
        height = self.height.ravel()[at]
        top = self.top[self.owner.ravel()[at]]
        filled = np.maximum(self._lowered(height), np.minimum(height, self._lowered(top)))
        at = at[height - filled >= self.depth]
        _, first = np.unique(self.labels.ravel()[at], return_index=True)
        self.firsts += at[first].tolist()

    def take(self, number: int, around: tuple[slice, slice]) -> None:
        """A component that may have several parts, with its window grown by a pixel."""
        inside = self.owner[around] == number
        height = np.where(inside, self.height[around], np.float32(0))
        seeds, found = ndi.label(h_maxima(height, self.depth), EIGHT)
        if found == 0:
            return
        parts = watershed(-height, seeds, mask=inside)
        self.labels[around][inside] = np.where(parts > 0, parts + len(self.firsts), 0)[inside]
        at = np.flatnonzero(seeds)
        _, first = np.unique(seeds.ravel()[at], return_index=True)
        rows, columns = np.divmod(at[first], height.shape[1])
        rows, columns = rows + around[0].start, columns + around[1].start
        self.firsts += (rows * self.owner.shape[1] + columns).tolist()

    def _lowered(self, height: NDArray[np.float32]) -> NDArray[np.float32]:
        """By the depth and a little more, with the rounding of `h_maxima`."""
        lowered = height - self.depth - 2 * np.finfo(np.float32).resolution * np.abs(height)
        return np.asarray(lowered)


def _joined_at_corners(owner: NDArray[np.int32]) -> NDArray[np.int32]:
    """Components that would fall apart if pixels that touch at a corner did not belong together.

    These and some more: all that have such a pair of pixels.
    """
    a, b, c, d = owner[:-1, :-1], owner[:-1, 1:], owner[1:, :-1], owner[1:, 1:]
    falling = (a > 0) & (d > 0) & (b == 0) & (c == 0)
    rising = (b > 0) & (c > 0) & (a == 0) & (d == 0)
    return np.unique(np.concatenate([a[falling], b[rising]]))

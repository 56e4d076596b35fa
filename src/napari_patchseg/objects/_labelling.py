"""From a confidence map to one label per nucleus, tile by tile."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.filters import threshold_otsu
from skimage.morphology import disk, opening, remove_small_holes

from napari_patchseg.geometry import TILE, Box, grid_step, grown, tiles, window

from ._splitting import join, pieces_of, saddles_of

Labels = NDArray[np.uint16] | NDArray[np.uint32]
_T = TypeVar("_T")

#: As shares of the expected diameter: radius of the opening, standard deviation of the smoothing.
OPENING, SMOOTHING = 3 / 24, 1 / 24
#: Smallest object, and largest hole that is filled, as a share of a disk of the expected diameter.
SMALLEST = 0.2
#: What the map's border cuts shows half of itself on average: a smallest object's share there.
CUT = 0.5
#: Odds that a nucleus's interior reaches somewhere, in those of the threshold: 0.875 at 0.5.
MARKER_ODDS = 7
#: Pixels farther from the border, in expected radii, count as that far.
_DEEPEST = 2
#: How far around a pixel its height depends on the map, in expected diameters: twice the smoothing,
#: the opening, the depth, and the width of a hole.
_REACH = 2


@dataclass(frozen=True)
class ResolvedObjects:
    """How a confidence map becomes objects, every choice made.

    Attributes
    ----------
    threshold : float
        Confidence in (0, 1) from which a pixel is nucleus.
    diameter : float
        Expected nucleus diameter in pixels.
    min_area : float
        Smallest object in square pixels; half of it at the map's border, where nuclei are cut.
    split : bool
        Whether touching nuclei are split.
    split_depth : float
        How far a saddle must lie below two peaks that are two nuclei. Peaks are those of the
        distance to the border in expected radii, to which the confidence in interiors is added
        where there is one.
    """

    threshold: float
    diameter: float
    min_area: float
    split: bool
    split_depth: float

    @property
    def marker_threshold(self) -> float:
        """Confidence in interiors, in (0, 1), that a nucleus reaches somewhere."""
        odds = MARKER_ODDS * self.threshold / (1 - self.threshold)
        return odds / (1 + odds)


def otsu(confidence: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> float:
    """Otsu's threshold of a confidence map (H, W); 0.5 where the map is constant.

    Above 4 Mpx an even grid of pixels stands for the map.
    """
    step = grid_step(confidence.shape)
    values = confidence[::step, ::step]
    if valid is not None:
        values = values[valid[::step, ::step]]
    if values.size == 0 or np.ptp(values) == 0:
        return 0.5
    return float(threshold_otsu(values))


def smallest_area(diameter: float) -> float:
    """Default for the smallest object, in square pixels, from the expected diameter in pixels."""
    return SMALLEST * math.pi / 4 * diameter**2


def label_nuclei(
    confidence: NDArray[np.float32],
    chosen: ResolvedObjects,
    valid: NDArray[np.bool_] | None = None,
    interior: NDArray[np.float32] | None = None,
) -> Labels:
    """Label every nucleus of a confidence map: `label_steps` run to its end."""
    return finished(label_steps(confidence, chosen, valid, interior))


def finished(steps: Generator[Any, None, _T]) -> _T:
    """Run a generator to its end, for what it returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result


def label_steps(
    confidence: NDArray[np.float32],
    chosen: ResolvedObjects,
    valid: NDArray[np.bool_] | None = None,
    interior: NDArray[np.float32] | None = None,
    *,
    tile: int = TILE,
) -> Generator[tuple[int, int], None, Labels]:
    """Label every nucleus of a confidence map, one tile at a time.

    Smooth, threshold, open by a disk, fill holes, split touching nuclei by a watershed from the
    peaks of the distance to the border and the confidence in interiors together, and drop what is
    too small or has no sure interior. Beside the maps and the labels it needs four bytes a pixel
    and what a tile takes.

    Parameters
    ----------
    confidence : ndarray
        (H, W) float32 in [0, 1], confidence in nuclei.
    chosen : ResolvedObjects
        Every choice.
    valid : ndarray, optional
        (H, W) bool; no object where it is False.
    interior : ndarray, optional
        (H, W) float32 in [0, 1], confidence in the inner parts of nuclei. With it, objects that
        nowhere reach the marker threshold are dropped.
    tile : int
        Side of a tile in pixels; the labels do not depend on it.

    Yields
    ------
    done, total : int
        Steps of work done and steps in all.

    Returns
    -------
    ndarray
        (H, W) uint16, or uint32 from 65,536 objects on; 0 is background, labels run from 1 without
        gaps, in reading order of their first pixels.
    """
    height, width = confidence.shape
    boxes = tiles((height, width), tile)
    pieces = np.zeros((height + 2, width + 2), np.int32)  # every pixel has eight neighbours
    whole = pieces[1:-1, 1:-1]
    # for every piece, from the background on: height of its peak, area, first pixel, sureness
    columns: list[tuple[NDArray[Any], ...]] = [tuple(np.zeros((4, 1)))]
    saddles = []
    count = 0
    for done, box in enumerate(boxes, 1):
        framed, sureness = _heights(confidence, chosen, valid, interior, box)
        found, tops = pieces_of(framed)
        rows, across = np.nonzero(found)
        numbers = found[rows, across] - 1
        first = np.full(len(tops), height * width)
        np.minimum.at(first, numbers, (rows + box[0]) * width + across + box[1])
        surest = np.zeros(len(tops), np.float32)
        np.maximum.at(surest, numbers, sureness[rows, across])
        columns.append((tops, np.bincount(numbers, minlength=len(tops)), first, surest))
        whole[window(box)][rows, across] = numbers + count + 1
        count += len(tops)
        around = pieces[box[0] : box[2] + 2, box[1] : box[3] + 2]
        saddles.append(saddles_of(around, framed, box, width))
        yield done, len(boxes) + 1  # and the joining
    tops, *facts = (np.concatenate(column) for column in zip(*columns, strict=True))
    regions = join(tops, saddles, chosen.split_depth if chosen.split else math.inf)
    number = _numbers(regions, *facts, whole=whole, chosen=chosen, has_markers=interior is not None)
    labels: Labels = np.empty((height, width), number.dtype)
    for box in boxes:
        labels[window(box)] = number[whole[window(box)]]
    return labels


def _heights(
    confidence: NDArray[np.float32],
    chosen: ResolvedObjects,
    valid: NDArray[np.bool_] | None,
    interior: NDArray[np.float32] | None,
    box: Box,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the nuclei of a tile (h, w) are split by, and how sure their interiors are.

    Returns
    -------
    height : ndarray
        (h + 2, w + 2) float32, with a frame of one pixel; 0 outside of objects.
    sureness : ndarray
        (h, w) float32, smoothed confidence in interiors; 0 where there is no map of them.
    """
    shape = (confidence.shape[0], confidence.shape[1])
    wide = grown(box, math.ceil(_REACH * chosen.diameter), shape)
    seen, inner = window(wide), window(box, wide)
    sigma = SMOOTHING * chosen.diameter
    known = np.True_ if valid is None else valid[seen]
    mask = (ndi.gaussian_filter(confidence[seen], sigma) > chosen.threshold) & known
    radius = min(round(OPENING * chosen.diameter), 250)  # the most that scikit-image's disk can do
    if radius:  # as in a mirror beyond the map's border: what is cut there is not rounded off
        mask = opening(mask, disk(radius, decomposition="sequence"), mode="reflect")
    mask = remove_small_holes(mask, max_size=int(smallest_area(chosen.diameter))) & known
    if mask.all():  # no border to be distant from
        depth = np.full(mask.shape, _DEEPEST, np.float32)
    else:
        distance = ndi.distance_transform_edt(mask) * (2 / chosen.diameter)
        depth = np.minimum(distance, _DEEPEST).astype(np.float32)
    height = ndi.gaussian_filter(depth, sigma)
    sureness = np.zeros_like(height)
    if interior is not None:
        sureness = ndi.gaussian_filter(interior[seen], sigma)
    height = np.where(mask, height + sureness, np.float32(0))
    return np.pad(height, 1)[
        inner[0].start : inner[0].stop + 2, inner[1].start : inner[1].stop + 2
    ], sureness[inner]


def _numbers(
    regions: NDArray[np.int32],
    area: NDArray[np.float64],
    first: NDArray[np.float64],
    surest: NDArray[np.float64],
    *,
    whole: NDArray[np.int32],
    chosen: ResolvedObjects,
    has_markers: bool,
) -> Labels:
    """Every piece's label: 0 where its region is no nucleus, else in order of first pixels."""
    count = int(regions.max()) + 1
    areas = np.bincount(regions, area)
    least = np.full(count, chosen.min_area)
    for edge in (whole[0], whole[-1], whole[:, 0], whole[:, -1]):
        least[regions[edge]] = CUT * chosen.min_area
    keep = areas >= least
    if has_markers:
        reached = np.zeros(count)
        np.maximum.at(reached, regions, surest)
        keep &= reached >= chosen.marker_threshold
    keep[regions[0]] = False  # the background
    begins = np.full(count, np.inf)
    np.minimum.at(begins, regions, first)
    nuclei = np.flatnonzero(keep)
    label: NDArray[Any] = np.zeros(count, np.uint16 if len(nuclei) < 2**16 else np.uint32)
    label[nuclei[np.argsort(begins[nuclei])]] = np.arange(1, len(nuclei) + 1)
    numbers: Labels = label[regions]
    return numbers

"""From a confidence map to one label per nucleus."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.filters import threshold_otsu
from skimage.measure import regionprops_table

from .components import EIGHT, drop_small, fill_holes, open_close, too_small
from .regions import TILE, Box, every, grown, smoothed, strips, tiles, window
from .splitting import Splitter

Labels = NDArray[np.uint16] | NDArray[np.uint32]
_T = TypeVar("_T")

#: Defaults as shares of the expected nucleus diameter, 24 px at 40x.
OPENING = 3 / 24
CLOSING = 1 / 24
SMOOTHING = 1 / 24
#: Within these, in pixels, a diameter is estimated.
SMALLEST_DIAMETER, LARGEST_DIAMETER = 8, 80
#: Smallest object as a share of a disk of the expected diameter.
SMALLEST = 0.2
#: What the map's border cuts shows half of itself on average: a smallest object's share there.
CUT = 0.5
#: An object's core must be that much surer than the threshold, in logits: 0.9 at 0.5.
SURER = 2.2
#: ... in a smoothed map where pixels above 0.8 have the former share of those above 0.5, cores the
#: latter. Where both have less, much is doubtful, and more is asked (docs/method.md).
SURE_SHARE, CORE_SHARE = 0.64, 0.26
#: More than the former is asked of none, and not less than the latter times `SURER`.
SUREST, LEAST_SURER = 0.98, 0.82


@dataclass(frozen=True)
class ObjectSettings:
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
        distance to the border in expected radii, to which the confidence in cores is added where
        there is one.
    """

    threshold: float
    diameter: float
    min_area: float
    split: bool
    split_depth: float


def otsu(confidence: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> float:
    """Otsu's threshold of a confidence map (H, W); 0.5 where the map is constant.

    Above 4 Mpx an even grid of pixels stands for the map.
    """
    step = every(confidence.shape)
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
    settings: ObjectSettings,
    valid: NDArray[np.bool_] | None = None,
    core: NDArray[np.float32] | None = None,
) -> Labels:
    """Label every nucleus of a confidence map: `label_steps` run to its end.

    Returns
    -------
    ndarray
        (H, W) uint16, or uint32 from 65,536 objects on; 0 is background, labels run from 1 without
        gaps.
    """
    return finished(label_steps(confidence, settings, valid, core))[0]


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
    settings: ObjectSettings,
    valid: NDArray[np.bool_] | None = None,
    core: NDArray[np.float32] | None = None,
    *,
    tile: int = TILE,
) -> Generator[tuple[int, int], None, tuple[Labels, float | None]]:
    """Label every nucleus of a confidence map, one step of work at a time.

    Smooth, threshold, open and close by disks that follow the expected diameter, fill holes, drop
    small objects, and split touching nuclei by a watershed from the peaks of the smoothed distance
    map and the confidence in cores together.

    Beside the maps and the labels it needs five bytes a pixel and what a tile takes. In maps above
    4 Mpx a component that reaches over more than 2,048 px is split by tiles too, with eight
    diameters around each: its labels can differ from those of the whole where one peak has to do
    with another farther away.

    Parameters
    ----------
    confidence : ndarray
        (H, W) float32 in [0, 1], confidence in nuclei.
    settings : ObjectSettings
        Every choice.
    valid : ndarray, optional
        (H, W) bool; no object where it is False.
    core : ndarray, optional
        (H, W) float32 in [0, 1], confidence in the inner parts of nuclei. With it, objects whose
        core is not clearly surer than the threshold are dropped: the less sure the whole map is,
        the surer it must be.
    tile : int
        Side of a tile in pixels; the labels do not depend on it, but for such a component.

    Yields
    ------
    done, total : int
        Steps of work done and steps in all.

    Returns
    -------
    labels : ndarray
        (H, W) uint16, or uint32 from 65,536 objects on; 0 is background, labels run from 1 without
        gaps, from top to bottom.
    core_threshold : float or None
        Confidence in [0, 1] that an object's core had to reach; None without a map of cores.
    """
    shape = (confidence.shape[0], confidence.shape[1])
    boxes = tiles(shape, tile)
    total = 3 * len(boxes)
    mask = np.empty(shape, bool)
    nuclear = certain = inner = 0  # pixels
    for done, box in enumerate(boxes, 1):
        mask[window(box)], smooth = _mask(confidence, settings, valid, box)
        nuclear += int(np.count_nonzero(smooth > 0.5))
        certain += int(np.count_nonzero(smooth > 0.8))
        yield done, total
    labels = np.empty(shape, np.int32)
    fill_holes(mask, labels)
    yield len(boxes), total
    if valid is not None:
        mask &= valid
    drop_small(mask, settings.min_area, labels, at_border=CUT * settings.min_area)
    yield len(boxes), total
    count = ndi.label(mask, EIGHT, output=labels)
    order: NDArray[np.int64] = np.arange(1, count + 1)
    if settings.split:
        splitter = Splitter(
            mask,
            labels,
            count,
            core,
            diameter=settings.diameter,
            depth=settings.split_depth,
            sigma=SMOOTHING * settings.diameter,
            tile=tile,
        )
        for done in splitter.run():
            yield len(boxes) + done, total
        order = count + 1 + np.argsort(splitter.firsts)
        count += len(order)
    del mask
    keep = ~too_small(labels, count, settings.min_area, at_border=CUT * settings.min_area)
    core_threshold = None
    if core is not None:
        surest = np.zeros(count + 1, np.float32)
        for done, box in enumerate(boxes, 1):
            smooth = _known(smoothed(core, SMOOTHING * settings.diameter, box), valid, box)
            inner += int(np.count_nonzero(smooth > 0.5))
            inside = labels[window(box)] > 0
            np.maximum.at(surest, labels[window(box)][inside], smooth[inside])
            yield 2 * len(boxes) + done, total
        core_threshold = _core_threshold(settings.threshold, nuclear, certain, inner)
        keep &= surest >= core_threshold
    order = order[keep[order]]
    final: Labels = np.zeros(count + 1, np.uint16 if len(order) < 65_536 else np.uint32)
    final[order] = np.arange(1, len(order) + 1)
    out: Labels = np.empty(shape, final.dtype)
    for rows in strips(shape):
        out[rows] = final[labels[rows]]
    return out, core_threshold


def _mask(
    confidence: NDArray[np.float32],
    settings: ObjectSettings,
    valid: NDArray[np.bool_] | None,
    box: Box,
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """A box of the thresholded map, opened and closed; and of the smoothed map."""
    opening, closing = round(OPENING * settings.diameter), round(CLOSING * settings.diameter)
    shape = (confidence.shape[0], confidence.shape[1])
    wide = grown(box, 2 * (opening + closing), shape)
    smooth = _known(smoothed(confidence, SMOOTHING * settings.diameter, wide), valid, wide)
    inner = window(box, wide)
    return open_close(smooth > settings.threshold, opening, closing)[inner], smooth[inner]


def _known(
    smooth: NDArray[np.float32], valid: NDArray[np.bool_] | None, box: Box
) -> NDArray[np.float32]:
    """A box of a map, 0 where the image is not valid."""
    return smooth if valid is None else np.where(valid[window(box)], smooth, np.float32(0))


def _core_threshold(threshold: float, nuclear: int, certain: int, inner: int) -> float:
    """How sure the core of a nucleus must be.

    Parameters
    ----------
    threshold : float
        Of the whole nuclei.
    nuclear, certain, inner : int
        Pixels of the smoothed map above 0.5 and above 0.8, and of that of the cores above 0.5.
    """
    shares = ((SURE_SHARE, certain), (CORE_SHARE, inner))
    doubts = [share * nuclear / count for share, count in shares if count and nuclear]
    surest = math.log(SUREST / (1 - SUREST))
    surer = min(SURER * max(LEAST_SURER, min(doubts) ** 2), surest) if doubts else surest
    odds = threshold / (1 - threshold) * math.exp(surer)
    return min(odds / (1 + odds), SUREST)


def estimate_diameter(nuclei: NDArray[np.float32]) -> float:
    """Expected nucleus diameter in pixels, from a map that is larger where nuclei are.

    Objects of the map at Otsu's threshold, split as nuclei are; the median of their equivalent
    diameters, each object weighing as its area, within [8, 80]; 24 where there are none. What is
    larger than that is left out beside others: a pen's stroke would weigh more than all nuclei.

    Parameters
    ----------
    nuclei : ndarray
        (h, w) float32: confidence, or the prior.
    """
    smooth = ndi.gaussian_filter(nuclei, 1)
    settings = ObjectSettings(otsu(smooth), 16.0, 30.0, True, 0.09)
    labels = label_nuclei(smooth, settings)
    areas = regionprops_table(labels, properties=("area",))["area"]
    if len(areas) == 0:
        return 24.0
    small = areas[areas <= math.pi / 4 * LARGEST_DIAMETER**2]
    diameter = typical_diameter(small if len(small) else areas)
    return float(np.clip(diameter, SMALLEST_DIAMETER, LARGEST_DIAMETER))


def typical_diameter(areas: NDArray[Any]) -> float:
    """Median of the diameters of disks of some areas, each weighing as its area; of one or more."""
    order = np.sort(areas)
    middle = order[np.searchsorted(order.cumsum(), order.sum() / 2)]
    return 2 * math.sqrt(middle / math.pi)

"""From a confidence map to one label per nucleus."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.filters import threshold_otsu
from skimage.measure import label, regionprops_table
from skimage.morphology import disk, h_maxima, remove_small_objects
from skimage.segmentation import relabel_sequential, watershed

#: Defaults as shares of the expected nucleus diameter, 24 px at 40x.
OPENING = 3 / 24
CLOSING = 2 / 24
SMOOTHING = 1 / 24
#: Smallest object as a share of a disk of the expected diameter.
SMALLEST = 0.2
#: An object's core must be that much surer than the threshold, in logits: 0.9 at 0.5.
SURER = 2.2
#: More than this is asked of none.
SUREST = 0.95


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
        Smallest object in square pixels.
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
    """Otsu's threshold of a confidence map (H, W); 0.5 where the map is constant."""
    values = confidence if valid is None else confidence[valid]
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
) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """Label every nucleus of a confidence map.

    Smooth, threshold, open and close by disks that follow the expected diameter, fill holes, drop
    small objects, and split touching nuclei by a watershed from the peaks of the smoothed distance
    map and the confidence in cores together.

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
        core is not clearly surer than the threshold are dropped.

    Returns
    -------
    ndarray
        (H, W) uint16, or uint32 from 65,536 objects on; 0 is background, labels run from 1 without
        gaps.
    """
    diameter = settings.diameter
    smooth = ndi.gaussian_filter(confidence, SMOOTHING * diameter)
    mask = smooth > settings.threshold
    if valid is not None:
        mask &= valid
    mask = _open_close(mask, round(OPENING * diameter), round(CLOSING * diameter))
    mask = ndi.binary_fill_holes(mask)
    if valid is not None:
        mask &= valid
    mask = _without_small(mask, settings.min_area)
    labels = _split(mask, settings, core) if settings.split else label(mask)
    if core is not None:
        labels = _with_core(labels, core, settings)
    sizes = np.bincount(labels.ravel())
    small = sizes < settings.min_area
    small[0] = False
    labels[small[labels]] = 0
    labels = np.asarray(relabel_sequential(labels)[0])
    if labels.max(initial=0) < 65_536:
        return labels.astype(np.uint16)
    return labels.astype(np.uint32)


def _open_close(mask: NDArray[np.bool_], opening: int, closing: int) -> NDArray[np.bool_]:
    if opening > 0:
        mask = ndi.binary_opening(mask, disk(opening))
    if closing > 0:
        padded = np.pad(mask, closing)  # so that closing does not erode at the image's border
        mask = ndi.binary_closing(padded, disk(closing))[closing:-closing, closing:-closing]
    return np.asarray(mask)


def _without_small(mask: NDArray[np.bool_], area: float) -> NDArray[np.bool_]:
    if area < 1:
        return mask
    return np.asarray(remove_small_objects(mask, max_size=math.ceil(area) - 1))


def _split(
    mask: NDArray[np.bool_], settings: ObjectSettings, core: NDArray[np.float32] | None
) -> NDArray[np.int64]:
    if not mask.any():
        return np.zeros(mask.shape, np.int64)
    height = ndi.distance_transform_edt(mask).astype(np.float32) * (2 / settings.diameter)
    if core is not None:
        height += core
    height = ndi.gaussian_filter(height, SMOOTHING * settings.diameter)
    height[~mask] = 0
    seeds = label(h_maxima(height, settings.split_depth))
    return np.asarray(watershed(-height, seeds, mask=mask), np.int64)


def _with_core(
    labels: NDArray[np.int64], core: NDArray[np.float32], settings: ObjectSettings
) -> NDArray[np.int64]:
    """The objects that have an inner part: specks and the edges of other things have none."""
    count = int(labels.max(initial=0))
    if count == 0:
        return labels
    smooth = ndi.gaussian_filter(core, SMOOTHING * settings.diameter)
    surest = np.asarray(ndi.maximum(smooth, labels, np.arange(count + 1)))
    odds = settings.threshold / (1 - settings.threshold) * math.exp(SURER)
    keep = surest >= min(odds / (1 + odds), SUREST)
    keep[0] = False
    return np.where(keep[labels], labels, 0)


def estimate_diameter(nuclei: NDArray[np.float32]) -> float:
    """Expected nucleus diameter in pixels, from a map that is larger where nuclei are.

    Objects of the map at Otsu's threshold, split as nuclei are; the median of their equivalent
    diameters, each object weighing as its area, within [8, 80]; 24 where there are none.

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
    order = np.sort(areas)
    middle = order[np.searchsorted(order.cumsum(), order.sum() / 2)]
    return float(np.clip(2 * math.sqrt(middle / math.pi), 8, 80))

"""How large nuclei are, as maps show them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_patchseg.geometry import ENOUGH, crop_boxes, window
from napari_patchseg.settings import DEFAULT_DIAMETER

from ._labelling import ResolvedObjects, label_nuclei, otsu

#: Within these, in pixels, a diameter is estimated.
SMALLEST_DIAMETER, LARGEST_DIAMETER = 8, 80
#: A large map is looked at through so many crops of so many pixels a side.
_CROPS, _SIDE = 9, 512
#: An interior is surer than this, and has so many pixels.
_SURE, _LEAST_AREA = 0.6, 12
#: What comes so near to a crop's edge in pixels reaches over it: maps fade there. If it has more
#: than so many pixels, 20 px as a disk, it may be a pen's stroke.
_EDGE, _LARGE_AREA = 5, 314


def expected_diameter(nuclei: NDArray[np.float32]) -> float:
    """Nucleus diameter in pixels estimated from a map (H, W), larger where nuclei are.

    The median over its crops where the map is large.
    """
    shape = (nuclei.shape[0], nuclei.shape[1])
    if nuclei.size <= ENOUGH:
        return estimate_diameter(nuclei)
    crops = [nuclei[window(box)] for box in crop_boxes(shape, _SIDE, _CROPS)]
    return float(np.median([estimate_diameter(crop) for crop in crops]))


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
    chosen = ResolvedObjects(otsu(smooth), diameter=16, min_area=30, split=True, split_depth=0.09)
    areas = np.bincount(label_nuclei(smooth, chosen).ravel())[1:]
    if len(areas) == 0:
        return DEFAULT_DIAMETER
    small = areas[areas <= math.pi / 4 * LARGEST_DIAMETER**2]
    diameter = typical_diameter(small if len(small) else areas)
    return float(np.clip(diameter, SMALLEST_DIAMETER, LARGEST_DIAMETER))


def interior_diameter(interiors: NDArray[np.float32]) -> float:
    """Diameter in pixels of the nuclei's inner parts, from crops (N, h, w) of confidence in them.

    Their area-weighted median; 0 where there are none. Nuclei that touch, and then read as one,
    have inner parts that do not. A large one that reaches over its crop's edge is left out: it
    may be a pen's stroke.
    """
    within_crop = np.zeros((3, 3, 3), bool)
    within_crop[1] = ndi.generate_binary_structure(2, 1)
    parts, count = ndi.label(ndi.gaussian_filter(interiors, (0, 1, 1)) > _SURE, within_crop)
    areas = np.bincount(parts.ravel(), minlength=count + 1)
    near = np.ones(interiors.shape[1:], bool)
    near[_EDGE:-_EDGE, _EDGE:-_EDGE] = False
    cut = np.unique(parts[:, near])
    areas[cut[areas[cut] > _LARGE_AREA]] = 0
    areas = areas[1:][areas[1:] >= _LEAST_AREA]
    return typical_diameter(areas) if len(areas) else 0.0


def typical_diameter(areas: NDArray[Any]) -> float:
    """Median of the diameters of disks of some areas, each weighing as its area; of one or more."""
    order = np.sort(areas)
    middle = order[np.searchsorted(order.cumsum(), order.sum() / 2)]
    return 2 * math.sqrt(middle / math.pi)

"""From a confidence map to nuclei: which class they are, and every choice about objects."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.draw import disk
from skimage.morphology import remove_small_objects

from napari_patchseg.conditions import conditions_of
from napari_patchseg.corrections import Edits
from napari_patchseg.errors import SettingsError
from napari_patchseg.geometry import ENOUGH, Box, crop_boxes, grid_step, window
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.image.stain import choose_class, with_prior
from napari_patchseg.method.maps import NUCLEUS, ConfidenceMap, NucleusClass
from napari_patchseg.report import Labels, ObjectsReport
from napari_patchseg.settings import DEFAULT_DIAMETER, SPLIT_DEPTH_WITHOUT_INTERIORS, Objects

from ._columns import table_headers
from ._conditions import header_of, keep_only
from ._editing import apply_edits
from ._labelling import (
    SMOOTHING,
    ResolvedObjects,
    finished,
    label_nuclei,
    label_steps,
    marker_threshold_of,
    otsu,
    smallest_area,
    with_additions,
)
from ._measuring import measure_steps

#: The largest diameter in pixels that is estimated.
LARGEST_DIAMETER = 80.0
#: Standard deviation of a confidence up to which it is the same everywhere.
_EVEN = 1e-6


class ClassChooser:
    """Chooses the nucleus class of a map by the image's prior, unless the user did.

    Above 1 Mpx an even grid of pixels stands for map and prior.
    """

    def __init__(self, pixels: Pixels, objects: Objects) -> None:
        self._pixels = pixels
        self._objects = objects
        self._key: tuple[Box, int] | None = None
        self._prior = np.empty(0, np.float32)

    def __call__(
        self, data: NDArray[np.float32], channels: Sequence[str], box: Box, reduction: int
    ) -> NucleusClass:
        """The nucleus class of confidences (K, h, w) of a box at a reduction."""
        step = grid_step(data.shape[1:])
        if self._key != (box, reduction):  # previews show the same box again and again
            self._prior = self._pixels.prior(box, reduction * step)
            self._key = (box, reduction)
        return choose_nucleus(data[:, ::step, ::step], channels, self._prior, self._objects)


def choose_nucleus(
    data: NDArray[np.float32],
    channels: Sequence[str],
    prior: NDArray[np.float32],
    objects: Objects,
) -> NucleusClass:
    """Which of the confidences (K, h, w) is nuclei: the user's choice, else the prior's."""
    index = objects.nucleus_class
    if index is None and NUCLEUS in channels:
        index = list(channels).index(NUCLEUS)
    if index is None:
        index, inverted, correlation = choose_class(data, prior)
    else:
        if index >= len(data):
            raise SettingsError(f"There is no class {index}; the model has {len(data)}.")
        _, inverted, correlation = choose_class(data[index : index + 1], prior)
    if objects.nucleus_polarity is not None:
        inverted = objects.nucleus_polarity == "inverted"
    return NucleusClass(index, inverted, correlation)


def class_at(
    data: NDArray[np.float32], point: tuple[int, int], radius: float
) -> NucleusClass | None:
    """The class that stands out most around a pixel, with its polarity.

    A class stands out by the mean of a disk, in standard deviations from the mean of its whole map.

    Parameters
    ----------
    data : ndarray
        (K, h, w), the confidences.
    point : (int, int)
        Row and column inside a nucleus.
    radius : float
        Of the disk in pixels; it holds the pixel at least.

    Returns
    -------
    NucleusClass or None
        None where all maps are even.
    """
    step = grid_step(data.shape[1:])
    grid = data[:, ::step, ::step]
    mean, spread = (of(axis=(1, 2), dtype=float) for of in (grid.mean, grid.std))
    rows, columns = disk(point, max(radius, 1), shape=data.shape[1:])
    here = data[:, rows, columns].mean(1, dtype=float)
    scores = (here - mean) / np.where(spread > _EVEN, spread, np.inf)
    index = int(np.argmax(np.abs(scores)))
    if scores[index] == 0:
        return None
    return NucleusClass(index, bool(scores[index] < 0), math.nan)


def resolve_objects(
    confidence: ConfidenceMap,
    shown: NDArray[np.float32],
    pixels: Pixels,
    objects: Objects,
    *,
    pixel_size: float | None = None,
) -> ResolvedObjects:
    """Fill in what the user left open about objects.

    Parameters
    ----------
    confidence : ConfidenceMap
        Of the whole image; the diameter is estimated from it.
    shown : ndarray
        (H, W), its `evidence`; Otsu's threshold is taken from it.
    pixels, objects, pixel_size
        See `run`.
    """
    diameter = objects.diameter_in_pixels(pixel_size) or expected_diameter(confidence.nuclei)
    threshold = objects.threshold
    if threshold is None:
        threshold = _default_threshold(confidence, shown, pixels)
    depth = objects.split_depth
    if depth is None and confidence.interiors is None:
        depth = SPLIT_DEPTH_WITHOUT_INTERIORS
    elif depth is None:
        depth = pixels.modality.split_depth
    return ResolvedObjects(
        threshold=threshold,
        diameter=diameter,
        min_area=smallest_area(diameter) if objects.min_area is None else objects.min_area,
        split=objects.split == "distance",
        split_depth=depth,
        max_area=objects.max_area,
    )


def _default_threshold(
    confidence: ConfidenceMap, shown: NDArray[np.float32], pixels: Pixels
) -> float:
    if NUCLEUS in confidence.channels:
        return pixels.modality.threshold
    return otsu(shown, _valid(pixels, confidence.reduction))


def _valid(pixels: Pixels, reduction: int) -> NDArray[np.bool_] | None:
    return None if pixels.valid is None else pixels.valid[::reduction, ::reduction]


def evidence(confidence: ConfidenceMap, pixels: Pixels, objects: Objects) -> NDArray[np.float32]:
    """What is thresholded: confidence in nuclei (H, W), moved by the prior if so set."""
    if objects.prior_weight == 0:
        return confidence.nuclei
    return with_prior(confidence.nuclei, pixels.prior(), objects.prior_weight, pixels.valid)


def outline(
    confidence: ConfidenceMap,
    pixels: Pixels,
    objects: Objects,
    diameter: float,
) -> tuple[NDArray[np.bool_], int]:
    """Roughly the borders of what `labelling` would label, much sooner: nothing is split.

    Parameters
    ----------
    confidence, pixels, objects
        See `labelling`.
    diameter : float
        The expected diameter in pixels.

    Returns
    -------
    border : ndarray
        (ceil(H / r), ceil(W / r)) bool.
    reduction : int
        r, pixels of the image per pixel; above 1 for large images.
    """
    shown = evidence(confidence, pixels, objects)
    threshold = objects.threshold
    if threshold is None:
        threshold = _default_threshold(confidence, shown, pixels)
    step = grid_step(shown.shape)
    mask = ndi.gaussian_filter(shown[::step, ::step], SMOOTHING * diameter / step) > threshold
    if pixels.valid is not None:
        mask &= pixels.valid[::step, ::step]
    area = smallest_area(diameter) if objects.min_area is None else objects.min_area
    mask = remove_small_objects(mask, max_size=int(area / step**2))
    return mask & ~ndi.binary_erosion(mask, border_value=1), step


def labelling(
    confidence: ConfidenceMap,
    pixels: Pixels,
    objects: Objects,
    *,
    pixel_size: float | None = None,
    sizes: tuple[float, float] | None = None,
    hinted: ConfidenceMap | None = None,
    painted: NDArray[np.bool_] | None = None,
    edits: Edits = (),
) -> Generator[tuple[int, int], None, tuple[Labels, ObjectsReport]]:
    """Labels of a whole confidence map, and the object settings and count behind them.

    Parameters
    ----------
    confidence, pixels, objects, pixel_size
        See `run`.
    sizes : tuple of float or None
        (y, x) in µm where pixels are no squares.
    hinted : ConfidenceMap or None
        The map with the user's hints. Automatic choices are still those of the map without, so that
        a stroke changes what it is about and no more.
    painted : ndarray or None
        (H, W) bool, what the user painted as nucleus: that is so, whatever it measures.
    edits : tuple of Edit
        The user's corrections of objects.

    Yields
    ------
    done, total : int
        Steps of work, each a fraction of a second; whoever wants no more labels asks for no more.
    """
    without = shown = evidence(confidence, pixels, objects)
    valid = _valid(pixels, confidence.reduction)
    chosen = resolve_objects(confidence, shown, pixels, objects, pixel_size=pixel_size)
    least = None
    if hinted is not None:
        if confidence.interiors is not None:
            least = marker_threshold_of(shown, chosen, valid)
        confidence, shown = hinted, evidence(hinted, pixels, objects)
    labels, least = yield from label_steps(shown, chosen, valid, confidence.interiors, least=least)
    if hinted is not None:
        labels = with_additions(labels, without > chosen.threshold)
    count = int(labels.max(initial=0))
    if objects.keep:
        if sizes is None and pixel_size is not None:
            sizes = pixel_size, pixel_size
        conditions = conditions_of(objects.keep)
        headers = table_headers(pixels, sizes, confidence=True)
        table = yield from measure_steps(
            labels,
            pixels,
            pixel_size=sizes,
            confidence=confidence.nuclei,
            columns=[header_of(one.measurement, headers) for one in conditions],
        )
        spared = () if painted is None else np.unique(labels[painted])
        labels = keep_only(labels, conditions, table, spared)
    if edits:  # what the user says of an object counts, whatever it measures
        labels = apply_edits(labels, edits, chosen.min_area)
    if edits or objects.keep:
        count = int(np.count_nonzero(np.bincount(labels.ravel())[1:]))
    return labels, ObjectsReport(count=count, **vars(chosen), marker_threshold=least)


def sketch(
    confidence: ConfidenceMap,
    pixels: Pixels,
    objects: Objects,
    diameter: float,
    *,
    hinted: ConfidenceMap | None = None,
) -> Labels:
    """Labels of a preview of the whole image, at the image's size, as coarse as the preview.

    Parameters
    ----------
    confidence : ConfidenceMap
        At whatever reduction.
    pixels, objects
        See `run`; the stain's weight and `keep` count for full maps alone.
    diameter : float
        The expected diameter in pixels of the image.
    hinted : ConfidenceMap or None
        See `labelling`.

    Returns
    -------
    ndarray
        (H, W) uint16 or uint32.
    """
    step = confidence.reduction
    lengths = {"nucleus_diameter": (diameter, step), "min_area": (objects.min_area, step**2)}
    lengths["max_area"] = (objects.max_area, step**2)
    reduced = {name: of and of / by for name, (of, by) in lengths.items()}
    others = {"diameter_unit": "px", "prior_weight": 0.0, "keep": ""}
    small = objects.model_copy(update={**reduced, **others})
    labels, _ = finished(labelling(confidence, pixels, small, hinted=hinted))
    height, width = pixels.shape[1:]
    full: Labels = labels.repeat(step, 0).repeat(step, 1)[:height, :width]
    return full


def expected_diameter(nuclei: NDArray[np.float32]) -> float:
    """Nucleus diameter in pixels estimated from a map (H, W), larger where nuclei are.

    Objects of the map, or of crops of a large one, at Otsu's threshold, split as nuclei are; the
    median of their equivalent diameters, each object weighing as its area, up to 80; 24 where there
    are none. What is larger than that is left out beside others: a pen's stroke would weigh more
    than all nuclei.
    """
    shape = (nuclei.shape[0], nuclei.shape[1])
    boxes = [(0, 0, *shape)] if nuclei.size <= ENOUGH else crop_boxes(shape, 512)
    crops = np.stack([nuclei[window(box)] for box in boxes])
    smooth = ndi.gaussian_filter(crops, (0, 1, 1))
    chosen = ResolvedObjects(otsu(smooth), diameter=16, min_area=30, split=True, split_depth=0.09)
    areas = np.concatenate([np.bincount(label_nuclei(crop, chosen).flat)[1:] for crop in smooth])
    if len(areas) == 0:
        return DEFAULT_DIAMETER
    small = areas[areas <= math.pi / 4 * LARGEST_DIAMETER**2]
    return min(LARGEST_DIAMETER, typical_diameter(small if len(small) else areas))


def typical_diameter(areas: NDArray[Any]) -> float:
    """Median of the diameters of disks of some areas, each weighing as its area; of one or more."""
    order = np.sort(areas)
    middle = order[np.searchsorted(order.cumsum(), order.sum() / 2)]
    return 2 * math.sqrt(middle / math.pi)

"""From a confidence map to one label per nucleus, tile by tile."""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.filters import threshold_otsu
from skimage.morphology import disk, opening
from skimage.segmentation import relabel_sequential

from napari_patchseg.geometry import EIGHT, TILE, Box, Window, grid_step, grown, tiles, window
from napari_patchseg.report import Labels

from ._splitting import join, pieces_of, saddles_of

_T = TypeVar("_T")

#: As shares of the expected diameter: radius of the opening, standard deviation of the smoothing.
OPENING, SMOOTHING = 3 / 24, 1 / 24
#: Smallest object, and largest hole that is filled, as a share of a disk of the expected diameter.
SMALLEST = 0.2
#: Nuclear pixels are above the former in the smoothed map, certain ones above the latter.
_NUCLEAR, _CERTAIN = 0.5, 0.8
#: How far around a pixel its height depends on the map, in expected diameters: twice the smoothing,
#: the opening, the width of a hole, and the distance to the border, of which half as much counts.
_REACH = 2
#: Share of its surroundings by which what hints added lies on a nucleus, to be of it.
_CONTACT = 1 / 6


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
    max_area : float or None
        Largest object in square pixels, if there is a limit.
    """

    threshold: float
    diameter: float
    min_area: float
    split: bool
    split_depth: float
    max_area: float | None = None


def otsu(confidence: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> float:
    """Otsu's threshold of a confidence map (H, W); 0.5 where the map is constant.

    Above 1 Mpx an even grid of pixels stands for the map.
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


def marker_threshold(threshold: float, certainty: float) -> float:
    """Confidence in interiors, in (0, 1), that a nucleus reaches somewhere.

    Its odds are those of the threshold, over the fifth power of the certainty. So
    more is asked where the network sees much that is doubtful, as on faint or nearly empty slides.

    Parameters
    ----------
    threshold : float
        Confidence in (0, 1) from which a pixel is nucleus.
    certainty : float
        Share of the nuclear pixels that are certain: 0.7 to 0.8 in most sections.
    """
    return 1 / (1 + (1 - threshold) / threshold * certainty**5)


def marker_threshold_of(
    confidence: NDArray[np.float32],
    chosen: ResolvedObjects,
    valid: NDArray[np.bool_] | None = None,
) -> float:
    """The `marker_threshold` of a map (H, W), as `label_steps` takes it without any."""
    shape = (confidence.shape[0], confidence.shape[1])
    counts = [_smoothed(confidence, chosen, valid, box).sure for box in tiles(shape)]
    return _marker_threshold_of(chosen, np.sum(counts, 0))


def _marker_threshold_of(chosen: ResolvedObjects, sure: NDArray[np.int64]) -> float:
    """Of numbers of nuclear and of certain pixels."""
    return marker_threshold(chosen.threshold, float((sure[1] + 1) / (sure[0] + 1)))


def label_nuclei(
    confidence: NDArray[np.float32],
    chosen: ResolvedObjects,
    valid: NDArray[np.bool_] | None = None,
    interior: NDArray[np.float32] | None = None,
    least: float | None = None,
) -> Labels:
    """Label every nucleus of a confidence map: `label_steps` run to its end."""
    return finished(label_steps(confidence, chosen, valid, interior, least=least))[0]


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
    least: float | None = None,
    tile: int = TILE,
) -> Generator[tuple[int, int], None, tuple[Labels, float | None]]:
    """Label every nucleus of a confidence map, one tile at a time.

    Smooth, threshold, open by a disk, fill holes, split touching nuclei by a watershed from the
    peaks of the distance to the border and the confidence in interiors together, and drop what is
    too small, too large or has no sure interior. Beside the maps and the labels it needs four bytes
    a pixel and what a tile takes.

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
    least : float, optional
        The marker threshold; without it, it follows from the map's certainty.
    tile : int
        Side of a tile in pixels; the labels do not depend on it.

    Yields
    ------
    done, total : int
        Steps of work done and steps in all.

    Returns
    -------
    labels : ndarray
        (H, W) uint16, or uint32 from 65,536 objects on; 0 is background, labels run from 1 without
        gaps, in reading order of their first pixels.
    least : float or None
        The marker threshold; None without a map of interiors.
    """
    height, width = confidence.shape
    boxes = tiles((height, width), tile)
    pieces = np.zeros((height + 2, width + 2), np.int32)  # every pixel has eight neighbours
    whole = pieces[1:-1, 1:-1]
    of_tiles = [_Facts(*np.zeros((4, 1)))]  # the first piece is the background
    saddles = []
    count = 0
    sure = np.zeros(2, int)
    for done, box in enumerate(boxes, 1):
        found, framed, of_tile, sure_in_tile = _tile(confidence, chosen, valid, interior, box)
        sure += sure_in_tile
        whole[window(box)] = np.where(found > 0, found + count, 0)
        count += len(of_tile.top)
        of_tiles.append(of_tile)
        around = pieces[box[0] : box[2] + 2, box[1] : box[3] + 2]
        saddles.append(saddles_of(around, framed, box, width))
        yield done, len(boxes) + 1  # and the joining
    facts = _Facts(*(np.concatenate(column) for column in zip(*of_tiles, strict=True)))
    regions = join(facts.top, saddles, chosen.split_depth if chosen.split else math.inf)
    if interior is None:
        least = None
    elif least is None:
        least = _marker_threshold_of(chosen, sure)
    number = _numbers(regions, facts, whole, chosen, least or 0)
    labels: Labels = np.empty((height, width), number.dtype)
    for box in boxes:
        labels[window(box)] = number[whole[window(box)]]
    return labels, least


def with_additions(labels: Labels, before: NDArray[np.bool_]) -> Labels:
    """Labels where what hints added to a nucleus is of that nucleus.

    A stroke along the border of a nucleus is split from it, since interiors end there. An object
    that is new for the most part therefore joins the nucleus around which it lies.

    Parameters
    ----------
    labels : ndarray
        (H, W) uint16 or uint32, made with hints.
    before : ndarray
        (H, W) bool, where nuclei were without them.

    Returns
    -------
    ndarray
        (H, W), of the same type and without gaps.
    """
    area = np.bincount(labels.ravel())
    is_new = 2 * np.bincount(labels[before], minlength=len(area)) <= area
    is_new[0] = False
    joined: Labels | None = None
    for number, box in enumerate(ndi.find_objects(labels), 1):
        if box is None or not is_new[number]:
            continue
        seen = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
        inside = labels[seen] == number
        around = labels[seen][ndi.binary_dilation(inside, EIGHT) & ~inside]
        touched, contact = np.unique(around[~is_new[around]], return_counts=True)
        contact[touched == 0] = 0
        if contact.max(initial=0) >= max(1, _CONTACT * len(around)):
            joined = labels.copy() if joined is None else joined
            joined[seen][inside] = touched[contact.argmax()]
    return labels if joined is None else relabel_sequential(joined)[0].astype(labels.dtype)


class _Facts(NamedTuple):
    """Of every piece, (n,): height of its peak, area, first pixel, and its interior's sureness."""

    top: NDArray[Any]
    area: NDArray[Any]
    first: NDArray[Any]
    surest: NDArray[Any]


def _tile(
    confidence: NDArray[np.float32],
    chosen: ResolvedObjects,
    valid: NDArray[np.bool_] | None,
    interior: NDArray[np.float32] | None,
    box: Box,
) -> tuple[NDArray[np.int32], NDArray[np.float32], _Facts, list[int]]:
    """The pieces of one tile: no other tile has a say in them.

    Returns
    -------
    pieces : ndarray
        (h, w) int32, numbered from 1 on.
    height : ndarray
        (h + 2, w + 2) float32, with a frame of one pixel; 0 outside of objects.
    facts : _Facts
        Of the pieces.
    sure : list of int
        Numbers of nuclear and of certain pixels.
    """
    height, sureness, sure = _heights(confidence, chosen, valid, interior, box)
    pieces, top = pieces_of(height)
    rows, columns = np.nonzero(pieces)
    numbers, width = pieces[rows, columns] - 1, confidence.shape[1]
    first = np.full(len(top), confidence.size)
    np.minimum.at(first, numbers, (rows + box[0]) * width + columns + box[1])
    surest = np.zeros(len(top), np.float32)
    np.maximum.at(surest, numbers, sureness[rows, columns])
    facts = _Facts(top, np.bincount(numbers, minlength=len(top)), first, surest)
    return pieces, height, facts, sure


class _Smoothed(NamedTuple):
    """A tile's surroundings in the map, the tile in these, and what is seen there."""

    seen: Window
    inner: Window
    smooth: NDArray[np.float32]
    known: NDArray[np.bool_] | np.bool_
    #: Numbers of nuclear and of certain pixels in the tile.
    sure: list[int]


def _smoothed(
    confidence: NDArray[np.float32],
    chosen: ResolvedObjects,
    valid: NDArray[np.bool_] | None,
    box: Box,
) -> _Smoothed:
    shape = (confidence.shape[0], confidence.shape[1])
    wide = grown(box, math.ceil(_REACH * chosen.diameter), shape)
    seen, inner = window(wide), window(box, wide)
    smooth = ndi.gaussian_filter(confidence[seen], SMOOTHING * chosen.diameter)
    known = np.True_ if valid is None else valid[seen]
    sure = [int(((smooth > least) & known)[inner].sum()) for least in (_NUCLEAR, _CERTAIN)]
    return _Smoothed(seen, inner, smooth, known, sure)


def _heights(
    confidence: NDArray[np.float32],
    chosen: ResolvedObjects,
    valid: NDArray[np.bool_] | None,
    interior: NDArray[np.float32] | None,
    box: Box,
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[int]]:
    """What the nuclei of a tile (h, w) are split by, and how sure it all is.

    Returns
    -------
    height : ndarray
        (h + 2, w + 2) float32, with a frame of one pixel; 0 outside of objects.
    sureness : ndarray
        (h, w) float32, smoothed confidence in interiors; 0 where there is no map of them.
    sure : list of int
        Numbers of nuclear and of certain pixels.
    """
    seen, inner, smooth, known, sure = _smoothed(confidence, chosen, valid, box)
    sigma = SMOOTHING * chosen.diameter
    mask = (smooth > chosen.threshold) & known
    del smooth
    radius = min(round(OPENING * chosen.diameter), 250)  # the most that scikit-image's disk can do
    if radius:  # as in a mirror beyond the map's border: what is cut there is not rounded off
        mask = opening(mask, disk(radius, decomposition="sequence"), mode="reflect")
    mask = _filled(mask, smallest_area(chosen.diameter)) & known
    if mask.all():  # no border to be distant from
        depth = np.full(mask.shape, _REACH, np.float32)
    else:
        depth = ndi.distance_transform_edt(mask).astype(np.float32)
        depth *= 2 / chosen.diameter
        np.minimum(depth, _REACH, out=depth)  # in radii
    height = ndi.gaussian_filter(depth, sigma)
    sureness = np.zeros_like(height)
    if interior is not None:
        sureness = ndi.gaussian_filter(interior[seen], sigma)
    framed = np.pad(np.where(mask, height + sureness, np.float32(0)), 1)
    rows, columns = inner
    framed = framed[rows.start : rows.stop + 2, columns.start : columns.stop + 2]
    return framed, sureness[inner], sure


def _numbers(
    regions: NDArray[np.int32],
    facts: _Facts,
    pieces: NDArray[np.int32],
    chosen: ResolvedObjects,
    least: float,
) -> Labels:
    """Every piece's label: 0 where its region is no nucleus, else in order of first pixels."""
    count = int(regions.max()) + 1
    area, surest = np.bincount(regions, facts.area), np.zeros(count)
    np.maximum.at(surest, regions, facts.surest)
    first = np.full(count, pieces.size, float)
    np.minimum.at(first, regions, facts.first)
    smallest = np.full(count, chosen.min_area)
    for edge in (pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]):
        smallest[regions[edge]] = (
            chosen.min_area / 2
        )  # cut, they show half of themselves on average
    keep = (area >= smallest) & (surest >= least)
    if chosen.max_area is not None:
        keep &= area <= chosen.max_area
    keep[regions[0]] = False  # the background
    nuclei = np.flatnonzero(keep)
    label: NDArray[Any] = np.zeros(count, np.uint16 if len(nuclei) < 2**16 else np.uint32)
    label[nuclei[np.argsort(first[nuclei])]] = np.arange(1, len(nuclei) + 1)
    numbers: Labels = label[regions]
    return numbers


def _filled(mask: NDArray[np.bool_], largest: float) -> NDArray[np.bool_]:
    """A mask (h, w) without holes of up to an area; what is open to its edge is no hole."""
    parts, count = ndi.label(~mask)
    fills = np.bincount(parts.ravel(), minlength=count + 1) <= largest
    for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
        fills[edge] = False
    fills[0] = True  # the mask itself
    filled: NDArray[np.bool_] = fills[parts]
    return filled

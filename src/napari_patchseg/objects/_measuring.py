"""The table of measurements: a row an object."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_patchseg.errors import ImageError
from napari_patchseg.geometry import strips
from napari_patchseg.image.pixels import Pixels

from ._columns import CONFIDENCE_COLUMN, intensity_columns, table_headers
from ._labelling import finished
from ._shapes import Floats, Ints, Runs, convex_areas, sums

if TYPE_CHECKING:
    import pandas as pd

_T = TypeVar("_T")
#: Values (C, n) of pixels in some rows of the image.
Values = Callable[[slice, NDArray[np.bool_]], Floats]
_DIFFER = "labels are of shape {}, but the {} is of {}; they should be of one height and width."
#: Neighbours that the local density is made of.
_NEIGHBOURS = 6


def measure(
    labels: NDArray[np.integer],
    pixels: Pixels | None = None,
    *,
    pixel_size: tuple[float, float] | None = None,
    confidence: NDArray[np.floating] | None = None,
) -> pd.DataFrame:
    """Measure every object of a label image: `measure_steps` run to its end."""
    return finished(measure_steps(labels, pixels, pixel_size=pixel_size, confidence=confidence))


def measure_steps(
    labels: NDArray[np.integer],
    pixels: Pixels | None = None,
    *,
    pixel_size: tuple[float, float] | None = None,
    confidence: NDArray[np.floating] | None = None,
    columns: Collection[str] | None = None,
) -> Generator[tuple[int, int], None, pd.DataFrame]:
    """Measure every object of a label image, some rows or objects at a time.

    Parameters
    ----------
    labels : ndarray
        (H, W), integer, 0 is background. Numbers may have gaps; pixels of one number are one
        object, in however many pieces.
    pixels : Pixels, optional
        The image, of the same height and width. Pixels of an object that have no value are left
        out; where none has one, its values are NaN.
    pixel_size : tuple of float, optional
        (y, x) in µm. With it there are columns in µm, and shapes are those in µm.
    confidence : ndarray, optional
        (H, W) of numbers, in [0, 1].
    columns : collection of str, optional
        Headers of the columns that are needed; others that take long may be left out. All by
        default.

    Yields
    ------
    done, total : int
        Steps of work, each a fraction of a second.

    Returns
    -------
    DataFrame
        A row an object, in ascending label. The columns are those of `table_headers`.

    Raises
    ------
    ImageError
        With one sentence, for what are no labels, or an image of another shape.
    """
    import pandas as pd

    labels = _checked(labels)
    if pixels is not None and pixels.shape[1:] != labels.shape:
        raise ImageError(_DIFFER.format(labels.shape, "image", pixels.shape[1:]))
    confidence = None if confidence is None else _checked_confidence(confidence, labels.shape)
    headers = table_headers(pixels, pixel_size, confidence=confidence is not None)
    needed = set(headers if columns is None else columns)
    of_image = () if pixels is None else intensity_columns(pixels.channels, pixels.stains)
    if needed.isdisjoint(column.header for column in of_image):
        pixels = None
    if CONFIDENCE_COLUMN.header not in needed:
        confidence = None
    every = _strips(labels)
    passes = 1 + (pixels is not None) + (confidence is not None)
    total = passes * len(every) + 1  # the shapes
    parts, done = [], 0
    for rows in every:
        parts.append(Runs.within(labels, rows))
        done += 1
        yield done, total
    runs = Runs.joined(parts)
    numbers, owner = np.unique(runs.number, return_inverse=True)
    if len(numbers) and numbers[0] < 0:
        raise ImageError(f"labels should be 0 and above, but one is {numbers[0]}.")
    values = {"Label": numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64)}
    values |= _shapes(owner, runs, len(numbers), pixel_size)
    if "Solidity" in needed:
        hulls = np.empty(len(numbers))
        for some, areas in convex_areas(owner, runs, len(numbers)):
            hulls[some] = areas
            yield done, total
        values["Solidity"] = values["Area px^2"] / hulls
    done += 1
    yield done, total
    if pixels is not None:
        steps = _statistics(labels, runs, owner, len(numbers), pixels.values)
        mean, spread = yield from _counted(steps, done, total)
        done += len(every)
        both = np.stack([mean, spread], 1).reshape(len(of_image), len(numbers))
        values |= {column.header: row for column, row in zip(of_image, both, strict=True)}
    if confidence is not None:

        def sure(rows: slice, where: NDArray[np.bool_]) -> Floats:
            return confidence[rows][None, where].astype(np.float64)

        steps = _statistics(labels, runs, owner, len(numbers), sure)
        mean, _ = yield from _counted(steps, done, total)
        values[CONFIDENCE_COLUMN.header] = mean[0]
    return pd.DataFrame({header: values[header] for header in headers if header in values})


def _strips(labels: NDArray[np.integer]) -> list[slice]:
    """Rows that are worked on at a time; of labels without any, those."""
    return list(strips(labels.shape)) or [slice(0, 0)]


def _counted(
    steps: Generator[None, None, _T], done: int, total: int
) -> Generator[tuple[int, int], None, _T]:
    while True:
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
        done += 1
        yield done, total


def _checked(labels: object) -> NDArray[np.integer]:
    array = np.asarray(labels)
    if array.ndim != 2:
        raise ImageError(f"labels should be one plane (height, width), not of shape {array.shape}.")
    if array.dtype.kind == "b":
        raise ImageError(
            "labels should be a number for each object, not true and false; "
            "skimage.measure.label makes them."
        )
    if array.dtype.kind not in "ui":
        raise ImageError(f"labels should be whole numbers, not {array.dtype}.")
    return array


def _checked_confidence(confidence: object, shape: tuple[int, ...]) -> NDArray[np.floating]:
    array = np.asarray(confidence)
    if array.dtype.kind not in "uif":
        raise ImageError(f"confidence should be numbers, not {array.dtype}.")
    if array.shape != shape:
        raise ImageError(_DIFFER.format(shape, "confidence", array.shape))
    return array


def _shapes(
    owner: Ints, runs: Runs, count: int, pixel_size: tuple[float, float] | None
) -> dict[str, NDArray[Any]]:
    """Values of the columns of shape and place but of solidity, by header."""

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(owner, values, minlength=count), np.float64)

    length = runs.length.astype(np.float64)
    area = total(length)
    middle = runs.start + (length - 1) / 2
    y, x = total(length * runs.row) / area, total(length * middle) / area
    # About the centroid: far from the image's corner, squares would have no digits left.
    down, right = runs.row - y[owner], middle - x[owner]
    yy = total(length * down**2) / area
    xx = total(length * (right**2 + (length**2 - 1) / 12)) / area
    xy = total(length * down * right) / area
    steps = np.stack([total(way) for way in runs.steps])
    values: dict[str, NDArray[Any]] = {"Area px^2": area.astype(np.int64)}
    for unit, density, per, size in (
        ("px", "per 10^4 px^2", 1e4, (1.0, 1.0)),
        ("µm", "per mm^2", 1e6, pixel_size),
    ):
        if size is None:
            continue
        tall, wide = size
        values[f"Centroid X {unit}"], values[f"Centroid Y {unit}"] = x * wide, y * tall
        surface = area * tall * wide
        if unit == "µm":
            values["Area µm^2"] = surface
        perimeter = np.array([tall, wide, np.hypot(tall, wide)]) @ steps
        values[f"Perimeter {unit}"] = perimeter
        values[f"Equivalent diameter {unit}"] = np.sqrt(4 * surface / np.pi)
        values |= _ellipse(yy * tall**2, xx * wide**2, xy * tall * wide, unit)
        with np.errstate(divide="ignore"):  # objects of a pixel or two have none
            values["Circularity"] = np.minimum(4 * np.pi * surface / perimeter**2, 1)
        nearest, around = _neighbours(np.stack([y * tall, x * wide], 1))
        values[f"Nearest neighbour distance {unit}"] = nearest
        values[f"Local density {density}"] = around * per
    return values


def _statistics(
    labels: NDArray[np.integer], runs: Runs, owner: Ints, count: int, values_of: Values
) -> Generator[None, None, tuple[Floats, Floats]]:
    """Mean and standard deviation of each channel in each object: (C, count) both.

    First those of each run, then those of all runs of an object (Chan, Golub and LeVeque 1979): an
    image is read once, and no digits are lost where values are large beside their spread.
    """
    parts = []
    for rows in _strips(labels):
        values = values_of(rows, labels[rows] != 0)
        unknown = ~np.all(np.isfinite(values), axis=0)
        values[:, unknown] = 0
        begin, end = np.searchsorted(runs.row, [rows.start, rows.stop])
        length = runs.length[begin:end]
        first = np.cumsum(length) - length
        number = sums(~unknown, first)
        mean = sums(values, first) / np.maximum(number, 1)
        values -= np.repeat(mean, length, axis=1)
        values[:, unknown] = 0
        parts.append((number, mean, sums(values**2, first)))
        yield
    number, mean, squares = (np.concatenate(part, axis=-1) for part in zip(*parts, strict=True))

    def total(of_runs: Floats) -> Floats:
        return np.stack([np.bincount(owner, values, minlength=count) for values in of_runs])

    with np.errstate(invalid="ignore"):  # no value: NaN
        known = np.bincount(owner, number, minlength=count)
        of_object = total(number * mean) / known
        squares += number * (mean - of_object[:, owner]) ** 2
        return of_object, np.sqrt(total(squares) / known)


def _ellipse(yy: Floats, xx: Floats, xy: Floats, unit: str) -> dict[str, Floats]:
    """The ellipse of second moments, as `skimage.measure.regionprops` has it."""
    middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    longest, shortest = middle + half, middle - half
    shortest[shortest <= 1e-12 * longest] = 0  # of what is on a line: no more than rounding
    share = np.divide(2 * half, longest, out=np.zeros_like(half), where=longest > 0)
    turned = np.degrees(np.arctan2(2 * xy, yy - xx)) / 2
    return {
        f"Major axis {unit}": 4 * np.sqrt(longest),
        f"Minor axis {unit}": 4 * np.sqrt(shortest),
        "Eccentricity": np.sqrt(np.minimum(share, 1)),
        "Orientation °": np.where(half <= 1e-12 * middle, -45.0, turned),  # of what is round
    }


def _neighbours(centres: Floats) -> tuple[Floats, Floats]:
    """Distance to the nearest other centre, and centres per area; NaN where there are too few.

    With the distance d to the kth neighbour, (k - 1) / (π d²) is the density's unbiased estimate
    (Pollard 1971).
    """
    count = min(_NEIGHBOURS, len(centres) - 1)
    if count < 1:
        return np.full(len(centres), np.nan), np.full(len(centres), np.nan)
    distance, _ = cKDTree(centres).query(centres, count + 1)
    furthest = distance[:, count]
    density = np.full(len(centres), np.nan)
    if count > 1:
        np.divide(count - 1, np.pi * furthest**2, out=density, where=furthest > 0)
    return distance[:, 1], density

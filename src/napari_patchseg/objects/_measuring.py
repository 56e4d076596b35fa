"""The table of measurements: a row an object, each column described once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_patchseg.errors import ImageError
from napari_patchseg.geometry import strips
from napari_patchseg.image.pixels import Pixels

from ._shapes import Floats, Ints, Runs, convex_areas, sums

if TYPE_CHECKING:
    import pandas as pd

#: Values (C, n) of pixels in some rows of the image.
Values = Callable[[slice, NDArray[np.bool_]], Floats]
_DIFFER = "labels are of shape {}, but the {} is of {}; they should be of one height and width."
#: Neighbours that the local density is made of.
_NEIGHBOURS = 6


@dataclass(frozen=True)
class Column:
    """What a column of the table holds.

    Attributes
    ----------
    name : str
        As users know it.
    unit : str
        "" for a plain number.
    meaning : str
        One sentence or two.
    """

    name: str
    unit: str
    meaning: str

    @property
    def is_metric(self) -> bool:
        """Whether it is there only where the pixel size is known."""
        return "µm" in self.unit or "mm" in self.unit

    @property
    def header(self) -> str:
        """Name and unit: the column's text in tables, files and docs."""
        return f"{self.name} {self.unit}".rstrip()


def _lengths(name: str, meaning: str) -> list[Column]:
    return [Column(name, unit, meaning) for unit in ("px", "µm")]


#: The columns of shape and place, in their order. Those in µm and mm need the pixel size.
SHAPE_COLUMNS = (
    Column("Label", "", "The object's number in the label image."),
    *_lengths("Centroid X", "Mean column of its pixels; that of the image's first pixel is 0."),
    *_lengths("Centroid Y", "Mean row of its pixels; that of the image's first pixel is 0."),
    *(Column("Area", unit, "That of its pixels; holes do not count.") for unit in ("px^2", "µm^2")),
    *_lengths(
        "Perimeter",
        "Length of the lines through the middles of its outermost pixels, around holes as well, as "
        "Benkrid and Crookes estimate it.",
    ),
    *_lengths("Equivalent diameter", "Diameter of the circle of its area."),
    *_lengths("Major axis", "Length of the ellipse of its second moments."),
    *_lengths("Minor axis", "Width of the ellipse of its second moments."),
    Column("Eccentricity", "", "That of the same ellipse: 0 for a circle, near 1 for a rod."),
    Column(
        "Orientation",
        "°",
        "Of the same ellipse's length, from the vertical, counter-clockwise: -90 to 90.",
    ),
    Column("Solidity", "", "Its area as a share of that of its convex hull."),
    Column(
        "Circularity",
        "",
        "4π area / perimeter², at most 1, which small objects reach: their perimeter is short.",
    ),
    *_lengths("Nearest neighbour distance", "From its centroid to the nearest other one."),
    *(
        Column(
            "Local density",
            unit,
            "Objects per area around it: 5 over the circle about its centroid that reaches the "
            "sixth nearest other one; with fewer others, all but one of them.",
        )
        for unit in ("per 10^4 px^2", "per mm^2")
    ),
)
CONFIDENCE_COLUMN = Column(
    "Mean confidence", "", "Mean of how sure the network is that its pixels are nucleus, 0 to 1."
)


def intensity_columns(channels: Sequence[str], stains: Sequence[str]) -> tuple[Column, ...]:
    """The columns of an image's channels and stains, in their order."""
    measured = [(name, f"of the image's values, {name}") for name in channels]
    measured += [(f"{name} OD", f"of the optical density of {name}") for name in stains]
    return tuple(
        Column(f"{name} {short}", "", f"{long} {meaning}.")
        for name, meaning in measured
        for short, long in (("mean", "Mean"), ("std dev", "Standard deviation"))
    )


def measure(
    labels: NDArray[np.integer],
    pixels: Pixels | None = None,
    *,
    pixel_size: tuple[float, float] | None = None,
    confidence: NDArray[np.floating] | None = None,
) -> pd.DataFrame:
    """Measure every object of a label image.

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

    Returns
    -------
    DataFrame
        A row an object, in ascending label. The columns are `SHAPE_COLUMNS`, those in µm with the
        pixel size, `intensity_columns` of the image and `CONFIDENCE_COLUMN`.

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
    runs = Runs.of(labels)
    numbers, owner = np.unique(runs.number, return_inverse=True)
    if len(numbers) and numbers[0] < 0:
        raise ImageError(f"labels should be 0 and above, but one is {numbers[0]}.")
    values = {"Label": numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64)}
    values |= _shapes(owner, runs, len(numbers), pixel_size)
    columns = [column.header for column in SHAPE_COLUMNS if column.header in values]
    table = {header: values[header] for header in columns}
    if pixels is not None:
        described = intensity_columns(pixels.channels, pixels.stains)
        mean, spread = _statistics(labels, runs, owner, len(numbers), pixels.values)
        both = np.stack([mean, spread], 1).reshape(len(described), len(numbers))
        table |= {column.header: row for column, row in zip(described, both, strict=True)}
    if confidence is not None:

        def sure(rows: slice, where: NDArray[np.bool_]) -> Floats:
            return confidence[rows][None, where].astype(np.float64)

        mean, _ = _statistics(labels, runs, owner, len(numbers), sure)
        table[CONFIDENCE_COLUMN.header] = mean[0]
    return pd.DataFrame(table)


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
    """Values of the columns of shape and place, by header."""

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
    values["Solidity"] = area / convex_areas(owner, runs, count)
    return values


def _statistics(
    labels: NDArray[np.integer], runs: Runs, owner: Ints, count: int, values_of: Values
) -> tuple[Floats, Floats]:
    """Mean and standard deviation of each channel in each object: (C, count) both.

    First those of each run, then those of all runs of an object (Chan, Golub and LeVeque 1979): an
    image is read once, and no digits are lost where values are large beside their spread.
    """
    parts = []
    for rows in strips(labels.shape):
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
    longest = middle + half
    share = np.divide(2 * half, longest, out=np.zeros_like(half), where=longest > 0)
    turned = np.degrees(np.arctan2(2 * xy, yy - xx)) / 2
    return {
        f"Major axis {unit}": 4 * np.sqrt(longest),
        f"Minor axis {unit}": 4 * np.sqrt(np.maximum(middle - half, 0)),
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

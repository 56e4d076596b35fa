"""The table of measurements: a row an object, each column described once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from napari_patchseg.errors import ImageError

from ._shapes import Floats, Ints, Runs, convex_areas

if TYPE_CHECKING:
    import pandas as pd

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
    def header(self) -> str:
        """Name and unit: the column's text in tables, files and docs."""
        return f"{self.name} {self.unit}".rstrip()


def _lengths(name: str, meaning: str) -> list[Column]:
    return [Column(name, unit, meaning) for unit in ("px", "µm")]


_PLACE = "of the mean of its pixels' centres; the centre of the image's first pixel is 0."
#: The columns of shape and place, in their order. Those in µm and mm need the pixel size.
SHAPE_COLUMNS = (
    Column("Label", "", "The object's number in the label image."),
    *_lengths("Centroid X", f"Column {_PLACE}"),
    *_lengths("Centroid Y", f"Row {_PLACE}"),
    Column("Area", "px^2", "Number of its pixels."),
    Column("Area", "µm^2", "Its pixels' area."),
    *_lengths(
        "Perimeter",
        "Length of the line through the centres of its outermost pixels, holes included, "
        "estimated as by Benkrid and Crookes (scikit-image's `perimeter`).",
    ),
    *_lengths("Equivalent diameter", "Diameter of the circle of its area."),
    *_lengths("Major axis", "Length of the ellipse that has its second moments."),
    *_lengths("Minor axis", "Width of the ellipse that has its second moments."),
    Column(
        "Eccentricity", "", "Of the same ellipse: 0 for a circle, near 1 for what is long and thin."
    ),
    Column(
        "Orientation",
        "°",
        "Of the same ellipse's length, from the image's vertical, counter-clockwise, -90 to 90.",
    ),
    Column("Solidity", "", "Its area as a share of its convex hull's."),
    Column(
        "Circularity",
        "",
        "4π area / perimeter², at most 1: the perimeter of small objects comes out short.",
    ),
    *_lengths("Nearest neighbour distance", "From its centroid to the nearest other one."),
    *(
        Column(
            "Local density",
            unit,
            "Objects per area around it: the five nearest others, over the circle from its centroid"
            " to the sixth's (Pollard's unbiased estimate); fewer where there are fewer.",
        )
        for unit in ("per 10^4 px^2", "per mm^2")
    ),
)


def measure(
    labels: NDArray[np.integer], *, pixel_size: tuple[float, float] | None = None
) -> pd.DataFrame:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : ndarray
        (H, W), integer, 0 is background. Numbers may have gaps; pixels of one number are one
        object, in however many pieces.
    pixel_size : tuple of float, optional
        (y, x) in µm. With it there are columns in µm, and shapes are those in µm.

    Returns
    -------
    DataFrame
        A row an object, in ascending label; the columns are `SHAPE_COLUMNS`.

    Raises
    ------
    ImageError
        With one sentence, for what are no labels.
    """
    import pandas as pd

    labels = _checked(labels)
    runs = Runs.of(labels)
    numbers, owner = np.unique(runs.number, return_inverse=True)
    if len(numbers) and numbers[0] < 0:
        raise ImageError(f"labels should be 0 and above, but one is {numbers[0]}.")
    values = {"Label": numbers if numbers.dtype == np.uint64 else numbers.astype(np.int64)}
    values |= _shapes(owner, runs, len(numbers), pixel_size)
    columns = [column.header for column in SHAPE_COLUMNS if column.header in values]
    return pd.DataFrame({header: values[header] for header in columns})


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
    steps = np.stack([total(way) for way in runs.steps.T])
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

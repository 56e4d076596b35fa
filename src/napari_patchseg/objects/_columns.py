"""What is measured of objects: each column of the table, described once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from napari_patchseg.image.pixels import Pixels


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
    is_place : bool
        Whether it says which object it is or where, not how it is.
    has_mean : bool
        Whether the mean of some objects' says anything.
    """

    name: str
    unit: str
    meaning: str
    is_place: bool = False
    has_mean: bool = True

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


def _places(name: str, meaning: str) -> list[Column]:
    return [replace(one, is_place=True, has_mean=False) for one in _lengths(name, meaning)]


#: The columns of shape and place, in their order. Those in µm and mm need the pixel size.
SHAPE_COLUMNS = (
    Column("Label", "", "The object's number in the label image.", is_place=True, has_mean=False),
    *_places("Centroid X", "Mean column of its pixels; that of the image's first pixel is 0."),
    *_places("Centroid Y", "Mean row of its pixels; that of the image's first pixel is 0."),
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
        has_mean=False,
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


def table_headers(
    pixels: Pixels | None, pixel_size: tuple[float, float] | None, *, confidence: bool
) -> list[str]:
    """The headers of a table, in their order.

    Parameters
    ----------
    pixels : Pixels or None
        The image, if its values are measured.
    pixel_size : tuple of float or None
        (y, x) in µm, where it is known.
    confidence : bool
        Whether the confidence is measured.
    """
    columns = [column for column in SHAPE_COLUMNS if pixel_size is not None or not column.is_metric]
    if pixels is not None:
        columns += intensity_columns(pixels.channels, pixels.stains)
    if confidence:
        columns.append(CONFIDENCE_COLUMN)
    return [column.header for column in columns]


def is_place(header: str) -> bool:
    """Whether a column says which object it is or where, not how it is."""
    return header in _KNOWN and _KNOWN[header].is_place


def has_mean(header: str) -> bool:
    """Whether the mean of a column says anything: not of places and directions."""
    return header not in _KNOWN or _KNOWN[header].has_mean


def unit_of(header: str) -> str:
    """The unit of a column, as its header has it; "" for a plain number."""
    return _KNOWN[header].unit if header in _KNOWN else ""


def in_micrometres(header: str) -> str | None:
    """The header of the same in µm or mm, of one in px; None where there is none."""
    return _IN_MICROMETRES.get(header)


def in_pixels(header: str) -> str | None:
    """The header of the same in px, of one in µm or mm; None where there is none."""
    return _IN_PIXELS.get(header)


def pretty(header: str) -> str:
    """A header as people write it: "Area µm²"."""
    return header.replace("^2", "²").replace("^4", "⁴")


_KNOWN = {column.header: column for column in (*SHAPE_COLUMNS, CONFIDENCE_COLUMN)}
_IN_MICROMETRES = {
    one.header: other.header for one, other in pairwise(SHAPE_COLUMNS) if one.name == other.name
}
_IN_PIXELS = {other: one for one, other in _IN_MICROMETRES.items()}

"""Which picture of a TIFF file is the image: not its thumbnail, label or map of the glass."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchseg.errors import FileError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

#: Names that scanners, tifffile and OME give to pictures that are not the scan.
_BESIDE = re.compile(
    r"(.*[\W_])?(label|macro|thumb(nail)?|overview|barcode|preview)([\s_-]*(image|picture|\d+(x\d+)?))*|map",
    re.IGNORECASE | re.DOTALL,
)
#: A picture with less than this share of the largest one's pixels is not what a file is for.
_SMALL = 0.25


def full_picture(tiff: TiffFile, path: Path) -> TiffPageSeries:
    """The image of a TIFF at its full resolution.

    Left out are reduced copies, masks, and pictures whose names say that they show the glass or its
    label; of what remains, all that is much smaller than the largest.

    Raises
    ------
    FileError
        If several remain: which one is meant, only the user can say.
    """
    pictures = [max(series.levels, key=_area) for series in tiff.series]
    pictures = [p for p in pictures if not _is_reduced(p.keyframe)] or pictures
    pictures = [p for p in pictures if not _is_beside(p)] or pictures
    largest = max(pictures, key=_area)
    rivals = [p for p in pictures if p is largest or _rivals(p, largest)]
    if len(rivals) > 1:
        sizes = ", ".join(f"{p.keyframe.imagewidth} x {p.keyframe.imagelength}" for p in rivals[:4])
        more = ", ..." if len(rivals) > 4 else ""
        raise FileError(
            f"{path} holds {len(rivals)} pictures ({sizes}{more} px); save one of them by itself."
        )
    return largest


def channel_names(tiff: TiffFile, page: TiffPage) -> list[str]:
    """Names of a picture's channels as OME and ImageJ give them; empty where they don't."""
    if tiff.is_ome and tiff.ome_metadata:
        try:
            pixels = ome_pixels(tiff.ome_metadata, page)
        except (ET.ParseError, IndexError):
            return []
        return [e.get("Name", "") for e in pixels if e.tag.endswith("}Channel")]
    labels = (tiff.imagej_metadata or {}).get("Labels")
    return [str(label) for label in labels] if isinstance(labels, list) else []


def ome_pixels(xml: str, page: TiffPage) -> ET.Element:
    """What OME-XML says about the image with a page's width and height.

    Raises
    ------
    ElementTree.ParseError, IndexError
        If it is no XML, or describes no image.
    """
    images = [e for e in ET.fromstring(xml).iter() if e.tag.endswith("}Pixels")]
    shape = str(page.imagelength), str(page.imagewidth)
    own = [e for e in images if (e.get("SizeY"), e.get("SizeX")) == shape]
    return (own or images)[0]


def _area(series: TiffPageSeries) -> int:
    return int(series.keyframe.imagewidth) * int(series.keyframe.imagelength)


def _is_reduced(page: TiffPage) -> bool:
    """Whether the page calls itself a reduced copy of another or a mask for one."""
    return bool(page.is_reduced or page.is_mask)


def _is_beside(picture: TiffPageSeries) -> bool:
    """Whether a picture's name, or its page's, says that it shows the glass or its label."""
    page = picture.keyframe
    texts = [picture.name, page.tags.valueof("PageName"), *page.description.splitlines()[:2]]
    return any(isinstance(text, str) and _BESIDE.fullmatch(text.strip()) for text in texts)


def _rivals(picture: TiffPageSeries, largest: TiffPageSeries) -> bool:
    """Whether a picture is neither a smaller copy of the largest nor much smaller."""
    if _area(picture) < _SMALL * _area(largest):
        return False
    (height, width), (full_height, full_width) = (
        (p.keyframe.imagelength, p.keyframe.imagewidth) for p in (picture, largest)
    )
    smaller = height < full_height and width < full_width
    factor = round(full_height / height)  # levels of pyramids are halves, thirds, ...
    return not (
        smaller
        and factor > 1
        and abs(full_height / factor - height) < 2
        and abs(full_width / factor - width) < 2
    )

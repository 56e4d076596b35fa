"""TIFF: which of a file's pictures is the image, and whether all its pixels are there."""

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
    pictures = [
        p for p in pictures if not (p.keyframe.is_reduced or p.keyframe.is_mask)
    ] or pictures
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


def check_complete(path: Path, level: TiffPageSeries) -> None:
    """Raise a `FileError` where pixels are missing.

    tifffile reads a strip that ends too early as a smaller one, and leaves out a missing one. What
    counts is where the pixels end: sloppy writers count the last strip as long as others.
    """
    page = level.keyframe
    if page.imagedepth != 1:
        return
    planes = int(page.samplesperpixel) if page.planarconfig == 2 else 1
    width, height = page.imagewidth, page.imagelength
    tiled = page.is_tiled
    step = (page.tilelength if tiled else page.rowsperstrip) or height
    wide = page.tilewidth if tiled else width
    down, across = -(-height // step), -(-width // wide)
    expected = down * across * planes
    row = -(-wide * int(page.bitspersample) * int(page.samplesperpixel) // planes // 8)  # bytes
    rows = [step if tiled else min(step, height - step * number) for number in range(down)]
    stored = [row * length for length in rows for _ in range(across)] * planes
    for part in level.pages:
        if part is None:
            continue
        offsets, counts = part.dataoffsets, part.databytecounts
        is_stored = page.compression == 1 and not page.is_subsampled
        if is_stored and len(offsets) == len(counts) == expected:  # 0: the file has none of it
            counts = tuple(count and size for count, size in zip(counts, stored, strict=True))
            part.databytecounts = counts
        size = part.parent.filehandle.size  # of a set of OME-TIFFs each plane may lie in another
        segments = zip(offsets, counts, strict=False)
        if len(offsets) < expected or any(offset + count > size for offset, count in segments):
            raise FileError(f"{path} is a truncated TIFF: pixels are missing; get it anew.")


def _area(series: TiffPageSeries) -> int:
    return int(series.keyframe.imagewidth) * int(series.keyframe.imagelength)


def _is_beside(picture: TiffPageSeries) -> bool:
    """Whether a picture's name, or its page's, says that it shows the glass or its label."""
    page = picture.keyframe
    texts = [picture.name, page.tags.valueof("PageName"), *page.description.splitlines()[:2]]
    return any(isinstance(text, str) and _BESIDE.fullmatch(text.strip()) for text in texts)


def _rivals(picture: TiffPageSeries, largest: TiffPageSeries) -> bool:
    """Whether a picture is neither a smaller copy of the largest nor much smaller."""
    if _area(picture) < _area(largest) / 4:  # not what a file is for
        return False
    sides = picture.keyframe.imagelength, picture.keyframe.imagewidth
    full = largest.keyframe.imagelength, largest.keyframe.imagewidth
    factor = round(full[0] / sides[0])  # levels of pyramids are halves, thirds, ...
    fits = all(abs(whole / factor - side) < 2 for whole, side in zip(full, sides, strict=True))
    return not (factor > 1 and fits)

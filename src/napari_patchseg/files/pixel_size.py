"""Size of a pixel, from whatever a file says about it, where that can be the size of a pixel."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchseg.errors import SettingsError

from ._tiff import ome_pixels

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

#: Sizes in µm that a pixel of a micrograph can have. Resolutions often say "72 per inch" or the
#: like, whatever they are called and in whatever unit: that describes paper, not tissue.
PLAUSIBLE = (0.05, 10.0)

#: µm in the units that the tag ResolutionUnit numbers: inch, cm, mm and µm.
_RESOLUTION_UNITS = {2: 25_400, 3: 10_000, 4: 1_000, 5: 1}

_Sizes = tuple[float, float]


def plausible(size_y: float, size_x: float) -> _Sizes | None:
    """A pixel's height and width in µm, where a micrograph's pixel can have them; else None.

    The one test for every source of a pixel size: files of any kind, and layers.
    """
    low, high = PLAUSIBLE
    return (float(size_y), float(size_x)) if low <= size_y <= high >= size_x >= low else None


def both_sizes(pixel_size: object) -> _Sizes:
    """A pixel's height and width in µm, as they are given from Python.

    Parameters
    ----------
    pixel_size : float or sequence of float
        One number for both, or (y, x).

    Raises
    ------
    SettingsError
        If it is neither, or not above 0.
    """
    try:
        size_y, size_x = np.broadcast_to(np.asarray(pixel_size, float), 2).tolist()
    except (TypeError, ValueError):
        size_y = size_x = math.nan
    if not (0 < size_y < math.inf and 0 < size_x < math.inf):
        raise SettingsError(
            f"pixel_size should be µm above 0, one number or (y, x), not {pixel_size!r}."
        )
    return size_y, size_x


def micrometres(unit: object) -> float:
    """µm in one of a unit, pint's or its name in a file; NaN where that is no length."""
    name = re.sub(r"\\u00b5", "µ", str(unit).strip(), flags=re.IGNORECASE)  # ImageJ's escape
    if name in ("µm", "micrometer"):
        return 1.0  # most files: pint takes half a second to load
    if name.isalpha():  # pint would work out any formula
        import pint

        for spelt in (name, name.lower(), name.upper()):
            try:
                return float(pint.Quantity(1, spelt).to("micrometer").magnitude)
            except (pint.PintError, ValueError):
                continue
    return math.nan


def of_tiff(tiff: TiffFile, page: TiffPage) -> _Sizes | None:
    """Size of a page's pixels, (y, x) in µm, of the first of the file's statements that can be one.

    Parameters
    ----------
    tiff : TiffFile
        The file.
    page : TiffPage
        The page whose pixels are meant.
    """
    for source in (_ome, _aperio, _vendors, _tags):  # the most reliable first
        try:
            for size_y, size_x in source(tiff, page):
                if size := plausible(size_y, size_x):
                    return size
        # Made by any software, damaged or not: what cannot be understood says nothing.
        except Exception:  # noqa: BLE001
            continue
    return None


def of_picture(info: dict[Any, Any]) -> _Sizes | None:
    """Size of a pixel, (y, x) in µm, of what Pillow knows about a PNG, JPEG and others."""
    try:
        across, down = (float(number) for number in info["dpi"])
        return plausible(25_400 / down, 25_400 / across)
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None


def _ome(tiff: TiffFile, page: TiffPage) -> Iterator[_Sizes]:
    """PhysicalSizeY and PhysicalSizeX of the OME image that has the page's width and height."""
    if tiff.is_ome and tiff.ome_metadata:
        pixels = ome_pixels(tiff.ome_metadata, page).attrib
        size_y, size_x = (
            float(pixels[f"PhysicalSize{axis}"])
            * micrometres(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
            for axis in "YX"
        )
        yield size_y, size_x


def _aperio(_: TiffFile, page: TiffPage) -> Iterator[_Sizes]:
    found = re.search(r"\bMPP\s*=\s*([0-9.]+)", page.description or "")
    if found:  # µm per pixel
        yield float(found[1]), float(found[1])


def _vendors(tiff: TiffFile, page: TiffPage) -> Iterator[_Sizes]:
    """What else tifffile understands."""
    if tiff.is_philips and tiff.philips_metadata:
        found = re.search(
            r'"DICOM_PIXEL_SPACING"[^>]*>\s*(?:&quot;|")([0-9.eE+-]+)(?:&quot;|")\s+'
            r'(?:&quot;|")([0-9.eE+-]+)',
            tiff.philips_metadata,
        )
        if found:  # mm
            yield float(found[1]) * 1e3, float(found[2]) * 1e3
    if page.is_bif:
        xmp = page.tags.valueof("XMP", default=b"")
        resolution = re.search(rb'\bScanRes="([0-9.]+)"', xmp) if isinstance(xmp, bytes) else None
        if resolution:  # µm
            yield float(resolution[1]), float(resolution[1])
    if tiff.is_sis and tiff.sis_metadata:  # Olympus; m
        yield tiff.sis_metadata["pixelsizey"] * 1e6, tiff.sis_metadata["pixelsizex"] * 1e6
    if tiff.is_lsm and tiff.lsm_metadata:  # Zeiss; m
        yield tiff.lsm_metadata["VoxelSizeY"] * 1e6, tiff.lsm_metadata["VoxelSizeX"] * 1e6
    if tiff.is_micromanager and tiff.micromanager_metadata:
        size = float(tiff.micromanager_metadata["Summary"]["PixelSize_um"])
        yield size, size


def _tags(tiff: TiffFile, page: TiffPage) -> Iterator[_Sizes]:
    """The resolution tags, in the unit that ImageJ or the tag beside them names."""
    spacing_y, spacing_x = (
        below / above for above, below in (page.tags.valueof(f"{axis}Resolution") for axis in "YX")
    )
    unit = (tiff.imagej_metadata or {}).get("unit")
    if isinstance(unit, str):
        factor = micrometres(unit)
    else:
        factor = _RESOLUTION_UNITS.get(page.tags.valueof("ResolutionUnit", default=2), math.nan)
    yield spacing_y * factor, spacing_x * factor

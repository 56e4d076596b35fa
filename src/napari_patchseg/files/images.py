"""Images in: TIFF through tifffile, everything else through Pillow, told apart by content."""

from __future__ import annotations

import logging
import math
import os
import re
import struct
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.errors import FileError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

#: Sizes in µm that a pixel of a micrograph can have. Resolution tags often say "72 per inch" or the
#: like, which describes paper, not tissue.
PLAUSIBLE = (0.05, 10.0)

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"

#: µm in a unit, as OME and ImageJ write them; "pixel" and "reference frame" are no lengths.
_MICROMETRES = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0,
    "micrometre": 1.0, "\\u00b5m": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "å": 1e-4,
    "inch": 25_400.0, "in": 25_400.0,
}  # fmt: skip


@dataclass(frozen=True)
class ImageFile:
    """An image as its file has it.

    Attributes
    ----------
    array : ndarray
        (H, W), (H, W, 3 | 4) with ``rgb``, or with a channel axis.
    rgb : bool
        Whether the last axis is colour.
    channel_axis : int or None
        The axis of channels that are not colours.
    pixel_size_yx : tuple of float or None
        Height and width of a pixel in µm; None where the file doesn't say.
    name : str
        The file's name without its extension.
    """

    array: NDArray[Any]
    rgb: bool
    channel_axis: int | None
    pixel_size_yx: tuple[float, float] | None
    name: str

    @property
    def pixel_size(self) -> float | None:
        """Side in µm of the square that has a pixel's area; None where the file doesn't say."""
        return None if self.pixel_size_yx is None else math.sqrt(math.prod(self.pixel_size_yx))


def read_image(path: str | os.PathLike[str]) -> ImageFile:
    """Read one plane of pixels from an image file.

    The content decides about the format, not the name. Of a pyramid the full resolution is read, of
    a file with several images the first.

    Parameters
    ----------
    path : path-like
        TIFF (OME-TIFF, BigTIFF, SVS, NDPI and others that tifffile reads), or PNG, JPEG, BMP, WebP,
        JPEG 2000 and what else Pillow reads.

    Raises
    ------
    FileError
        If there is no such file, it is a folder, damaged or no image, or holds more than one plane.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise FileError(f"{path} is a folder; give an image file.")
        with path.open("rb") as file:
            start = file.read(32)
            file.seek(0)
            if not start:
                raise FileError(f"{path} is empty.")
            with _quiet():
                if start[:4] in _TIFF:
                    return _read_tiff(file, path)
                return _read_other(file, path, start)
    except FileError:
        raise
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}.") from error
    except PermissionError as error:
        raise FileError(f"{path} may not be read; ask its owner for permission.") from error
    except MemoryError as error:
        raise FileError(f"{path} does not fit into memory; crop it first.") from error
    except Exception as error:  # a decoder met bytes that it did not expect: it may raise anything
        raise FileError(f"{path} cannot be read: {_first_line(error)}.") from error


# -- TIFF


def _read_tiff(file: BinaryIO, path: Path) -> ImageFile:
    from tifffile import TiffFile, TiffFileError

    try:
        tiff = TiffFile(file)
        series = tiff.series[0]
    except (TiffFileError, IndexError, ValueError, struct.error) as error:
        raise FileError(f"{path} is a damaged or truncated TIFF; get it anew.") from error
    level = series.levels[0]  # the full resolution
    _check_memory(path, level.nbytes)
    page = level.keyframe
    _check_complete(path, level)
    try:
        array = level.asarray()
    except Exception as error:  # imagecodecs has an exception per codec
        compression = getattr(page.compression, "name", page.compression)
        raise FileError(
            f"{path} cannot be decoded (compression {compression}): {_first_line(error)}."
        ) from error
    array, axes = _squeeze(array, level.axes, path)
    array, rgb, channel_axis = _colours(array, axes, page)
    size = _tiff_pixel_size(tiff, page)
    return ImageFile(array, rgb, channel_axis, size, _name(path))


def _check_complete(path: Path, level: TiffPageSeries) -> None:
    # tifffile reads a strip that ends too early as a smaller one, or leaves it black.
    for page in level.pages:
        if page is None:
            continue
        size = page.parent.filehandle.size  # of a set of OME-TIFFs each plane may lie in another
        segments = zip(page.dataoffsets, page.databytecounts, strict=False)
        if any(offset + count > size for offset, count in segments):
            raise FileError(f"{path} is a truncated TIFF: pixels are missing; get it anew.")


def _squeeze(array: NDArray[Any], axes: str, path: Path) -> tuple[NDArray[Any], str]:
    """Drop axes of length 1; what stays must be Y, X and at most one of channel and sample."""
    for position in reversed(range(array.ndim)):
        if axes[position] not in "YX" and array.shape[position] == 1:
            array = array.squeeze(position)
            axes = axes[:position] + axes[position + 1 :]
    if sorted(axes) not in (["X", "Y"], ["C", "X", "Y"], ["S", "X", "Y"]):
        named = " x ".join(
            f"{_AXIS_NAMES.get(axis, axis)} {length}"
            for axis, length in zip(axes, array.shape, strict=True)
        )
        raise FileError(f"{path} holds more than one plane ({named}); save one plane by itself.")
    return array, axes


_AXIS_NAMES = {
    "X": "width", "Y": "height", "Z": "depth", "C": "channels", "S": "samples", "T": "time",
    "Q": "pages", "I": "pages",
}  # fmt: skip


def _colours(
    array: NDArray[Any], axes: str, page: TiffPage
) -> tuple[NDArray[Any], bool, int | None]:
    from tifffile import PHOTOMETRIC

    if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is not None and array.ndim == 2:
        palette = np.asarray(page.colormap)
        return np.moveaxis((palette >> 8).astype(np.uint8)[:, array], 0, -1), True, None
    if array.ndim == 2:
        return array, False, None
    channel_axis = axes.index("S" if "S" in axes else "C")
    colours = page.photometric not in (
        PHOTOMETRIC.MINISBLACK,
        PHOTOMETRIC.MINISWHITE,
        PHOTOMETRIC.SEPARATED,
    )
    if "S" in axes and colours and array.shape[channel_axis] in (3, 4):
        # One plane per colour is a layout of the file; for the reader it is RGB like any other.
        return np.ascontiguousarray(np.moveaxis(array, channel_axis, -1)), True, None
    return array, False, channel_axis


def _tiff_pixel_size(tiff: TiffFile, page: TiffPage) -> tuple[float, float] | None:
    description = page.description or ""
    if tiff.is_ome and tiff.ome_metadata:
        return _ome_pixel_size(tiff.ome_metadata)
    magnification = re.search(r"\bMPP\s*=\s*([0-9.]+)", description)
    if magnification:  # Aperio: µm per pixel
        try:
            size = float(magnification[1])
        except ValueError:
            return None
        return _good(size, size)
    resolution = [page.tags.valueof(name) for name in ("YResolution", "XResolution")]
    if not all(isinstance(value, tuple) and len(value) == 2 and all(value) for value in resolution):
        return None
    spacing_y, spacing_x = (below / above for above, below in resolution)
    imagej = tiff.imagej_metadata
    if imagej and isinstance(imagej.get("unit"), str):
        factor = _MICROMETRES.get(imagej["unit"].strip().lower())
        return None if factor is None else _good(spacing_y * factor, spacing_x * factor)
    factor = {2: 25_400.0, 3: 10_000.0}.get(page.tags.valueof("ResolutionUnit", default=2))
    if factor is None:
        return None
    sizes = spacing_y * factor, spacing_x * factor
    low, high = PLAUSIBLE
    return _good(*sizes) if all(low <= size <= high for size in sizes) else None


def _ome_pixel_size(xml: str) -> tuple[float, float] | None:
    """PhysicalSizeY and PhysicalSizeX of the first image in µm."""
    try:
        pixels = next(e for e in ET.fromstring(xml).iter() if e.tag.endswith("}Pixels"))
        sizes = [
            float(pixels.attrib[f"PhysicalSize{axis}"])
            * _MICROMETRES[pixels.get(f"PhysicalSize{axis}Unit", "µm").lower()]
            for axis in "YX"
        ]
    except (ET.ParseError, StopIteration, KeyError, ValueError):
        return None
    return _good(*sizes)


def _good(size_y: float, size_x: float) -> tuple[float, float] | None:
    good = all(math.isfinite(size) and size > 0 for size in (size_y, size_x))
    return (float(size_y), float(size_x)) if good else None


# -- everything else


def _read_other(file: BinaryIO, path: Path, start: bytes) -> ImageFile:
    from PIL import Image, UnidentifiedImageError

    try:
        image = Image.open(file)
    except UnidentifiedImageError as error:
        raise FileError(
            f"{path} is not an image that can be read; TIFF, PNG and JPEG can be."
        ) from error
    except Image.DecompressionBombError as error:
        raise FileError(f"{path} is too large for its format; save it as TIFF.") from error
    with image:
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # a camera's JPEG with a preview behind it
            raise FileError(f"{path} holds {frames} pictures; save one of them by itself.")
        _check_memory(path, image.width * image.height * 4)
        try:
            # Not turned as a camera's orientation tag says: napari doesn't either, and labels must
            # lie on what it shows.
            array = _sixteen_bits(file, start)
            if array is None:
                array = _pillow_array(image)
        except (OSError, SyntaxError, EOFError) as error:
            raise FileError(f"{path} is damaged or truncated ({error}); get it anew.") from error
    if array.ndim == 3 and array.shape[2] == 2:  # grey with opacity
        array = array[..., 0]
    return ImageFile(array, array.ndim == 3, None, None, _name(path))


def _pillow_array(image: Any) -> NDArray[Any]:
    if image.mode in {"1", "L", "LA", "RGB", "RGBA", "I", "F"} or image.mode.startswith("I;16"):
        return np.array(image)
    see_through = image.mode in {"PA", "RGBa"} or "transparency" in image.info
    return np.array(image.convert("RGBA" if see_through else "RGB"))


def _sixteen_bits(file: BinaryIO, start: bytes) -> NDArray[Any] | None:
    """A PNG with 16 bits in each colour, of which Pillow would keep 8; None for anything else."""
    if not start.startswith(_PNG) or start[24] != 16 or start[25] not in (2, 4, 6):
        return None
    import imagecodecs

    file.seek(0)
    try:
        return np.asarray(imagecodecs.png_decode(file.read()))
    except imagecodecs.PngError as error:
        raise OSError(_first_line(error)) from error


# -- both


def _check_memory(path: Path, needed: int) -> None:
    try:
        there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows: there the attempt decides
        return
    if needed > there:
        raise FileError(
            f"{path} has {needed / 2**30:.0f} GB of pixels, more than this machine's memory; "
            "crop it first."
        )


def _name(path: Path) -> str:
    return path.stem.removesuffix(".ome")


def _first_line(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0].rstrip(".")
    return text or type(error).__name__


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings and log lines of the decoders: what matters of them becomes our one sentence."""
    log = logging.getLogger("tifffile")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)

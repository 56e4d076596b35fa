"""Images in: TIFF through tifffile, everything else through Pillow, told apart by content."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.errors import FileError, reason_of
from napari_patchseg.words import image_name

from . import _colours as colours
from . import pixel_size
from ._tiff import channel_names, check_complete, full_picture

if TYPE_CHECKING:
    pass

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"


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
    a slide scanner's file the scan: never a thumbnail, the slide's label or a map of the glass.

    Parameters
    ----------
    path : path-like
        TIFF (OME-TIFF, BigTIFF, SVS, NDPI and others that tifffile reads), or PNG, JPEG, BMP, WebP,
        JPEG 2000 and what else Pillow reads.

    Raises
    ------
    FileError
        If there is no such file, it is a folder, damaged or no image, or holds more than one plane
        or picture of which any may be meant.
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
    except colours.UnknownColoursError as error:
        raise FileError(
            f"{path} keeps its colours as {error}, which cannot be converted; save it as RGB."
        ) from error
    except FileError:
        raise
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}.") from error
    except PermissionError as error:
        raise FileError(f"{path} may not be read; ask its owner for permission.") from error
    except MemoryError as error:
        raise FileError(f"{path} does not fit into memory; crop it first.") from error
    except Exception as error:  # a decoder met bytes that it did not expect: it may raise anything
        raise FileError(
            f"{path} is damaged or truncated, or of a kind that is not read ({reason_of(error)}); "
            "get it anew, or save it as TIFF or PNG."
        ) from error


def pixel_size_of_file(
    path: str | os.PathLike[str], shape: tuple[int, int] | None = None
) -> tuple[float, float] | None:
    """Size of an image file's pixels, from its header, without reading them.

    For images that somebody else has read, such as napari, who left the size out.

    Parameters
    ----------
    path : path-like
        A file as `read_image` takes it, or anything else: whatever goes wrong, the answer is None.
    shape : tuple of int, optional
        Height and width that the image must have. A file may hold several pictures, and the size is
        that of the one that `read_image` takes.

    Returns
    -------
    tuple of float or None
        Height and width of a pixel in µm; None where the file says nothing plausible.
    """
    header = _header(Path(path))
    return header[1] if header and shape in (None, header[0]) else None


def unconverted_colours(path: str | os.PathLike[str]) -> str | None:
    """The colour space of a file that napari shows as if it were RGB or grey.

    Returns
    -------
    str or None
        Its name, such as "YCbCr"; None where napari is right, or there is no such TIFF.
    """
    header = _header(Path(path))
    return header[2] if header else None


def _header(
    path: Path,
) -> tuple[tuple[int, int], tuple[float, float] | None, str | None] | None:
    """Height and width, pixel size and unconverted colours; None whatever goes wrong."""
    from PIL import Image
    from tifffile import TiffFile

    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with path.open("rb") as file, _quiet():
            start = file.read(4)
            file.seek(0)
            if start not in _TIFF:
                with Image.open(file) as image:
                    return (image.height, image.width), pixel_size.of_picture(image.info), None
            tiff = TiffFile(file)
            page = full_picture(tiff, path).keyframe
            shape = int(page.imagelength), int(page.imagewidth)
            return shape, pixel_size.of_tiff(tiff, page), colours.stored_as(page)
    except Exception:  # noqa: BLE001  a decoder may raise anything
        return None


def _read_tiff(file: BinaryIO, path: Path) -> ImageFile:
    from tifffile import TiffFile

    tiff = TiffFile(file)
    level = full_picture(tiff, path)
    page = level.keyframe
    _check_memory(path, level.nbytes)
    check_complete(path, level)
    packed = len(level.pages) == 1 and colours.is_packed(page)
    array, axes = (colours.unpacked(page), "YXS") if packed else (level.asarray(), level.axes)
    array, axes = _squeeze(array, axes, path)
    array, rgb, channel_axis = colours.of_tiff(array, axes, page, channel_names(tiff, page))
    return ImageFile(array, rgb, channel_axis, pixel_size.of_tiff(tiff, page), image_name(path))


def _squeeze(array: NDArray[Any], axes: str, path: Path) -> tuple[NDArray[Any], str]:
    """Drop axes of length 1; what stays must be Y, X and at most one of channel and sample."""
    from tifffile import TIFF

    single = [n for n, axis in enumerate(axes) if axis not in "YX" and array.shape[n] == 1]
    array = array.squeeze(tuple(single))
    axes = "".join(axis for n, axis in enumerate(axes) if n not in single)
    if sorted(axes) not in (["X", "Y"], ["C", "X", "Y"], ["S", "X", "Y"]):
        names = {**TIFF.AXES_NAMES, "Q": "pages", "I": "pages"}
        lengths = zip(axes, array.shape, strict=True)
        named = " x ".join(f"{names.get(axis, axis)} {length}" for axis, length in lengths)
        raise FileError(f"{path} holds more than one plane ({named}); save one plane by itself.")
    return array, axes


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
        # Not turned as a camera's orientation tag says: napari doesn't either, and labels must lie
        # on what it shows.
        if start.startswith(_PNG) and start[24] == 16 and start[25] in (2, 4, 6):
            import imagecodecs  # 16 bits in each colour, of which Pillow would keep 8

            file.seek(0)
            array = np.asarray(imagecodecs.png_decode(file.read()))
        else:
            array = colours.of_picture(image)
    if array.ndim == 3 and array.shape[2] == 2:  # grey with opacity
        array = array[..., 0]
    return ImageFile(
        array, array.ndim == 3, None, pixel_size.of_picture(image.info), image_name(path)
    )


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

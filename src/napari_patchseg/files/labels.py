"""Labels and confidence maps out, and labels in: OME-TIFF with size and report, 16-bit PNG."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic_core import to_jsonable_python

from napari_patchseg.errors import FileError
from napari_patchseg.words import image_name

from ._tiff import ome_pixels
from .atomic import atomic_write
from .pixel_size import of_picture, plausible

if TYPE_CHECKING:
    from tifffile import TiffFile

#: Marks our annotation in OME-XML, and our text in a PNG; by this word files are known as ours, so
#: that it stays whatever the report is called.
NAMESPACE = "napari-patchseg/provenance"

#: Size of a pixel in µm: one number, or one for each axis.
PixelSize = float | Sequence[float] | None

_AXES = {2: "YX", 3: "ZYX", 4: "TZYX"}
#: From sides longer than this on a TIFF is a pyramid of tiles; sides of tiles and, at most, of the
#: smallest level.
_LARGE, _TILE, _SMALLEST_LEVEL = 4096, 512, 1024
#: What XML 1.0 cannot hold.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_labels(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    *,
    pixel_size: PixelSize = None,
    report: Mapping[str, Any] | None = None,
    name: str | None = None,
    overwrite: bool = True,
) -> Path:
    """Write labels: as a 16-bit PNG where the name ends in ``.png``, else as an OME-TIFF.

    Parameters
    ----------
    path : path-like
        The file.
    labels : array-like
        (H, W) of integers from 0. An OME-TIFF takes (Z, H, W) and (T, Z, H, W) as well. It is
        uint16 if no label is above 65,535, else uint32, and a pyramid of tiles where a side is
        longer than 4096 px; a PNG holds labels up to 65,535.
    pixel_size : float or sequence of float, optional
        Size of a pixel in µm, one number, (y, x) or (z, y, x). None: unknown, none is written.
    report : mapping, optional
        Where the labels come from; anything that JSON can hold. `read_report` gets it back.
    name : str, optional
        Name of the image inside the file; the file's name by default.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FileError
        If the labels are not whole numbers from 0 that the format can hold, or the file cannot be
        written.
    """
    path, array, sizes = Path(path), checked_labels(labels), sizes_of(pixel_size)
    if path.suffix.lower() != ".png":
        return _write_ome_tiff(path, array, sizes, report, name, overwrite)
    array = plane_of_labels(array, "A PNG")
    if array.dtype != np.uint16:
        raise FileError(
            f"A PNG holds labels up to 65,535, but there is a label {int(array.max()):,}; "
            "save as OME-TIFF."
        )
    text = PngInfo()
    if report is not None:
        text.add_itxt(NAMESPACE, to_json(report))
    if name:
        text.add_itxt("Title", _as_xml(name))
    options: dict[str, Any] = {}
    if sizes and plausible(*sizes[-2:]):  # others do not fit the format's whole numbers either
        options["dpi"] = (25_400 / sizes[-1], 25_400 / sizes[-2])
    with atomic_write(path, overwrite=overwrite) as temporary:
        Image.fromarray(array).save(temporary, format="PNG", pnginfo=text, **options)
    return path


def write_confidence(
    path: str | os.PathLike[str],
    confidence: ArrayLike,
    *,
    pixel_size: PixelSize = None,
    report: Mapping[str, Any] | None = None,
    overwrite: bool = True,
) -> Path:
    """Write a confidence map (H, W) as a compressed float32 OME-TIFF.

    Parameters, result and errors are as in `write_labels`.
    """
    array = np.asarray(confidence, dtype=np.float32)
    return _write_ome_tiff(Path(path), array, sizes_of(pixel_size), report, None, overwrite)


@dataclass(frozen=True)
class SavedLabels:
    """Labels as `write_labels` wrote them.

    Attributes
    ----------
    labels : ndarray
        (H, W), (Z, H, W) or (T, Z, H, W) of unsigned integers; axes of length 1 are gone.
    pixel_size : tuple of float or None
        Size in µm of a pixel along each axis, None of an axis without one; None where none has one.
    name : str
        Name of the image inside the file, or of the file.
    report : dict
        What was given when they were written; empty where nothing was.
    warnings : tuple of str
        Sentences about what of the file is not in the labels.
    tells_shape : bool
        Whether the file tells the image's height and width; else labels reach as far as objects.
    """

    labels: NDArray[Any]
    pixel_size: tuple[float | None, ...] | None
    name: str
    report: dict[str, Any]
    warnings: tuple[str, ...] = ()
    tells_shape: bool = True


def read_labels(path: str | os.PathLike[str]) -> SavedLabels | None:
    """Read labels that this package wrote.

    Returns
    -------
    SavedLabels or None
        None where the file is none of ours, or holds a confidence map.

    Raises
    ------
    FileError
        If there is no such file, or it is neither a TIFF nor a PNG.
    """
    path = Path(path)
    with _opened(path) as file:
        report = _report(file)
        if report is None:
            return None
        if isinstance(file, Image.Image):
            if file.mode not in ("I;16", "L"):
                return None
            name = str(file.info.get("Title") or path.stem)
            return SavedLabels(np.array(file, np.uint16), of_picture(file.info), name, report)
        series = file.series[0]
        if series.dtype is None or series.dtype.kind != "u":
            return None
        pixels = ome_pixels(file.ome_metadata or "", series.keyframe)
        written = [pixels.get(f"PhysicalSize{axis}") for axis in series.axes]  # always in µm
        sizes = tuple(None if size is None else float(size) for size in written)
        name = series.name or image_name(path)
        return SavedLabels(series.asarray(), sizes if any(sizes) else None, name, report)


def read_report(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The report that `write_labels` or `write_confidence` was given.

    Returns
    -------
    dict or None
        None where the file holds no report of ours.

    Raises
    ------
    FileError
        If there is no such file, or it is neither a TIFF nor a PNG.
    """
    with _opened(Path(path)) as file:
        return _report(file)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image | TiffFile]:
    """A PNG or TIFF; whatever goes wrong with it is a `FileError`."""
    from tifffile import TiffFile

    try:
        with path.open("rb") as file:
            is_png = file.read(4) == b"\x89PNG"
            file.seek(0)
            with Image.open(file) if is_png else TiffFile(file) as opened:
                yield opened
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}.") from error
    except Exception as error:  # damaged bytes make the decoders raise anything
        raise FileError(f"{path} is not a TIFF or PNG that can be read.") from error


def _report(file: Image.Image | TiffFile) -> dict[str, Any] | None:
    if isinstance(file, Image.Image):
        text = file.info.get(NAMESPACE)
    else:
        annotations = [
            element
            for element in ET.fromstring(file.ome_metadata or "<none/>").iter()
            if element.tag.endswith("}CommentAnnotation") and element.get("Namespace") == NAMESPACE
        ]
        values = [e.text for note in annotations for e in note if e.tag.endswith("}Value")]
        text = values[0] if values else None
    value = json.loads(text) if text else None
    return value if isinstance(value, dict) else None


def _write_ome_tiff(
    path: Path,
    array: NDArray[Any],
    sizes: tuple[float, ...],
    report: Mapping[str, Any] | None,
    name: str | None,
    overwrite: bool,
) -> Path:
    import tifffile

    if array.ndim not in _AXES or array.size == 0:
        raise FileError(f"An array of shape {array.shape} cannot be written as an image.")
    metadata: dict[str, Any] = {
        "axes": _AXES[array.ndim],
        "Name": _as_xml(name or image_name(path)),
    }
    if report is not None:
        metadata["CommentAnnotation"] = {"Namespace": NAMESPACE, "Value": to_json(report)}
    for axis, size in zip("XYZ", reversed(sizes), strict=False):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    # Of what is written: the same labels are the same file. tifffile's own would differ each time,
    # and hold this machine's network address.
    content = hashlib.sha256(to_json([metadata, array.shape, array.dtype.str]).encode())
    content.update(np.ascontiguousarray(array).data)
    metadata["UUID"] = str(uuid.UUID(bytes=content.digest()[:16], version=5))
    resolution: dict[str, Any] = {}
    if sizes:  # the plain TIFF tags too, for readers that know no OME; ImageJ turns cm into µm
        pixels_per_cm = (10_000 / sizes[-1], 10_000 / sizes[-2])
        resolution = {"resolution": pixels_per_cm, "resolutionunit": "CENTIMETER"}
    options: dict[str, Any] = {"photometric": "minisblack", "compression": "zlib"}
    levels = [array]
    if max(array.shape[-2:]) > _LARGE:  # viewers then read what they show, no more
        levels = halved(array, _SMALLEST_LEVEL)
        options["tile"] = (_TILE, _TILE)
    # tifffile's own rule for this leaves compression out
    big = sum(level.nbytes for level in levels) >= 2**32 - 2**25
    with (
        atomic_write(path, overwrite=overwrite) as temporary,
        tifffile.TiffWriter(temporary, ome=True, bigtiff=big) as tiff,
    ):
        below = len(levels) - 1 or None
        tiff.write(array, subifds=below, metadata=metadata, **options, **resolution)
        for level in levels[1:]:
            tiff.write(level, subfiletype=1, metadata=None, **options)
    return path


def _as_xml(name: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", name)


def to_json(report: Any, indent: int | None = None) -> str:
    """As JSON in ASCII; NaN and infinity become null, and what JSON does not know its text."""

    def plain(value: Any) -> Any:
        return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)

    return json.dumps(
        to_jsonable_python(report, inf_nan_mode="null", fallback=plain), indent=indent
    )


def sizes_of(pixel_size: PixelSize) -> tuple[float, ...]:
    """The last two or three sizes as floats, of one number (y, x); empty if one is no size."""
    given = np.asarray(() if pixel_size is None else pixel_size, float)
    sizes = tuple((np.repeat(given, 2) if given.ndim == 0 else given).tolist()[-3:])
    good = len(sizes) >= 2 and all(math.isfinite(size) and size > 0 for size in sizes)
    return sizes if good else ()


def checked_labels(labels: ArrayLike) -> NDArray[Any]:
    """Labels as uint16, or as uint32 where they need it; a `FileError` where they are none."""
    array = np.asarray(labels)
    if array.dtype.kind not in "bui":
        raise FileError(f"Labels must be whole numbers, but these are {array.dtype}.")
    if array.size == 0:
        raise FileError("The labels are empty: there is nothing to write.")
    low, high = int(array.min()), int(array.max())
    if low < 0:
        raise FileError(f"There is a label {low}; labels must be 0 (background) or positive.")
    if high >= 2**32:
        raise FileError(f"There is a label {high:,}, more than a file can hold; relabel first.")
    return array.astype(np.uint16 if high < 2**16 else np.uint32, copy=False)


def plane_of_labels(labels: ArrayLike, kind: str) -> NDArray[Any]:
    """Labels as `checked_labels` has them, for a kind of file that holds (H, W)."""
    array = checked_labels(labels)
    if array.ndim != 2:
        raise FileError(
            f"{kind} holds one plane, but the labels have {array.ndim} axes; save as OME-TIFF."
        )
    return array


def halved(labels: NDArray[Any], longest: int) -> list[NDArray[Any]]:
    """A pyramid of labels: every second pixel, down to sides of a length."""
    levels = [labels]
    while max(levels[-1].shape[-2:]) > longest:
        levels.append(levels[-1][..., ::2, ::2])
    return levels

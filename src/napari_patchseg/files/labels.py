"""Labels and confidence maps out, and labels in: OME-TIFF with size and provenance, 16-bit PNG."""

from __future__ import annotations

import json
import math
import os
import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_patchseg.errors import FileError

from ._pictures import ome_pixels
from .atomic import atomic_write
from .pixel_size import of_picture, plausible

if TYPE_CHECKING:
    from tifffile import TiffFile

_Read = TypeVar("_Read")

#: Marks our annotation in OME-XML, and our text in a PNG.
NAMESPACE = "napari-patchseg/provenance"

_AXES = {2: "YX", 3: "ZYX", 4: "TZYX"}
#: From this size on a TIFF may need 64-bit offsets, even if its data do not compress.
_BIG = 2**32 - 2**25
#: What XML 1.0 cannot hold.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_labels_ome_tiff(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    *,
    pixel_size: Sequence[float] | None = None,
    provenance: Mapping[str, Any] | None = None,
    name: str | None = None,
    overwrite: bool = True,
) -> Path:
    """Write labels as a compressed OME-TIFF.

    The file is uint16 if no label is above 65,535, else uint32.

    Parameters
    ----------
    path : path-like
        The file; should end in ``.ome.tif``.
    labels : array-like
        (H, W) of integers from 0; (Z, H, W) and (T, Z, H, W) go as well.
    pixel_size : sequence of float, optional
        Size of a pixel in µm, (y, x) or (z, y, x). None: unknown, none is written.
    provenance : mapping, optional
        Where the labels come from; anything that JSON can hold. `read_provenance` gets it back.
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
        If the labels are not whole numbers from 0, or the file cannot be written.
    """
    return _write_ome_tiff(path, _smallest(labels), pixel_size, provenance, name, overwrite)


def write_confidence_tiff(
    path: str | os.PathLike[str],
    confidence: ArrayLike,
    pixel_size: Sequence[float] | None = None,
    *,
    provenance: Mapping[str, Any] | None = None,
    overwrite: bool = True,
) -> Path:
    """Write a confidence map (H, W) as a compressed float32 TIFF with OME metadata.

    Parameters are as in `write_labels_ome_tiff`.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    array = np.asarray(confidence, dtype=np.float32)
    return _write_ome_tiff(path, array, pixel_size, provenance, None, overwrite)


def write_labels_png(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    *,
    pixel_size: Sequence[float] | None = None,
    provenance: Mapping[str, Any] | None = None,
    name: str | None = None,
    overwrite: bool = True,
) -> Path:
    """Write labels (H, W) as a 16-bit grey PNG, which holds labels up to 65,535.

    Parameters are as in `write_labels_ome_tiff`. The size is written as pixels per metre.

    Raises
    ------
    FileError
        If the labels are not one plane of whole numbers from 0 to 65,535, or the file cannot be
        written.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    array = _smallest(labels)
    if array.ndim != 2:
        raise FileError(
            f"A PNG holds one plane, but the labels have {array.ndim} axes; save as OME-TIFF."
        )
    if array.dtype != np.uint16:
        raise FileError(
            f"A PNG holds labels up to 65,535, but there is a label {int(array.max()):,}; "
            "save as OME-TIFF."
        )
    text = PngInfo()
    if provenance is not None:
        text.add_itxt(NAMESPACE, _to_json(provenance))
    if name:
        text.add_itxt("Title", _as_xml(name))
    options: dict[str, Any] = {}
    sizes = _sizes(pixel_size)
    if sizes and plausible(*sizes[-2:]):  # others do not fit the format's whole numbers either
        options["dpi"] = (25_400 / sizes[-1], 25_400 / sizes[-2])
    with atomic_write(path, overwrite=overwrite) as temporary:
        Image.fromarray(array).save(temporary, format="PNG", pnginfo=text, **options)
    return Path(path)


@dataclass(frozen=True)
class SavedLabels:
    """Labels as `write_labels_ome_tiff` or `write_labels_png` wrote them.

    Attributes
    ----------
    labels : ndarray
        (H, W), (Z, H, W) or (T, Z, H, W) of unsigned integers; axes of length 1 are gone.
    pixel_size : tuple of float or None
        Size in µm of a pixel along each axis, None of an axis without one; None where none has one.
    name : str
        Name of the image inside the file, or of the file.
    provenance : dict
        What was given when they were written; empty where nothing was.
    """

    labels: NDArray[Any]
    pixel_size: tuple[float | None, ...] | None
    name: str
    provenance: dict[str, Any]


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
    return _read(path, _saved_labels_png, _saved_labels_tiff)


def read_provenance(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """What `write_labels_ome_tiff`, `write_labels_png` or `write_confidence_tiff` was given.

    Returns
    -------
    dict or None
        None where the file holds no provenance of ours.

    Raises
    ------
    FileError
        If there is no such file, or it is neither a TIFF nor a PNG.
    """
    return _read(
        path,
        lambda image, _: _from_json(image.info.get(NAMESPACE)),
        lambda tiff, _: _from_json(_from_ome(tiff.ome_metadata)),
    )


def _read(
    path: str | os.PathLike[str],
    of_png: Callable[[Any, Path], _Read | None],
    of_tiff: Callable[[TiffFile, Path], _Read | None],
) -> _Read | None:
    from PIL import Image
    from tifffile import TiffFile

    path = Path(path)
    try:
        with path.open("rb") as file:
            if file.read(4) == b"\x89PNG":
                file.seek(0)
                with Image.open(file) as image:
                    return of_png(image, path)
            file.seek(0)
            with TiffFile(file) as tiff:
                return of_tiff(tiff, path)
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}.") from error
    except Exception as error:  # whatever damaged bytes make the decoders raise
        raise FileError(f"{path} is not a TIFF or PNG that can be read.") from error


def _saved_labels_png(image: Any, path: Path) -> SavedLabels | None:
    provenance = _from_json(image.info.get(NAMESPACE))
    if provenance is None or image.mode not in ("I;16", "L"):
        return None
    name = str(image.info.get("Title") or path.stem)
    return SavedLabels(np.array(image, np.uint16), of_picture(image.info), name, provenance)


def _saved_labels_tiff(tiff: TiffFile, path: Path) -> SavedLabels | None:
    provenance = _from_json(_from_ome(tiff.ome_metadata))
    series = tiff.series[0]
    if provenance is None or series.dtype is None or series.dtype.kind != "u":
        return None
    assert tiff.ome_metadata is not None
    pixels = ome_pixels(tiff.ome_metadata, series.keyframe)
    written = [pixels.get(f"PhysicalSize{axis}") for axis in series.axes]  # always in µm
    sizes = tuple(None if size is None else float(size) for size in written)
    return SavedLabels(
        series.asarray(),
        sizes if any(sizes) else None,
        series.name or path.stem.removesuffix(".ome"),
        provenance,
    )


def _from_json(text: str | None) -> dict[str, Any] | None:
    value = None if text is None else json.loads(text)
    return value if isinstance(value, dict) else None


def _from_ome(xml: str | None) -> str | None:
    if xml is None:
        return None
    for element in ET.fromstring(xml).iter():
        if element.tag.endswith("}CommentAnnotation") and element.get("Namespace") == NAMESPACE:
            return next((e.text for e in element if e.tag.endswith("}Value")), None)
    return None


def _write_ome_tiff(
    path: str | os.PathLike[str],
    array: NDArray[Any],
    pixel_size: Sequence[float] | None,
    provenance: Mapping[str, Any] | None,
    name: str | None,
    overwrite: bool,
) -> Path:
    import tifffile

    path = Path(path)
    if array.ndim not in _AXES or array.size == 0:
        raise FileError(f"An array of shape {array.shape} cannot be written as an image.")
    metadata: dict[str, Any] = {
        "axes": _AXES[array.ndim],
        "Name": _as_xml(name or path.stem.removesuffix(".ome")),
        "UUID": str(uuid.uuid4()),  # tifffile's own would hold this machine's network address
    }
    if provenance is not None:
        metadata["CommentAnnotation"] = {"Namespace": NAMESPACE, "Value": _to_json(provenance)}
    resolution: dict[str, Any] = {}
    sizes = _sizes(pixel_size)
    for axis, size in zip("XYZ", sizes[::-1], strict=False):
        metadata |= {f"PhysicalSize{axis}": size, f"PhysicalSize{axis}Unit": "µm"}
    if sizes:  # the plain TIFF tags too, for readers that know no OME; ImageJ turns cm into µm
        pixels_per_cm = (10_000 / sizes[-1], 10_000 / sizes[-2])
        resolution = {"resolution": pixels_per_cm, "resolutionunit": "CENTIMETER"}
    with atomic_write(path, overwrite=overwrite) as temporary:
        tifffile.imwrite(
            temporary,
            array,
            ome=True,
            bigtiff=array.nbytes >= _BIG,
            photometric="minisblack",
            compression="zlib",
            metadata=metadata,
            **resolution,
        )
    return path


def _as_xml(name: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", name)


def _sizes(pixel_size: Sequence[float] | None) -> tuple[float, ...]:
    """The last two or three sizes as floats; empty if one of them is no size."""
    sizes = tuple(float(size) for size in pixel_size or ())[-3:]
    good = len(sizes) >= 2 and all(math.isfinite(size) and size > 0 for size in sizes)
    return sizes if good else ()


def _smallest(labels: ArrayLike) -> NDArray[Any]:
    """Labels as uint16, or as uint32 where they need it."""
    array = np.asarray(labels)
    if array.dtype == bool:
        array = array.astype(np.uint16)
    if array.dtype.kind not in "ui":
        raise FileError(f"Labels must be whole numbers, but these are {array.dtype}.")
    if array.size == 0:
        raise FileError("The labels are empty: there is nothing to write.")
    low, high = int(array.min()), int(array.max())
    if low < 0:
        raise FileError(f"There is a label {low}; labels must be 0 (background) or positive.")
    if high >= 2**32:
        raise FileError(f"There is a label {high:,}, more than a file can hold; relabel first.")
    return array.astype(np.uint16 if high < 2**16 else np.uint32, copy=False)


def _to_json(value: Mapping[str, Any]) -> str:
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    """The value as JSON has it: NaN and infinity become null, unknown things their text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)

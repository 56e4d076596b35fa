"""Objects as ROIs that ImageJ's ROI Manager opens, and ROIs, of others too, as labels.

The format is told by ImageJ's classes ``RoiEncoder`` and ``RoiDecoder``; roifile knows it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo, is_zipfile

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_patchseg.errors import FileError
from napari_patchseg.words import image_name

from ._about import About
from ._outlines import FARTHEST, Polygon, Ring, Shape, number_in, outlines, painted
from .atomic import atomic_write, reading
from .labels import NAMESPACE, PixelSize, SavedLabels, plane_of_labels, sizes_of

if TYPE_CHECKING:
    from roifile import ImagejRoi

#: ImageJ keeps coordinates as float32, which holds whole numbers up to this.
_FARTHEST_OF_IMAGEJ = 2**24
#: Most bytes of a zip's comment.
_LONGEST_COMMENT = 2**16 - 1
#: Most bytes of all ROIs, unpacked.
_MOST_BYTES = 2**31
#: Pieces that a curve is cut into.
_STEPS = np.linspace(0, 1, 9)[1:, None]


def write_rois(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    *,
    pixel_size: PixelSize = None,
    report: Mapping[str, Any] | None = None,
    name: str | None = None,
    origin: tuple[int, int] = (0, 0),
    overwrite: bool = True,
) -> Path:
    """Write objects as a zip of ImageJ ROIs, named by their labels.

    An object is one ROI along the edges of its pixels: a traced one, as ImageJ's wand makes it, or
    with holes or in pieces a composite one. `read_rois` gets the same labels back.

    Parameters, result and errors are those of `napari_patchseg.files.results.save`.
    Pixel size and report are kept in the zip's comment, which ImageJ does not read: there, set the
    scale of the image. A comment has 64 kB: a report that is longer is left out.
    """
    path, array = Path(path), plane_of_labels(labels, "A zip of ROIs")
    height, width = array.shape
    bottom, right = origin[0] + height, origin[1] + width
    if max(bottom, right) > _FARTHEST_OF_IMAGEJ:
        raise FileError(
            f"ImageJ's ROIs reach to {_FARTHEST_OF_IMAGEJ:,} px, but the labels to {right:,} x "
            f"{bottom:,} px; save as GeoJSON."
        )
    sizes = sizes_of(pixel_size)
    about = About(name or image_name(path), (height, width), sizes, report or {}, origin)
    comment = _comment(about)
    if len(comment) > _LONGEST_COMMENT:
        comment = _comment(About(about.name, about.shape, about.pixel_size, origin=origin))
    with atomic_write(path, overwrite=overwrite) as temporary, ZipFile(temporary, "w") as file:
        file.comment = comment
        for label, polygons in outlines(array, origin):
            entry = ZipInfo(f"{label}.roi")  # without a time: the same objects, the same file
            entry.compress_type = ZIP_DEFLATED
            file.writestr(entry, _roi(str(label), polygons).tobytes(), compresslevel=1)
    return path


def read_rois(path: str | os.PathLike[str], shape: tuple[int, int] | None = None) -> SavedLabels:
    """Read the areas among ImageJ's ROIs, a zip of them or a single one, as labels.

    `write_rois` is undone exactly. Of others, inside is a pixel whose centre is; fitted splines
    are taken for polygons. Where ROIs overlap, the later one wins. An object keeps the number that
    is its name, where that is not taken yet; others get the next higher ones.

    Parameters
    ----------
    path : path-like
        A zip or a ``.roi``.
    shape : (int, int), optional
        Height and width of the image; by default what the file says if it is of ours, else as far
        as the objects reach.

    Raises
    ------
    FileError
        If there is no such file, or it holds no ROIs or damaged ones.
    """
    path = Path(path)
    shapes, left_out, about = [], 0, About()
    try:
        with reading(path), path.open("rb") as raw:
            if is_zipfile(raw):
                with ZipFile(raw) as file:
                    about = _said(file.comment)
                    rois = list(_in_zip(file))
            else:
                raw.seek(0)
                rois = [(path.stem, _decoded(raw.read(_MOST_BYTES)))]
        for name, roi in rois:
            rings = _rings(roi)
            if rings:
                shapes.append(Shape(number_in(name), rings))
            else:
                left_out += 1
    except FileError:
        raise
    except Exception as error:  # damaged bytes make the decoders raise anything
        raise FileError(f"{path} holds no ImageJ ROIs that can be read.") from error
    if not rois and about.shape is None:
        raise FileError(f"{path} holds no ImageJ ROIs.")
    labels, warnings = painted(
        shapes, path, frame=shape, told=about.shape, origin=(0, 0) if shape else about.origin
    )
    if left_out:
        warnings = (f"Points, lines and texts were left out ({left_out}).", *warnings)
    return about.labels(labels, path, warnings)


def _comment(about: About) -> bytes:
    return f'{{"{NAMESPACE}":{about.to_json()}}}'.encode()


def _said(comment: bytes) -> About:
    try:
        return About.read(json.loads(comment)[NAMESPACE])
    except (ValueError, TypeError, KeyError, RecursionError):  # others'
        return About()


def _roi(name: str, polygons: list[Polygon]) -> ImagejRoi:
    from roifile import ROI_TYPE, ImagejRoi

    ((outer, *holes), *others) = polygons
    if not holes and not others:
        roi = ImagejRoi.frompoints(outer)
        roi.roitype = ROI_TYPE.TRACED
        roi.right -= 1  # it counts pixels
        roi.bottom -= 1
    else:
        rings = [ring for rings in polygons for ring in rings]
        low, high = np.min([r.min(axis=0) for r in rings], 0), np.max([r.max(0) for r in rings], 0)
        roi = ImagejRoi(roitype=ROI_TYPE.RECT)
        (roi.left, roi.top), (roi.right, roi.bottom) = low.tolist(), high.tolist()
        roi.multi_coordinates = np.concatenate([_path(ring) for ring in rings], dtype=np.float32)
        roi.shape_roi_size = len(roi.multi_coordinates)
    roi.name = name
    return roi


def _path(ring: Ring) -> NDArray[np.float32]:
    """A ring as Java's path iterator tells it: move to, 0, line to, 1, ..., and close, 4."""
    points = np.insert(ring.astype(np.float32), 0, 1, axis=1)
    points[0, 0] = 0
    return np.append(points.ravel(), np.float32(4))


def _in_zip(file: ZipFile) -> Iterator[tuple[str, ImagejRoi]]:
    left = _MOST_BYTES
    for entry in file.infolist():
        if not entry.filename.lower().endswith(".roi"):
            continue
        left -= entry.file_size  # ZipFile reads no more than it says
        if left < 0:
            raise FileError(f"{file.filename} holds more than {_MOST_BYTES >> 30} GB; split it.")
        yield Path(entry.filename).stem, _decoded(file.read(entry))


def _decoded(content: bytes) -> ImagejRoi:
    from roifile import ImagejRoi

    return ImagejRoi.frombytes(content)


def _rings(roi: ImagejRoi) -> list[Ring]:
    """What encloses a ROI's area; empty where it has none."""
    from roifile import ROI_SUBTYPE, ROI_TYPE

    if roi.subtype in (ROI_SUBTYPE.TEXT, ROI_SUBTYPE.IMAGE):
        return []
    if roi.multi_coordinates is not None:
        rings = list(_along(roi.multi_coordinates))
    elif roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        rings = [np.asarray(roi.coordinates())]
    elif roi.roitype in (ROI_TYPE.RECT, ROI_TYPE.OVAL):
        corner: tuple[float, float] = (roi.left, roi.top)
        size: tuple[float, float] = (roi.right - roi.left, roi.bottom - roi.top)
        if roi.subpixelrect:
            corner, size = (roi.xd, roi.yd), (roi.widthd, roi.heightd)
        unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        if roi.roitype == ROI_TYPE.OVAL:
            number = 4 * math.ceil(8 + min(max(size), 1000))
            angle = 2 * np.pi / number * np.arange(number)
            unit = np.stack([np.cos(angle), np.sin(angle)], axis=1) / 2 + 0.5
        rings = [unit * size + corner]
    else:
        return []
    if not all((np.abs(ring) < FARTHEST).all() for ring in rings):  # NaN is not
        raise ValueError("too far")
    return [ring for ring in rings if len(ring) > 2]


def _along(path: NDArray[np.float32]) -> Iterator[Ring]:
    """Rings of a path as Java's path iterator tells it, with its curves as short lines."""
    left = iter(path.tolist())
    points: list[Any] = []
    for step in left:
        if step == 0 and points:
            yield np.array(points)
            points = []
        if step == 4:
            continue
        controls = np.array([[next(left), next(left)] for _ in range(max(1, int(step)))])
        if step in (0, 1):
            points.extend(controls)
        elif step in (2, 3):  # Bézier curves; by de Casteljau's rule
            curve = [*np.array([points[-1], *controls])]
            while len(curve) > 1:
                curve = [a + (b - a) * _STEPS for a, b in pairwise(curve)]
            points.extend(curve[0])
        else:
            raise ValueError(f"no step {step}")
    if points:
        yield np.array(points)

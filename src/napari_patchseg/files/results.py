"""Results out and back: which kind of file a name's ending means, and who writes and reads it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from napari_patchseg.errors import FileError

from .atomic import atomic_folder, atomic_write
from .labels import PixelSize, SavedLabels

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Format:
    """A kind of file that holds results.

    Attributes
    ----------
    name : str
        As its users call it.
    endings : tuple of str
        Of the files' names, the usual one first.
    measured : bool
        Whether it holds measurements.
    """

    name: str
    endings: tuple[str, ...]
    measured: bool = False


OME_TIFF = Format("OME-TIFF", (".ome.tif", ".tif", ".tiff"))
PNG = Format("PNG", (".png",))
OME_ZARR = Format("OME-Zarr", (".ome.zarr", ".zarr"), measured=True)
GEOJSON = Format("GeoJSON", (".geojson", ".geojson.gz"), measured=True)
CSV = Format("CSV", (".csv",), measured=True)
IMAGEJ_ROIS = Format("ImageJ ROIs", (".zip",))
FORMATS = (OME_TIFF, PNG, OME_ZARR, GEOJSON, CSV, IMAGEJ_ROIS)


def format_of(path: str | os.PathLike[str]) -> Format:
    """The kind of file that a name's ending means.

    Raises
    ------
    FileError
        If it means none; the sentence names those that there are.
    """
    name = Path(path).name.lower()  # of a folder without the stroke at its end
    for kind in FORMATS:
        if name.endswith(kind.endings):
            return kind
    endings = ", ".join(kind.endings[0] for kind in FORMATS)
    raise FileError(f"{path} does not say what kind of file it shall be; end it in {endings}.")


def save(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    *,
    measurements: DataFrame | None = None,
    pixel_size: PixelSize = None,
    report: Mapping[str, Any] | None = None,
    name: str | None = None,
    origin: tuple[int, int] = (0, 0),
    overwrite: bool = False,
) -> Path:
    """Write labels, their outlines or their measurements, as the name's ending says.

    Parameters
    ----------
    path : path-like
        The file.
    labels : array-like
        (H, W) of integers from 0; of an OME-TIFF (Z, H, W) and (T, Z, H, W) as well.
    measurements : DataFrame, optional
        A row an object, with a column "Label". A CSV is nothing else; GeoJSON and OME-Zarr hold
        it as well.
    pixel_size : float or sequence of float, optional
        Size of a pixel in µm, one number or (y, x).
    report : mapping, optional
        Where the labels come from.
    name : str, optional
        Name of the image; the file's name by default, and in a CSV no column "Image".
    origin : (int, int)
        Row and column of the labels' first pixel in the image: where outlines lie.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FileError
        If the ending means no kind of file, the labels do not fit it, or it cannot be written.
    """
    from . import geojson, omezarr, rois, tables
    from . import labels as images

    kind = format_of(path)
    if kind is CSV:
        if measurements is None:
            raise FileError(f"{path} is to hold measurements, but there are none.")
        return tables.write_table(
            path,
            measurements,
            name=name,
            pixel_size=pixel_size,
            report=report,
            overwrite=overwrite,
        )
    said: dict[str, Any] = {
        "pixel_size": pixel_size,
        "report": report or {},  # by it files are known as ours
        "name": name,
        "overwrite": overwrite,
    }
    if kind is GEOJSON:
        return geojson.write_geojson(path, labels, measurements=measurements, origin=origin, **said)
    if kind is OME_ZARR:
        return omezarr.write_ome_zarr(path, labels, measurements=measurements, **said)
    if kind is IMAGEJ_ROIS:
        return rois.write_rois(path, labels, origin=origin, **said)
    return images.write_labels(path, labels, **said)


def check_target(path: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise the `FileError` that a write would end in, before there is anything to write."""
    from .omezarr import is_ours

    # the real thing, ended early: whatever would stop it later stops it now
    if os.fspath(path).lower().endswith(OME_ZARR.endings):
        writing = atomic_folder(path, overwrite=overwrite, replaceable=is_ours)
    else:
        writing = atomic_write(path, overwrite=overwrite)
    with contextlib.suppress(_Enough), writing:
        raise _Enough


class _Enough(Exception):
    """Ends a write before it has begun."""


def load_labels(path: str | os.PathLike[str], shape: tuple[int, int] | None = None) -> SavedLabels:
    """Read labels as `save` wrote them, and objects of other programs' GeoJSON and ImageJ ROIs.

    Parameters
    ----------
    path : path-like
        The file; besides those that `save` writes a single ``.roi``.
    shape : (int, int), optional
        Height and width of the image, for objects of other programs: GeoJSON and ROIs do not tell.
        By default labels reach as far as the objects.

    Raises
    ------
    FileError
        If there is no such file, it is damaged, or it holds no labels.
    """
    from . import geojson, omezarr, rois
    from . import labels as images

    kind = IMAGEJ_ROIS if Path(path).suffix.lower() == ".roi" else format_of(path)
    if kind is GEOJSON:
        return geojson.read_geojson(path, shape)
    if kind is OME_ZARR:
        return omezarr.read_ome_zarr(path)
    if kind is IMAGEJ_ROIS:
        return rois.read_rois(path, shape)
    if kind is CSV:
        raise FileError(f"{path} holds measurements, which labels cannot be made of.")
    saved = images.read_labels(path)
    if saved is None:
        raise FileError(f"{path} holds no labels that were written here; open it as an image.")
    return saved

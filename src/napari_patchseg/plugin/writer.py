"""Writers of a Labels layer for napari's File > Save, `layer.save` and the panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.files.labels import plane_of_labels
from napari_patchseg.files.pixel_size import micrometres
from napari_patchseg.files.results import (
    CSV,
    GEOJSON,
    IMAGEJ_ROIS,
    OME_TIFF,
    OME_ZARR,
    PNG,
    Format,
    save,
)
from napari_patchseg.words import image_of

from ._features import moved, table_of
from .layer_source import METADATA_KEY

if TYPE_CHECKING:
    import pandas as pd


def write_ome_tiff(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer as OME-TIFF, with pixel size and report.

    Parameters
    ----------
    path : str
        The file; the ending is added where the name does not end as that of such a file.
    data : array-like
        The layer's data: (H, W) or a stack; of a multiscale layer the full resolution is written.
    meta : dict
        The layer's metadata as npe2 hands them over.

    Returns
    -------
    list of str
        The file written.

    Raises
    ------
    PatchSegError
        If the file cannot be written; napari shows the sentence.
    """
    return write(OME_TIFF, path, data, meta)


def write_png(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer as 16-bit PNG; parameters, result and errors as in `write_ome_tiff`."""
    return write(PNG, path, data, meta)


def write_ome_zarr(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer as OME-Zarr; parameters, result and errors as in `write_ome_tiff`."""
    return write(OME_ZARR, path, data, meta)


def write_geojson(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write outlines and measurements for QuPath; otherwise as `write_ome_tiff`."""
    return write(GEOJSON, path, data, meta)


def write_csv(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write measurements as a table; otherwise as `write_ome_tiff`."""
    return write(CSV, path, data, meta)


def write_rois(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write outlines as a zip of ROIs for ImageJ and Fiji; otherwise as `write_ome_tiff`."""
    return write(IMAGEJ_ROIS, path, data, meta)


def write(kind: Format, path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer as a kind of file; otherwise as `write_ome_tiff`."""
    # napari's dialog offers the layer's bare name and hands on whatever was typed. A file never
    # gets a name that says another format; and since the dialog has asked about the name without
    # the ending, a file that has it is not replaced.
    overwrite = path.lower().endswith(kind.endings)
    # np.asarray of napari's MultiScaleData would be the coarsest level.
    labels = np.asarray(data[0] if meta.get("multiscale") else data)
    report = _report(meta)
    axes = [axis for axis, length in enumerate(labels.shape) if length > 1]
    if len(axes) != 2 or report.get("role") != "nuclei":
        axes = list(range(labels.ndim))  # else the others only say which plane of a stack it is
    own = report.get("pixel_size")  # known of our labels where the image's units don't say it
    sizes = (own, own) if isinstance(own, int | float) else pixel_size(meta, axes)
    labels = labels.reshape([labels.shape[axis] for axis in axes])
    if kind.measured:
        labels = plane_of_labels(labels, kind.name)
    origin = origin_of(report)
    written = save(
        path if overwrite else path + kind.endings[0],
        labels,
        measurements=_table(labels, meta, sizes, origin) if kind.measured else None,
        pixel_size=sizes,
        report=report,
        name=image_of(meta.get("name") or "") or None,
        origin=origin,
        overwrite=overwrite,
    )
    return [str(written)]


def _table(
    labels: NDArray[Any],
    meta: Mapping[str, Any],
    sizes: tuple[float, ...] | None,
    origin: tuple[int, int],
) -> pd.DataFrame:
    """Shape and place of the objects, and what else the layer knows of the same ones."""
    from napari_patchseg.objects import SHAPE_COLUMNS, measure

    both = None if sizes is None else (sizes[-2], sizes[-1])
    measured = moved(measure(labels, pixel_size=both), origin, both)
    known = table_of(meta.get("features"))
    if known is None:
        return measured
    same = ["Label", "Area px^2"]
    shapes = {column.header for column in SHAPE_COLUMNS}
    more = [name for name in known.columns if name not in shapes]
    return measured.merge(known[[*same, *more]], "left", on=same)


def pixel_size(
    meta: Mapping[str, Any], axes: Sequence[int] | None = None
) -> tuple[float, ...] | None:
    """Size of a pixel in µm along the last two or three axes, (y, x) or (z, y, x).

    Parameters
    ----------
    meta : mapping
        With a layer's "scale" and "units", and perhaps "affine".
    axes : sequence of int, optional
        Those of the layer that count; all by default.

    Returns
    -------
    tuple of float or None
        None where the units are no lengths, as with napari's default, pixels.
    """
    if meta.get("scale") is None or meta.get("units") is None:
        return None
    sizes = np.abs(np.asarray(meta["scale"], dtype=float))
    if meta.get("affine") is not None:  # the columns' lengths: what it adds to the scale
        sizes *= np.linalg.norm(np.asarray(meta["affine"], dtype=float)[:-1, :-1], axis=0)
    units = meta["units"]
    sizes *= [
        micrometres(unit) for unit in ([units] * len(sizes) if isinstance(units, str) else units)
    ]
    sizes = (sizes if axes is None else sizes[list(axes)])[-3:]
    known = np.isfinite(sizes)
    return tuple(sizes[known].tolist()) if known[-2:].all() else None


def origin_of(report: Mapping[str, Any]) -> tuple[int, int]:
    """Row and column in the image of labels of a part of it."""
    match report.get("origin"):
        case [int(row), int(column)]:
            return row, column
    return 0, 0


def _report(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the labels come from; empty for others' labels: a mark that the file holds labels."""
    report = (meta.get("metadata") or {}).get(METADATA_KEY)
    return report if isinstance(report, Mapping) else {}

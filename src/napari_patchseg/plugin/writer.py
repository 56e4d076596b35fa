"""Writers of a Labels layer for napari's File > Save, `layer.save` and the panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from napari_patchseg.files.labels import write_labels
from napari_patchseg.files.pixel_size import micrometres

from .layer_source import METADATA_KEY


def write_ome_tiff(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer as OME-TIFF, with pixel size and report.

    Parameters
    ----------
    path : str
        The file; ``.ome.tif`` is added where the name does not end as that of a TIFF.
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
    FileError
        If the file cannot be written; napari shows the sentence.
    """
    return _write(path, data, meta, (".tif", ".tiff"), ".ome.tif")


def write_png(path: str, data: Any, meta: dict[str, Any]) -> list[str]:
    """Write a Labels layer as 16-bit PNG; parameters, result and errors as in `write_ome_tiff`."""
    return _write(path, data, meta, (".png",), ".png")


def _write(
    path: str, data: Any, meta: dict[str, Any], endings: tuple[str, ...], ending: str
) -> list[str]:
    # napari's dialog offers the layer's bare name and hands on whatever was typed. A file never
    # gets a name that says another format; and since the dialog has asked about the name without
    # the ending, a file that has it is not replaced.
    overwrite = path.lower().endswith(endings)
    # np.asarray of napari's MultiScaleData would be the coarsest level.
    labels = np.asarray(data[0] if meta.get("multiscale") else data)
    report = _report(meta)
    axes = [axis for axis, length in enumerate(labels.shape) if length > 1]
    if len(axes) != 2 or report.get("role") != "nuclei":
        axes = list(range(labels.ndim))  # else the others only say which plane of a stack it is
    own = report.get("pixel_size")  # known of our labels where the image's units don't say it
    written = write_labels(
        path if overwrite else path + ending,
        labels.reshape([labels.shape[axis] for axis in axes]),
        pixel_size=(own, own) if isinstance(own, int | float) else pixel_size(meta, axes),
        report=report,
        name=meta.get("name"),
        overwrite=overwrite,
    )
    return [str(written)]


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


def _report(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the labels come from; empty for others' labels: a mark that the file holds labels."""
    report = (meta.get("metadata") or {}).get(METADATA_KEY)
    return report if isinstance(report, Mapping) else {}

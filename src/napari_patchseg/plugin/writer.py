"""Writers of a Labels layer for napari's File > Save, `layer.save` and the panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.files.labels import write_labels
from napari_patchseg.files.pixel_size import micrometres


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
    labels, meta = _plane(full_resolution(data, meta), meta)
    report = _report(meta)
    own = report.get("pixel_size")  # known of our labels where the image's units don't say it
    written = write_labels(
        path if overwrite else path + ending,
        labels,
        pixel_size=(own, own) if isinstance(own, int | float) else pixel_size(meta),
        report=report,
        name=meta.get("name"),
        overwrite=overwrite,
    )
    return [str(written)]


def full_resolution(data: Any, meta: Mapping[str, Any]) -> NDArray[Any]:
    """A layer's data as one array, the first level of a multiscale layer."""
    # np.asarray of napari's MultiScaleData would be the coarsest level.
    return np.asarray(data[0] if meta.get("multiscale") else data)


def _plane(labels: NDArray[Any], meta: Mapping[str, Any]) -> tuple[NDArray[Any], dict[str, Any]]:
    """Labels of ours without the axes that only say to which plane of a stack they belong."""
    meta = dict(meta)
    kept = [axis for axis, length in enumerate(labels.shape) if length > 1]
    if labels.ndim == 2 or len(kept) != 2 or _report(meta).get("role") != "nuclei":
        return labels, meta
    for name in ("scale", "units"):
        values = meta.get(name)
        if values is not None and not isinstance(values, str):
            meta[name] = [values[axis] for axis in kept]
    if meta.get("affine") is not None:
        rows = [*kept, labels.ndim]
        meta["affine"] = np.asarray(meta["affine"], dtype=float)[np.ix_(rows, rows)]
    return labels.reshape([labels.shape[axis] for axis in kept]), meta


def pixel_size(meta: Mapping[str, Any]) -> tuple[float, ...] | None:
    """Size of a pixel in µm along the last two or three axes, (y, x) or (z, y, x).

    Parameters
    ----------
    meta : mapping
        With a layer's "scale" and "units", and perhaps "affine".

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
    names = [units] * len(sizes) if isinstance(units, str) else list(units)
    if len(names) != len(sizes):
        return None
    sizes *= [micrometres(name) for name in names]
    known = np.isfinite(sizes[-3:])
    return tuple(sizes[-3:][known].tolist()) if known[-2:].all() else None


def _report(meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where the labels come from; empty for others' labels: a mark that the file holds labels."""
    report = (meta.get("metadata") or {}).get("napari_patchseg")
    return report if isinstance(report, Mapping) else {}

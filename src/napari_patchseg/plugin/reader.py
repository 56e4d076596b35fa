"""Readers for napari's File > Open and drag and drop: our labels and models, others' objects.

Of images only files with names like those that the plugin offers are looked at: as soon as two
readers match a name, napari asks which one to take, whatever is inside.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from napari_patchseg.errors import FileError
from napari_patchseg.files.labels import SavedLabels, read_labels, read_report
from napari_patchseg.files.omezarr import holds_labels
from napari_patchseg.files.results import load_labels
from napari_patchseg.words import image_of, layer_name

from .layer_source import METADATA_KEY, is_image, size_of, unwrap
from .writer import origin_of

_LayerData = tuple[Any, dict[str, Any], str]
_Reader = Callable[[Any], list[_LayerData]]


def labels_reader(path: str | Sequence[str]) -> _Reader | None:
    """Reader of one file of ours.

    Parameters
    ----------
    path : str or sequence of str
        The file; of several, which napari wants stacked, there is no reader.

    Returns
    -------
    callable or None
        Gives the Labels layer of the file; None where this plugin did not write it.
    """
    if not isinstance(path, str):
        return None
    try:
        if path.lower().endswith(".zarr"):
            return _read_objects if holds_labels(path) else None
        return None if read_report(path) is None else _read
    except FileError:
        return None


def objects_reader(path: str | Sequence[str]) -> _Reader | None:
    """Reader of GeoJSON, as QuPath exports it too, and of ROIs of ImageJ and Fiji, as labels.

    Parameters and result are as in `labels_reader`; a zip without ROIs has no reader.
    """
    if not isinstance(path, str):
        return None
    if path.lower().endswith(".zip"):
        try:
            with zipfile.ZipFile(path) as file:
                if not any(name.lower().endswith(".roi") for name in file.namelist()):
                    return None
        except (OSError, zipfile.BadZipFile):
            return None
    return _read_objects


def model_reader(path: str | Sequence[str]) -> Callable[[Any], list[tuple[None]]] | None:
    """Reader of a model: it makes no layer, the panel has the model at hand then."""
    return _open_model if isinstance(path, str) else None


def _open_model(path: str) -> list[tuple[None]]:
    import napari

    from .layer_menu import find_panel

    viewer = napari.current_viewer()
    if viewer is not None:
        find_panel(unwrap(viewer)).take_model(path)
    return [(None,)]


def _read(path: str) -> list[_LayerData]:
    saved = read_labels(path)
    return [] if saved is None else [_as_layer(saved)]  # a confidence map has the same mark


def _read_objects(path: str) -> list[_LayerData]:
    from napari.utils.notifications import show_warning

    saved = load_labels(path)
    if not saved.tells_shape and (shape := _frame(saved.labels.shape)) is not None:
        height, width = np.subtract(shape, saved.labels.shape)
        saved = replace(saved, labels=np.pad(saved.labels, ((0, height), (0, width))))
    for warning in saved.warnings:
        show_warning(warning)
    return [_as_layer(saved)]


def _as_layer(saved: SavedLabels) -> _LayerData:
    sizes = saved.pixel_size or (None,) * saved.labels.ndim
    image = image_of(saved.name)
    place = _place_of_image(image, saved.labels.shape)
    report = dict(saved.report)
    height, width = sizes[-2:]
    if place and height and width:  # the image does not say it
        report.setdefault("pixel_size", math.sqrt(height * width))
    scale = [size or 1.0 for size in sizes]
    origin = origin_of(report)
    options = {
        "name": layer_name("nuclei", image) if report else saved.name,
        "scale": scale,
        "translate": [*[0.0] * (len(scale) - 2), *(np.multiply(origin, scale[-2:]).tolist())],
        "units": ["pixel" if size is None else "micrometer" for size in sizes],
        "metadata": {METADATA_KEY: report},
        **place,
    }
    return saved.labels, options, "labels"


def _images() -> list[Any]:
    """The images of two dimensions that are open; the one chosen comes first."""
    import napari

    viewer = napari.current_viewer()
    if viewer is None:
        return []
    active = unwrap(viewer.layers.selection.active)
    there = [layer for layer in map(unwrap, viewer.layers) if is_image(layer) and layer.ndim == 2]
    return sorted(there, key=lambda layer: layer is not active)


def _frame(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Size of the open image in which objects that reach so far may be."""
    fit = [size_of(layer) for layer in _images()]
    if shape in fit:
        return None
    return next((size for size in fit if np.all(np.array(size) >= shape)), None)


def _place_of_image(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Where the image of these labels is, if it is open: there they belong.

    napari's own reader leaves the pixel size out, and so images lie in pixels, whatever the file
    of the labels says. Of several images of that size it is the one that the labels are named
    after.
    """
    images = [layer for layer in _images() if size_of(layer) == shape]
    if len(images) > 1:
        images = [one for one in images if image_of(one.name) == name]
    if len(images) != 1:
        return {}
    image = images[0]
    place = ("scale", "translate", "rotate", "shear", "affine", "units")
    return {what: getattr(image, what) for what in place}

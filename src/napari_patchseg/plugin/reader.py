"""Reader of the labels that this plugin writes, for napari's File > Open and drag and drop.

Only files with names like those that the plugin offers are looked at: as soon as two readers match
a name, napari asks which one to take, whatever is inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from napari_patchseg.errors import FileError
from napari_patchseg.files.labels import read_labels, read_report
from napari_patchseg.words import layer_name

from .layer_source import METADATA_KEY, is_image, size_of, unwrap

_LayerData = tuple[Any, dict[str, Any], str]


def labels_reader(path: str | Sequence[str]) -> Callable[[Any], list[_LayerData]] | None:
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
        return None if read_report(path) is None else _read
    except FileError:
        return None


def _read(path: str) -> list[_LayerData]:
    saved = read_labels(path)
    if saved is None:  # a confidence map has the same mark
        return []
    sizes = saved.pixel_size or (None,) * saved.labels.ndim
    place = _place_of_image(saved.name, saved.labels.shape)
    report = dict(saved.report)
    height, width = sizes[-2:]
    if place and height and width:  # the image does not say it
        report.setdefault("pixel_size", math.sqrt(height * width))
    options = {
        "name": saved.name,
        "scale": [size or 1.0 for size in sizes],
        "units": ["pixel" if size is None else "micrometer" for size in sizes],
        "metadata": {METADATA_KEY: report},
        **place,
    }
    return [(saved.labels, options, "labels")]


def _place_of_image(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    """Where the image of these labels is, if it is open: there they belong.

    napari's own reader leaves the pixel size out, and so images lie in pixels, whatever the file
    of the labels says. Of several images of that size it is the one that the labels are named
    after.
    """
    import napari

    viewer = napari.current_viewer()
    images = [
        layer
        for layer in (() if viewer is None else map(unwrap, viewer.layers))
        if is_image(layer) and layer.ndim == 2 and size_of(layer) == shape
    ]
    if len(images) > 1:
        images = [image for image in images if name == layer_name("nuclei", image.name)]
    if len(images) != 1:
        return {}
    image = images[0]
    place = ("scale", "translate", "rotate", "shear", "affine", "units")
    return {what: getattr(image, what) for what in place}

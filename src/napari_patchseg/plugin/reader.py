"""Reader of the labels that this plugin writes, for napari's File > Open and drag and drop.

Only files with names like those that the plugin offers are looked at: as soon as two readers match
a name, napari asks which one to take, whatever is inside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from napari_patchseg.errors import FileError
from napari_patchseg.files.labels import read_labels, read_provenance

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
        return None if read_provenance(path) is None else _read
    except FileError:
        return None


def _read(path: str) -> list[_LayerData]:
    saved = read_labels(path)
    if saved is None:  # a confidence map has the same mark
        return []
    sizes = saved.pixel_size or (None,) * saved.labels.ndim
    options = {
        "name": saved.name,
        "scale": [size or 1.0 for size in sizes],
        "units": ["pixel" if size is None else "micrometer" for size in sizes],
        "metadata": {"napari_patchseg": saved.provenance},
    }
    return [(saved.labels, options, "labels")]

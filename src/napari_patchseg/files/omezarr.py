"""Labels as OME-Zarr 0.5, whose label images belong to a group "labels"; and back.

https://ngff.openmicroscopy.org/0.5/ tells what is in the metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from napari_patchseg.errors import FileError
from napari_patchseg.words import image_name

from ._about import About
from ._measured import rows_of
from .atomic import atomic_folder
from .labels import NAMESPACE, PixelSize, SavedLabels, halved, plane_of_labels, sizes_of
from .pixel_size import micrometres

if TYPE_CHECKING:
    from pandas import DataFrame

_VERSION = "0.5"
_NAME = "nuclei"
#: Side of a chunk, in pixels; napari pans by as much.
_CHUNK = 512


def write_ome_zarr(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    *,
    measurements: DataFrame | None = None,
    pixel_size: PixelSize = None,
    report: Mapping[str, Any] | None = None,
    name: str | None = None,
    overwrite: bool = True,
) -> Path:
    """Write labels as a pyramid ``labels/nuclei`` in an OME-Zarr folder.

    Parameters, result and errors are those of `napari_patchseg.files.results.save`.
    Measurements become properties of the labels; what is not finite is left out. Replaced is no
    more than a folder that was written here, and holds nothing else.
    """
    import zarr

    path, array = Path(path), plane_of_labels(labels, "An OME-Zarr")
    sizes = sizes_of(pixel_size)
    about = About(name or image_name(path), (array.shape[0], array.shape[1]), sizes, report or {})
    levels = halved(array, _CHUNK)
    with atomic_folder(path, overwrite=overwrite, replaceable=is_ours) as temporary:
        root = zarr.create_group(temporary)
        # Labels without an image are what is shown, so that any viewer can open the folder.
        shown = _multiscales(f"labels/{_NAME}/", len(levels), sizes)
        root.attrs.update(
            {
                "ome": {"version": _VERSION, "multiscales": shown},
                NAMESPACE: json.loads(about.to_json()),
            }
        )
        group = root.create_group("labels")
        group.attrs["ome"] = {"version": _VERSION, "labels": [_NAME]}
        nuclei = group.create_group(_NAME)
        for number, level in enumerate(levels):
            chunk = tuple(min(_CHUNK, side) for side in level.shape)
            nuclei.create_array(
                str(number),
                shape=level.shape,
                chunks=chunk,
                dtype=level.dtype,
                dimension_names=["y", "x"],
            )[...] = level
        nuclei.attrs["ome"] = {
            "version": _VERSION,
            "multiscales": _multiscales("", len(levels), sizes),
            "image-label": _image_label(measurements),
        }
    return path


def read_ome_zarr(path: str | os.PathLike[str]) -> SavedLabels:
    """Read the first label image of an OME-Zarr folder, of ours or of others.

    Raises
    ------
    FileError
        If there is no such folder, or it holds no labels of one plane.
    """
    path = Path(path)
    with _damage_told(path):
        array, sizes, about = _opened(path)
        labels = np.asarray(array)
    return SavedLabels(labels, sizes, about.name or image_name(path), dict(about.report))


def holds_labels(path: str | os.PathLike[str]) -> bool:
    """Whether `read_ome_zarr` would read labels, as far as it is seen without reading them."""
    try:
        with _damage_told(Path(path)):
            _opened(Path(path))
    except FileError:
        return False
    return True


def _opened(path: Path) -> tuple[Any, tuple[float, ...] | None, About]:
    """The labels' array, not read yet, its pixel size in µm, and what is said about it."""
    import zarr

    if not path.is_dir():
        raise FileError(f"There is no folder {path}.")
    root = zarr.open_group(path, mode="r")
    about = About.read(root.attrs.get(NAMESPACE))
    group: Any = root["labels"]
    nuclei = group[_ome(group)["labels"][0]]
    multiscales = _ome(nuclei)["multiscales"][0]
    level = multiscales["datasets"][0]
    array = nuclei[level["path"]]
    if array.dtype.kind not in "ui" or array.ndim != 2:
        raise FileError(
            f"Labels in {path} are {array.dtype} with {array.ndim} axes, not whole numbers "
            "of one plane."
        )
    return array, _sizes(multiscales["axes"], level["coordinateTransformations"]), about


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except FileError:
        raise
    except Exception as error:  # zarr raises many kinds where a folder is damaged
        raise FileError(f"{path} is no OME-Zarr with labels that can be read.") from error


def is_ours(folder: Path) -> bool:
    """Whether a folder holds what `write_ome_zarr` writes, and nothing else."""
    try:
        said = json.loads((folder / "zarr.json").read_text(encoding="utf-8"))
        return (
            NAMESPACE in said["attributes"]
            and set(os.listdir(folder)) <= {"zarr.json", "labels"}
            and set(os.listdir(folder / "labels")) <= {"zarr.json", _NAME}
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _image_label(measurements: DataFrame | None) -> dict[str, Any]:
    rows = rows_of(measurements)
    if not rows:
        return {}
    return {"properties": [{"label-value": label, **values} for label, values in rows.items()]}


def _multiscales(folder: str, levels: int, sizes: tuple[float, ...]) -> list[dict[str, Any]]:
    unit = {"unit": "micrometer"} if sizes else {}
    steps = sizes[-2:] or (1.0, 1.0)
    return [
        {
            "name": _NAME,
            "axes": [{"name": axis, "type": "space", **unit} for axis in "yx"],
            "datasets": [
                {
                    "path": f"{folder}{number}",
                    # of every second pixel the first: its centre stays where it is
                    "coordinateTransformations": [
                        {"type": "scale", "scale": [step * 2**number for step in steps]}
                    ],
                }
                for number in range(levels)
            ],
            "type": "nearest",
        }
    ]


def _ome(group: Any) -> Mapping[str, Any]:
    """OME's metadata: since 0.5 under a name of their own."""
    return group.attrs.get("ome", group.attrs)


def _sizes(axes: Any, transformations: Any) -> tuple[float, ...] | None:
    """Size of a pixel in µm; None where the file does not say it."""
    (scale,) = (one["scale"] for one in transformations if one["type"] == "scale")
    sizes = [
        float(step) * micrometres(axis.get("unit")) for axis, step in zip(axes, scale, strict=True)
    ]
    return sizes_of(sizes) or None

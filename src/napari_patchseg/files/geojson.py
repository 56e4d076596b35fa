"""Objects as GeoJSON that QuPath opens as detections, and GeoJSON, its own too, as labels.

RFC 7946 says what GeoJSON is; positions are pixels here, as in QuPath, not degrees. What QuPath
reads is told by its class ``QuPathTypeAdapters`` (0.4 and later).
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import uuid
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic_core import from_json

from napari_patchseg.errors import FileError
from napari_patchseg.words import image_name

from ._about import About
from ._measured import rows_of
from ._outlines import FARTHEST, Polygon, Shape, number_in, outlines, painted
from .atomic import atomic_write, reading
from .labels import (
    NAMESPACE,
    PixelSize,
    SavedLabels,
    plane_of_labels,
    sizes_of,
)

if TYPE_CHECKING:
    from pandas import DataFrame

#: Class of every object, with the colour that QuPath draws it in.
_CLASS = {"name": "Nucleus", "color": [204, 121, 167]}
_GZIP = b"\x1f\x8b"
#: Most bytes of a file, unpacked: some two million objects. A packed file of a few megabytes can
#: hold terabytes.
_MOST_BYTES = 2**31


def write_geojson(
    path: str | os.PathLike[str],
    labels: ArrayLike,
    *,
    measurements: DataFrame | None = None,
    pixel_size: PixelSize = None,
    report: Mapping[str, Any] | None = None,
    name: str | None = None,
    origin: tuple[int, int] = (0, 0),
    overwrite: bool = True,
) -> Path:
    """Write objects as a GeoJSON FeatureCollection; packed by gzip where the name ends in ``.gz``.

    An object is a Polygon along the edges of its pixels, or a MultiPolygon, and in QuPath a
    detection of class "Nucleus", named by its label. `read_geojson` gets the same labels back.

    Parameters, result and errors are those of `napari_patchseg.files.results.save`; the
    name, with an object's label, makes the object's id, which is the same each time. What is not
    finite is left out of the measurements.
    """
    path, array = Path(path), plane_of_labels(labels, "GeoJSON")
    name = name or image_name(path)
    shape = array.shape[0], array.shape[1]
    about = About(name, shape, sizes_of(pixel_size), report or {}, origin)
    with (
        atomic_write(path, overwrite=overwrite) as temporary,
        _created(temporary, packed=path.suffix.lower() == ".gz") as file,
    ):
        file.write(f'{{"type":"FeatureCollection",{json.dumps(NAMESPACE)}:{about.to_json()},\n')
        file.write('"features":[')
        between = "\n"
        for feature in _features(array, measurements, name, origin):
            file.write(between + json.dumps(feature, separators=(",", ":"), allow_nan=False))
            between = ",\n"
        file.write("\n]}\n")
    return path


def read_geojson(path: str | os.PathLike[str], shape: tuple[int, int] | None = None) -> SavedLabels:
    """Read the areas of a GeoJSON file as labels.

    `write_geojson` is undone exactly. From other files, such as those that QuPath exports, every
    Polygon and MultiPolygon is an object, of a cell its nucleus; inside is a pixel whose centre is.
    Where objects overlap, the later one wins. An object keeps the number that its metadata or else
    its name says, where that is whole, above 0 and not taken yet; others get the next higher ones.

    Parameters
    ----------
    path : path-like
        The file; packed by gzip or not.
    shape : (int, int), optional
        Height and width of the image; by default what the file says, else as far as the objects
        reach.

    Raises
    ------
    FileError
        If there is no such file, it is no GeoJSON or too large, or holds an area that is none.
    """
    path = Path(path)
    content = _parsed(path)
    about = About.read(content.get(NAMESPACE) if isinstance(content, Mapping) else None)
    shapes, left_out = [], 0
    for number, feature in enumerate(_features_of(content, path), 1):
        try:
            rings = [ring for polygon in _polygons_of(feature) for ring in polygon]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FileError(
                f"Object {number} in {path} has an outline that is none; correct or remove it."
            ) from error
        if rings:
            shapes.append(Shape(_label_of(feature), rings))
        else:
            left_out += 1
    labels, warnings = painted(
        shapes, path, frame=shape, told=about.shape, origin=(0, 0) if shape else about.origin
    )
    if left_out:
        warnings = (f"Points, lines and empty objects were left out ({left_out}).", *warnings)
    return about.labels(labels, path, warnings)


@contextmanager
def _created(path: Path, *, packed: bool) -> Iterator[IO[str]]:
    if packed:  # neither name nor time inside: the same objects make the same file
        with (
            path.open("wb") as raw,
            gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as binary,
            TextIOWrapper(binary, encoding="ascii", newline="\n") as file,
        ):
            yield file
    else:
        with path.open("w", encoding="ascii", newline="\n") as file:
            yield file


def _features(
    labels: NDArray[Any], measurements: DataFrame | None, name: str, origin: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    rows = rows_of(measurements)
    for label, polygons in outlines(labels, origin):
        coordinates = [[_closed(ring) for ring in polygon] for polygon in polygons]
        single = len(coordinates) == 1
        properties: dict[str, Any] = {
            "objectType": "detection",
            "name": str(label),
            "classification": _CLASS,
        }
        if label in rows:
            properties["measurements"] = rows[label]
        properties["metadata"] = {"label": str(label)}  # comes back even if it is renamed
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{NAMESPACE}/{name}/{label}")),
            "geometry": {
                "type": "Polygon" if single else "MultiPolygon",
                "coordinates": coordinates[0] if single else coordinates,
            },
            "properties": properties,
        }


def _closed(ring: NDArray[Any]) -> list[list[int]]:
    points = ring.tolist()
    return [*points, points[0]]


def _parsed(path: Path) -> Any:
    """What the JSON in a file says."""
    with reading(path), path.open("rb") as raw:
        packed = raw.read(2) == _GZIP
        raw.seek(0)
        try:
            with gzip.open(raw) if packed else raw as file:
                text = file.read(_MOST_BYTES + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise FileError(f"{path} is damaged: it cannot be unpacked.") from error
    if len(text) > _MOST_BYTES:
        raise FileError(f"{path} holds more than {_MOST_BYTES >> 30} GB of text; split it.")
    try:
        with _no_collection():
            try:
                return from_json(text)
            except ValueError:
                return json.loads(text)  # knows half characters, as in names of files, byte marks
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is not GeoJSON: it cannot be read as JSON.") from error


@contextmanager
def _no_collection() -> Iterator[None]:
    """Make millions of lists without looking for cycles in them: six times as fast."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _features_of(content: Any, path: Path) -> Sequence[Mapping[str, Any]]:
    """The features of a collection, of a bare list as QuPath writes it, or the only one."""
    if isinstance(content, Mapping):
        features = content.get("features") if "features" in content else [content]
    else:
        features = content
    if not isinstance(features, list) or not all(
        isinstance(feature, Mapping) and feature.get("type") == "Feature" for feature in features
    ):
        raise FileError(f"{path} is not GeoJSON: it holds no features.")
    return features


def _polygons_of(feature: Mapping[str, Any]) -> list[Polygon]:
    """The areas of a feature; of a cell those of its nucleus.

    Raises
    ------
    ValueError, TypeError, KeyError
        If what should be an area is none.
    """
    properties = feature.get("properties")
    nucleus = feature.get("nucleusGeometry")
    if nucleus is None and isinstance(properties, Mapping):
        nucleus = properties.get("nucleusGeometry")
    return _areas(nucleus) or _areas(feature.get("geometry"))


def _areas(geometry: Any) -> list[Polygon]:
    if geometry is None:
        return []
    kind = geometry["type"]
    if kind == "GeometryCollection":
        return [area for part in geometry["geometries"] for area in _areas(part)]
    if kind not in ("Polygon", "MultiPolygon"):
        return []
    coordinates = geometry["coordinates"]
    polygons = [coordinates] if kind == "Polygon" else coordinates
    return [[_ring(ring) for ring in polygon] for polygon in polygons]


def _ring(points: Any) -> NDArray[Any]:
    ring = np.array(points)
    if ring.ndim != 2 or ring.shape[0] < 4 or ring.shape[1] < 2 or ring.dtype.kind not in "iuf":
        raise ValueError(f"{ring.shape} {ring.dtype}")
    ring = ring[:, :2]
    if not (np.abs(ring) < FARTHEST).all():  # NaN is not
        raise ValueError("too far")
    return ring


def _label_of(feature: Mapping[str, Any]) -> int | None:
    properties = feature.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    metadata = properties.get("metadata")
    told = [metadata.get("label")] if isinstance(metadata, Mapping) else []
    numbers = (number_in(text) for text in (*told, properties.get("name")))
    return next((number for number in numbers if number), None)

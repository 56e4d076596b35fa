"""GeoJSON out and in; the package geojson judges what we write, as QuPath's classes once did."""

from __future__ import annotations

import gzip
import json
import math
import uuid
from pathlib import Path

import geojson
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from napari_patchseg.errors import FileError
from napari_patchseg.files.geojson import read_geojson, write_geojson

DATA = Path(__file__).parent / "data"
LABELS = np.zeros((12, 15), np.int32)
LABELS[1:5, 1:5] = 3
LABELS[2:4, 2:4] = 0  # a hole
LABELS[6:8, 0:3] = LABELS[9:12, 12:15] = 7  # two pieces, at the border
LABELS[0, 14] = 9
SQUARE = [[[2, 1], [6, 1], [6, 5], [2, 5], [2, 1]]]


def feature(coordinates=SQUARE, kind="Polygon", geometry=None, **properties):
    geometry = geometry or {"type": kind, "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def saved_as(tmp_path, content):
    path = tmp_path / "others.geojson"
    path.write_text(json.dumps(content))
    return path


def test_objects_are_valid_geojson_and_detections(tmp_path):
    path = write_geojson(tmp_path / "a.geojson", LABELS)
    content = geojson.loads(path.read_text())
    assert isinstance(content, geojson.FeatureCollection)
    assert content.is_valid, content.errors()
    assert [one.geometry.type for one in content.features] == ["Polygon", "MultiPolygon", "Polygon"]
    for one, label in zip(content.features, ("3", "7", "9"), strict=True):
        assert one.properties["objectType"] == "detection"
        assert one.properties["classification"]["name"] == "Nucleus"
        assert len(one.properties["classification"]["color"]) == 3
        assert one.properties["name"] == one.properties["metadata"]["label"] == label
        assert str(uuid.UUID(one.id)) == one.id
    assert len({one.id for one in content.features}) == 3
    assert content.features[2].geometry.coordinates == [
        [[14, 0], [15, 0], [15, 1], [14, 1], [14, 0]]
    ]


@pytest.mark.parametrize("name", ["a.geojson", "a.geojson.gz"])
def test_all_that_was_given_comes_back(tmp_path, name):
    report = {"file": "\udcff µ.tif", "loss": math.nan}
    path = write_geojson(
        tmp_path / name, LABELS, pixel_size=(0.5, 0.25), report=report, name="slide µ"
    )
    saved = read_geojson(path)
    np.testing.assert_array_equal(saved.labels, LABELS)
    assert saved.labels.dtype == np.uint16
    assert saved.pixel_size == (0.5, 0.25)
    assert saved.name == "slide µ"
    assert saved.report == {"file": "\udcff µ.tif", "loss": None}
    assert saved.warnings == ()
    assert (path.read_bytes()[:2] == b"\x1f\x8b") == name.endswith(".gz")


def test_without_a_name_it_is_the_files(tmp_path):
    assert read_geojson(write_geojson(tmp_path / "a 1.geojson.gz", LABELS)).name == "a 1"


def test_the_same_objects_make_the_same_file(tmp_path):
    first, second = (
        write_geojson(tmp_path / f"{n}.geojson.gz", LABELS, name="slide") for n in "ab"
    )
    assert first.read_bytes() == second.read_bytes()


def test_measurements_are_numbers_by_label(tmp_path):
    table = pd.DataFrame(
        {"Label": [9, 3], "Area µm^2": [1.25, math.nan], "Pixels": [1, 12], "Class": ["a", "b"]}
    )
    path = write_geojson(tmp_path / "a.geojson", LABELS, measurements=table)

    def no_number(text):
        raise AssertionError(text)

    content = json.loads(path.read_text(), parse_constant=no_number)
    found = {one["properties"]["name"]: one["properties"] for one in content["features"]}
    assert found["9"]["measurements"] == {"Area µm^2": 1.25, "Pixels": 1}
    assert found["3"]["measurements"] == {"Pixels": 12}  # NaN is not in JSON
    assert "measurements" not in found["7"]


def test_measurements_of_no_labels_are_refused(tmp_path):
    with pytest.raises(FileError, match="Label"):
        write_geojson(tmp_path / "a.geojson", LABELS, measurements=pd.DataFrame({"Area": [1]}))
    assert list(tmp_path.iterdir()) == []


def test_no_objects(tmp_path):
    path = write_geojson(tmp_path / "a.geojson", np.zeros((3, 5), int))
    assert geojson.loads(path.read_text()).is_valid
    assert read_geojson(path).labels.shape == (3, 5)


def test_a_file_is_kept_unless_it_may_go_and_when_writing_fails(tmp_path):
    path = write_geojson(tmp_path / "a.geojson", LABELS)
    before = path.read_bytes()
    with pytest.raises(FileError, match="exists"):
        write_geojson(path, LABELS, overwrite=False)
    with pytest.raises(FileError, match="axes"):
        write_geojson(path, np.zeros((2, 3, 4), int))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# -- files of others


@pytest.mark.parametrize(
    "content",
    [
        [feature()],
        {"type": "FeatureCollection", "features": [feature(objectType="annotation")]},
        feature(),
        [feature([SQUARE], "MultiPolygon")],
        [feature(geometry={"type": "GeometryCollection", "geometries": [feature()["geometry"]]})],
    ],
)
def test_areas_of_all_kinds_of_files_are_objects(tmp_path, content):
    saved = read_geojson(saved_as(tmp_path, content))
    expected = np.zeros((5, 6))
    expected[1:5, 2:6] = 1
    np.testing.assert_array_equal(saved.labels, expected)  # as far as it reaches
    assert saved.pixel_size is None
    assert saved.report == {}
    larger = read_geojson(tmp_path / "others.geojson", (8, 9)).labels
    np.testing.assert_array_equal(larger, np.pad(expected, ((0, 3), (0, 3))))


def test_what_qupath_exports_is_read_as_qupath_sees_it():
    """Written, with the pixels whose centres are in its objects, by QuPath 0.8's own classes."""
    with Image.open(DATA / "qupath.png") as image:
        expected = np.array(image)
    saved = read_geojson(DATA / "qupath.geojson", expected.shape)
    np.testing.assert_array_equal(saved.labels, expected)
    assert len(saved.warnings) == 1  # a point and a line


@pytest.mark.parametrize("inside", [True, False])
def test_of_a_cell_the_nucleus_counts(tmp_path, inside):
    nucleus = {"type": "Polygon", "coordinates": [[[3, 2], [5, 2], [5, 4], [3, 4], [3, 2]]]}
    cell = feature(objectType="cell")
    (cell["properties"] if inside else cell)["nucleusGeometry"] = nucleus
    labels = read_geojson(saved_as(tmp_path, [cell]), (8, 8)).labels
    assert np.count_nonzero(labels) == 4


def test_subpixel_points_a_height_and_a_hole(tmp_path):
    outer = [[0.6, 0.4, 7], [4.4, 0.4, 7], [4.4, 4.6, 7], [0.6, 4.6, 7], [0.6, 0.4, 7]]
    hole = [[2, 2, 7], [3, 2, 7], [3, 3, 7], [2, 3, 7], [2, 2, 7]]
    labels = read_geojson(saved_as(tmp_path, [feature([outer, hole])]), (6, 6)).labels
    expected = np.zeros((6, 6))
    expected[0:5, 1:4] = 1
    expected[2, 2] = 0
    np.testing.assert_array_equal(labels, expected)


def test_points_and_lines_are_told(tmp_path):
    content = [
        feature([1, 2], "Point"),
        feature([[1, 2], [3, 4]], "LineString"),
        {"type": "Feature", "geometry": None, "properties": None},
        feature(),
    ]
    saved = read_geojson(saved_as(tmp_path, content))
    assert saved.labels.max() == 1
    assert len(saved.warnings) == 1
    assert "(3)" in saved.warnings[0]


def test_labels_are_what_metadata_or_else_names_say(tmp_path):
    def at(x, **properties):
        return feature([[[x, 0], [x + 1, 0], [x + 1, 1], [x, 1], [x, 0]]], **properties)

    content = [
        at(0, metadata={"label": "12"}, name="nucleus"),
        at(1, name="4"),
        at(2, name="4"),
        at(3, name="mitosis", metadata={}),
        at(4, name="-1"),
        at(5, name=7),
        at(6),
    ]
    labels = read_geojson(saved_as(tmp_path, content)).labels
    assert labels.tolist() == [[12, 4, 13, 14, 15, 7, 16]]


def test_where_objects_overlap_the_later_one_wins(tmp_path):
    wide = feature([[[0, 0], [9, 0], [9, 9], [0, 9], [0, 0]]])
    assert np.unique(read_geojson(saved_as(tmp_path, [wide, feature()])).labels).tolist() == [1, 2]
    saved = read_geojson(saved_as(tmp_path, [feature(), wide]))
    assert np.unique(saved.labels).tolist() == [2]


def ring(*points):
    return [[*points, points[0]]]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"nuclei",
        b"\xff\xfe\x00",
        b"[" * 100_000,
        b"5",
        b"{}",
        b'{"features": 3}',
        b"[3]",
        b'[{"type": "Polygon"}]',
        gzip.compress(b"[]" * 5000)[:40],
        gzip.compress(b"nuclei"),
        json.dumps([feature(ring([0, 0], [math.nan, 1], [1, 1]))]).encode(),
        json.dumps([feature(ring([0, 0], [math.inf, 1], [1, 1]))]).encode(),
        json.dumps([feature(ring([0, 0], [1e300, 1], [1, 1]))]).encode(),
        json.dumps([feature(ring([0, 0], [10**40, 1], [1, 1]))]).encode(),
        json.dumps([feature(ring([0, 0], [1e12, 0], [1e12, 1e12]))]).encode(),
        json.dumps([feature(ring([0, 0], [1e5, 0], [1e5, 1e5]))]).encode(),
        json.dumps([feature(ring([0, 0], [1], [1, 1]))]).encode(),
        json.dumps([feature(ring(["0", "0"], ["1", "0"], ["1", "1"]))]).encode(),
        json.dumps([feature(ring([0, 0], [1, 1]))]).encode(),
        json.dumps([feature([[]])]).encode(),
        json.dumps([feature("far")]).encode(),
        json.dumps([feature(7)]).encode(),
        json.dumps([feature(geometry={"coordinates": []})]).encode(),
        json.dumps([feature(geometry=[1])]).encode(),
        json.dumps([feature(geometry={"type": "GeometryCollection", "geometries": 3})]).encode(),
    ],
)
def test_what_is_no_geojson_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "a.geojson"
    path.write_bytes(content)
    with pytest.raises(FileError) as told:
        read_geojson(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileError, match="no file"):
        read_geojson(tmp_path / "a.geojson")


def test_damaged_files_of_ours_are_read_or_refused_in_a_sentence(tmp_path):
    """Whatever is cut or changed."""
    path = write_geojson(tmp_path / "a.geojson", LABELS, pixel_size=0.5, report={})
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(whole)
        for at in rng.integers(len(damaged), size=3):
            damaged[at] = rng.integers(32, 127)
        path.write_bytes(damaged[: rng.integers(len(damaged) // 2, 2 * len(damaged))])
        try:
            read_geojson(path, (12, 15))
        except FileError as error:
            assert "\n" not in str(error)  # noqa: PT017

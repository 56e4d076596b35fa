"""OME-Zarr out and in; yaozarrs and ome-zarr-io judge what we write."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np
import ome_zarr_io
import pandas as pd
import pytest
import yaozarrs
import zarr

from napari_patchseg.errors import FileError
from napari_patchseg.files.omezarr import read_ome_zarr, write_ome_zarr

LABELS = np.zeros((1200, 701), np.int32)
LABELS[3:30, 5:60] = 1
LABELS[1100:1200, 600:701] = 70_000
TABLE = pd.DataFrame({"Label": [1, 70_000], "Area µm^2": [1.5, math.nan]})


@pytest.mark.parametrize("options", [{}, {"pixel_size": (0.5, 0.25), "measurements": TABLE}])
def test_labels_are_valid_and_come_back(tmp_path, options):
    path = write_ome_zarr(tmp_path / "a.ome.zarr", LABELS, report={"loss": math.nan}, **options)
    yaozarrs.validate_zarr_store(path / "labels")
    for image in (path, path / "labels" / "nuclei"):  # viewers open either
        yaozarrs.validate_zarr_store(image)
        report = ome_zarr_io.validate(image)
        assert report.is_valid, report
    saved = read_ome_zarr(path)
    np.testing.assert_array_equal(saved.labels, LABELS)
    assert saved.pixel_size == options.get("pixel_size")
    assert saved.name == "a"
    assert saved.report == {"loss": None}


def test_a_pyramid_of_labels_in_micrometres(tmp_path):
    path = write_ome_zarr(tmp_path / "a.zarr", LABELS, pixel_size=(0.5, 0.25), measurements=TABLE)
    group = zarr.open_group(path, path="labels/nuclei", mode="r")
    told = group.attrs["ome"]
    (multiscales,) = told["multiscales"]
    assert {axis["unit"] for axis in multiscales["axes"]} == {"micrometer"}
    scales = [level["coordinateTransformations"][0]["scale"] for level in multiscales["datasets"]]
    assert scales == [[0.5, 0.25], [1, 0.5], [2, 1]]
    for number in range(3):
        level = group[str(number)]
        step = 2**number
        np.testing.assert_array_equal(level, LABELS[::step, ::step])
        assert level.metadata.dimension_names == ("y", "x")
    assert told["image-label"]["properties"] == [
        {"label-value": 1, "Area µm^2": 1.5},
        {"label-value": 70_000},
    ]


def test_ours_is_replaced_if_it_may_be(tmp_path):
    path = write_ome_zarr(tmp_path / "a.ome.zarr", LABELS)
    with pytest.raises(FileError, match="exists"):
        write_ome_zarr(path, LABELS + 1, overwrite=False)
    np.testing.assert_array_equal(read_ome_zarr(path).labels, LABELS)
    write_ome_zarr(path, LABELS[:5] + 1, overwrite=True)
    np.testing.assert_array_equal(read_ome_zarr(path).labels, LABELS[:5] + 1)
    assert list(tmp_path.iterdir()) == [path]


def others(path):
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")


def others_zarr(path):
    zarr.create_group(path, attributes={"ome": {"version": "0.5"}})


def ours_and_more(path):
    write_ome_zarr(path, LABELS)
    (path / "labels" / "by hand").mkdir()


def a_file(path):
    path.write_text("years of work")


@pytest.mark.parametrize("make", [others, others_zarr, ours_and_more, a_file])
def test_what_others_made_is_never_replaced(tmp_path, make):
    path = tmp_path / "a.ome.zarr"
    make(path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileError, match="another name"):
        write_ome_zarr(path, LABELS, overwrite=True)
    assert sorted(tmp_path.rglob("*")) == before


def test_on_a_full_disk_what_was_there_stays(small_disk):
    path = write_ome_zarr(small_disk / "a.ome.zarr", LABELS)
    noise = np.random.default_rng(0).integers(0, 2**31, (300, 300))
    with pytest.raises(FileError, match="full"):
        write_ome_zarr(path, noise, overwrite=True)
    np.testing.assert_array_equal(read_ome_zarr(path).labels, LABELS)
    assert list(small_disk.iterdir()) == [path]


def test_labels_of_others_are_read(tmp_path):
    root = zarr.create_group(tmp_path / "a.zarr", zarr_format=2)  # OME-Zarr 0.4
    labels = root.create_group("labels")
    labels.attrs["labels"] = ["cells"]
    cells = labels.create_group("cells")
    cells.create_array("full", shape=(3, 4), dtype="u1")[...] = np.eye(3, 4)
    axes = [{"name": n, "type": "space", "unit": "nanometer"} for n in "yx"]
    scale = {"type": "scale", "scale": [500, 250]}
    dataset = {"path": "full", "coordinateTransformations": [scale]}
    cells.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": [dataset]}]
    saved = read_ome_zarr(tmp_path / "a.zarr")
    np.testing.assert_array_equal(saved.labels, np.eye(3, 4))
    assert saved.pixel_size == pytest.approx((0.5, 0.25))
    assert saved.report == {}


def drop_level(path):
    shutil.rmtree(path / "labels" / "nuclei" / "0")


def spoil(path):
    (path / "labels" / "zarr.json").write_text("[")


def of_floats(path):
    group = zarr.open_group(path, path="labels/nuclei")
    group.create_array("0", shape=(3, 4), dtype="f4", overwrite=True)


def huge(path):
    file = path / "labels" / "nuclei" / "0" / "zarr.json"
    told = json.loads(file.read_text())
    file.write_text(json.dumps({**told, "shape": [10**9, 10**9]}))


@pytest.mark.parametrize("damage", [drop_level, spoil, of_floats, huge, shutil.rmtree])
def test_what_holds_no_labels_is_refused_in_a_sentence(tmp_path, damage):
    path = write_ome_zarr(tmp_path / "a.ome.zarr", LABELS)
    damage(path)
    with pytest.raises(FileError) as told:
        read_ome_zarr(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)

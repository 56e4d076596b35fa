"""Saving Labels layers through napari itself, in a real viewer."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import tifffile
from napari.layers import Labels
from napari.utils.notifications import notification_manager
from PIL import Image

import napari_patchseg as ps
from napari_patchseg.errors import FileError, PatchSegError
from napari_patchseg.files.images import read_image
from napari_patchseg.files.labels import read_report
from napari_patchseg.plugin._features import as_features
from napari_patchseg.plugin.writer import (
    pixel_size,
    write_csv,
    write_geojson,
    write_ome_tiff,
    write_png,
    write_rois,
)

PLUGIN = "napari-patchseg"
REPORT = {"steps": 120, "stop_reason": "converged", "settings": {"preset": "default"}}


def labels(highest: int = 3) -> np.ndarray:
    array = np.zeros((70, 90), np.int32)
    array[10:30, 20:50] = 1
    array[40:60, 10:80] = highest
    return array


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- ways to save


@pytest.mark.parametrize("name", ["a.ome.tif", "a.ome.tiff", "A.OME.TIF"])
def test_layer_save(tmp_path, viewer, name):
    layer = viewer.add_labels(
        labels(),
        name="slide nuclei",
        scale=(0.5, 0.25),
        units="µm",
        metadata={"napari_patchseg": REPORT, "other": object()},
    )
    path = tmp_path / name
    assert layer.save(str(path)) == [str(path)]
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].name == "slide nuclei"
        assert tiff.asarray().dtype == np.uint16
        np.testing.assert_array_equal(tiff.asarray(), labels())
    assert read_image(path).pixel_size_yx == (0.5, 0.25)
    assert read_report(path) == REPORT


def test_png_save(tmp_path, viewer):
    viewer.add_labels(labels(), metadata={"napari_patchseg": REPORT})
    path = tmp_path / "a.png"
    assert viewer.layers.save(str(path)) == [str(path)]
    np.testing.assert_array_equal(np.asarray(Image.open(path)), labels())
    assert read_report(path) == REPORT


def test_reopened_in_napari(tmp_path, viewer):
    viewer.add_labels(labels(70_000)).save(str(tmp_path / "a.ome.tif"))
    (layer,) = viewer.open(str(tmp_path / "a.ome.tif"), layer_type="labels", plugin="napari")
    assert isinstance(layer, Labels)
    assert layer.data.dtype == np.uint32
    np.testing.assert_array_equal(layer.data, labels(70_000))


def test_other_layers_and_plain_tif_are_not_ours(tmp_path, viewer):
    viewer.add_image(np.zeros((70, 90), np.uint8)).save(str(tmp_path / "image.png"))
    assert Image.open(tmp_path / "image.png").mode != "I;16"
    viewer.add_labels(labels()).save(str(tmp_path / "labels.tif"))
    with tifffile.TiffFile(tmp_path / "labels.tif") as tiff:
        assert not tiff.is_ome


def test_multiscale(tmp_path, viewer):
    levels = [labels(), labels()[::2, ::2], labels()[::4, ::4]]
    layer = viewer.add_labels(levels, multiscale=True, scale=(200, 200), units="nm")
    layer.save(str(tmp_path / "a.ome.tif"))
    got = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(got.array, labels())
    assert got.pixel_size_yx == pytest.approx((0.2, 0.2))
    layer.save(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), labels())


def test_dask(tmp_path, viewer):
    layer = viewer.add_labels(da.from_array(labels(), chunks=32))
    layer.save(str(tmp_path / "a.ome.tif"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), labels())


def test_stack(tmp_path, viewer):
    stack = np.stack([labels(), labels(5)])
    layer = viewer.add_labels(stack, scale=(2, 0.5, 0.5), units="µm")
    layer.save(str(tmp_path / "a.ome.tif"))
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as tiff:
        assert tiff.series[0].axes == "ZYX"
        assert 'PhysicalSizeZ="2.0"' in tiff.ome_metadata
        np.testing.assert_array_equal(tiff.asarray(), stack)
    with pytest.raises(FileError, match="have 3 axes; save as OME-TIFF"):
        layer.save(str(tmp_path / "a.png"))


# Which writer comes first, napari's or ours, depends on the order of registration: with a bare name
# and in a folder either may write, and what is written must be right.


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("name", ["a.ome.tif", "a.png"])
def test_labels_of_a_stack_s_plane_are_a_plain_file(tmp_path, viewer, axis, name):
    sizes = [4.0, 0.5, 0.25]
    layer = viewer.add_labels(
        np.expand_dims(labels(), axis),
        scale=sizes,
        units="µm",
        metadata={"napari_patchseg": {"role": "nuclei"}},
    )
    path = tmp_path / name
    layer.save(str(path))
    np.testing.assert_array_equal(read_image(path).array, labels())
    if not name.endswith("png"):
        del sizes[axis]
        assert read_image(path).pixel_size_yx == tuple(sizes)


def test_bare_name(tmp_path, viewer):
    (written,) = viewer.add_labels(labels()).save(str(tmp_path / "a"))
    assert names(tmp_path) == [Path(written).name]
    assert written.endswith(".tif")
    np.testing.assert_array_equal(tifffile.imread(written), labels())


def test_bare_name_when_ours_is_asked_for(tmp_path, viewer):
    written = viewer.add_labels(labels()).save(str(tmp_path / "a"), plugin=PLUGIN)
    assert written == [str(tmp_path / "a.ome.tif")]
    np.testing.assert_array_equal(tifffile.imread(written[0]), labels())


def test_all_layers_into_a_folder(tmp_path, viewer):
    viewer.add_image(np.zeros((70, 90), np.uint8), name="image")
    viewer.add_labels(labels(), name="slide nuclei")
    viewer.add_labels(labels(70_000), name="more")
    viewer.layers.save(str(tmp_path / "folder"))
    written = {path.name.split(".")[0]: path for path in (tmp_path / "folder").iterdir()}
    assert sorted(written) == ["image", "more", "slide nuclei"]
    assert all(path.suffix == ".tif" for path in written.values())
    np.testing.assert_array_equal(tifffile.imread(written["slide nuclei"]), labels())
    np.testing.assert_array_equal(tifffile.imread(written["more"]), labels(70_000))


# -- the dialog


def save_by_dialog(viewer, monkeypatch, typed: Path, filter_start: str) -> str:
    """File > Save Selected Layers..., with a user who types a name and picks a filter."""
    offered = []

    def answer(*args, filter="", **kwargs):  # noqa: A002  # Qt's name
        offered.append(filter)
        picked = next(f for f in filter.split(";;") if f.startswith(filter_start))
        return str(typed), picked

    monkeypatch.setattr("napari._qt.qt_viewer.QFileDialog.getSaveFileName", answer)
    viewer.window._qt_viewer._save_layers_dialog(selected=True)
    return offered[0]


def test_dialog_offers_both_formats(tmp_path, viewer, monkeypatch):
    viewer.add_labels(labels())
    offered = save_by_dialog(viewer, monkeypatch, tmp_path / "a.ome.tif", "PatchSeg Labels as OME")
    assert "PatchSeg Labels as OME-TIFF (*.ome.tif *.ome.tiff)" in offered
    assert "PatchSeg Labels as 16-bit PNG (*.png)" in offered
    assert names(tmp_path) == ["a.ome.tif"]


@pytest.mark.parametrize(
    ("typed", "filter_start", "written"),
    [
        ("slide nuclei", "PatchSeg Labels as OME", "slide nuclei.ome.tif"),
        ("slide 1.2 nuclei", "PatchSeg Labels as OME", "slide 1.2 nuclei.ome.tif"),
        ("a.tif", "PatchSeg Labels as OME", "a.tif"),
        ("a.png", "PatchSeg Labels as OME", "a.png.ome.tif"),
        ("slide nuclei", "PatchSeg Labels as 16", "slide nuclei.png"),
        ("a.ome.tif", "PatchSeg Labels as 16", "a.ome.tif.png"),
    ],
)
def test_name_never_says_another_format(
    tmp_path, viewer, monkeypatch, typed, filter_start, written
):
    viewer.add_labels(labels())
    save_by_dialog(viewer, monkeypatch, tmp_path / typed, filter_start)
    assert names(tmp_path) == [written]
    np.testing.assert_array_equal(read_image(tmp_path / written).array, labels())


@pytest.mark.parametrize(
    ("typed", "filter_start", "ending"),
    [
        ("slide nuclei", "PatchSeg Labels as OME", ".ome.tif"),
        ("slide.v2", "PatchSeg Labels as 16", ".png"),
    ],
)
def test_file_that_the_dialog_did_not_ask_about_is_kept(
    tmp_path, viewer, monkeypatch, typed, filter_start, ending
):
    path = tmp_path / f"{typed}{ending}"
    path.write_bytes(b"old")
    viewer.add_labels(labels())
    with pytest.raises(FileError, match=f"{path.name} exists already"):
        save_by_dialog(viewer, monkeypatch, tmp_path / typed, filter_start)
    assert path.read_bytes() == b"old"
    save_by_dialog(viewer, monkeypatch, path, filter_start)
    assert read_image(path).array.max() == 3


# -- errors


def test_error_is_one_sentence_in_napari(tmp_path, viewer, monkeypatch):
    """From the menu to the notification: what a user sees when the folder is gone."""
    viewer.add_labels(labels())
    missing = tmp_path / "gone" / "a.ome.tif"
    monkeypatch.setattr(
        "napari._qt.qt_viewer.QFileDialog.getSaveFileName",
        lambda *_, **__: (str(missing), "PatchSeg Labels as OME-TIFF"),
    )
    action = viewer.window.file_menu.findAction("napari.window.file.save_layers_dialog.selected")
    notification_manager.records.clear()
    with notification_manager:  # napari's own exception hook, as when it runs
        action.trigger()
    seen = [(str(record.severity), record.message) for record in notification_manager.records]
    # The traceback holds the viewer, which the fixture wants to be gone.
    notification_manager.records.clear()
    for name in {"last_exc", "last_traceback", "last_value"} & set(vars(sys)):
        delattr(sys, name)
    assert seen == [
        ("error", f"Folder {missing.parent} does not exist; create it or choose another.")
    ]


def test_failed_write_keeps_the_old_file(tmp_path, viewer):
    resource = pytest.importorskip("resource", reason="POSIX only")
    path = tmp_path / "a.ome.tif"
    viewer.add_labels(labels()).save(str(path))
    noise = np.random.default_rng(0).integers(0, 60_000, (400, 400))
    layer = viewer.add_labels(noise)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(FileError, match="was not written"):
            layer.save(str(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    np.testing.assert_array_equal(tifffile.imread(path), labels())
    assert names(tmp_path) == ["a.ome.tif"]


def test_too_many_labels_for_png(tmp_path, viewer):
    layer = viewer.add_labels(labels(70_000))
    with pytest.raises(FileError, match="a label 70,000; save as OME-TIFF"):
        layer.save(str(tmp_path / "a.png"))
    assert names(tmp_path) == []


# -- pixel size


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({}, None),
        ({"scale": (0.5, 0.5)}, None),  # napari's default unit is the pixel
        ({"scale": (0.5, 0.25), "units": "µm"}, (0.5, 0.25)),
        ({"scale": (0.5, 0.25), "units": "micron"}, (0.5, 0.25)),
        ({"scale": (500, 250), "units": ("nm", "nm")}, (0.5, 0.25)),
        ({"scale": (5e-4, 250), "units": ("mm", "nm")}, (0.5, 0.25)),
        ({"scale": (-0.5, 0.25), "units": "µm"}, (0.5, 0.25)),
        ({"scale": (0.5, 0.5), "units": ("s", "µm")}, None),
        ({"scale": (0.5, 0.25), "units": "µm", "rotate": 30}, (0.5, 0.25)),
        ({"units": "µm", "affine": np.diag([0.5, 0.25, 1])}, (0.5, 0.25)),
        ({"scale": (2, 2), "units": "µm", "affine": np.diag([0.25, 0.25, 1])}, (0.5, 0.5)),
    ],
)
def test_pixel_size(options, size):
    _, meta, _ = Labels(labels(), **options).as_layer_data_tuple()
    got = pixel_size(meta)
    assert got == (size if size is None else pytest.approx(size))


def test_pixel_size_of_stacks():
    stack = np.zeros((2, 3, 70, 90), int)
    _, meta, _ = Labels(stack, scale=(1, 2, 0.5, 0.25), units=("s", "µm", "µm", "µm")
                        ).as_layer_data_tuple()  # fmt: skip
    assert pixel_size(meta) == (2, 0.5, 0.25)
    _, meta, _ = Labels(stack[0], scale=(1, 0.5, 0.25), units=("s", "µm", "µm")
                        ).as_layer_data_tuple()  # fmt: skip
    assert pixel_size(meta) == (0.5, 0.25)


def test_metadata_that_are_not_ours(tmp_path):
    for metadata in (None, {}, {"napari_patchseg": "text"}):
        write_ome_tiff(str(tmp_path / "a.ome.tif"), labels(), {"metadata": metadata})
        assert read_report(tmp_path / "a.ome.tif") == {}  # the mark of a labels file
        write_png(str(tmp_path / "a.png"), labels(), {})


# -- measurements


def test_a_table_holds_what_the_layer_knows_but_never_of_other_objects(tmp_path, viewer):
    image = np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)
    table = ps.measure(labels(), image, pixel_size=0.5)
    layer = viewer.add_labels(
        labels(), name="nuclei · slide", scale=(0.5, 0.5), units="µm", features=as_features(table)
    )
    path = tmp_path / "a.csv"
    assert layer.save(str(path), plugin=PLUGIN) == [str(path)]
    read = pd.read_csv(path)
    assert set(read.pop("Image")) == {"slide"}
    pd.testing.assert_frame_equal(read, table)
    layer.data_setitem(np.nonzero(labels() == 1), 0)
    layer.save(str(path), plugin=PLUGIN)
    layer.scale = (1, 1)
    layer.save(str(path), plugin=PLUGIN)
    read = pd.read_csv(path).drop(columns="Image")
    pd.testing.assert_frame_equal(read, ps.measure(layer.data, image, pixel_size=1.0))
    layer.data = np.roll(labels(), 1, 0)[:, :80]
    layer.save(str(path), plugin=PLUGIN)
    read = pd.read_csv(path).drop(columns="Image")
    shapes = ps.measure(layer.data, pixel_size=1.0)
    pd.testing.assert_frame_equal(read[shapes.columns], shapes)


def test_no_name_says_another_kind_of_file(tmp_path, viewer):
    layer = viewer.add_labels(labels(), name="slide nuclei")
    for write, ending in ((write_csv, ".csv"), (write_geojson, ".geojson"), (write_rois, ".zip")):
        data, meta, _ = layer.as_layer_data_tuple()
        assert write(str(tmp_path / "a.txt"), data, meta) == [str(tmp_path / f"a.txt{ending}")]
        with pytest.raises(FileError, match="exists"):
            write(str(tmp_path / "a.txt"), data, meta)


def test_stacks_are_no_table(tmp_path, viewer):
    layer = viewer.add_labels(np.stack([labels(), labels()]))
    with pytest.raises(PatchSegError, match="one plane"):
        layer.save(str(tmp_path / "a.csv"), plugin=PLUGIN)
    assert names(tmp_path) == []


def test_a_part_of_a_large_image_is_saved_where_it_lies(tmp_path, viewer):
    report = {**REPORT, "role": "nuclei", "origin": [400, 900]}
    layer = viewer.add_labels(
        labels(),
        name="nuclei · slide",
        scale=(0.5, 0.5),
        translate=(200, 450),
        units="µm",
        metadata={"napari_patchseg": report},
    )
    for name in ("a.csv", "a.geojson", "nuclei.ome.tif"):
        layer.save(str(tmp_path / name), plugin=PLUGIN)
    table = pd.read_csv(tmp_path / "a.csv")
    inside = ps.measure(labels(), pixel_size=0.5)
    for axis, start in (("X", 900), ("Y", 400)):
        np.testing.assert_allclose(
            table[f"Centroid {axis} px"], inside[f"Centroid {axis} px"] + start
        )
        np.testing.assert_allclose(
            table[f"Centroid {axis} µm"], (inside[f"Centroid {axis} px"] + start) / 2
        )
    first = json.loads((tmp_path / "a.geojson").read_text())["features"][0]
    assert np.min(first["geometry"]["coordinates"][0], 0).tolist() == [920, 410]
    for name in ("a.geojson", "nuclei.ome.tif"):
        (opened,) = viewer.open(str(tmp_path / name), plugin=PLUGIN)
        np.testing.assert_array_equal(opened.data, labels())
        np.testing.assert_array_equal(opened.translate, (200, 450))

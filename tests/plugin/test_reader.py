"""Saved labels come back as labels, and nobody else's files are touched."""

from __future__ import annotations

import itertools
import json
import zipfile

import numpy as np
import pandas as pd
import pytest
import tifffile
from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog
from napari.layers import Image, Labels
from napari.plugins import _npe2
from npe2 import PluginManager
from PIL import Image as Picture
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QDialogButtonBox

import napari_patchseg as ps
from napari_patchseg.cli import main
from napari_patchseg.cli._files import results
from napari_patchseg.errors import FileError
from napari_patchseg.files.labels import write_confidence
from napari_patchseg.plugin.layer_menu import find_panel
from napari_patchseg.plugin.reader import labels_reader, objects_reader

PLUGIN = "napari-patchseg"
REPORT = {"role": "nuclei", "steps": 120, "settings": {"preset": "default"}}
LABELS = np.zeros((70, 90), np.int32)
LABELS[10:30, 20:50] = 1
LABELS[40:60, 10:80] = 65_535

#: Names as the window, the command line and the demo give them.
NAMES = [
    "slide_nuclei.ome.tif",
    "slide.v2_nuclei.ome.tif",
    "nuclei · slide.ome.tif",
    "slide nuclei.ome.tif",
    "labels.ome.tif",
    "labels.ome.tiff",
    "slide_nuclei.png",
    "nuclei · slide.png",
    "nuclei · slide.v2.png",
    "slide nuclei.png",
    "labels.png",
]


@pytest.fixture(autouse=True)
def plugins():
    """What napari finds as it starts: without it, nobody's files are anybody's."""
    PluginManager.instance().discover()


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer()


@pytest.mark.parametrize("name", NAMES)
def test_round_trip(tmp_path, viewer, name):
    layer = viewer.add_labels(
        LABELS,
        name="nuclei · slide µ",
        scale=(0.5, 0.25),
        units="µm",
        metadata={"napari_patchseg": REPORT},
    )
    path = str(tmp_path / name)
    assert layer.save(path, plugin=PLUGIN) == [path]
    viewer.layers.clear()
    (back,) = viewer.open(path, plugin=PLUGIN)
    assert isinstance(back, Labels)
    np.testing.assert_array_equal(back.data, LABELS)
    np.testing.assert_allclose(back.scale, (0.5, 0.25), rtol=1e-6)
    assert [str(unit) for unit in back.units] == ["micrometer"] * 2
    assert back.name == "nuclei · slide µ"
    assert back.metadata["napari_patchseg"] == REPORT
    again = str(tmp_path / ("again_nuclei" + (".png" if name.endswith("png") else ".ome.tif")))
    assert back.save(again, plugin=PLUGIN) == [again]
    (third,) = viewer.open(again, plugin=PLUGIN)
    np.testing.assert_array_equal(third.data, LABELS)
    np.testing.assert_allclose(third.scale, (0.5, 0.25), rtol=1e-6)


@pytest.mark.parametrize("ending", [".ome.tif", ".png"])
def test_labels_of_somebody_else_without_units(tmp_path, viewer, ending):
    layer = viewer.add_labels(LABELS, name="mine", scale=(2, 2))
    path = str(tmp_path / f"a_nuclei{ending}")
    layer.save(path, plugin=PLUGIN)
    (back,) = viewer.open(path, plugin=PLUGIN)
    np.testing.assert_array_equal(back.data, LABELS)
    assert [str(unit) for unit in back.units] == ["pixel"] * 2
    assert tuple(back.scale) == (1, 1)  # pixels have no size
    assert back.metadata["napari_patchseg"] == {}


def test_stack(tmp_path, viewer):
    stack = np.stack([LABELS, LABELS * 2, LABELS])
    layer = viewer.add_labels(stack, scale=(3, 0.5, 0.25), units="µm")
    path = str(tmp_path / "stack_nuclei.ome.tif")
    layer.save(path, plugin=PLUGIN)
    (back,) = viewer.open(path, plugin=PLUGIN)
    np.testing.assert_array_equal(back.data, stack)
    assert tuple(back.scale) == (3, 0.5, 0.25)
    series = np.stack([stack, stack])
    viewer.add_labels(series, scale=(1, 1, 0.5, 0.25), units=("s", "pixel", "µm", "µm")).save(
        path, plugin=PLUGIN
    )
    (back,) = viewer.open(path, plugin=PLUGIN)
    np.testing.assert_array_equal(back.data, series)
    assert tuple(back.scale) == (1, 1, 0.5, 0.25)


def test_by_the_window_as_napari_proposes(tmp_path, viewer, qtbot):
    """Dropped on the canvas: napari asks, and what it proposes is right."""
    path = str(tmp_path / "slide_nuclei.ome.tif")
    viewer.add_labels(LABELS, name="n").save(path, plugin=PLUGIN)
    viewer.layers.clear()

    def agree() -> None:
        dialogs = [w for w in QApplication.topLevelWidgets() if isinstance(w, QtReaderDialog)]
        visible = [dialog for dialog in dialogs if dialog.isVisible()]
        if not visible:
            QTimer.singleShot(50, agree)
            return
        visible[0].btn_box.button(QDialogButtonBox.StandardButton.Ok).click()

    QTimer.singleShot(50, agree)
    viewer.window._qt_viewer._qt_open([path], stack=False)
    assert [type(layer) for layer in viewer.layers] == [Labels]


ORDINARY = [
    "slide.tif", "slide.ome.tif", "slide.png", "nuclei.tif", "nuclei.png", "human nuclei.tif",
    "slide.svs", "slide.jpg", "a.ome.tiff", "labels.tif", "nuclei/slide.ome.tif", "axis labels.png",
]  # fmt: skip


@pytest.mark.parametrize("name", ORDINARY)
def test_napari_asks_nothing_about_other_names(tmp_path, name):
    assert PLUGIN not in _npe2.get_readers(str(tmp_path / name))


def test_every_name_of_ours_is_known(tmp_path):
    for image in ("slide.svs", "a.b.ome.tif", "ünï.png"):
        ends = ("ome.tif", "png", "ome.zarr", "geojson", "zip")
        ((job,), _) = results([tmp_path / image], (), ends, several=False, of_all=False)
        for target in job.targets:
            assert PLUGIN in _npe2.get_readers(str(target))


def test_files_that_are_not_ours(tmp_path, viewer):
    grey = LABELS.astype(np.uint16)
    names = (tmp_path / f"{number}_nuclei.ome.tif" for number in itertools.count())
    plain, described, damaged, empty, text, missing, folder, confidence = itertools.islice(names, 8)
    tifffile.imwrite(plain, grey)
    tifffile.imwrite(described, grey, ome=True, metadata={"axes": "YX", "Name": "nuclei"})
    damaged.write_bytes(plain.read_bytes()[:50])
    empty.write_bytes(b"")
    text.write_text("napari-patchseg/report")
    folder.mkdir()
    picture = tmp_path / "a_nuclei.png"
    Picture.fromarray(grey).save(picture)
    for path in (plain, described, damaged, empty, text, missing, folder, picture):
        assert labels_reader(str(path)) is None
    assert labels_reader([str(plain), str(described)]) is None
    write_confidence(confidence, grey / 65_535, report=REPORT)
    with pytest.raises(ValueError, match="no data"):
        viewer.open(str(confidence), plugin=PLUGIN)
    (layer,) = viewer.open(str(described), plugin="napari")
    assert isinstance(layer, Image)


@pytest.mark.parametrize("ending", [".ome.tif", ".png"])
def test_labels_lie_on_their_image_where_it_is_open(tmp_path, viewer, ending):
    """napari's reader leaves a file's pixel size out: the image lies in pixels."""
    image = viewer.add_image(np.zeros((70, 90, 3), np.uint8), rgb=True, name="slide")
    report = {**REPORT, "pixel_size": 0.25}
    labels = viewer.add_labels(LABELS, name="nuclei · slide", metadata={"napari_patchseg": report})
    path = str(tmp_path / f"nuclei · slide{ending}")
    assert labels.save(path, plugin=PLUGIN) == [path]
    viewer.layers.remove(labels)
    (back,) = viewer.open(path, plugin=PLUGIN)
    np.testing.assert_array_equal(back.extent.world, image.extent.world)
    assert back.units == image.units
    again = str(tmp_path / f"again nuclei{ending}")
    assert back.save(again, plugin=PLUGIN) == [again]
    other = viewer.add_image(np.zeros((70, 90)), name="other", scale=(3, 3))
    viewer.layers.remove(back)
    (third,) = viewer.open(again, plugin=PLUGIN)  # its name inside says whose it is
    np.testing.assert_array_equal(third.extent.world, image.extent.world)
    viewer.layers.remove(image)
    viewer.layers.remove(third)
    viewer.layers.remove(other)
    (alone,) = viewer.open(again, plugin=PLUGIN)
    np.testing.assert_allclose(alone.scale, (0.25, 0.25), rtol=1e-6)


@pytest.mark.parametrize("ending", [".geojson", ".geojson.gz", ".zip", ".ome.zarr"])
def test_objects_go_out_and_come_back_over_their_image(tmp_path, viewer, ending):
    viewer.add_image(np.zeros((*LABELS.shape, 3), np.uint8), name="slide", scale=(2, 2))
    layer = viewer.add_labels(LABELS, name="nuclei · slide", metadata={"napari_patchseg": REPORT})
    path = tmp_path / f"nuclei{ending}"
    assert layer.save(str(path), plugin=PLUGIN) == [str(path)]
    (opened,) = viewer.open(str(path), plugin=PLUGIN)
    assert isinstance(opened, Labels)
    np.testing.assert_array_equal(opened.data, LABELS)
    assert opened.metadata["napari_patchseg"] == REPORT
    np.testing.assert_array_equal(opened.scale, (2, 2))
    assert layer.save(str(path), plugin=PLUGIN) == [str(path)]  # as the dialog has asked about it


@pytest.mark.parametrize("ending", [".geojson", ".zip", ".ome.zarr"])
def test_a_file_that_tells_its_shape_keeps_it(tmp_path, viewer, ending):
    """A larger image is open: without a report, too, the file knows better."""
    viewer.add_image(np.zeros((200, 300)), name="other")
    path = ps.save(tmp_path / f"a{ending}", LABELS)
    (opened,) = viewer.open(str(path), plugin=PLUGIN)
    np.testing.assert_array_equal(opened.data, LABELS)
    assert opened.name == "a"


def test_a_zarr_is_looked_at_without_reading_it(tmp_path):
    path = ps.save(tmp_path / "a.ome.zarr", LABELS)
    (chunk,) = (path / "labels" / "nuclei" / "0" / "c").rglob("0/0")
    chunk.write_bytes(b"damaged")
    assert labels_reader(str(path)) is not None
    with pytest.raises(FileError, match="can be read"):
        ps.load_labels(path)
    (path / "labels" / "zarr.json").unlink()
    assert labels_reader(str(path)) is None
    assert labels_reader(str(tmp_path / "none.zarr")) is None


def test_window_and_command_line_name_the_image_alike(tmp_path, viewer):
    """QuPath knows objects by ids that are made of the name, tables join by it."""
    field = ps.synthetic_field((96, 96), seed=3)[0]
    tifffile.imwrite(tmp_path / "slide.ome.tif", field, photometric="rgb")
    made = [tmp_path / f"cli_nuclei{end}" for end in (".csv", ".geojson", ".ome.tif", ".ome.zarr")]
    outputs = [text for path in made for text in ("-o", str(path))]
    quickly = ["--max-steps", "2", "--device", "cpu", "--threads", "1"]
    assert main(["segment", str(tmp_path / "slide.ome.tif"), *outputs, *quickly, "-q"]) == 0
    viewer.open(str(tmp_path / "slide.ome.tif"), plugin="napari")
    for path in made[1:]:
        (layer,) = viewer.open(str(path), plugin=PLUGIN)
        assert layer.name == "nuclei · slide"
        for ending in (".csv", ".geojson"):
            again = str(tmp_path / f"window_nuclei{ending}")
            assert layer.save(again, plugin=PLUGIN) == [again]
        viewer.layers.remove(layer)
        told = [
            json.loads((tmp_path / f"{door}_nuclei.geojson").read_text())["features"]
            for door in ("cli", "window")
        ]
        assert [one["id"] for one in told[0]] == [one["id"] for one in told[1]]
        tables = [pd.read_csv(tmp_path / f"{door}_nuclei.csv") for door in ("cli", "window")]
        assert [set(table["Image"]) for table in tables] == [{"slide"}, {"slide"}]
        assert len(tables[0].merge(tables[1], on=["Image", "Label"])) == len(tables[0]) > 0


def test_what_a_pathologist_corrected_in_qupath_comes_back(tmp_path, viewer):
    """An export of QuPath: a bare list, without a word about the image."""
    viewer.add_image(np.zeros((70, 90, 3), np.uint8), name="slide")

    def ring(left, top, right, bottom):
        return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]

    objects = [
        {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring(*box)]},
            "properties": {"objectType": "annotation", "name": name},
        }
        for name, box in (("7", (5, 3, 12, 9)), ("tumour", (20.2, 30.1, 24.4, 41.7)))
    ]
    objects.append({"type": "Feature", "geometry": {"type": "Point", "coordinates": [3, 3]}})
    path = tmp_path / "export.geojson"
    path.write_text(json.dumps(objects))
    (opened,) = viewer.open(str(path), plugin=PLUGIN)
    assert opened.data.shape == (70, 90)
    assert np.unique(opened.data).tolist() == [0, 7, 8]
    assert (opened.data[3:9, 5:12] == 7).all()
    assert (opened.data == 8).sum() == 4 * 12


def test_a_damaged_file_of_objects_is_told_of(tmp_path, viewer):
    (tmp_path / "a.geojson").write_text('{"features": [')
    with pytest.raises(FileError):
        viewer.open(str(tmp_path / "a.geojson"), plugin=PLUGIN)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("readme.txt", "no ROIs")
    assert objects_reader(str(tmp_path / "a.zip")) is None
    assert objects_reader([str(tmp_path / "a.zip")]) is None
    assert len(viewer.layers) == 0


def test_a_model_that_is_opened_is_at_hand(tmp_path, viewer, wait):
    field = ps.synthetic_field((96, 96))[0]
    model = ps.train_model([field], max_steps=2, threads=1, device="cpu")
    path = ps.save_model(tmp_path / "mine.safetensors", model)
    assert viewer.open(str(path), plugin=PLUGIN) == []
    panel = find_panel(viewer)
    wait(lambda: panel.models.path == str(path))
    assert panel.models.apply_button.isVisibleTo(panel)
    layer = viewer.add_image(field, name="field")
    panel.image.choose(layer)
    panel.models.apply_button.click()
    wait(lambda: not panel.session.is_busy and panel.session.labels is not None)
    np.testing.assert_array_equal(panel.session.labels.data, ps.segment(field, model=model))

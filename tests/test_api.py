from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import napari_patchseg
from napari_patchseg.errors import ImageError, ModelError, PatchSegError, SettingsError
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.pipeline import run
from napari_patchseg.report import Report
from napari_patchseg.settings import Settings
from napari_patchseg.synthetic import synthetic_field

MACHINE = {
    "device": "cpu", "threads": 1, "precision": "float32", "memory_format": "contiguous",
}  # fmt: skip
QUICK = {
    "weights": "random", "classes": 2, "crop_size": 64, "batch_size": 2, "patch_size": 16,
    "stride": 8, "patches": 6, "anchors": 4, "max_steps": 3,
    "nucleus_class": 0, **MACHINE,
}  # fmt: skip

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"preset": "paper", "settings": Settings.create()}, "a preset or settings, not both"),
        ({"preset": "default", "settings": Settings.create()}, "a preset or settings, not both"),
        ({"preset": "best"}, "not 'best'"),
        ({"preset": ["paper"]}, "not \\['paper'\\]"),
        ({"settings": {"seed": 3}}, "settings should be Settings, not dict"),
        ({"sed": 3}, "Setting sed: there is no such setting; did you mean seed?"),
    ],
)
def test_settings_that_cannot_be(options, sentence):
    with pytest.raises(SettingsError, match=sentence):
        napari_patchseg.segment(IMAGE, **options)
    with pytest.raises(SettingsError, match=sentence):
        napari_patchseg.train_model([IMAGE], **options)


@pytest.mark.parametrize("pixel_size", [0, -0.25, math.nan, math.inf, "a", (0.25, 0)])
def test_pixel_sizes_that_cannot_be(pixel_size):
    with pytest.raises(SettingsError, match="pixel_size should be µm above 0"):
        napari_patchseg.segment(IMAGE, pixel_size=pixel_size)


def test_a_models_file_is_no_model():
    with pytest.raises(ModelError, match="load_model reads one from its file"):
        napari_patchseg.segment(IMAGE, model="liver.safetensors")


@pytest.mark.parametrize("path", ["slide.tif", Path("slide.tif")])
def test_a_path_is_no_image(path):
    for call in (
        lambda: napari_patchseg.segment(path),
        lambda: napari_patchseg.train_model([path]),
    ):
        with pytest.raises(ImageError, match=r"slide\.tif is a path, not pixels; .*read_image"):
            call()


@pytest.mark.parametrize("images", [IMAGE, IMAGE[..., 0], "slide.tif", 3, {"a": IMAGE}, None])
def test_one_image_is_no_list(images):
    with pytest.raises(ImageError, match="images should be a list of images"):
        napari_patchseg.train_model(images)


def test_no_images():
    with pytest.raises(ImageError, match="There is no image"):
        napari_patchseg.train_model([])


def test_image_kind_is_a_setting_like_any_other():
    image = synthetic_field((128, 128), seed=2)[0]
    settings = Settings.create(**QUICK)
    labels = napari_patchseg.segment(image, settings=settings, image_kind="grey")
    by_hand = Pixels.from_array(image, image_kind="grey")
    *_, last = run(by_hand, settings)
    np.testing.assert_array_equal(labels, last.result.labels)
    with pytest.raises(PatchSegError, match="three colours"):
        napari_patchseg.segment(image[..., 0], settings=settings, image_kind="stained")
    model = napari_patchseg.train_model([image], settings=settings, image_kind="grey")
    assert model.image_kind == "grey"


@pytest.mark.parametrize("change", ["planes", "16 bits", "floats", "tensor"])
def test_the_same_colours_give_the_same_labels(change):
    image = synthetic_field((160, 160), seed=2)[0]
    other = {
        "planes": lambda: np.moveaxis(image, -1, 0),
        "16 bits": lambda: image.astype(np.uint16) * 257,
        "floats": lambda: (image / 255).astype(np.float32),
        "tensor": lambda: torch.from_numpy(image),
    }[change]()
    labels = napari_patchseg.segment(image, max_steps=2, **MACHINE)
    assert labels.max() > 0
    found = napari_patchseg.segment(other, max_steps=2, **MACHINE)
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("name", ["nuclei.geojson", "nuclei.csv"])
def test_saved_objects_are_measured(tmp_path, name):
    _, labels = synthetic_field((96, 96))
    path = napari_patchseg.save(tmp_path / name, labels, pixel_size=0.5, name="field")
    table = napari_patchseg.measure(labels, pixel_size=0.5)
    if name.endswith(".csv"):
        back = pd.read_csv(path)
        assert (back.pop("Image") == "field").all()
        pd.testing.assert_frame_equal(back, table, check_dtype=False)
    else:
        content = json.loads(path.read_text())["features"]
        areas = [one["properties"]["measurements"]["Area µm^2"] for one in content]
        assert areas == table["Area µm^2"].tolist()
        np.testing.assert_array_equal(napari_patchseg.load_labels(path).labels, labels)


def test_a_zarr_holds_measurements_as_geojson_does(tmp_path):
    labels = napari_patchseg.synthetic_field((64, 64), seed=1)[1]
    areas = napari_patchseg.measure(labels)["Area px^2"].tolist()
    napari_patchseg.save(tmp_path / "a.ome.zarr", labels)
    said = json.loads((tmp_path / "a.ome.zarr" / "labels" / "nuclei" / "zarr.json").read_text())
    properties = said["attributes"]["ome"]["image-label"]["properties"]
    assert [one["Area px^2"] for one in properties] == areas
    napari_patchseg.save(tmp_path / "a.geojson", labels)
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert [one["properties"]["measurements"]["Area px^2"] for one in features] == areas


def test_measurements_that_are_given_are_saved(tmp_path):
    table = pd.DataFrame({"Label": [1], "Mitosis": [0.25]})
    path = napari_patchseg.save(tmp_path / "a.csv", np.eye(3, dtype=int), measurements=table)
    pd.testing.assert_frame_equal(pd.read_csv(path), table)


def test_a_report_is_saved_as_it_is(tmp_path, quick):
    report = Report(settings=quick, versions={}, stop_reason="done")
    path = napari_patchseg.save(tmp_path / "a.zip", np.eye(3, dtype=int), report=report)
    assert Report(**napari_patchseg.load_labels(path).report) == report


@pytest.mark.parametrize(
    ("labels", "options", "sentence"),
    [
        (np.eye(3), {}, "whole numbers"),
        (-np.eye(3, dtype=int), {}, "-1"),
        (np.zeros((2, 3, 4), int), {}, "axes|shape|\\(H, W\\)"),
        (np.eye(3, dtype=int), {"pixel_size": 0}, "pixel_size"),
    ],
)
def test_what_cannot_be_saved(tmp_path, labels, options, sentence):
    with pytest.raises(PatchSegError, match=sentence):
        napari_patchseg.save(tmp_path / "a.geojson", labels, **options)
    assert list(tmp_path.iterdir()) == []

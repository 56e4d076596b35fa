from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

import napari_patchseg
from napari_patchseg.errors import ImageError, ModelError, SettingsError
from napari_patchseg.method.settings import Settings

IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"preset": "paper", "settings": Settings.create()}, "a preset or settings, not both"),
        ({"preset": "default", "settings": Settings.create()}, "a preset or settings, not both"),
        ({"preset": "best"}, "no preset 'best'"),
        ({"preset": ["paper"]}, "no preset \\['paper'\\]"),
        ({"settings": {"seed": 3}}, "settings should be Settings, not dict"),
        ({"sed": 3}, "Setting sed: there is no such setting; did you mean seed?"),
    ],
)
def test_settings_that_cannot_be(options, sentence):
    with pytest.raises(SettingsError, match=sentence):
        napari_patchseg.segment(IMAGE, **options)
    with pytest.raises(SettingsError, match=sentence):
        napari_patchseg.train_model([IMAGE], **options)


@pytest.mark.parametrize("pixel_size", [0, -0.25, math.nan, math.inf, "a", (0.25, 0.25)])
def test_pixel_sizes_that_cannot_be(pixel_size):
    with pytest.raises(SettingsError, match="pixel_size should be a number of µm above 0"):
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

"""Haematoxylin beside DAB: told apart, and its nuclei found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from skimage import data
from skimage.color import combine_stains, hdx_from_rgb, rgb2hed, rgb_from_hdx, separate_stains

import napari_patchseg as ps
from napari_patchseg.image.pixels import Pixels

Measure = Callable[[np.ndarray, np.ndarray], float]


def brown(amount: float) -> tuple[np.ndarray, np.ndarray]:
    """A synthetic section with DAB for eosin and half the haematoxylin, and its true labels."""
    image, labels = ps.synthetic_field((320, 320), seed=3)
    stains = rgb2hed(image)
    ihc = combine_stains(
        np.dstack([stains[..., 0] / 2, amount * stains[..., 1], 0 * stains[..., 0]]), rgb_from_hdx
    )
    return (255 * ihc).clip(0, 255).astype(np.uint8), labels


@pytest.mark.parametrize("scale", [1.0, 0.6])
def test_dab_is_seen_whatever_the_light(scale: float) -> None:
    image = (brown(3)[0] * scale).astype(np.uint8)
    pixels = Pixels.from_array(image)
    assert pixels.kind == "stained"
    assert "DAB" in pixels.description
    assert any("grey" in text for text in pixels.warnings)


@pytest.mark.parametrize("seed", range(4))
def test_haematoxylin_and_eosin_is_no_dab(seed: int) -> None:
    pixels = Pixels.from_array(ps.synthetic_field((256, 256), seed=seed)[0])
    assert "DAB" not in pixels.description
    assert pixels.warnings == []


def test_nuclei_are_found_beside_dab(dice: Measure) -> None:
    image, truth = brown(3)
    assert dice(truth, ps.segment(image, max_steps=5)) > 0.9


def test_blue_stroma_is_found_and_brown_folds_are_not() -> None:
    """scikit-image's section of colon: nuclei are blue, cytoplasm and membranes brown."""
    image = data.immunohistochemistry()
    labelled = ps.segment(image, max_steps=5) > 0
    stains = separate_stains(image, hdx_from_rgb)
    blue = (stains[..., 0] > 0.04) & (stains[..., 1] < 0.02)
    folds = (stains[..., 0] < 0.02) & (stains[..., 1] > 0.12)
    assert blue.sum() > 2000
    assert folds.sum() > 2000
    assert labelled[blue].mean() > 0.7
    assert labelled[folds].mean() < 0.05


def test_any_box_reads_the_same() -> None:
    pixels = Pixels.from_array(brown(3)[0])
    whole = pixels.read((0, 0, 320, 320))
    assert np.array_equal(pixels.read((40, 60, 200, 180)), whole[:, 40:200, 60:180])


def test_grey_finds_nuclei_of_either_colour(dice: Measure) -> None:
    """As with Ki-67: DAB in every second nucleus."""
    image, truth = ps.synthetic_field((320, 320), seed=5)
    haematoxylin = rgb2hed(image)[..., 0]
    positive = truth % 2 == 1
    stains = [np.where(positive, 0.2, 0.6) * haematoxylin, 1.2 * positive * haematoxylin]
    rgb = combine_stains(np.dstack([*stains, 0 * haematoxylin]), rgb_from_hdx)
    image = (255 * rgb).clip(0, 255).astype(np.uint8)
    labels = ps.segment(image, image_kind="grey", max_steps=5)
    assert dice(truth, labels) > 0.8
    assert (labels[positive] > 0).mean() > 0.7
    assert (labels[(truth > 0) & ~positive] > 0).mean() > 0.6


@pytest.mark.parametrize("cast", [(1, 0.95, 0.8), (1, 0.9, 0.6), (0.8, 1, 0.8)])
def test_the_lamp_s_colour_is_no_stain(cast: tuple[float, float, float]) -> None:
    image = ps.synthetic_field((256, 256), seed=1)[0]
    assert "DAB" not in Pixels.from_array((image * np.array(cast)).astype(np.uint8)).description
    assert "DAB" in Pixels.from_array((brown(3)[0] * np.array(cast)).astype(np.uint8)).description

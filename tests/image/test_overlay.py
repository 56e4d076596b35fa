from __future__ import annotations

import numpy as np
import pytest

from napari_patchseg.image.overlay import COLOUR, outlined
from napari_patchseg.image.pixels import Pixels


@pytest.fixture
def labels():
    array = np.zeros((80, 100), np.uint16)
    array[10:30, 20:40] = 1
    array[10:30, 40:60] = 2  # touches the first
    return array


def colours():
    violet = np.random.default_rng(0).integers(130, 256, (80, 100, 1), np.uint8)
    return violet - np.array((20, 60, 0), np.uint8)


def test_outlines_lie_on_the_labels(labels):
    image = colours()
    picture = outlined(Pixels.from_array(image, image_kind="stained"), labels)
    assert picture.shape == (80, 100, 3)
    assert picture.dtype == np.uint8
    drawn = (picture == COLOUR).all(-1) & (labels > 0)
    inside = np.zeros_like(drawn)
    inside[11:29, 21:39] = inside[11:29, 41:59] = True
    np.testing.assert_array_equal(drawn, (labels > 0) & ~inside)
    np.testing.assert_array_equal(picture[~drawn], image[~drawn])


def test_no_labels_no_outlines(labels):
    image = colours()
    picture = outlined(Pixels.from_array(image, image_kind="stained"), np.zeros_like(labels))
    np.testing.assert_array_equal(picture, image)


def test_bright_nuclei_stay_bright(labels):
    image = np.random.default_rng(0).normal(100, 5, (80, 100)).astype(np.float32)
    image[50:60, 50:60] += 4000
    pixels = Pixels.from_array(image)
    assert pixels.kind == "bright on dark"
    picture = outlined(pixels, labels, colour=(255, 0, 0))
    assert picture[55, 55].min() > 200
    assert picture[70, 10].max() < 50
    assert tuple(picture[10, 20]) == (255, 0, 0)


def test_channels_become_grey(labels):
    image = np.random.default_rng(0).random((5, 80, 100)).astype(np.float32)
    picture = outlined(Pixels.from_array(image), np.zeros_like(labels))
    assert picture.shape == (80, 100, 3)
    assert not np.ptp(picture, axis=-1).any()


def test_sizes_must_fit(labels):
    image = np.random.default_rng(0).integers(0, 256, (80, 101, 3), np.uint8)
    with pytest.raises(ValueError, match="do not fit"):
        outlined(Pixels.from_array(image), labels)

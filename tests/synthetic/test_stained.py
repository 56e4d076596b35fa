from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from napari_patchseg.errors import SettingsError
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.image.stain import haematoxylin
from napari_patchseg.synthetic import Tissue, synthetic_field


@pytest.fixture(scope="module")
def field():
    return synthetic_field((512, 512), seed=0)


def density(image: np.ndarray) -> np.ndarray:
    """Mean optical density over the colours."""
    return -np.log((image.astype(float) + 1) / 256).mean(axis=-1)


def areas(labels: np.ndarray) -> np.ndarray:
    return np.bincount(labels.ravel())[1:]


def test_same_arguments_same_field(field):
    image, labels = synthetic_field((512, 512), seed=0)
    np.testing.assert_array_equal(image, field[0])
    np.testing.assert_array_equal(labels, field[1])


def test_other_seed_other_field(field):
    image, labels = synthetic_field((512, 512), seed=1)
    assert (image != field[0]).mean() > 0.5
    assert (labels != field[1]).mean() > 0.1


def test_global_random_state_is_neither_used_nor_changed():
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    synthetic_field((64, 64))
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_types_and_labels(field):
    image, labels = field
    assert image.shape == (512, 512, 3)
    assert image.dtype == np.uint8
    assert labels.shape == (512, 512)
    assert labels.dtype == np.uint16
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1))


@pytest.mark.parametrize("diameter", [12.0, 24.0, 40.0])
def test_nuclei_have_the_size_asked_for(diameter):
    _, labels = synthetic_field((400, 500), seed=2, nucleus_diameter=diameter)
    expected = math.pi / 4 * diameter**2
    inner = areas(labels)
    assert 0.5 * expected < np.median(inner) < 1.3 * expected
    assert inner.max() < 2.5 * expected
    assert inner.min() > 0.05 * expected


def test_nuclei_are_in_one_piece_and_some_touch(field):
    _, labels = field
    touching = 0
    for label, window in enumerate(ndi.find_objects(labels), start=1):
        mine = labels[window] == label
        pieces, count = ndi.label(mine, np.ones((3, 3)))
        largest = np.bincount(pieces.ravel())[1:].max()
        assert count == 1 or largest > 0.9 * mine.sum()
        grown = ndi.binary_dilation(np.pad(mine, 1))
        around = np.pad(labels, 1)[window[0].start : window[0].stop + 2,
                                   window[1].start : window[1].stop + 2][grown]  # fmt: skip
        touching += bool(set(np.unique(around)) - {0, label})
    assert touching > 20


@pytest.mark.parametrize("seed", range(4))
def test_looks_stained(seed):
    image, labels = synthetic_field((256, 300), seed=seed)
    inside, outside = labels > 0, ~ndi.binary_dilation(labels > 0, iterations=3)
    assert density(image)[inside].mean() > 1.4 * density(image)[outside].mean()
    # Nuclei are bluer than the rest: red is absorbed most there.
    ratio = image[..., 0].astype(float) / image[..., 2]
    assert np.median(ratio[inside]) < np.median(ratio[outside]) - 0.05
    assert Pixels.from_array(image).kind == "stained"


def test_prior_finds_the_nuclei(field):
    """As in real tissue, haematoxylin alone says much about where nuclei are, but not all."""
    image, labels = field
    prior = ndi.gaussian_filter(Pixels.from_array(image).prior(), 1)
    correlation = np.corrcoef(prior.ravel(), (labels > 0).ravel())[0, 1]
    assert 0.5 < correlation < 0.95


def test_glass_is_bright_and_free_of_nuclei():
    for seed in range(8):
        image, labels = synthetic_field((400, 400), seed=seed)
        glass = ndi.binary_opening(density(image) < 0.09, iterations=4)
        if glass.sum() > 2000:
            assert (labels[glass] > 0).mean() < 0.02
            return
    pytest.fail("no seed of eight has a gap of glass")


def test_density_of_nuclei():
    counts = [synthetic_field((300, 300), density=value)[1].max() for value in (0.05, 0.2, 0.5)]
    assert counts[0] < counts[1] < counts[2]
    image, labels = synthetic_field((128, 128), density=0)
    assert labels.max() == 0 or labels.max() < 4
    assert np.ptp(image) > 50


def test_coarser_pixels_are_sharper_in_pixels():
    def sharpness(pixel_size: float) -> float:
        image, _ = synthetic_field((200, 200), pixel_size=pixel_size)
        return float(np.abs(np.diff(image.astype(float), axis=0)).mean())

    assert sharpness(0.1) < sharpness(0.25) < sharpness(0.5)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(64, 200),
    width=st.integers(64, 200),
    seed=st.integers(0, 2**31 - 1),
    diameter=st.floats(6, 200),
    share=st.floats(0, 0.6),
)
def test_any_shape(height, width, seed, diameter, share):
    image, labels = synthetic_field((height, width), seed, nucleus_diameter=diameter, density=share)
    assert image.shape == (height, width, 3)
    assert labels.shape == (height, width)
    assert np.array_equal(np.unique(labels), np.arange(labels.max() + 1)) or labels.min() > 0
    assert np.ptp(image) > 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"shape": (63, 100)}, "64 px or more, not 63"),
        ({"nucleus_diameter": 2}, "nucleus_diameter must be 6 to 200 px, not 2"),
        ({"nucleus_diameter": math.nan}, "nucleus_diameter"),
        ({"density": 0.7}, "density must be 0 to 0.6"),
        ({"seed": -1}, "seed must not be negative"),
        ({"pixel_size": 0}, "pixel_size must be above 0"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(SettingsError, match=sentence):
        synthetic_field(**arguments)


def haematoxylin_and_nuclei(**traits):
    image, labels = synthetic_field((320, 320), 5, tissue=Tissue(**traits))
    return image, haematoxylin(np.moveaxis(image, -1, 0) / np.float32(255)), labels > 0


def test_fat_leaves_walls_and_glass():
    plain, _, _ = haematoxylin_and_nuclei()
    fat, _, nuclei = haematoxylin_and_nuclei(fat=1.1)
    bright = 225
    assert (fat.min(-1) > bright).mean() > (plain.min(-1) > bright).mean() + 0.3
    assert nuclei.any()


def test_strands_and_specks_are_blue_but_no_nuclei():
    _, plain, nuclei = haematoxylin_and_nuclei()
    _, dirty, other = haematoxylin_and_nuclei(strands=0.5, specks=0.5)
    share = np.percentile(plain[~nuclei], 98) / np.median(plain[nuclei])
    assert np.percentile(dirty[~other], 98) / np.median(dirty[other]) > 1.1 * share


def test_pale_nuclei_are_paler():
    _, plain, nuclei = haematoxylin_and_nuclei()
    _, pale, other = haematoxylin_and_nuclei(pale=1.0, inside=(0.2, 0.3))
    assert np.median(pale[other]) < 0.9 * np.median(plain[nuclei])


@given(st.integers(0, 2**31))
@settings(max_examples=10, deadline=None)
def test_any_tissue_can_be_painted(seed):
    tissue = Tissue.drawn(np.random.default_rng(seed))
    image, labels = synthetic_field((96, 96), seed, nucleus_diameter=16, tissue=tissue)
    assert image.dtype == np.uint8
    assert sorted(np.unique(labels)) == list(range(labels.max() + 1))

import numpy as np
import pytest

from napari_patchseg.image.stain import (
    best_channel,
    choose_class,
    correlation,
    haematoxylin,
    is_stained,
    with_prior,
)
from napari_patchseg.modality import FLUORESCENCE, GREY
from napari_patchseg.synthetic import synthetic_field


@pytest.fixture(scope="module")
def field():
    image, labels = synthetic_field((256, 256), seed=4)
    return np.moveaxis(image, -1, 0).astype(np.float32) / 255, labels > 0


def test_haematoxylin_is_higher_in_nuclei(field):
    pixels, nuclei = field
    stain = haematoxylin(pixels)
    assert stain.shape == nuclei.shape
    assert stain[nuclei].mean() > 2 * stain[~nuclei].mean()


def test_bright_field_and_fluorescence_are_told_apart(field):
    pixels, nuclei = field
    assert is_stained(pixels.reshape(3, -1))
    glow = np.stack([0.05 + 0.1 * nuclei, 0.05 + 0 * nuclei, 0.1 + 0.7 * nuclei])
    assert not is_stained(glow.reshape(3, -1))


def test_the_smaller_side_is_nuclei_and_the_clearest_channel_is_taken():
    rng = np.random.default_rng(0)
    nuclei = np.zeros(1000)
    nuclei[:200] = 1
    noise = rng.normal(0, 0.3, 1000)
    clear = rng.normal(0, 0.05, 1000)
    assert best_channel(np.stack([nuclei + noise, nuclei + clear])) == (1, FLUORESCENCE)
    assert best_channel(np.stack([1 - nuclei + clear, nuclei + noise])) == (0, GREY)


def test_the_class_that_goes_with_the_prior_is_chosen_whatever_its_sign():
    rng = np.random.default_rng(1)
    prior = rng.random((40, 50)).astype(np.float32)
    random = rng.random((40, 50)).astype(np.float32)
    index, inverted, value = choose_class(np.stack([random, 1 - prior, random**2]), prior)
    assert (index, inverted) == (1, True)
    assert value == pytest.approx(-1, abs=1e-5)
    assert choose_class(np.stack([random, prior]), prior)[:2] == (1, False)


def test_correlation_with_a_constant_is_none():
    assert correlation(np.ones((4, 4), np.float32), np.eye(4, dtype=np.float32)) == 0


def test_the_prior_moves_the_confidence_and_at_weight_0_does_not():
    rng = np.random.default_rng(2)
    confidence, prior = rng.random((2, 30, 30)).astype(np.float32)
    assert with_prior(confidence, prior, 0) is confidence
    together = with_prior(confidence, prior, 0.7)
    assert together.min() > 0
    assert together.max() < 1
    assert correlation(together, prior) > correlation(confidence, prior)
    assert correlation(together, confidence) > 0.5

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchseg.errors import SettingsError
from napari_patchseg.method.magnification import AS_IT_IS, magnified, restored
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.method.source import ArraySource
from napari_patchseg.method.training import train
from napari_patchseg.settings import Settings

MAGNIFICATIONS = [Fraction(text) for text in ("1/4", "1/2", "5/6", "1", "3/2", "2")]


@settings(deadline=None)
@given(st.sampled_from(MAGNIFICATIONS), st.integers(30, 70), st.integers(30, 70))
def test_there_and_back_keeps_size_and_place(magnification, height, width):
    rows, columns = torch.meshgrid(
        torch.arange(float(height)), torch.arange(float(width)), indexing="ij"
    )
    plane = (0.01 * rows + 0.02 * columns)[None, None]
    seen = magnified(plane, magnification)
    for side, full in zip(seen.shape[2:], (height, width), strict=True):
        unit = magnification.denominator
        assert side == -(-full // unit) * unit * magnification
    back = restored(seen, magnification, height, width)
    assert back.shape == plane.shape
    # A plane stays where it is to a tenth of a pixel, but for the continued border.
    inner = np.s_[..., 12 : height - 12, 12 : width - 12]
    assert torch.allclose(back[inner], plane[inner], atol=2e-3)


def test_the_network_sees_the_magnified_image():
    torch.manual_seed(0)
    network = ConfidenceNetwork(3, 2).eval()
    image = torch.rand(1, 3, 50, 60)
    with torch.no_grad():
        plain = network.logits(magnified(image, Fraction(2)))
        found = network.logits(image, magnification=Fraction(2))
    assert plain.shape == (1, 2, 100, 120)
    assert torch.equal(found, restored(plain, Fraction(2), 50, 60))


def test_as_it_is_nothing_is_resampled():
    image = torch.rand(1, 3, 9, 11)
    assert magnified(image, AS_IT_IS) is image
    assert restored(image, AS_IT_IS, 9, 11) is image


@pytest.mark.parametrize(
    ("rescale", "size"), [("1/2", 48), ("2/3", 36), ("1", 24), ("3/2", 16), ("2", 12)]
)
def test_windows_are_of_the_set_size_as_the_network_sees_them(quick, disks, magnification, size):
    quick = quick.replace(magnification=magnification, max_steps=2)
    *_, last = train(disks, quick)
    boxes = last.patches.boxes
    assert (boxes[:, 2:] - boxes[:, :2] == size).all()
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 128).all()
    assert (boxes[:, 3] <= 160).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("rescale", ["1/4", "3/2", "2"])
def test_the_smallest_image_trains_at_any_magnification(quick, magnification, precision):
    image = np.random.default_rng(0).random((3, 65, 67), np.float32)
    quick = quick.replace(magnification=magnification, max_steps=2, patch_size=50, crop_size=200)
    quick = quick.replace(precision=precision)
    *_, last = train(ArraySource(image), quick)
    assert last.step == 2


def test_a_number_may_be_written_as_one():
    assert Settings.create(magnification=1.5).magnification == "3/2"
    assert Settings.create(rescale="0.25").magnification == "1/4"
    assert Settings.create(magnification=0.667).magnification == "2/3"
    for wrong in (3, "0.3", "1e999999999", True, "half", -1, float("nan"), [1]):
        with pytest.raises(SettingsError, match="rescale"):
            Settings.create(magnification=wrong)
    assert Settings.create(magnification=2.0) == Settings.create(rescale="2")

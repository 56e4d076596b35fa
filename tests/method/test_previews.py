from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.method import previews
from napari_patchseg.method.control import Control
from napari_patchseg.method.maps import NucleusClass
from napari_patchseg.method.previews import PREVIEW_CREDIT, PREVIEW_INTERVAL, PREVIEW_SHARE, reduced
from napari_patchseg.method.source import ArraySource
from napari_patchseg.method.trainer import Trainer
from napari_patchseg.settings import Settings


@given(st.integers(64, 90), st.integers(64, 90), st.sampled_from([2, 3, 4, 6]))
def test_a_reduced_image_is_the_mean_of_its_pixels(height, width, reduction):
    """Above a reduction of 3, of four of them."""
    settings = Settings.create(device="cpu", memory_format="contiguous", rescale="1")
    image = np.random.default_rng(0).random((3, height + 7, width + 5), np.float32)
    small = reduced(ArraySource(image), (4, 3, 4 + height, 3 + width), reduction, settings)[0]
    assert small.shape == (3, -(-height // reduction), -(-width // reduction))
    box = image[:, 4 : 4 + height, 3 : 3 + width]
    for row, column in ((0, 0), (1, 2), (small.shape[1] - 1, small.shape[2] - 1)):
        top, left = row * reduction, column * reduction
        every = 1 if reduction <= 3 else reduction // 2
        mean = box[:, top : top + reduction : every, left : left + reduction : every].mean((1, 2))
        np.testing.assert_allclose(small[:, row, column], mean, atol=1e-5)


def test_a_tall_image_is_reduced_in_strips_that_meet():
    settings = Settings.create(device="cpu", memory_format="contiguous", rescale="1")
    image = np.random.default_rng(0).random((1, 1100, 64), np.float32)
    small = reduced(ArraySource(image), (0, 0, 1100, 64), 3, settings)[0, 0]
    assert small.shape == (367, 22)
    np.testing.assert_allclose(small[200, 5], image[0, 600:603, 15:18].mean(), atol=1e-5)


@pytest.mark.parametrize(
    ("step", "cost", "drawing"),
    [
        (0.3, 0.07, 0),
        (0.02, 0.001, 0),
        (0.02, 0.07, 0),
        (0.6, 0.5, 0),
        (0.01, 0, 0),
        (0.1, 0.05, 0.25),
    ],
)
def test_previews_keep_to_their_share_and_rate(disks, quick, monkeypatch, step, cost, drawing):
    """By a clock that steps, previews and whoever draws them move."""
    now = 100.0
    monkeypatch.setattr(previews, "time", SimpleNamespace(perf_counter=lambda: now))

    def choose(_data, _box, _reduction):
        nonlocal now
        now += cost
        return NucleusClass(0, False, 1.0)

    maps = previews.Previews(Trainer([disks], quick), Control(previews=True), choose)
    made = 0
    while now < 130:
        now += step
        if maps.make(1) is not None:
            made += 1
            now += drawing
            maps.took(drawing)
    elapsed = now - 100
    cost += drawing
    assert made <= elapsed / PREVIEW_INTERVAL + 1
    assert made * cost <= PREVIEW_SHARE * (elapsed + PREVIEW_CREDIT) + cost
    rarest = max(PREVIEW_INTERVAL + cost, cost / PREVIEW_SHARE)  # and a step to wait for
    assert made >= 0.9 * elapsed / (rarest + step)

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.method.events import Control
from napari_patchseg.method.inference import predict
from napari_patchseg.method.maps import NucleusClass
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.method.previews import (
    PREVIEW_INTERVAL,
    PREVIEW_PIXELS,
    PREVIEW_SHARE,
    Previews,
    reduced,
)
from napari_patchseg.method.scale import NetworkInput


def first_class(_data, _channels, _box, _reduction):
    return NucleusClass(0, False, math.nan)


@pytest.fixture
def network():
    torch.manual_seed(0)
    return ConfidenceNetwork(3, 2).eval()


@given(st.integers(64, 90), st.integers(64, 90), st.sampled_from([1, 2, 3, 4, 6]))
def test_a_reduced_image_is_the_mean_of_its_pixels(source_of, quick, height, width, reduction):
    """Above a reduction of 3, of four of them."""
    image = np.random.default_rng(0).random((3, height + 7, width + 5), np.float32)
    place = (4, 3, 4 + height, 3 + width)
    small = reduced(source_of(image), place, reduction, quick().machine)[0]
    assert small.shape == (3, -(-height // reduction), -(-width // reduction))
    box = image[:, 4 : 4 + height, 3 : 3 + width]
    for row, column in ((0, 0), (1, 2), (small.shape[1] - 1, small.shape[2] - 1)):
        top, left = row * reduction, column * reduction
        every = 1 if reduction <= 3 else reduction // 2
        mean = box[:, top : top + reduction : every, left : left + reduction : every].mean((1, 2))
        np.testing.assert_allclose(small[:, row, column], mean, atol=1e-5)


def test_a_tall_image_is_reduced_in_strips_that_meet(source_of, quick):
    image = np.random.default_rng(0).random((1, 1100, 64), np.float32)
    small = reduced(source_of(image), (0, 0, 1100, 64), 3, quick().machine)[0, 0]
    assert small.shape == (367, 22)
    np.testing.assert_allclose(small[200, 5], image[0, 600:603, 15:18].mean(), atol=1e-5)


def test_the_first_map_is_of_the_weights_and_the_image_as_they_are(disks, quick, network):
    image, machine = NetworkInput(disks, "pretrained"), quick().machine
    made = Previews(image, machine, Control(previews=True), first_class).first(network)
    assert made.step == 0
    assert made.channels == ("nucleus", "interior")
    assert not made.is_exact
    np.testing.assert_allclose(made.data, predict(network, image, machine), atol=1e-6)
    assert Previews(image, machine, Control(), first_class).first(network) is None


@pytest.mark.parametrize(("views", "is_exact"), [(1, True), (3, False)])
def test_a_preview_is_a_forward_pass_of_the_weights_of_its_step(
    disks, quick, network, views, is_exact
):
    network.train()
    image, resolved = NetworkInput(disks, "random"), quick(test_time_augmentation=views)
    control = Control(previews=True, preview_box=(10, 20, 110, 151))
    made = Previews(image, resolved.machine, control, first_class).make(7, network, resolved)
    assert network.training  # left as it was
    assert (made.step, made.box, made.reduction) == (7, (10, 20, 110, 151), 1)
    assert made.channels == ("class 0", "class 1")
    assert made.is_exact == is_exact
    expected = predict(network, image, resolved.machine, box=made.box)
    np.testing.assert_allclose(made.data, expected, atol=1e-6)


@pytest.mark.parametrize("side", [600, 1500, 2300])
def test_a_large_preview_is_reduced_and_says_so(disks, quick, network, source_of, side):
    times = -(-side // 128)
    source = source_of(np.tile(disks.data, (1, times, times))[:, :side, :side])
    chosen = []

    def choose(data, channels, box, reduction):
        chosen.append((data.shape, channels, box, reduction))
        return NucleusClass(1, True, -0.5)

    image, resolved = NetworkInput(source, "random"), quick()
    previews = Previews(image, resolved.machine, Control(previews=True), choose)
    made = previews.make(1, network, resolved)
    small = -(-side // made.reduction)
    assert small**2 <= PREVIEW_PIXELS
    assert made.data.shape == (2, small, small)
    assert chosen == [(made.data.shape, made.channels, (0, 0, side, side), made.reduction)]
    assert np.allclose(made.nuclei, 1 - made.data[1])


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
def test_previews_keep_to_their_share_and_rate(disks, quick, network, step, cost, drawing):
    """By a clock that steps, previews and whoever draws them move."""
    now = 100.0

    def choose(_data, _channels, _box, _reduction):
        nonlocal now
        now += cost
        return NucleusClass(0, False, 1.0)

    image, resolved, control = NetworkInput(disks, "random"), quick(), Control(previews=True)
    previews = Previews(image, resolved.machine, control, choose, clock=lambda: now)
    made = 0
    while now < 130:
        now += step
        if previews.make(1, network, resolved) is not None:
            made += 1
            now += drawing
            previews.took(drawing)
    elapsed = now - 100
    cost += drawing
    assert made <= elapsed / PREVIEW_INTERVAL + 1
    assert made * cost <= PREVIEW_SHARE * elapsed + cost
    rarest = max(PREVIEW_INTERVAL + cost, cost / PREVIEW_SHARE)  # and a step to wait for
    assert made >= 0.9 * elapsed / (rarest + step)

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchseg.method.network import (
    AS_IT_IS,
    HALO,
    ConfidenceNetwork,
    Featuriser,
    rescaled,
    restored,
)

FACTORS = [Fraction(text) for text in ("1/4", "1/2", "5/6", "1", "3/2", "2")]


def parameter_count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(("classes", "parameters"), [(1, 7345), (4, 7372)])
def test_the_network_has_the_papers_parameters(classes, parameters):
    assert parameter_count(ConfidenceNetwork(3, classes)) == parameters


def test_network_and_featuriser_are_the_papers_10_8k():
    together = parameter_count(ConfidenceNetwork(3, 1)) + parameter_count(Featuriser(3, 50))
    assert parameter_count(Featuriser(3, 50)) == 3530
    assert together == 10_875


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_confidence_for_every_pixel_and_class(channels):
    network = ConfidenceNetwork(channels, 4)
    out = network(torch.rand(2, channels, 70, 91))
    assert out.shape == (2, 4, 70, 91)
    assert out.min() > 0
    assert out.max() < 1


def test_the_receptive_field_is_167_px():
    """A pixel HALO away changes a confidence; one further does not."""
    assert 2 * HALO + 1 == 167
    torch.manual_seed(0)
    network = ConfidenceNetwork(1, 1).double().eval()
    image = torch.rand(1, 1, 201, 201, dtype=torch.double)

    def centre(column):
        changed = image.clone()
        changed[0, 0, 100, column] += 1e6
        return network.logits(changed)[0, 0, 100, 100]

    plain = network.logits(image)[0, 0, 100, 100]
    assert centre(100 + HALO) != plain
    assert centre(100 + HALO + 1) == plain


@pytest.mark.parametrize("patch_size", [16, 25, 50, 63])
def test_the_featuriser_takes_any_patch_size(patch_size):
    assert Featuriser(3, patch_size)(torch.rand(4, 3, patch_size, patch_size)).shape == (4, 32)


def test_folded_normalisation_is_the_plain_one_values_and_gradients():
    torch.manual_seed(0)
    network = ConfidenceNetwork(3, 2)
    network(torch.rand(4, 3, 48, 48))  # statistics that are not the initial ones
    network.eval()
    images = torch.rand(2, 3, 48, 48)

    def plain(module, x):
        return torch.nn.Sequential(*module)(x)

    def gradients(out):
        network.zero_grad()
        out.square().mean().backward()
        return [parameter.grad.clone() for parameter in network.parameters()]

    folded = network.logits(images)
    folded_gradients = gradients(folded)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(network.stem), "forward", plain)
        reference = network.logits(images)
        reference_gradients = gradients(reference)
    assert torch.allclose(folded, reference, atol=1e-5)
    for one, other in zip(folded_gradients, reference_gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6, rtol=1e-3)


@settings(deadline=None)
@given(st.sampled_from(FACTORS), st.integers(30, 70), st.integers(30, 70))
def test_there_and_back_keeps_size_and_place(factor, height, width):
    rows, columns = torch.meshgrid(
        torch.arange(float(height)), torch.arange(float(width)), indexing="ij"
    )
    plane = (0.01 * rows + 0.02 * columns)[None, None]
    seen = rescaled(plane, factor)
    for side, full in zip(seen.shape[2:], (height, width), strict=True):
        unit = factor.denominator
        assert side == -(-full // unit) * unit * factor
    back = restored(seen, factor, height, width)
    assert back.shape == plane.shape
    # A plane stays where it is to a tenth of a pixel, but for the continued border.
    inner = np.s_[..., 12 : height - 12, 12 : width - 12]
    assert torch.allclose(back[inner], plane[inner], atol=2e-3)


def test_the_network_sees_the_rescaled_image():
    torch.manual_seed(0)
    network = ConfidenceNetwork(3, 2).eval()
    image = torch.rand(1, 3, 50, 60)
    with torch.no_grad():
        plain = network.logits(rescaled(image, Fraction(2)))
        found = network.logits(image, rescale=Fraction(2))
    assert plain.shape == (1, 2, 100, 120)
    assert torch.equal(found, restored(plain, Fraction(2), 50, 60))


def test_as_it_is_nothing_is_resampled():
    image = torch.rand(1, 3, 9, 11)
    assert rescaled(image, AS_IT_IS) is image
    assert restored(image, AS_IT_IS, 9, 11) is image

import pytest
import torch

from napari_patchseg.method.network import (
    HALO,
    ConfidenceNetwork,
    Featuriser,
)


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

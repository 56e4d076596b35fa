import pytest
import torch
from torch import nn
from torch.nn import functional

from napari_patchseg.method.normalisation import channels_are_last, normalise_elu


def close(found, expected, tolerance):
    error = (found.double() - expected.double()).norm() / expected.double().norm()
    assert error.item() < tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 0.01)])
@pytest.mark.parametrize("shape", [(4, 8, 24, 40), (3, 8, 17, 19), (1, 5, 7, 9)])
def test_it_is_batch_normalisation_and_elu(shape, dtype, tolerance):
    """Against torch's layers in double precision: values, gradients and running statistics."""
    torch.manual_seed(0)
    maps = (torch.randn(shape) * 2 + 3).to(dtype).contiguous(memory_format=torch.channels_last)
    grad = torch.randn(shape).to(dtype)
    plain = nn.BatchNorm2d(shape[1], momentum=0.3).double()
    norm = nn.BatchNorm2d(shape[1], momentum=0.3)
    with torch.no_grad():
        for one in (plain, norm):
            one.weight.copy_(torch.linspace(0.5, 2, shape[1]))
            one.bias.copy_(torch.linspace(-1, 1, shape[1]))
    exact, maps = maps.double().requires_grad_(), maps.requires_grad_()
    expected, found = functional.elu(plain(exact)), normalise_elu(maps, norm)
    expected.backward(grad.double())
    found.backward(grad)
    assert found.dtype == maps.grad.dtype == dtype
    assert channels_are_last(found)
    assert channels_are_last(maps.grad)
    close(found, expected, tolerance)
    close(maps.grad, exact.grad, tolerance)
    for name, parameter in plain.named_parameters():
        close(norm.get_parameter(name).grad, parameter.grad, tolerance)
    close(norm.running_mean, plain.running_mean, tolerance)
    close(norm.running_var, plain.running_var, tolerance)
    assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("momentum", [0.3, None])
def test_running_statistics_of_several_batches(momentum):
    """Without a momentum they are the plain mean, as in torch."""
    torch.manual_seed(0)
    plain, norm = nn.BatchNorm2d(8, momentum=momentum), nn.BatchNorm2d(8, momentum=momentum)
    for shift in range(3):
        maps = torch.randn(2, 8, 16, 16).add(shift).contiguous(memory_format=torch.channels_last)
        plain(maps)
        normalise_elu(maps, norm)
    close(norm.running_mean, plain.running_mean, 1e-5)
    close(norm.running_var, plain.running_var, 1e-5)
    assert norm.num_batches_tracked == plain.num_batches_tracked

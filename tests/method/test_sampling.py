import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.method.sampling import PatchSampler, binary_entropy


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_entropy_is_one_bit_at_a_half_and_none_at_the_ends():
    entropy = binary_entropy(torch.tensor([0.0, 0.25, 0.5, 1.0]))
    assert entropy.tolist() == pytest.approx([0, 0.811278, 1, 0], abs=1e-4)


@given(
    side=st.integers(60, 130),
    patch=st.integers(8, 50),
    stride=st.integers(1, 30),
    patches=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_windows_lie_inside_their_crop_on_the_stride(side, patch, stride, patches, seed):
    confidence = torch.rand(2, 3, side, side + 5, generator=generator(seed))
    windows = PatchSampler(patch, stride, patches)(confidence, generator(seed))
    assert len(windows.row) == 2 * 3 * patches
    assert (windows.row % stride == 0).all()
    assert (windows.column % stride == 0).all()
    assert windows.row.max() + patch <= side
    assert windows.column.max() + patch <= side + 5
    for i in range(0, len(windows.row), 7):
        r, c = int(windows.row[i]), int(windows.column[i])
        cut = confidence[windows.crop[i], windows.class_index[i], r : r + patch, c : c + patch]
        assert float(windows.confidence[i]) == pytest.approx(float(cut.mean()), abs=1e-5)
        assert float(windows.entropy[i]) == pytest.approx(
            float(binary_entropy(cut).mean()), abs=1e-5
        )


def test_sure_windows_are_drawn_in_proportion_to_one_minus_entropy():
    confidence = torch.full((1, 1, 50, 100), 0.5)
    confidence[..., 50:] = 0.9  # entropy 0.469, so weights 0.001 and 0.531
    windows = PatchSampler(50, 50, 2000)(confidence, generator())
    expected = 0.531 / 0.532
    assert float((windows.column == 50).float().mean()) == pytest.approx(expected, abs=0.005)


def test_a_window_is_positive_as_often_as_it_is_confident():
    confidence = torch.full((1, 1, 50, 50), 0.8)
    windows = PatchSampler(50, 20, 5000)(confidence, generator())
    assert float(windows.positive.float().mean()) == pytest.approx(0.8, abs=0.02)


def test_the_same_seed_draws_the_same():
    confidence = torch.rand(2, 2, 100, 100, generator=generator())
    first, second = (PatchSampler()(confidence, generator(5)) for _ in range(2))
    assert torch.equal(first.row, second.row)
    assert torch.equal(first.positive, second.positive)
    assert not torch.equal(first.row, PatchSampler()(confidence, generator(6)).row)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_cut_is_plain_slicing(layout):
    image = torch.rand(2, 4, 60, 64, generator=generator()).contiguous(memory_format=layout)
    confidence = torch.rand(2, 3, 60, 64, generator=generator(1)).contiguous(memory_format=layout)
    confidence.requires_grad_()
    windows = PatchSampler(20, 10, 3)(confidence.detach(), generator())
    of_image, own = windows.cut(image), windows.cut_own(confidence)
    for i in range(len(windows.row)):
        n, k = windows.crop[i], windows.class_index[i]
        r, c = int(windows.row[i]), int(windows.column[i])
        assert torch.equal(of_image[i], image[n, :, r : r + 20, c : c + 20])
        assert torch.equal(own[i], confidence[n, k, r : r + 20, c : c + 20])
    own.sum().backward()
    assert confidence.grad is not None
    assert float(confidence.grad.sum()) == pytest.approx(own.numel())


def test_crops_smaller_than_a_window_are_refused():
    with pytest.raises(ValueError, match="smaller than a window"):
        PatchSampler(50)(torch.rand(1, 1, 40, 60), generator())

import numpy as np
import pytest
import torch

from napari_patchseg.method.scale import InputScale, contents, crops


def test_the_papers_scale_is_rescale():
    pixels = torch.rand(2, 3, 10, 12)
    assert torch.allclose(InputScale.of_the_paper(3)(pixels), contents(pixels))
    assert contents(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([0.05, 1])


def test_an_image_is_stretched_channel_by_channel(source_of):
    rng = np.random.default_rng(0)
    image = rng.random((3, 200, 300), dtype=np.float32)
    dim = image * np.array([0.5, 0.2, 1], np.float32)[:, None, None]
    plain, dimmed = (InputScale.of_image(source_of(one)) for one in (image, dim))
    a, b = plain(torch.from_numpy(image[None])), dimmed(torch.from_numpy(dim[None]))
    assert torch.allclose(a, b, atol=1e-3)
    assert float(a.quantile(0.005)) == pytest.approx(-2, abs=0.05)
    assert float(a.quantile(0.995)) == pytest.approx(2, abs=0.05)


def test_an_even_channel_is_not_blown_up(source_of):
    image = np.full((1, 100, 100), 0.5, np.float32)
    image += np.random.default_rng(0).normal(0, 1e-4, image.shape).astype(np.float32)
    scaled = InputScale.of_image(source_of(image))(torch.from_numpy(image[None]))
    assert float(scaled.max() - scaled.min()) < 0.3


@pytest.mark.parametrize(
    ("shape", "count"), [((64, 90), 1), ((256, 256), 1), ((300, 700), 6), ((4000, 4000), 9)]
)
def test_crops_cover_evenly_and_are_few(source_of, shape, count):
    found = crops(source_of(np.zeros((1, *shape), np.float32)), 256)
    assert len(found) == count
    assert all(c.shape[1] == min(256, shape[0]) for c in found)

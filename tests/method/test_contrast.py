import math

import pytest
import torch

from napari_patchseg.method.contrast import (
    contrast,
    cosine,
    cross_entropy,
    mean_squared_difference,
    similarity,
)
from napari_patchseg.method.network import Featuriser
from napari_patchseg.method.sampling import Windows


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_mean_squared_difference_of_every_pair():
    a, b = torch.rand(3, 7), torch.rand(5, 7)
    plain = (a[:, None] - b[None]).square().mean(-1)
    assert torch.allclose(mean_squared_difference(a, b), plain, atol=1e-6)


def test_cross_entropy_of_every_pair():
    a, b = torch.rand(3, 7), torch.rand(5, 7)
    plain = torch.nn.functional.binary_cross_entropy(
        b[None].expand(3, -1, -1), a[:, None].expand(-1, 5, -1), reduction="none"
    ).mean(-1)
    assert torch.allclose(cross_entropy(a, b), plain, atol=1e-3)


def test_cosine_of_every_pair():
    a, b = torch.randn(3, 7), torch.randn(5, 7)
    plain = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=-1)
    assert torch.allclose(cosine(a, b), plain, atol=1e-5)


@pytest.mark.parametrize("name", ["mean-squared-error", "cross-entropy", "featurised-cosine"])
def test_a_patch_is_most_similar_to_itself(name):
    a = torch.rand(4, 50, generator=generator())
    pairs = similarity(name, a, (a > 0.5).float())
    itself = similarity(name, (a > 0.5).float(), (a > 0.5).float())
    assert (itself.diagonal() >= itself.max(1).values - 1e-5).all()
    assert (pairs.argmax(1) == torch.arange(4)).all()


def two_by_two():
    """One crop, one class, four 2x2 windows: two positives and two negatives."""
    image = torch.rand(1, 1, 4, 4, generator=generator(1))
    confidence = torch.rand(1, 1, 4, 4, generator=generator(2), requires_grad=True)
    zero = torch.zeros(4, dtype=torch.long)
    windows = Windows(
        crop=zero,
        class_index=zero,
        row=torch.tensor([0, 0, 2, 2]),
        column=torch.tensor([0, 2, 0, 2]),
        positive=torch.tensor([True, True, False, False]),
        confidence=torch.zeros(4),
        entropy=torch.zeros(4),
        size=2,
    )
    return image, confidence, windows


def test_loss_and_separations_by_hand():
    image, confidence, windows = two_by_two()
    found = contrast(image, confidence, windows, anchors=3, generator=generator(7))
    content = (image * confidence.detach())[0, 0]
    cut = [content[r : r + 2, c : c + 2].flatten() for r, c in [(0, 0), (0, 2), (2, 0), (2, 2)]]

    def d(i, j):
        return float((cut[i] - cut[j]).square().mean())

    drawn = torch.randint(2, (3,), generator=generator(7)).tolist()
    loss = 0.0
    for a in drawn:
        repulsion = math.log(math.exp(-d(a, 2)) + math.exp(-d(a, 3)))
        loss += sum(d(a, p) + repulsion for p in (0, 1))
    assert found.loss is not None
    assert found.loss.item() == pytest.approx(loss / 9, abs=1e-5)
    assert found.positive_separation == pytest.approx(d(0, 1), abs=1e-6)
    between = (d(0, 2) + d(0, 3) + d(1, 2) + d(1, 3)) / 4
    assert found.negative_separation == pytest.approx(between, abs=1e-6)
    found.loss.backward()
    assert confidence.grad is not None
    assert confidence.grad.abs().sum() > 0


def test_a_class_without_a_negative_skips_the_step():
    image, confidence, windows = two_by_two()
    windows.positive.fill_(True)
    found = contrast(image, confidence, windows, generator=generator())
    assert found.loss is None
    assert math.isnan(found.negative_separation)


def test_other_classes_positives_repel():
    """With two classes the loss has the inter part, worked by hand."""
    image = torch.ones(1, 1, 2, 8)
    windows = Windows(
        crop=torch.zeros(4, dtype=torch.long),
        class_index=torch.tensor([0, 0, 1, 1]),
        row=torch.zeros(4, dtype=torch.long),
        column=torch.tensor([0, 2, 0, 2]),
        positive=torch.tensor([True, False, True, False]),
        confidence=torch.zeros(4),
        entropy=torch.zeros(4),
        size=2,
    )

    def loss(second_class):
        confidence = torch.zeros(1, 2, 2, 8)
        confidence[0, 0, :, :2] = 1
        confidence[0, 1, :, :2] = second_class
        found = contrast(image, confidence, windows, anchors=2, generator=generator())
        assert found.loss is not None
        return found.loss.item()

    # Two anchors times one positive over 2² x 1, of: intra 0, inter 0, intra 1, inter 1.
    assert loss(0.0) == pytest.approx((-1 - 1 + 0 - 1) / 2, abs=1e-6)
    assert loss(0.5) == pytest.approx((-1 - 0.25 - 0.25 - 0.25) / 2, abs=1e-6)
    assert loss(1.0) == pytest.approx((-1 + 0 - 1 + 0) / 2, abs=1e-6)


def test_the_featurised_cosine_trains_the_featuriser():
    torch.manual_seed(0)
    image = torch.rand(2, 3, 60, 60)
    confidence = torch.rand(2, 1, 60, 60, requires_grad=True)
    featuriser = Featuriser(3, 20)
    count = 12
    windows = Windows(
        crop=torch.arange(count) % 2,
        class_index=torch.zeros(count, dtype=torch.long),
        row=torch.arange(count) * 3,
        column=torch.arange(count) * 2,
        positive=torch.arange(count) < 6,
        confidence=torch.zeros(count),
        entropy=torch.zeros(count),
        size=20,
    )
    found = contrast(
        image,
        confidence,
        windows,
        similarity_name="featurised-cosine",
        featuriser=featuriser,
        generator=generator(),
    )
    assert found.loss is not None
    found.loss.backward()
    assert all(p.grad is not None for p in featuriser.parameters())
    assert confidence.grad is not None

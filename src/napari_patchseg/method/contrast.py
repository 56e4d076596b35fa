"""Similarities, the contrastive loss and the information separation (paper section 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .network import Featuriser
from .sampling import Windows

_TINY = 1e-4


def mean_squared_difference(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference of every row of ``a`` (A, D) and ``b`` (B, D), as (A, B)."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1)[None, :]
    return (squares - 2 * (a @ b.T)).clamp_min(0) / a.shape[1]


def cross_entropy(a: Tensor, b: Tensor) -> Tensor:
    """Mean binary cross-entropy of ``b`` (B, D) against ``a`` (A, D), both in [0, 1], as (A, B)."""
    q = b.clamp(_TINY, 1 - _TINY)
    log_odds, log_rest = (q.log() - (1 - q).log()), (1 - q).log()
    return -(a @ log_odds.T + log_rest.sum(1)[None, :]) / a.shape[1]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between every row of ``a`` (A, D) and ``b`` (B, D), as (A, B)."""
    return functional.normalize(a, dim=1) @ functional.normalize(b, dim=1).T


def similarity(name: str, a: Tensor, b: Tensor) -> Tensor:
    """Similarity of patches under the paper's names; larger is more alike.

    Parameters
    ----------
    name : str
        "mean-squared-error" or "cross-entropy" of contents, "featurised-cosine" of features.
    a, b : Tensor
        (A, D) and (B, D).
    """
    if name == "mean-squared-error":
        return -mean_squared_difference(a, b)
    if name == "cross-entropy":
        return -cross_entropy(a, b)
    return cosine(a, b)


@dataclass(frozen=True)
class Contrast:
    """What a batch says.

    Attributes
    ----------
    loss : Tensor or None
        Scalar; None where a class has no positive or no negative, so that the step is skipped.
    positive_separation, negative_separation : float
        Mean squared difference of contents between different positives of a class, and between its
        positives and negatives, each averaged over the classes that have such pairs; NaN without
        any.
    """

    loss: Tensor | None
    positive_separation: float
    negative_separation: float


def contrast(
    image: Tensor,
    confidence: Tensor,
    windows: Windows,
    *,
    similarity_name: str = "mean-squared-error",
    anchors: int = 10,
    featuriser: Featuriser | None = None,
    generator: torch.Generator,
) -> Contrast:
    """Contrastive loss and information separation of a batch.

    With s the similarity and a class's anchors drawn from its positives: intra = sum over anchors
    and positives of [-s(anchor, positive) + logsumexp over negatives of s(anchor, negative)];
    inter, for K > 1, the same with the other classes' positives as negatives; both divided by
    anchors² x crops, as the paper's authors do, so that a class with more positives weighs more.

    Parameters
    ----------
    image : Tensor
        (N, C, H, W) in [0, 1].
    confidence : Tensor
        (N, K, H, W) in (0, 1); the gradient flows through it.
    windows : Windows
        The sampler's draw from ``confidence``.
    similarity_name, anchors, featuriser
        See `napari_patchseg.settings.Settings`; the featuriser for the cosine only.
    generator : torch.Generator
        On the CPU; draws the anchors.
    """
    classes = confidence.shape[1]
    every = torch.arange(len(windows.row), device=image.device)
    # Cut first, then multiplied: no content as large as the crops, classes times over, is made.
    patches = windows.cut(image) * windows.cut_own(confidence)[:, None]
    flat = patches.flatten(1)
    features = flat if featuriser is None else featuriser(patches)

    within, between = _separation(flat.detach(), windows, classes)
    positive = [every[windows.positive & (windows.class_index == k)] for k in range(classes)]
    negative = [every[~windows.positive & (windows.class_index == k)] for k in range(classes)]
    if any(len(p) == 0 or len(n) == 0 for p, n in zip(positive, negative, strict=True)):
        return Contrast(None, within, between)

    drawn = [
        p[torch.randint(len(p), (anchors,), generator=generator).to(image.device)] for p in positive
    ]
    alike = similarity(similarity_name, features.index_select(0, torch.cat(drawn)), features)
    total = image.new_zeros(())
    for k, of_class in enumerate(alike.split(anchors)):
        attraction = of_class[:, positive[k]]
        others = [negative[k]]
        if classes > 1:
            others.append(torch.cat([positive[j] for j in range(classes) if j != k]))
        for other in others:
            repulsion = of_class[:, other].logsumexp(1)
            total = total + (repulsion[:, None] - attraction).sum()
    return Contrast(total / (anchors**2 * image.shape[0]), within, between)


def _separation(flat: Tensor, windows: Windows, classes: int) -> tuple[float, float]:
    """Mean squared differences from each group's sum and sum of squares, pair by pair unseen."""
    group = windows.class_index + classes * ~windows.positive  # positives first, then negatives
    member = functional.one_hot(group, 2 * classes).T.to(flat.dtype)
    flat = flat - flat.mean(0)  # or little would be left of the difference of large sums
    count, total, squares = member.sum(1), member @ flat, member @ flat.square().mean(1)
    length = total.square().mean(1)
    own, other = slice(classes), slice(classes, None)

    pairs = 2 * (count * squares - length) / (count * (count - 1))
    within = pairs[own][count[own] > 1].clamp_min(0).mean()  # NaN where no class has any
    mean_square = squares / count
    inner = (total[own] * total[other]).mean(1) / (count[own] * count[other])
    across = mean_square[own] + mean_square[other] - 2 * inner
    between = across[(count[own] > 0) & (count[other] > 0)].clamp_min(0).mean()
    return float(within), float(between)

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
        See `napari_patchseg.method.settings.Settings`; the featuriser for the cosine only.
    generator : torch.Generator
        On the CPU; draws the anchors.
    """
    classes = confidence.shape[1]
    contents = image[:, None] * confidence[:, :, None]
    every = torch.arange(len(windows.row), device=image.device)
    patches = windows.cut(contents, every)
    flat = patches.flatten(1)
    features = flat if featuriser is None else featuriser(patches)

    positive = [every[windows.positive & (windows.class_index == k)] for k in range(classes)]
    negative = [every[~windows.positive & (windows.class_index == k)] for k in range(classes)]
    within, between = _separation(flat.detach(), positive, negative)
    if any(len(p) == 0 or len(n) == 0 for p, n in zip(positive, negative, strict=True)):
        return Contrast(None, within, between)

    total = image.new_zeros(())
    for k in range(classes):
        drawn = torch.randint(len(positive[k]), (anchors,), generator=generator).to(image.device)
        anchor = features[positive[k][drawn]]
        attraction = similarity(similarity_name, anchor, features[positive[k]])
        others = [negative[k]]
        if classes > 1:
            others.append(torch.cat([positive[j] for j in range(classes) if j != k]))
        for other in others:
            repulsion = similarity(similarity_name, anchor, features[other]).logsumexp(1)
            total = total + (repulsion[:, None] - attraction).sum()
    return Contrast(total / (anchors**2 * image.shape[0]), within, between)


def _separation(
    flat: Tensor, positive: list[Tensor], negative: list[Tensor]
) -> tuple[float, float]:
    within, between = [], []
    for p, n in zip(positive, negative, strict=True):
        if len(p) > 1:
            pairs = mean_squared_difference(flat[p], flat[p])
            within.append(pairs.sum() / (len(p) * (len(p) - 1)))  # the diagonal is zero
        if len(p) and len(n):
            between.append(mean_squared_difference(flat[p], flat[n]).mean())
    nan = float("nan")
    return (
        float(torch.stack(within).mean()) if within else nan,
        float(torch.stack(between).mean()) if between else nan,
    )

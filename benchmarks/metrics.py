"""How well labels agree with the truth: Dice, AJI, PQ and detection F1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.integer]


@dataclass(frozen=True)
class Agreement:
    """Agreement of labels with the truth.

    Attributes
    ----------
    dice : float
        Of the foregrounds, in [0, 1]: 2 |A ∩ B| / (|A| + |B|).
    aji : float
        Aggregated Jaccard index (Kumar et al., IEEE TMI 2017), in [0, 1].
    pq : float
        Panoptic quality (Kirillov et al., CVPR 2019), in [0, 1]: sum of the IoU of the matches over
        (matches + half of what is unmatched). A match has an IoU above 0.5.
    f1 : float
        Detection F1 at IoU 0.5, in [0, 1].
    count_ratio : float
        Objects found per true object; NaN where there is none.
    """

    dice: float
    aji: float
    pq: float
    f1: float
    count_ratio: float


def agreement(truth: Labels, found: Labels) -> Agreement:
    """Compare two label images of one shape; 0 is background.

    Where both are empty everything is 1 (and the ratio NaN).

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if truth.shape != found.shape:
        raise ValueError(f"shapes differ: {truth.shape} and {found.shape}")
    true_index, found_index = _consecutive(truth), _consecutive(found)
    true_count, found_count = int(true_index.max()), int(found_index.max())
    overlap = np.bincount(
        (true_index.astype(np.int64) * (found_count + 1) + found_index).ravel(),
        minlength=(true_count + 1) * (found_count + 1),
    ).reshape(true_count + 1, found_count + 1)
    ratio = found_count / true_count if true_count else float("nan")
    if true_count == found_count == 0:
        return Agreement(1.0, 1.0, 1.0, 1.0, ratio)
    true_area, found_area = overlap.sum(1)[1:], overlap.sum(0)[1:]
    both = overlap[1:, 1:]
    union = true_area[:, None] + found_area[None, :] - both
    iou = both / np.maximum(union, 1)
    matched = iou[iou > 0.5]  # above a half a match is the only one of both
    half_of_rest = (true_count + found_count - 2 * len(matched)) / 2
    return Agreement(
        dice=float(2 * both.sum() / (true_area.sum() + found_area.sum())),
        aji=_aji(both, union, iou, true_area, found_area),
        pq=float(matched.sum() / (len(matched) + half_of_rest)),
        f1=float(len(matched) / (len(matched) + half_of_rest)),
        count_ratio=ratio,
    )


def _aji(
    both: Labels, union: Labels, iou: NDArray[np.float64], true_area: Labels, found_area: Labels
) -> float:
    if both.size == 0:
        return 0.0
    best = iou.argmax(1)
    rows = np.flatnonzero(iou.max(1) > 0)
    intersections = both[rows, best[rows]].sum()
    unions = union[rows, best[rows]].sum()
    missed = np.setdiff1d(np.arange(len(true_area)), rows)
    unused = np.setdiff1d(np.arange(len(found_area)), best[rows])
    unions += true_area[missed].sum() + found_area[unused].sum()
    return float(intersections / unions)


def _consecutive(labels: Labels) -> NDArray[np.int64]:
    """Labels renumbered from 1 without gaps; 0 stays."""
    values, index = np.unique(labels, return_inverse=True)
    offset = 0 if len(values) and values[0] == 0 else 1
    return np.asarray(index.reshape(labels.shape) + offset, np.int64)

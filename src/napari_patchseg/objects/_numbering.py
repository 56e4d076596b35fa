"""Nuclei that stay keep their numbers, and with them their colours, when labels are drawn anew."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from napari_patchseg.report import Labels


def keep_numbers(labels: NDArray[np.integer], shown: NDArray[np.integer]) -> Labels:
    """Give labels the numbers of those that they stand for among the ones shown.

    Two objects are the same where they share more than half of the smaller one; of several such
    the pair that shares most counts, then the lower numbers. All others get numbers that are not
    among the ones shown, the lowest first.

    Parameters
    ----------
    labels : ndarray
        (H, W), 0 is background.
    shown : ndarray
        (H, W), what was shown before; 0 is background.

    Returns
    -------
    ndarray
        (H, W) uint16, or uint32 for numbers above 65,535: the same objects as `labels`.
    """
    numbers, shown = _compact(shown)
    new, old = _areas(labels), _areas(shown)
    same = _pairs(labels, shown, new, old)
    names = np.zeros(len(new), np.int64)
    taken = np.zeros(len(old), bool)
    for number, before in same:
        if not names[number] and not taken[before]:
            names[number], taken[before] = numbers[before], True
    others = np.flatnonzero((names == 0) & (new > 0))
    others = others[others > 0]
    free = np.setdiff1d(np.arange(1, len(old) + len(others) + 1), numbers[old > 0])
    names[others] = free[: len(others)]
    names[0] = 0
    kept: Labels = names.astype(np.uint16 if names.max() < 2**16 else np.uint32)[labels]
    return kept


def _compact(
    shown: NDArray[np.integer],
) -> tuple[NDArray[np.int64], NDArray[np.integer]]:
    """Numbers, and labels that index them; of labels that somebody painted any may occur."""
    shown = np.where(shown > 0, shown, 0)
    if shown.max(initial=0) <= shown.size:
        return np.arange(int(shown.max(initial=0)) + 1), shown
    numbers, labels = np.unique(np.append(shown, 0), return_inverse=True)
    return numbers.astype(np.int64), labels[:-1].reshape(shown.shape)


def _areas(labels: NDArray[np.integer]) -> NDArray[np.int64]:
    return np.bincount(labels.ravel(), minlength=1)


def _pairs(
    labels: NDArray[np.integer],
    shown: NDArray[np.integer],
    new: NDArray[np.int64],
    old: NDArray[np.int64],
) -> list[tuple[int, int]]:
    """Numbers of objects that are the same, those that share most first."""
    both = (labels > 0) & (shown > 0)
    ones = np.ones(np.count_nonzero(both), np.int64)
    shared = sparse.coo_matrix(
        (ones, (labels[both].astype(np.int32), shown[both].astype(np.int32))),
        (len(new), len(old)),
    )
    shared.sum_duplicates()
    enough = 2 * shared.data > np.minimum(new[shared.row], old[shared.col])
    rows, columns, data = shared.row[enough], shared.col[enough], shared.data[enough]
    order = np.lexsort((columns, rows, -data))
    return list(zip(rows[order].tolist(), columns[order].tolist(), strict=True))

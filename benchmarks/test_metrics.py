import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from metrics import agreement

small = arrays(np.uint8, (6, 7), elements=st.integers(0, 4))


def test_worked_by_hand():
    truth = np.zeros((4, 10), int)
    truth[0:2, 0:4] = 1  # 8 px
    truth[2:4, 0:2] = 2  # 4 px, missed
    found = np.zeros_like(truth)
    found[0:2, 1:5] = 7  # 8 px, 6 of them in object 1: IoU 6 / 10
    found[3, 8:10] = 9  # 2 px, false
    result = agreement(truth, found)
    assert result.dice == pytest.approx(2 * 6 / (12 + 10))
    assert result.aji == pytest.approx(6 / (10 + 4 + 2))
    assert result.pq == pytest.approx(0.6 / (1 + 0.5 + 0.5))
    assert result.f1 == pytest.approx(1 / 2)
    assert result.count_ratio == 1


def test_an_object_split_in_two_loses_aji_but_not_dice():
    truth = np.zeros((2, 10), int)
    truth[:, :8] = 1
    found = truth.copy()
    found[:, 6:8] = 2
    result = agreement(truth, found)
    assert result.dice == 1
    assert result.aji == pytest.approx(12 / (16 + 4))
    assert result.pq == pytest.approx(0.75 / 1.5)


@given(small)
def test_labels_agree_with_themselves_under_any_numbering(labels):
    result = agreement(labels, labels.astype(int) * 1000)
    assert (result.dice, result.aji, result.pq, result.f1) == (1, 1, 1, 1)


@given(small, small)
def test_figures_lie_between_0_and_1_and_dice_and_pq_are_symmetric(a, b):
    one, other = agreement(a, b), agreement(b, a)
    for value in (one.dice, one.aji, one.pq, one.f1):
        assert 0 <= value <= 1
    assert one.dice == pytest.approx(other.dice)
    assert one.pq == pytest.approx(other.pq)
    assert one.pq <= one.f1 + 1e-12


def test_nothing_found_and_nothing_there():
    truth = np.zeros((5, 5), int)
    assert agreement(truth, truth).aji == 1
    assert math.isnan(agreement(truth, truth).count_ratio)
    truth[1, 1] = 3
    assert agreement(truth, np.zeros((5, 5), int)).aji == 0
    assert agreement(np.zeros((5, 5), int), truth).pq == 0


def test_shapes_must_match():
    with pytest.raises(ValueError, match="shapes differ"):
        agreement(np.zeros((2, 2), int), np.zeros((3, 2), int))

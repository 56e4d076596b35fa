import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_patchseg.objects import keep_numbers


def row(*numbers):
    return np.array([numbers], np.uint16)


@pytest.mark.parametrize(
    ("labels", "shown", "kept"),
    [
        (row(1, 1, 0, 2, 2), row(7, 7, 0, 3, 3), row(7, 7, 0, 3, 3)),
        (row(1, 1, 0, 2, 2), row(0, 0, 0, 1, 1), row(2, 2, 0, 1, 1)),  # a new one
        (row(0, 0, 0, 1, 1), row(1, 1, 0, 2, 2), row(0, 0, 0, 2, 2)),  # one goes
        (row(1, 1, 2, 2, 2), row(9, 9, 9, 9, 9), row(1, 1, 9, 9, 9)),  # the larger half keeps it
        (row(1, 1, 1, 1, 1), row(4, 4, 5, 5, 5), row(5, 5, 5, 5, 5)),  # so does who gave more
        (row(1, 1, 1, 0, 0), row(0, 0, 5, 5, 5), row(1, 1, 1, 0, 0)),  # they hardly touch
        (row(0, 0), row(3, 3), row(0, 0)),
        (row(2, 1), row(0, 0), row(2, 1)),
    ],
)
def test_who_stays_keeps_its_number_and_nobody_else_has_it(labels, shown, kept):
    np.testing.assert_array_equal(keep_numbers(labels, shown), kept)


small = arrays.arrays(np.uint16, (9, 9), elements=st.integers(0, 6))


@settings(deadline=None)
@given(small, small)
def test_only_numbers_change(labels, shown):
    kept = keep_numbers(labels, shown)
    pairs = {(int(a), int(b)) for a, b in zip(labels.flat, kept.flat, strict=True)}
    assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
    assert ((labels == 0) == (kept == 0)).all()
    np.testing.assert_array_equal(keep_numbers(labels, shown), kept)
    np.testing.assert_array_equal(keep_numbers(kept, kept), kept)


def test_many_numbers_need_more_than_sixteen_bits():
    labels = np.arange(70_000, dtype=np.uint32).reshape(200, 350)
    kept = keep_numbers(labels, np.zeros_like(labels))
    assert kept.dtype == np.uint32
    np.testing.assert_array_equal(kept, labels)
    assert keep_numbers(labels % 300, np.zeros_like(labels)).dtype == np.uint16


@pytest.mark.parametrize("painted", [2**31 - 1, -5])
def test_any_number_may_have_been_painted(painted: int) -> None:
    shown = np.zeros((40, 40), np.int32)
    shown[2:8, 2:8], shown[20:26, 20:26] = 7, painted
    labels = np.zeros((40, 40), np.uint16)
    labels[2:8, 2:8], labels[20:26, 20:26], labels[30:36, 2:8] = 1, 2, 3
    kept = keep_numbers(labels, shown)
    assert kept[3, 3] == 7
    assert len(np.unique(kept)) == 4
    assert painted < 0 or kept[21, 21] == painted

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from napari_patchseg.corrections import Add, Corrections, Delete


@given(arrays.arrays(np.uint8, (9, 11), elements=st.integers(0, 2)))
def test_hints_come_back_as_painted(hints):
    corrections = Corrections.of_hints(hints)
    np.testing.assert_array_equal(corrections.painted, hints)
    np.testing.assert_array_equal(corrections.hints, hints)
    assert bool(corrections) == hints.any()


def test_deleted_and_added_objects_teach_and_paint_counts_more():
    edits = (Delete(runs=((0, 0, 4),)), Add(runs=((1, 0, 4),)), Delete(runs=((1, 3, 4),)))
    painted = np.zeros((3, 5), np.uint8)
    painted[0, 3:] = 1
    corrections = Corrections.of_hints(painted, edits)
    expected = [[2, 2, 2, 1, 1], [1, 1, 1, 2, 0], [0, 0, 0, 0, 0]]
    np.testing.assert_array_equal(corrections.hints, expected)
    np.testing.assert_array_equal(corrections.painted, painted)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.draw import disk

from napari_patchseg.corrections import Add, Delete, Merge, Split
from napari_patchseg.objects import apply_edits, change_of, grow, pixels_of
from napari_patchseg.objects._editing import pixels_under

SMALLEST = 20.0


def discs(*centres, radius=8, shape=(80, 120)):
    labels = np.zeros(shape, np.uint16)
    for number, centre in enumerate(centres, 1):
        labels[disk(centre, radius, shape=shape)] = number
    return labels


def others_stay(before, after, *numbers):
    untouched = (before > 0) & ~np.isin(before, numbers)
    np.testing.assert_array_equal(after[untouched], before[untouched])


def pieces(labels):
    return set(np.unique(labels)) - {0}


@pytest.fixture
def three():
    """Two that touch, and one apart."""
    return discs((30, 30), (30, 45), (60, 90))


def test_the_object_at_a_pixel_is_found_whole(three):
    found = pixels_of(three, (60, 90))
    assert set(zip(*found, strict=True)) == set(zip(*np.nonzero(three == 3), strict=True))
    assert pixels_of(three, (0, 0)) is None


def test_delete_takes_one_object_and_leaves_the_others(three):
    edited = apply_edits(three, [Delete.of(pixels_of(three, (60, 90)))], SMALLEST)
    assert pieces(edited) == {1, 2}
    others_stay(three, edited, 3)


def test_delete_holds_for_the_same_object_drawn_otherwise(three):
    delete = Delete.of(pixels_of(three, (60, 90)))
    moved = discs((30, 30), (62, 92), (30, 60), radius=6)
    assert pieces(apply_edits(moved, [delete], SMALLEST)) == {1, 3}
    neighbour = discs((60, 72))  # hardly touches where the deleted one was
    assert pieces(apply_edits(neighbour, [delete], SMALLEST)) == {1}


def test_merge_makes_one_of_all_that_a_stroke_crosses(three):
    edited = apply_edits(three, [Merge(path=((30, 28), (30, 47)))], SMALLEST)
    assert pieces(edited) == {1, 3}
    np.testing.assert_array_equal(edited == 1, (three == 1) | (three == 2))


def test_merge_bridges_what_lies_between(three):
    edited = apply_edits(three, [Merge(path=((60, 90), (30, 45)))], SMALLEST)
    assert pieces(edited) == {1, 3}
    rows, columns = pixels_of(edited, (30, 45))
    assert (60, 90) in set(zip(rows, columns, strict=True))  # it hangs together
    others_stay(three, edited, 2)


@pytest.mark.parametrize("path", [((18, 30), (42, 30)), ((20, 20), (40, 40)), ((30, 18), (30, 42))])
def test_split_cuts_along_a_stroke_and_loses_no_pixel(path):
    labels = discs((30, 30), (60, 90), radius=10)
    edited = apply_edits(labels, [Split(path=path)], SMALLEST)
    assert pieces(edited) == {1, 2, 3}
    np.testing.assert_array_equal(edited > 0, labels > 0)
    areas = np.bincount(edited.ravel())
    assert min(areas[1], areas[3]) > 0.3 * (areas[1] + areas[3])
    others_stay(labels, edited, 1)


@pytest.mark.parametrize(
    "path",
    [
        ((30, 30), (30, 60)),  # ends inside
        ((21, 20), (21, 40)),  # would cut off a sliver
        ((0, 0), (0, 100)),  # meets nothing
    ],
)
def test_split_that_does_not_go_through_changes_nothing(path):
    labels = discs((30, 30), radius=10)
    assert change_of(labels, Split(path=path), SMALLEST) is None


def test_add_takes_free_pixels_only_and_is_not_added_twice(three):
    add = Add.of(disk((38, 30), 8))
    edited = apply_edits(three, [add, add], SMALLEST)
    assert pieces(edited) == {1, 2, 3, 4}
    others_stay(three, edited)
    found = discs((38, 30), radius=7)
    np.testing.assert_array_equal(apply_edits(found, [add], SMALLEST), found)


def test_grow_takes_the_blob_of_the_map_around_a_click(three):
    confidence = np.full(three.shape, 0.1, np.float32)
    blob = disk((20, 90), 7)
    confidence[blob] = 0.4  # below any usual threshold, above what is around it
    found = set(zip(*grow(confidence, three, (22, 92), 16), strict=True))
    assert found == set(zip(*blob, strict=True))
    assert grow(confidence, three, (30, 30), 16) is None  # it belongs to another


def test_grow_takes_a_disk_where_the_map_shows_nothing(three):
    rows, columns = grow(np.zeros(three.shape, np.float32), three, (20, 90), 16)
    assert len(rows) == pytest.approx(np.pi * 8**2, rel=0.1)
    assert (rows.mean(), columns.mean()) == pytest.approx((20, 90))


def test_pixels_outside_the_image_count_for_nothing(three):
    edits = [
        Delete(runs=((1000, 0, 5),)),
        Add(runs=((79, 110, 2**31 - 1),)),
        Merge(path=((500, 500), (600, 600))),
    ]
    edited = apply_edits(three, edits, SMALLEST)
    assert np.count_nonzero(edited == 4) == 10  # the add, clipped


LABELS = arrays.arrays(np.uint16, (12, 15), elements=st.integers(0, 3))
POINT = st.tuples(st.integers(0, 11), st.integers(0, 14))
PATH = st.lists(POINT, min_size=2, max_size=4)


@given(LABELS, POINT)
def test_of_any_labels_the_object_clicked_is_deleted(labels, point):
    found = pixels_of(labels, point)
    if found is None:
        assert labels[point] == 0
        return
    edited = apply_edits(labels, [Delete.of(found)], 1)
    assert edited[point] == 0
    others_stay(labels, edited, labels[point])


@given(LABELS, PATH, st.booleans(), st.floats(0, 10))
def test_strokes_on_any_labels_touch_nothing_that_they_do_not_cross(labels, path, cut, smallest):
    edit = Split(path=tuple(path)) if cut else Merge(path=tuple(path))
    crossed = np.unique(labels[pixels_under(edit, labels.shape)])
    edited = apply_edits(labels, [edit], smallest)
    others_stay(labels, edited, *crossed[crossed > 0])
    assert np.all((edited > 0) >= (labels > 0))  # no nucleus is lost

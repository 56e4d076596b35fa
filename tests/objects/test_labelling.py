import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage.metrics import adapted_rand_error
from skimage.segmentation import clear_border

from napari_patchseg.objects import (
    ResolvedObjects,
    label_nuclei,
    label_steps,
    smallest_area,
    with_additions,
)
from napari_patchseg.objects._labelling import finished, marker_threshold, otsu


def settings(diameter=20.0, threshold=0.5, min_area=None, split=True, max_area=None):
    area = smallest_area(diameter) if min_area is None else min_area
    return ResolvedObjects(threshold, diameter, area, split, 0.06, max_area)


def disks(centres, radius=10, shape=(120, 160)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    truth = np.zeros(shape, int)
    for number, (row, column) in enumerate(centres, 1):
        truth[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    return truth


def confidence_of(truth, blur=1.0):
    return ndi.gaussian_filter((truth > 0).astype(np.float32), blur)


def test_separate_nuclei_come_out_one_by_one():
    truth = disks([(30, 30), (30, 90), (80, 50), (80, 120)])
    found = label_nuclei(confidence_of(truth), settings())
    assert found.dtype == np.uint16
    assert sorted(np.unique(found)) == [0, 1, 2, 3, 4]
    assert adapted_rand_error(truth, found)[0] < 0.05


def test_touching_nuclei_are_split_and_can_be_left_whole():
    truth = disks([(60, 50), (60, 69), (60, 110)])
    found = label_nuclei(confidence_of(truth), settings())
    assert found.max() == 3
    assert adapted_rand_error(truth, found)[0] < 0.1
    assert label_nuclei(confidence_of(truth), settings(split=False)).max() == 2


def test_holes_are_filled_and_crumbs_dropped():
    truth = disks([(60, 60)], radius=14)
    confidence = confidence_of(truth)
    confidence[58:63, 58:63] = 0
    confidence[10:13, 10:13] = 1
    found = label_nuclei(confidence, settings(diameter=28, threshold=0.5))
    assert found.max() == 1
    assert found[60, 60] == 1


def test_the_smallest_area_is_kept_to():
    truth = disks([(40, 40)], radius=12) + 2 * disks([(80, 100)], radius=6)
    areas = {
        area: label_nuclei(confidence_of(truth), settings(min_area=area)).max()
        for area in (0, 100, 200, 1000)
    }
    assert areas == {0: 2, 100: 2, 200: 1, 1000: 0}


def test_the_largest_area_is_kept_to():
    truth = disks([(40, 40)], radius=7) + 2 * disks([(80, 80)], radius=15)
    small, large = np.bincount(truth.ravel())[1:]
    for most, kept in ((None, 2), (2 * large, 2), (2 * small, 1), (small / 2, 0)):
        assert label_nuclei(confidence_of(truth), settings(max_area=most)).max() == kept


def test_nothing_where_pixels_are_not_valid():
    truth = disks([(60, 50), (60, 110)])
    valid = np.ones(truth.shape, bool)
    valid[:, 80:] = False
    found = label_nuclei(confidence_of(truth), settings(), valid)
    assert found.max() == 1
    assert not found[:, 80:].any()


def test_nuclei_at_the_border_are_kept_whole():
    truth = disks([(0, 60), (60, 0), (119, 159)], radius=14)
    found = label_nuclei(confidence_of(truth), settings(28))
    assert found.max() == 3
    assert adapted_rand_error(truth, found)[0] < 0.1
    assert found[0, 48]  # where the border cuts it, beside 14 px of it: nothing is rounded off
    assert found[0, 72]


def test_a_sliver_along_the_border_is_no_nucleus():
    confidence = np.zeros((120, 160), np.float32)
    confidence[:, 0] = confidence[-1] = 1
    assert not label_nuclei(confidence, settings()).any()


def test_a_nucleus_cut_by_the_border_may_be_half_as_small():
    truth = disks([(60, 60)], radius=7) + 2 * disks([(0, 100)], radius=9)
    areas = np.bincount(truth.ravel())[1:]
    assert areas.max() < 160
    found = label_nuclei(confidence_of(truth), settings(min_area=areas.max() + 20))
    assert found.max() == 1
    assert found[0, 100]


@given(st.floats(0, 1))
def test_an_even_map_has_no_threshold_of_its_own(value):
    assert otsu(np.full((20, 20), value, np.float32)) == 0.5


def test_an_empty_map_gives_no_objects():
    found = label_nuclei(np.zeros((80, 80), np.float32), settings())
    assert found.shape == (80, 80)
    assert not found.any()


@given(st.integers(0, 50), st.floats(8, 40), st.floats(0.2, 0.8))
def test_labels_run_without_gaps_and_each_is_large_enough(seed, diameter, threshold):
    noise = np.random.default_rng(seed).random((90, 110)).astype(np.float32)
    smooth = ndi.gaussian_filter(noise, diameter / 6)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    chosen = settings(diameter, threshold)
    found = label_nuclei(smooth, chosen)
    assert np.array_equal(large_enough(found, chosen.min_area), found > 0)
    assert len(np.unique(found[found > 0])) == found.max()


def test_interiors_split_what_distances_cannot():
    """Two nuclei in one even bar: only their inner parts tell them apart."""
    truth = np.zeros((80, 100), int)
    truth[30:50, 20:50], truth[30:50, 50:80] = 1, 2
    interior = np.zeros(truth.shape, np.float32)
    interior[35:45, 27:43] = interior[35:45, 57:73] = 1
    interior = ndi.gaussian_filter(interior, 1)
    chosen = ResolvedObjects(0.5, 24.0, smallest_area(24), True, 0.3)
    assert label_nuclei(confidence_of(truth), chosen).max() == 1
    found = label_nuclei(confidence_of(truth), chosen, interior=interior)
    assert found.max() == 2
    assert adapted_rand_error(truth, found)[0] < 0.1


def test_markers_must_be_surer_where_the_threshold_is_higher_or_less_is_certain():
    asked = [[marker_threshold(t, c) for t in (0.2, 0.5, 0.9)] for c in (1, 0.7, 0.4, 0)]
    assert (np.diff(asked, axis=0) >= 0).all()
    assert (np.diff(asked, axis=1) >= 0).all()
    assert asked[0] == pytest.approx([0.2, 0.5, 0.9])
    assert asked[-1] == [1, 1, 1]


@pytest.mark.parametrize(("threshold", "count"), [(0.7, 1), (0.2, 2)])
def test_nuclei_have_a_marker_as_sure_as_the_threshold_asks(threshold, count):
    truth = disks([(40, 40), (40, 110)])
    interior = np.where(truth == 1, np.float32(0.97), np.float32(0.8)) * (truth > 0)
    steps = label_steps(confidence_of(truth), settings(threshold=threshold), interior=interior)
    found, least = finished(steps)
    assert found.max() == count
    assert min(interior[found == number].max() for number in range(1, count + 1)) >= least


def doubtful(haze):
    """One nucleus with an interior of 0.8, beside so many times as much haze without any."""
    truth = disks([(40, 40)], shape=(120, 260))
    interior = ndi.gaussian_filter((truth > 0) * np.float32(0.8), 0.2)
    clouds = disks([(60, 120 + 30 * number) for number in range(haze)], 12, truth.shape) > 0
    return np.maximum(confidence_of(truth), clouds * np.float32(0.6)), interior


@pytest.mark.parametrize(("haze", "threshold", "count"), [(0, 0.5, 1), (1, 0.5, 0), (1, 0.02, 1)])
def test_a_map_with_much_doubt_needs_surer_markers_or_a_lower_threshold(haze, threshold, count):
    confidence, interior = doubtful(haze)
    found = label_nuclei(confidence, settings(threshold=threshold, min_area=0), interior=interior)
    assert (found[40, 40] > 0) == count


def test_what_is_not_valid_says_nothing_about_the_rest():
    confidence, interior = doubtful(4)
    valid = np.ones(confidence.shape, bool)
    valid[:, 90:] = False
    assert label_nuclei(confidence, settings(), None, interior).max() == 0
    assert label_nuclei(confidence, settings(), valid, interior).max() == 1


@pytest.mark.parametrize("confidence", [0, 0.45, 1])
@pytest.mark.parametrize("threshold", [0.001, 0.4, 0.999])
def test_even_maps_have_one_nucleus_or_none(confidence, threshold):
    even = np.full((64, 64), np.float32(confidence))
    chosen = settings(threshold=threshold)
    for interior in (np.zeros_like(even), np.ones_like(even)):
        found = label_nuclei(even, chosen, None, interior).max()
        assert found == (confidence > threshold and interior.max() == 1)


@pytest.mark.parametrize("diameter", [1, 3, 900, 4000])
def test_any_diameter_that_may_be_typed_gives_labels(diameter):
    truth = disks([(60, 50), (60, 110)])
    found = label_nuclei(confidence_of(truth), settings(diameter, min_area=0))
    assert (found.max() == 2) == (diameter < 100)


def large_enough(labels, area):
    """Where the objects are that are as large as asked, or half as large and cut by the border."""
    at_border = clear_border(labels) != labels
    size = np.bincount(labels.ravel())[labels]
    return (labels > 0) & (size >= np.where(at_border, area / 2, area))


def noise(seed, shape, coarse):
    values = ndi.gaussian_filter(np.random.default_rng(seed).random(shape), coarse)
    return ((values - values.min()) / np.ptp(values)).astype(np.float32)


@given(
    seed=st.integers(0, 1000),
    tile=st.integers(20, 130),
    diameter=st.floats(8, 40),
    threshold=st.floats(0.05, 0.9),
    split=st.booleans(),
    interiors=st.booleans(),
    gaps=st.booleans(),
)
def test_noise_is_labelled_the_same_in_all_tiles(
    seed, tile, diameter, threshold, split, interiors, gaps
):
    """At low thresholds one component reaches through all the tiles."""
    shape = (150, 190)
    confidence = noise(seed, shape, diameter / 6)
    interior = noise(seed + 1, shape, diameter / 8) * confidence if interiors else None
    valid = noise(seed + 2, shape, 1) < 0.8 if gaps else None
    chosen = settings(diameter, threshold, split=split)
    whole, least = finished(label_steps(confidence, chosen, valid, interior, tile=1000))
    found, same = finished(label_steps(confidence, chosen, valid, interior, tile=tile))
    np.testing.assert_array_equal(found, whole)
    assert same == least


@given(
    seed=st.integers(0, 1000),
    count=st.integers(0, 60),
    tile=st.integers(30, 200),
    top=st.integers(0, 60),
    left=st.integers(0, 60),
)
def test_nuclei_are_labelled_the_same_wherever_tiles_begin(seed, count, tile, top, left):
    """Sparse to crowded, of any size, beside and across the tiles' borders."""
    draw = np.random.default_rng(seed)
    truth = np.zeros((260, 300), int)
    for number, (row, column) in enumerate(draw.integers(0, truth.shape, (count, 2)), 1):
        rows, columns = np.ogrid[: truth.shape[0], : truth.shape[1]]
        radius = draw.uniform(5, 16, 2)
        inside = ((rows - row) / radius[0]) ** 2 + ((columns - column) / radius[1]) ** 2 < 1
        truth[inside] = number
    confidence = confidence_of(truth, 1.5) * 0.95 + 0.05 * noise(seed, truth.shape, 1)
    interior = ndi.gaussian_filter((confidence > 0.85).astype("f4"), 2)
    part = np.s_[top:, left:]
    whole = label_nuclei(confidence[part], settings(), interior=interior[part])
    steps = label_steps(confidence[part], settings(), interior=interior[part], tile=tile)
    np.testing.assert_array_equal(finished(steps)[0], whole)


def test_memory_beside_the_maps_hardly_grows():
    """Four bytes a pixel: the pieces, which are not numbered yet."""
    small = np.stack([confidence_of(disks([(30, 30), (70, 45), (90, 110)]))] * 2)
    peaks = []
    for times in (3, 9):
        maps = np.ascontiguousarray(np.tile(small, (1, times, times)))
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        labels, _ = finished(label_steps(maps[0], settings(), None, maps[1], tile=200))
        peaks.append(tracemalloc.get_traced_memory()[1] - before - labels.nbytes)
        tracemalloc.stop()
        assert labels.max() == 3 * times**2
    pixels = small[0].size * (9**2 - 3**2)
    assert (peaks[1] - peaks[0]) / pixels < 8


def test_a_hole_is_filled_and_a_notch_at_the_border_is_not():
    rows, columns = np.mgrid[:120, :120]
    nucleus = np.hypot(rows - 40, columns - 60) < 40  # the upper border cuts it
    hole = np.hypot(rows - 55, columns - 60) < 4
    notch = (rows < 12) & (abs(columns - 60) < 5)
    confidence = (nucleus & ~hole & ~notch).astype(np.float32)
    chosen = ResolvedObjects(
        threshold=0.5, diameter=60.0, min_area=100.0, split=False, split_depth=0.2
    )
    labels = label_nuclei(confidence, chosen)
    assert labels[55, 60] > 0
    assert labels[2, 60] == 0


def test_what_hints_added_around_a_nucleus_is_of_it():
    """A rim joins its nucleus; a nucleus that merely touches another stays one."""
    labels = np.zeros((60, 60), np.uint16)
    labels[10:30, 10:30] = 1
    before = labels > 0
    labels[30:34, 10:30] = 2  # along its border
    labels[12:32, 30:50] = 3  # beside it, at a corner
    labels[12:26, 30] = 0
    labels[45:55, 45:55] = 4  # far from everything
    found = with_additions(labels, before)
    assert (found[10:34, 10:30] == 1).all()
    assert len(np.unique(found)) == 4
    assert sorted(np.unique(found)) == [0, 1, 2, 3]
    assert np.array_equal(found > 0, labels > 0)
    assert found.dtype == labels.dtype
    assert with_additions(labels, labels > 0) is labels

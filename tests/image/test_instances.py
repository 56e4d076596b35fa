import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage.measure import label
from skimage.metrics import adapted_rand_error
from skimage.morphology import disk, h_maxima
from skimage.segmentation import clear_border, relabel_sequential, watershed

from napari_patchseg.image.instances import (
    ObjectSettings,
    estimate_diameter,
    finished,
    label_nuclei,
    label_steps,
    otsu,
    smallest_area,
)


def settings(diameter=20.0, threshold=0.5, min_area=None, split=True):
    area = smallest_area(diameter) if min_area is None else min_area
    return ObjectSettings(threshold, diameter, area, split, 0.06)


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


@pytest.mark.parametrize("radius", [6, 12, 20])
def test_the_diameter_is_estimated(radius):
    centres = [(r, c) for r in range(30, 300, 60) for c in range(30, 300, 60)]
    truth = disks(centres, radius, (320, 320))
    prior = confidence_of(truth) + np.random.default_rng(0).normal(0, 0.05, truth.shape)
    assert estimate_diameter(prior.astype(np.float32)) == pytest.approx(2 * radius, rel=0.15)


def test_a_stroke_of_a_pen_is_no_nucleus():
    row, column = np.mgrid[:300, :300]
    disks = ((row % 30 - 15) ** 2 + (column % 30 - 15) ** 2 < 8**2) & (column < 180)
    stroke = abs(column - 240) < 40
    prior = ndi.gaussian_filter((disks | stroke).astype(np.float32), 1)
    assert np.count_nonzero(stroke) > np.count_nonzero(disks)
    assert estimate_diameter(prior) == pytest.approx(16, rel=0.15)


def test_larger_nuclei_than_it_knows_have_the_largest_diameter():
    row, column = np.mgrid[:300, :300]
    disks = (row % 150 - 75) ** 2 + (column % 150 - 75) ** 2 < 60**2
    assert estimate_diameter(ndi.gaussian_filter(disks.astype(np.float32), 1)) == 80


def test_without_objects_the_diameter_is_that_at_40x():
    assert estimate_diameter(np.zeros((100, 100), np.float32)) == 24


def test_cores_split_what_distances_cannot():
    """Two nuclei in one even bar: only their cores tell them apart."""
    truth = np.zeros((80, 100), int)
    truth[30:50, 20:50], truth[30:50, 50:80] = 1, 2
    core = np.zeros(truth.shape, np.float32)
    core[35:45, 27:43] = core[35:45, 57:73] = 1
    core = ndi.gaussian_filter(core, 1)
    chosen = ObjectSettings(0.5, 24.0, smallest_area(24), True, 0.3)
    assert label_nuclei(confidence_of(truth), chosen).max() == 1
    found = label_nuclei(confidence_of(truth), chosen, core=core)
    assert found.max() == 2
    assert adapted_rand_error(truth, found)[0] < 0.1


def test_objects_without_a_core_are_dropped_by_how_sure_the_threshold_asks():
    truth = disks([(40, 40), (40, 110)])
    core = np.where(truth == 1, np.float32(0.97), np.float32(0.8)) * (truth > 0)

    def count(threshold):
        chosen = ObjectSettings(threshold, 20.0, smallest_area(20), True, 0.3)
        return label_nuclei(confidence_of(truth), chosen, core=core).max()

    assert count(0.5) == 1
    assert count(0.2) == 2


def doubtful(amount):
    """One nucleus with a core of 0.94, beside so many times as much haze without any."""
    truth = disks([(40, 40)], shape=(120, 260))
    confidence = confidence_of(truth)
    core = ndi.gaussian_filter(np.where(truth > 0, np.float32(0.94), np.float32(0)), 0.2)
    haze = disks([(60, 120 + 30 * number) for number in range(amount)], 12, truth.shape) > 0
    return np.maximum(confidence, np.where(haze, np.float32(0.6), np.float32(0))), core


@pytest.mark.parametrize(("haze", "found"), [(0, 1), (1, 1), (4, 0)])
def test_the_more_of_a_map_is_doubtful_the_surer_must_cores_be(haze, found):
    confidence, core = doubtful(haze)
    assert label_nuclei(confidence, settings(), core=core).max() == found


def test_a_lower_threshold_finds_what_a_doubtful_map_hides():
    confidence, core = doubtful(4)
    found = [label_nuclei(confidence, settings(threshold=t), core=core).max() for t in (0.5, 0.2)]
    assert found == [0, 1]


def test_what_is_not_valid_says_nothing_about_the_rest():
    confidence, core = doubtful(4)
    valid = np.ones(core.shape, bool)
    valid[100:] = False
    core[110:] = 1  # as many cores as there are nuclei, but nobody knows what is there
    assert label_nuclei(confidence, settings(), valid, core).max() == 0
    assert label_nuclei(confidence, settings(), None, core).max() == 1


@pytest.mark.parametrize("confidence", [0, 0.45, 1])
@pytest.mark.parametrize("threshold", [0.001, 0.4, 0.999])
def test_even_maps_ask_for_a_core_in_reach(confidence, threshold):
    even = np.full((64, 64), np.float32(confidence))
    for core in (np.zeros_like(even), np.ones_like(even)):
        labels, asked = finished(label_steps(even, settings(threshold=threshold), None, core))
        assert 0 < asked <= 0.98
        assert labels.max() == (confidence > threshold and core.max() == 1)


def test_a_sure_map_needs_cores_that_are_a_little_less_sure():
    truth = disks([(40, 40), (40, 110)])
    smaller = ndi.binary_erosion(truth > 0, iterations=4)
    core = np.where(smaller, np.float32(0.88), np.float32(0))
    assert label_nuclei(confidence_of(truth), settings(), core=core).max() == 2
    core = np.where(smaller, np.float32(0.84), np.float32(0))
    assert label_nuclei(confidence_of(truth), settings(), core=core).max() == 0


def noise(seed, shape, coarse):
    values = ndi.gaussian_filter(np.random.default_rng(seed).random(shape), coarse)
    return ((values - values.min()) / np.ptp(values)).astype(np.float32)


@given(
    seed=st.integers(0, 1000),
    tile=st.integers(20, 130),
    diameter=st.floats(8, 40),
    threshold=st.floats(0.05, 0.9),
    split=st.booleans(),
    cores=st.booleans(),
    holes=st.booleans(),
)
def test_the_labels_do_not_depend_on_the_tiles(
    seed, tile, diameter, threshold, split, cores, holes
):
    """At low thresholds one component reaches through all the tiles."""
    shape = (150, 190)
    confidence = noise(seed, shape, diameter / 6)
    core = noise(seed + 1, shape, diameter / 8) * confidence if cores else None
    valid = noise(seed + 2, shape, 1) < 0.8 if holes else None
    chosen = settings(diameter, threshold, split=split)
    whole, asked = finished(label_steps(confidence, chosen, valid, core, tile=1000))
    steps = label_steps(confidence, chosen, valid, core, tile=tile)
    found, asked_of_tiles = finished(steps)
    assert np.array_equal(found, whole)
    assert asked_of_tiles == asked


@pytest.mark.parametrize("threshold", [0.45, 0.48])
def test_a_component_through_all_of_a_large_map_is_split_by_tiles(threshold, monkeypatch):
    confidence = noise(1, (400, 500), 2.5)
    core = 0.8 + 0.2 * noise(2, confidence.shape, 1.5)
    chosen = ObjectSettings(threshold, 12.0, 20, True, 0.05)
    reaches = ndi.label(ndi.gaussian_filter(confidence, 0.5) > threshold)[0]
    assert np.bincount(reaches.ravel())[1:].max() > 0.3 * confidence.size
    whole = label_nuclei(confidence, chosen, core=core)
    monkeypatch.setattr("napari_patchseg.image.splitting.ENOUGH", 1000)
    monkeypatch.setattr("napari_patchseg.image.splitting.LARGEST", 100)
    found, _ = finished(label_steps(confidence, chosen, core=core, tile=128))
    assert whole.max() > 100
    assert found.max() == whole.max()
    assert np.mean(found == whole) > 0.99


def plain_labels(confidence, chosen, core):
    """The same in the plainest way: every operation on the whole map, scikit-image's own."""
    smooth = ndi.gaussian_filter(confidence, chosen.diameter / 24)
    mask = smooth > chosen.threshold
    opening = round(chosen.diameter / 8)
    mask = ndi.binary_opening(np.pad(mask, 2 * opening, mode="symmetric"), disk(opening))
    mask = mask[2 * opening : -2 * opening, 2 * opening : -2 * opening]
    wide = round(chosen.diameter / 24)
    if wide:
        mask = ndi.binary_closing(np.pad(mask, wide), disk(wide))[wide:-wide, wide:-wide]
    mask = large_enough(ndi.label(ndi.binary_fill_holes(mask))[0], chosen.min_area)
    height = ndi.distance_transform_edt(mask).astype(np.float32) * (2 / chosen.diameter) + core
    height = ndi.gaussian_filter(height, chosen.diameter / 24)
    height[~mask] = 0
    labels = watershed(-height, label(h_maxima(height, chosen.split_depth)), mask=mask)
    cores = ndi.gaussian_filter(core, chosen.diameter / 24)
    surest = ndi.maximum(cores, labels, range(1000))
    nuclear, certain, inner = (smooth > 0.5).sum(), (smooth > 0.8).sum(), (cores > 0.5).sum()
    # as cross products: any of them may be 0
    doubt = np.inf
    for share, count in ((0.64, certain), (0.26, inner)):
        if nuclear and share * nuclear < doubt * count:
            doubt = share * nuclear / count
    surer = min(2.2 * max(0.82, doubt**2), np.log(0.98 / 0.02))
    odds = chosen.threshold / (1 - chosen.threshold) * np.exp(surer)
    keep = np.array(surest) >= min(odds / (1 + odds), 0.98)
    kept = keep[labels] & large_enough(labels, chosen.min_area)
    return relabel_sequential(np.where(kept, labels, 0))[0]


def large_enough(labels, area):
    """Where the objects are that are as large as asked, or half as large and cut by the border."""
    at_border = clear_border(labels) != labels
    size = np.bincount(labels.ravel())[labels]
    return (labels > 0) & (size >= np.where(at_border, area / 2, area))


@given(
    st.integers(0, 1000), st.integers(12, 36), st.floats(0.1, 0.9), st.sampled_from([0.05, 0.2, 1])
)
def test_the_labels_are_those_of_the_plain_way(seed, diameter, threshold, depth):
    """Cores that are noise leave no ties, which a watershed may break either way."""
    confidence = noise(seed, (150, 190), diameter / 5)
    core = (noise(seed + 1, confidence.shape, 1.5) ** 0.2 * 0.4 + confidence * 0.6).astype("f4")
    chosen = ObjectSettings(threshold, float(diameter), 60, True, depth)
    found = label_nuclei(confidence, chosen, core=core)
    assert np.array_equal(found, plain_labels(confidence, chosen, core))


def test_memory_beside_the_maps_hardly_grows():
    """Five bytes a pixel: the mask, and components that are not numbered yet."""
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
    assert (peaks[1] - peaks[0]) / pixels < 8  # strips of a million pixels are not yet full
    assert peaks[1] < 40 * small[0].size * 9**2

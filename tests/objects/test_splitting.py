"""Splitting against scikit-image's watershed of the whole map."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage.measure import label
from skimage.metrics import adapted_rand_error
from skimage.morphology import h_maxima
from skimage.segmentation import watershed

from napari_patchseg.geometry import tiles, window
from napari_patchseg.objects._splitting import join, pieces_of, saddles_of


def split(height, depth, tile):
    """Regions of a height (h, w), numbered by their first pixels."""
    framed = np.pad(height, 1)
    pieces, tops, saddles, count = np.zeros(framed.shape, np.int32), [np.zeros(1)], [], 0
    for box in tiles(height.shape, tile):
        around = np.s_[box[0] : box[2] + 2, box[1] : box[3] + 2]
        found, peaks = pieces_of(framed[around])
        pieces[1:-1, 1:-1][window(box)] = np.where(found > 0, found + count, 0)
        count += len(peaks)
        tops.append(peaks)
        saddles.append(saddles_of(pieces[around], framed[around], box, height.shape[1]))
    regions = join(np.concatenate(tops), saddles, depth)
    assert (regions[1:] != regions[0]).all()
    return in_order((regions - regions[0])[pieces[1:-1, 1:-1]])


def in_order(labels):
    """Labels numbered by their first pixels; 0 stays."""
    _, first, numbers = np.unique(np.append(0, labels), return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[numbers[1:]].reshape(labels.shape)


def landscape(seed, shape=(70, 90), share=0.6):
    """Hills without two heights that are the same, on islands."""
    draw = np.random.default_rng(seed)
    hills, islands = (ndi.gaussian_filter(draw.random(shape), sigma) for sigma in (2, 3))
    hills = (hills - hills.min()) / np.ptp(hills) + 0.01
    return np.where(islands > np.quantile(islands, 1 - share), hills, 0).astype(np.float32)


@given(st.integers(0, 10_000), st.floats(0.001, 0.5), st.floats(0.05, 1), st.integers(8, 100))
def test_every_h_maximum_has_a_region_and_no_region_is_without(seed, depth, share, tile):
    height = landscape(seed, share=share)
    islands, _ = ndi.label(height > 0, np.ones((3, 3)))
    markers, count = np.zeros(height.shape, int), 0
    for number in range(1, islands.max() + 1):
        island = np.where(islands == number, height, 0)
        found = label(h_maxima(island, depth))
        if not found.any():  # lower than the depth: one region
            found[np.unravel_index(island.argmax(), island.shape)] = 1
        markers[found > 0] = found[found > 0] + count
        count = markers.max()
    regions = split(height, depth, tile)
    pairs = np.unique(np.stack([markers, regions], -1)[markers > 0], axis=0)
    np.testing.assert_array_equal(np.sort(pairs[:, 1]), np.arange(1, count + 1))
    assert regions.max() == count


def test_borders_are_those_of_a_watershed_but_for_a_few_pixels():
    """The rim of a hill too low for a region may be flooded before the hill is."""
    height = landscape(0, (300, 400), 1.0)
    plain = watershed(-height, label(h_maxima(height, 0.1)), connectivity=2)
    assert adapted_rand_error(plain, split(height, 0.1, 64))[0] < 0.02


@given(st.integers(0, 10_000), st.floats(0.001, 0.5), st.integers(8, 100))
def test_regions_do_not_depend_on_the_tiles(seed, depth, tile):
    height = landscape(seed)
    np.testing.assert_array_equal(split(height, depth, tile), split(height, depth, 1000))


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(8, 100))
def test_plateaus_have_as_many_regions_in_all_tiles(seed, levels, tile):
    """Whose of two equal saddles' sides a plateau is, nobody can say."""
    height = (np.ceil(landscape(seed) * levels) / levels).astype(np.float32)
    assert split(height, 0.3, tile).max() == split(height, 0.3, 1000).max()


@pytest.mark.parametrize("tile", [1, 7, 64])
def test_without_a_depth_regions_are_components(tile):
    height = landscape(1)
    components, _ = ndi.label(height > 0, np.ones((3, 3)))
    np.testing.assert_array_equal(split(height, math.inf, tile), in_order(components))


def test_a_plain_is_one_region_however_large():
    assert (split(np.ones((300, 200), np.float32), 0.1, 64) == 1).all()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_small_maps(shape):
    assert split(np.ones(shape, np.float32), 0.1, 4).max() == 1
    assert split(np.zeros(shape, np.float32), 0.1, 4).max() == 0

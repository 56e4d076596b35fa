import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.geometry import crop_boxes, grid_step, grown, strips, tiles, window

sides = st.integers(1, 300)


def times_covered(shape, boxes):
    covered = np.zeros(shape, int)
    for box in boxes:
        assert covered[window(box)].shape == (box[2] - box[0], box[3] - box[1])
        covered[window(box)] += 1
    return covered


@given(sides, sides, sides)
def test_tiles_cover_a_map_once(height, width, side):
    boxes = tiles((height, width), side)
    assert (times_covered((height, width), boxes) == 1).all()
    assert max(max(box[2] - box[0], box[3] - box[1]) for box in boxes) <= side


@given(st.integers(1, 5000), st.integers(1, 3_000_000))
def test_strips_follow_on_each_other(height, width):
    rows = list(strips((height, width)))
    assert rows[0].start == 0
    assert rows[-1].stop == height
    assert all(one.stop == other.start for one, other in itertools.pairwise(rows))


@given(sides, sides, sides)
def test_crops_cover_a_map_or_are_as_many_as_can_be(height, width, side):
    boxes = crop_boxes((height, width), side)
    covered = times_covered((height, width), boxes)
    assert (covered >= 1).all() if max(height, width) <= 3 * side else covered.any()
    assert 1 <= len(boxes) <= 9


@given(sides, sides, st.data(), st.integers(0, 50))
def test_a_box_is_found_within_one_grown(height, width, data, by):
    box = data.draw(st.sampled_from(tiles((height, width), 97)))
    values = np.arange(height * width).reshape(height, width)
    wide = grown(box, by, values.shape)
    assert np.array_equal(values[window(wide)][window(box, wide)], values[window(box)])


@given(st.integers(1, 50_000), st.integers(1, 50_000))
def test_a_grid_of_about_a_million_pixels_stands_for_more(height, width):
    step = grid_step((height, width))
    assert step == 1 or height * width / step**2 <= 1_000_000
    assert height * width > 1_000_000 or step == 1

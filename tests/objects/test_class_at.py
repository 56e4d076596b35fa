import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.objects import class_at


def noise(seed, classes, shape=(40, 50)):
    return np.random.default_rng(seed).uniform(0.4, 0.6, (classes, *shape)).astype(np.float32)


def disk_at(point, radius, shape=(40, 50)):
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - point[0]) ** 2 + (columns - point[1]) ** 2 <= radius**2


points = st.tuples(st.integers(0, 39), st.integers(0, 49))


@given(st.integers(0, 99), st.integers(1, 6), points, st.data())
def test_the_class_of_a_nucleus_is_found_wherever_it_lies_and_whichever_way_it_points(
    seed, classes, point, data
):
    maps = noise(seed, classes)
    index, inverted = data.draw(st.integers(0, classes - 1)), data.draw(st.booleans())
    maps[index, disk_at(point, 6)] = 0.1 if inverted else 0.9
    # What the other classes say of another place and however loud they are does not count.
    maps *= np.where(np.arange(classes) == index, 1, 1.5)[:, None, None].astype(np.float32)
    chosen = class_at(maps, point, 4)
    assert (chosen.index, chosen.inverted) == (index, inverted)


@given(st.integers(0, 99), st.integers(1, 6), points, st.floats(0, 20))
def test_the_chosen_map_stands_out_most_at_the_click(seed, classes, point, radius):
    maps = noise(seed, classes)
    chosen = class_at(maps, point, radius)
    here = disk_at(point, radius - 1e-9) if radius > 1 else disk_at(point, 0)

    def height(seen):
        return (seen[here].mean(dtype=float) - seen.mean(dtype=float)) / seen.std(dtype=float)

    most = max(height(seen) for one in maps for seen in (one, 1 - one))
    assert np.isclose(height(chosen.of(maps)), most, rtol=1e-4, atol=1e-4)


@given(points)
def test_even_maps_say_nothing(point):
    maps = np.full((3, 40, 50), 0.7, np.float32)
    assert class_at(maps, point, 4) is None
    maps[1] = noise(0, 1)[0]
    assert class_at(maps, point, 4).index == 1


def test_an_even_grid_stands_for_a_large_map():
    maps = noise(3, 2, (1100, 1000))
    maps[1, 500:520, 300:320] = 0.1
    chosen = class_at(maps, (510, 310), 4)
    assert (chosen.index, chosen.inverted) == (1, True)

"""Outlines of objects; shapely is the judge of what is a valid polygon."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_patchseg.errors import FileError
from napari_patchseg.files._outlines import Shape, numbered, outlines, painted

FILE = Path("objects.geojson")
few_labels = st.sampled_from([0, 0, 1, 1, 2, 7, 70_000])
small = hnp.arrays(
    np.uint32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=few_labels
)

RING = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
#: A hole that touches the outside, or another hole, at a corner; an object within a hole.
PINCHED = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 0]])
TWO_HOLES = np.pad(np.array([[0, 1], [1, 0]]), 1, constant_values=1)
NESTED = np.pad(np.pad([[1]], 1), 1, constant_values=1)


def check(labels: np.ndarray) -> None:
    shapes = []
    for label, polygons in outlines(labels):
        geometry = shapely.MultiPolygon([(rings[0], rings[1:]) for rings in polygons])
        assert shapely.is_valid(geometry), shapely.is_valid_reason(geometry)
        assert geometry.area == np.count_nonzero(labels == label)
        for outer, *holes in polygons:
            assert shapely.LinearRing(outer).is_ccw
            assert not any(shapely.LinearRing(hole).is_ccw for hole in holes)
        shapes.append(Shape(label, [ring for rings in polygons for ring in rings]))
    assert [shape.label for shape in shapes] == [label for label in np.unique(labels) if label]
    back, warnings = painted(shapes, FILE, frame=labels.shape)
    np.testing.assert_array_equal(back, labels)
    assert warnings == ()


@given(small)
@example(RING)
@example(PINCHED)
@example(TWO_HOLES)
@example(NESTED)
@example(np.eye(4, dtype=int))
@example(np.zeros((3, 2), int))
def test_any_objects_are_valid_polygons_and_come_back(labels):
    check(labels)


@pytest.mark.parametrize("density", [0.3, 0.5, 0.6, 0.9])
def test_noise_is_valid_polygons_and_comes_back(density):
    check((np.random.default_rng(0).random((150, 170)) < density).astype(np.uint16))


def test_touching_noise_is_valid_polygons_and_comes_back():
    check(np.random.default_rng(0).integers(0, 4, (150, 170)))


def test_polygons_are_the_pieces_with_their_holes():
    labels = np.hstack([RING, np.zeros((3, 1), int), RING, [[0], [0], [2]]])
    (one, pieces), (two, (square,)) = outlines(labels)
    assert (one, two) == (1, 2)
    assert [len(rings) for rings in pieces] == [2, 2]
    assert sorted(square[0].tolist()) == [[7, 2], [7, 3], [8, 2], [8, 3]]


def test_inside_is_a_pixel_whose_centre_is():
    circle = shapely.Point(20.3, 15.8).buffer(7.6).exterior
    ring = np.array(circle.coords)[:-1]
    labels, _ = painted([Shape(None, [ring])], FILE, frame=(30, 40))
    y, x = np.mgrid[:30, :40] + 0.5
    inside = shapely.contains_xy(shapely.Polygon(ring), x, y)
    np.testing.assert_array_equal(labels, inside)


@given(st.lists(st.floats(0.5, 12), min_size=3, max_size=12), st.floats(-3, 25), st.floats(-3, 25))
def test_of_any_star_the_pixels_whose_centre_is_inside(radii, x, y):
    angle = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.reshape(radii, (-1, 1)) + (x, y)
    labels, _ = painted([Shape(None, [ring])], FILE, frame=(20, 25))
    rows, columns = np.mgrid[:20, :25] + 0.5
    star = shapely.Polygon(ring)
    on_the_edge = shapely.dwithin(star.exterior, shapely.points(columns, rows), 1e-9)
    inside = shapely.contains_xy(star, columns, rows)
    np.testing.assert_array_equal(labels[~on_the_edge], inside[~on_the_edge])


def test_what_is_outside_is_cut_off_and_what_covers_nothing_is_told():
    square = np.array([[-5, -5], [3, -5], [3, 3], [-5, 3]])
    tiny = np.array([[5.1, 5.1], [5.2, 5.1], [5.2, 5.2]])
    labels, warnings = painted([Shape(None, [square]), Shape(None, [tiny])], FILE, frame=(8, 8))
    assert np.count_nonzero(labels) == 9
    assert len(warnings) == 1
    assert "(1)" in warnings[0]


def test_numbers_are_kept_where_they_can_be():
    assert numbered([Shape(n, []) for n in (5, None, 5, 0, 2, 2**40)]) == [5, 6, 7, 8, 2, 9]
    assert numbered([Shape(n, []) for n in (2**32 - 1, None, 1)]) == [2**32 - 1, 2, 1]


@pytest.mark.parametrize("far", [1e5, 1e12])
def test_no_image_reaches_so_far(far):
    square = np.array([[0, 0], [far, 0], [far, far], [0, far]])
    with pytest.raises(FileError, match="shape"):
        painted([Shape(1, [square])], FILE)
    labels, _ = painted([Shape(1, [square])], FILE, frame=(4, 5))
    assert labels.all()


@pytest.mark.parametrize("frame", [(0, 5), (-1, 5), (5,), (5, 6, 7), (5.5, 6), "ab", 5])
def test_what_is_no_shape_is_refused(frame):
    with pytest.raises(FileError, match="shape"):
        painted([], FILE, frame=frame)

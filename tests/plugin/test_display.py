from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.method.maps import ConfidenceMap, NucleusClass, SampledPatches
from napari_patchseg.plugin._display import MOST_PATCHES, Canvas, display_map, display_patches

AUTO = NucleusClass(0, False, math.nan)


def a_map(shape: tuple[int, int], box: tuple[int, int, int, int], reduction: int) -> ConfidenceMap:
    data = np.random.default_rng(0).random((2, *shape), np.float32)
    return ConfidenceMap(7, data, ("nucleus", "interior"), box, reduction, AUTO)


@given(
    st.integers(64, 90),
    st.integers(64, 90),
    st.integers(0, 30),
    st.integers(0, 30),
    st.integers(1, 5),
)
def test_maps_land_where_they_were_made(
    height: int, width: int, row: int, column: int, reduction: int
) -> None:
    """On the canvas, or on a coarser grid that begins where the region does."""
    region = (row, column, row + height, column + width)
    canvas = Canvas.of((150, 160), region)
    shape = (math.ceil(height / reduction), math.ceil(width / reduction))
    made = a_map(shape, (0, 0, height, width), reduction)
    shown = display_map(made, canvas)
    inside = shown
    if reduction == 1:
        assert (shown.shape, canvas.origin_of(made)) == ((150, 160), (0, 0))
        inside = shown[row : row + height, column : column + width]
    else:
        assert canvas.origin_of(made) == (row, column)
    np.testing.assert_array_equal(inside, made.data[0])
    assert np.count_nonzero(shown) == np.count_nonzero(inside)


def test_a_part_of_the_region_lands_there() -> None:
    canvas = Canvas.of((100, 100), (10, 20, 90, 100))
    shown = display_map(a_map((30, 40), (5, 6, 35, 46), 1), canvas)
    assert shown[15:45, 26:66].all()
    assert not shown[:15].any()
    assert not shown[:, 66:].any()


def test_inverted_maps_show_nuclei() -> None:
    made = replace(a_map((64, 64), (0, 0, 64, 64), 1), nucleus=NucleusClass(1, True, 0.5))
    shown = display_map(made, Canvas.of((64, 64), made.box))
    np.testing.assert_allclose(shown, 1 - made.data[1])


def test_layers_of_a_huge_image_span_the_region_alone() -> None:
    canvas = Canvas.of((100_000, 100_000), (100, 200, 164, 264))
    assert (canvas.shape, canvas.origin) == ((64, 64), (100, 200))


def windows(count: int, positive: np.ndarray) -> SampledPatches:
    random = np.random.default_rng(1)
    corner = random.integers(0, 50, (count, 2))
    return SampledPatches(
        step=3,
        boxes=np.concatenate([corner, corner + 16], 1),
        image_index=np.zeros(count, int),
        class_index=np.arange(count) % 2,
        positive=positive,
        confidence=random.random(count, np.float32),
        entropy=random.random(count, np.float32),
    )


def test_windows_are_squares_around_their_pixels() -> None:
    patches = windows(20, np.arange(20) % 4 < 2)
    canvas = Canvas.of((200, 200), (30, 40, 200, 200))
    positive, negative = display_patches(patches, canvas, AUTO)
    chosen = (patches.class_index == 0) & patches.positive
    assert len(positive.rectangles) == chosen.sum()
    assert len(negative.rectangles) == ((patches.class_index == 0) & ~patches.positive).sum()
    first = patches.boxes[chosen][0] + [30, 40, 30, 40] - 0.5
    np.testing.assert_array_equal(positive.rectangles[0].min(0), first[:2])
    np.testing.assert_array_equal(positive.rectangles[0].max(0), first[2:])
    assert set(positive.features) == {"step", "class", "mean confidence", "mean entropy"}
    assert set(positive.features["class"]) == {0}


def test_windows_of_an_inverted_class_swap() -> None:
    patches = windows(20, np.arange(20) % 4 < 2)
    canvas = Canvas.of((200, 200), (0, 0, 200, 200))
    one, two = display_patches(patches, canvas, AUTO)
    positive, negative = display_patches(patches, canvas, NucleusClass(0, True, 0.1))
    np.testing.assert_array_equal(positive.rectangles, two.rectangles)
    np.testing.assert_array_equal(negative.rectangles, one.rectangles)
    np.testing.assert_allclose(
        positive.features["mean confidence"], 1 - two.features["mean confidence"], atol=1e-4
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_there_are_never_too_many_windows(share: float) -> None:
    patches = windows(400, np.arange(400) % 100 < share * 100)
    positive, negative = display_patches(patches, Canvas.of((90, 90), (0, 0, 90, 90)), AUTO)
    assert len(positive.rectangles) + len(negative.rectangles) == MOST_PATCHES


@pytest.mark.parametrize("taken", [65_534, 65_535])
def test_labels_beside_others_keep_apart(taken: int) -> None:
    canvas = Canvas.of((100, 100), (0, 0, 50, 100))
    around = np.zeros((100, 100), np.uint16)
    around[60:70, :10], around[60:70, 20:30] = taken, 1
    labels = np.zeros((50, 100), np.uint16)
    labels[:10, :10], labels[20:30, :10] = 1, 2
    whole = canvas.place_within(labels, around)
    np.testing.assert_array_equal(whole[50:], around[50:])
    assert (whole[:50] > 0).sum() == (labels > 0).sum()
    assert len(np.unique(whole)) == 5

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.method.maps import ConfidenceMap, NucleusClass, SampledPatches
from napari_patchseg.plugin import overlays
from napari_patchseg.plugin.overlays import MOST_PATCHES, Canvas, show_map, show_patches

AUTO = NucleusClass(0, False, math.nan)


def a_map(shape: tuple[int, int], box: tuple[int, int, int, int], reduction: int) -> ConfidenceMap:
    data = np.random.default_rng(0).random((2, *shape), np.float32)
    return ConfidenceMap(7, data, box, reduction, AUTO)


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
    """Every pixel of the region shows the map pixel that covers it; the rest of the image is 0."""
    region = (row, column, row + height, column + width)
    canvas = Canvas.of((150, 160), region)
    made = a_map(
        (math.ceil(height / reduction), math.ceil(width / reduction)),
        (0, 0, height, width),
        reduction,
    )
    shown = show_map(made, canvas)
    assert shown.data.shape == (150, 160)
    assert (shown.origin, shown.reduction, shown.step) == ((0, 0), 1, 7)
    rows, columns = np.mgrid[:height, :width] // reduction
    inside = shown.data[row : row + height, column : column + width]
    np.testing.assert_array_equal(inside, made.data[0][rows, columns])
    assert np.count_nonzero(shown.data) == np.count_nonzero(inside)


def test_a_part_of_the_region_lands_there() -> None:
    canvas = Canvas.of((100, 100), (10, 20, 90, 100))
    shown = show_map(a_map((30, 40), (5, 6, 35, 46), 1), canvas)
    assert shown.data[15:45, 26:66].all()
    assert not shown.data[:15].any()
    assert not shown.data[:, 66:].any()


def test_inverted_maps_show_nuclei() -> None:
    made = a_map((64, 64), (0, 0, 64, 64), 1)
    shown = show_map(made, Canvas.of((64, 64), made.box), NucleusClass(1, True, 0.5))
    np.testing.assert_allclose(shown.data, 1 - made.data[1])


def test_huge_images_are_shown_by_region_and_on_a_coarser_grid(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(overlays, "LARGEST_CANVAS", 1000)
    monkeypatch.setattr(overlays, "LARGEST_UPSAMPLED", 500)
    canvas = Canvas.of((300, 400), (100, 200, 164, 264))
    assert canvas.shape == (64, 64)
    shown = show_map(a_map((32, 32), (0, 0, 64, 64), 2), canvas)
    assert (shown.data.shape, shown.origin, shown.reduction) == ((32, 32), (100, 200), 2)


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
    positive, negative = show_patches(patches, canvas, AUTO)
    chosen = (patches.class_index == 0) & patches.positive
    assert len(positive.rectangles) == chosen.sum()
    assert len(negative.rectangles) == ((patches.class_index == 0) & ~patches.positive).sum()
    first = patches.boxes[chosen][0] + [30, 40, 30, 40] - 0.5
    np.testing.assert_array_equal(positive.rectangles[0].min(0), first[:2])
    np.testing.assert_array_equal(positive.rectangles[0].max(0), first[2:])
    assert set(positive.features) == {"step", "class", "mean confidence", "mean entropy"}
    assert set(positive.features["class"]) == {1}


def test_windows_of_an_inverted_class_swap() -> None:
    patches = windows(20, np.arange(20) % 4 < 2)
    canvas = Canvas.of((200, 200), (0, 0, 200, 200))
    one, two = show_patches(patches, canvas, AUTO)
    positive, negative = show_patches(patches, canvas, NucleusClass(0, True, 0.1))
    np.testing.assert_array_equal(positive.rectangles, two.rectangles)
    np.testing.assert_array_equal(negative.rectangles, one.rectangles)
    np.testing.assert_allclose(
        positive.features["mean confidence"], 1 - two.features["mean confidence"], atol=1e-4
    )


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_there_are_never_too_many_windows(share: float) -> None:
    patches = windows(400, np.arange(400) % 100 < share * 100)
    positive, negative = show_patches(patches, Canvas.of((90, 90), (0, 0, 90, 90)), AUTO)
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

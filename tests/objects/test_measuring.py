from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.draw import disk
from skimage.measure import label, regionprops_table

import napari_patchseg as ps

#: Columns in pixels, and what scikit-image calls them.
SAME = {
    "Label": "label",
    "Centroid X px": "centroid-1",
    "Centroid Y px": "centroid-0",
    "Area px^2": "area",
    "Perimeter px": "perimeter",
    "Equivalent diameter px": "equivalent_diameter_area",
    "Major axis px": "axis_major_length",
    "Minor axis px": "axis_minor_length",
    "Eccentricity": "eccentricity",
    "Orientation °": "orientation",
    "Solidity": "solidity",
}
#: What scikit-image knows of pixels that are not square: all but the perimeter.
SCALED = {header.replace("px", "µm"): name for header, name in SAME.items() if "meter" not in name}


def assert_as_scikit_image(
    table: pd.DataFrame, labels: np.ndarray, same: dict[str, str], **kwargs: Any
) -> None:
    properties = [name.removesuffix("-0").removesuffix("-1") for name in same.values()]
    expected = regionprops_table(labels, properties=sorted(set(properties)), **kwargs)
    assert len(table) == len(expected["label"])
    for header, name in same.items():
        found, right = table[header].to_numpy(), expected[name]
        if name == "orientation":  # of what is nearly round, rounding says
            long = expected["eccentricity"] > 1e-3
            found, right = found[long], np.degrees(right[long])
            right = right + 180 * np.rint((found - right) / 180)  # -90° is 90°
        # an eccentricity of 0 is the root of what rounding has left
        np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-6, err_msg=header)


small = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 4)
)


@given(small)
def test_all_is_as_scikit_image_has_it(labels: np.ndarray) -> None:
    """Noise: holes, gaps, pieces, single pixels and cut objects everywhere."""
    assert_as_scikit_image(ps.measure(labels), labels, SAME)


@given(small, st.floats(0.05, 10), st.floats(0.05, 10))
def test_pixels_need_not_be_square(labels: np.ndarray, tall: float, wide: float) -> None:
    table = ps.measure(labels, pixel_size=(tall, wide))
    assert_as_scikit_image(table, labels, SCALED, spacing=(tall, wide))


@given(small, st.floats(0.05, 10))
def test_square_pixels_only_change_the_unit(labels: np.ndarray, size: float) -> None:
    plain, table = ps.measure(labels), ps.measure(labels, pixel_size=size)
    pd.testing.assert_frame_equal(table[plain.columns], plain)
    for header in plain.columns:
        if header.endswith("px"):
            found = table[header.replace("px", "µm")]
            np.testing.assert_allclose(found, size * plain[header], atol=1e-6)
    np.testing.assert_allclose(table["Area µm^2"], size**2 * plain["Area px^2"])


@pytest.mark.parametrize("make", ["field", "huge", "comb", "parabola", "spiral"])
def test_large_objects_too(make: str) -> None:
    if make == "field":
        labels = ps.synthetic_field((500, 700), seed=4)[1]
    else:
        labels = np.zeros((1100, 1300), np.int32)
        rows, columns = np.mgrid[:1100, :1300]
        if make == "huge":  # more pixels than are worked on at a time
            labels[disk((560, 600), 530)] = 7
            labels[500:600, 500:600] = 3
        elif make == "comb":
            labels[10:1000:2, 10:1200] = 1
            labels[10:1000, 600] = 1
        elif make == "parabola":  # its hull takes a round for nearly each row
            labels[columns > rows**2 / 1000] = 1
            labels[-1, 0] = 1
        else:
            turn = np.hypot(rows - 550, columns - 650) / 20 + np.arctan2(rows - 550, columns - 650)
            labels[turn % (2 * np.pi) < 3] = 5
    assert_as_scikit_image(ps.measure(labels), labels, SAME)


def test_a_rectangle_by_hand() -> None:
    labels = np.zeros((9, 9), np.uint16)
    labels[2:7, 3:7] = 1  # 5 rows, 4 columns
    (row,) = ps.measure(labels, pixel_size=(2, 0.5)).to_dict("records")
    assert row["Area px^2"] == 20
    assert row["Area µm^2"] == 20
    assert (row["Centroid X px"], row["Centroid Y px"]) == (4.5, 4)
    assert (row["Centroid X µm"], row["Centroid Y µm"]) == (2.25, 8)
    assert row["Perimeter px"] == pytest.approx(2 * (4 + 3))  # from centre to centre
    assert row["Perimeter µm"] == pytest.approx(2 * (4 * 2 + 3 * 0.5))
    assert row["Equivalent diameter µm"] == pytest.approx(np.sqrt(80 / np.pi))
    assert row["Circularity"] == pytest.approx(4 * np.pi * 20 / 19**2)
    assert row["Major axis px"] == pytest.approx(4 * np.sqrt(24 / 12))  # (n² - 1) / 12
    assert row["Major axis µm"] == pytest.approx(4 * np.sqrt(24 / 12) * 2)
    assert row["Minor axis µm"] == pytest.approx(4 * np.sqrt(15 / 12) * 0.5)
    assert row["Orientation °"] == 0  # upright
    assert row["Solidity"] == 1


def test_a_diamond_has_diagonal_steps() -> None:
    rows, columns = np.mgrid[:11, :11]
    labels = (abs(rows - 5) + abs(columns - 5) <= 4).astype(int)
    (row,) = ps.measure(labels, pixel_size=(3, 4)).to_dict("records")
    assert row["Perimeter px"] == pytest.approx(16 * np.sqrt(2))
    assert row["Perimeter µm"] == pytest.approx(16 * 5)


@pytest.mark.parametrize(("turn", "degrees"), [(0, 45), (1, -45)])
def test_orientation_is_counted_from_the_vertical_counter_clockwise(
    turn: int, degrees: int
) -> None:
    labels = np.rot90(np.eye(7, dtype=int), turn)  # from the upper left to the lower right
    assert ps.measure(labels)["Orientation °"].item() == pytest.approx(degrees)
    labels = np.zeros((5, 9), int)
    labels[2, 1:8] = 1
    assert abs(ps.measure(labels)["Orientation °"].item()) == 90


def test_circularity_is_at_most_1() -> None:
    labels = np.zeros((60, 60), int)
    labels[5, 5] = 1
    labels[10:12, 10] = 2
    labels[disk((35, 35), 20)] = 3
    labels[20:50, 5:8] = 4
    circularity = ps.measure(labels)["Circularity"]
    assert list(circularity[:2]) == [1, 1]  # without any perimeter
    assert 0.9 < circularity[2] <= 1
    assert circularity[3] < 0.4


def test_neighbours_are_counted_between_centroids() -> None:
    labels = np.zeros((100, 130), int)
    for column in range(12):
        labels[50, 5 + 10 * column] = column + 1
    table = ps.measure(labels, pixel_size=(1, 0.5))
    assert (table["Nearest neighbour distance px"] == 10).all()
    assert (table["Nearest neighbour distance µm"] == 5).all()
    density = table["Local density per 10^4 px^2"]
    assert density[5] == pytest.approx(5 / (np.pi * 30**2) * 1e4)  # the sixth is 3 away
    assert density[0] == pytest.approx(5 / (np.pi * 60**2) * 1e4)
    assert table["Local density per mm^2"][0] == pytest.approx(5 / (np.pi * 0.03**2))


def test_density_is_right_on_the_mean() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((1000, 1000), int)
    labels[tuple(rng.integers(0, 1000, (2, 4000)))] = 1
    table = ps.measure(label(labels, connectivity=1))
    inside = table[["Centroid X px", "Centroid Y px"]].sub(500).abs().max(axis=1) < 450
    density = table["Local density per 10^4 px^2"][inside]
    assert density.mean() == pytest.approx(len(table) / 100, rel=0.05)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_few_have_few_neighbours(count: int) -> None:
    labels = np.zeros((9, 90), int)
    labels[4, 10 : 10 + 20 * count : 20] = np.arange(count) + 1
    table = ps.measure(labels)
    assert (table["Nearest neighbour distance px"].notna() == (count > 1)).all()
    assert (table["Local density per 10^4 px^2"].notna() == (count > 2)).all()


def test_rings_around_each_other_have_one_centre() -> None:
    rows, columns = np.mgrid[:41, :41]
    labels = np.maximum(abs(rows - 20), abs(columns - 20)) // 2
    table = ps.measure(labels)
    assert (table["Nearest neighbour distance px"] == 0).all()
    assert np.isfinite(table["Local density per 10^4 px^2"].dropna()).all()


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", ">u2", ">i8"])
def test_labels_may_be_of_any_whole_number(dtype: str) -> None:
    labels = np.arange(120).reshape(10, 12) // 7 % 9
    expected = ps.measure(labels)
    pd.testing.assert_frame_equal(ps.measure(labels.astype(dtype)), expected, check_dtype=False)


def test_labels_keep_their_numbers_and_are_left_alone() -> None:
    labels = np.zeros((20, 40), np.uint64)
    labels[3:6, 3:6], labels[3:6, 20:26], labels[12, 12] = 2**63 + 5, 9, 70_000
    view = np.asfortranarray(labels)[::-1, ::2]
    view.flags.writeable = False
    table = ps.measure(view)
    numbers = [9, 70_000, 2**63 + 5]
    assert list(table["Label"]) == numbers
    assert table.index.equals(pd.RangeIndex(3))
    table["Label"] = [1, 2, 3]
    assert_as_scikit_image(table, np.searchsorted([0, *numbers], view), SAME)


@pytest.mark.parametrize("shape", [(0, 0), (0, 5), (5, 0), (7, 8)])
def test_without_objects_there_are_all_columns(shape: tuple[int, int]) -> None:
    empty = ps.measure(np.zeros(shape, np.uint16), pixel_size=0.5)
    full = ps.measure(np.ones((4, 4), np.uint16), pixel_size=0.5)
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)
    assert (empty.dtypes == full.dtypes).all()


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (np.zeros((3, 4, 5), int), r"\(3, 4, 5\)"),
        (np.zeros(3, int), "plane"),
        (np.zeros((3, 4)), "float64"),
        (np.zeros((3, 4), bool), "true and false"),
        (np.array([[0, 3], [-2, 0]]), "-2"),
        ("labels.tif", "plane"),
        ([["a"]], "whole numbers"),
        (None, "plane"),
    ],
)
def test_what_are_no_labels_is_said(labels: Any, match: str) -> None:
    with pytest.raises(ps.PatchSegError, match=match):
        ps.measure(labels)


@pytest.mark.parametrize(
    "size", [0, -1, np.nan, np.inf, (0.5, 0), (1, 2, 3), "0.5 µm", (), [[1, 2]]]
)
def test_what_is_no_pixel_size_is_said(size: Any) -> None:
    with pytest.raises(ps.PatchSegError, match="pixel_size"):
        ps.measure(np.ones((3, 3), int), pixel_size=size)

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage import data
from skimage.color import (
    combine_stains,
    hdx_from_rgb,
    hed_from_rgb,
    rgb_from_hed,
    separate_stains,
)
from skimage.draw import disk
from skimage.measure import label, regionprops_table

import napari_patchseg as ps
from napari_patchseg import objects
from napari_patchseg.objects._labelling import finished

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
        # an eccentricity or axis of 0 is the root of what rounding has left
        np.testing.assert_allclose(found, right, rtol=1e-9, atol=1e-5, err_msg=header)


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
            np.testing.assert_allclose(found, size * plain[header], atol=1e-5)
    np.testing.assert_allclose(table["Area µm^2"], size**2 * plain["Area px^2"])


def test_what_is_on_a_line_has_no_width() -> None:
    labels = np.zeros((7, 9), np.uint8)
    labels[0, 6] = labels[6, 0] = 1
    for size in (1.0, 8.513570851424381):
        assert ps.measure(labels, pixel_size=size)["Minor axis µm"].tolist() == [0]


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


@pytest.mark.parametrize(("tall", "long"), [(0.25, 0.05), (0.5, 0.08)])
def test_a_circle_comes_out_as_much_too_long_as_the_docs_say(tall: float, long: float) -> None:
    rows, columns = np.mgrid[: 24 / tall, : 24 / 0.25]
    labels = np.hypot(rows * tall - 12, columns * 0.25 - 12) <= 10
    (row,) = ps.measure(labels.astype(int), pixel_size=(tall, 0.25)).to_dict("records")
    assert row["Perimeter µm"] == pytest.approx(2 * np.pi * 10 * (1 + long), rel=0.005)
    assert row["Area µm^2"] == pytest.approx(np.pi * 10**2, rel=0.005)
    assert row["Solidity"] > 0.97


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
    empty = ps.measure(np.zeros(shape, np.uint16), pixel_size=0.5, confidence=np.zeros(shape))
    full = ps.measure(np.ones((4, 4), np.uint16), pixel_size=0.5, confidence=np.zeros((4, 4)))
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)
    assert (empty.dtypes == full.dtypes).all()


def test_many_objects_are_each_as_alone() -> None:
    """More than there are hulls found at once."""
    shapes = np.random.default_rng(0).random((100, 5, 5)) < 0.6
    shapes[:, 2, 2] = True
    shapes[:, :, 4] = shapes[:, 4] = False
    rows = shapes.reshape(10, 10, 5, 5).swapaxes(1, 2).reshape(50, 50)
    number = np.arange(110 * 100).reshape(110, 100) + 1
    labels = np.tile(rows, (11, 10)) * number.repeat(5, 0).repeat(5, 1)
    found = ps.measure(labels)["Solidity"].to_numpy().reshape(11, 10, 10, 10)
    alone = ps.measure(labels[:50, :50])["Solidity"].to_numpy().reshape(10, 10)
    np.testing.assert_array_equal(found, np.broadcast_to(alone[:, None], found.shape))


def test_it_goes_on_step_by_step() -> None:
    labels = np.arange(1300 * 1000).reshape(1300, 1000) // 100_000
    image = np.random.default_rng(0).random(labels.shape)
    steps = objects.measure_steps(labels, ps.Pixels.from_array(image), confidence=image)
    told = list(steps)
    assert told == sorted(told)
    total = 2 + 1 + 2 + 2  # of two strips: runs, shapes, image, confidence
    assert {one for _, one in told} == {total}
    assert {done for done, _ in told} == set(range(1, total + 1))


def test_what_takes_long_may_be_left_out() -> None:
    image, labels = ps.synthetic_field((100, 120), seed=1)
    confidence = np.random.default_rng(0).random(labels.shape)
    pixels = ps.Pixels.from_array(image)
    whole = objects.measure(labels, pixels, pixel_size=(0.5, 0.5), confidence=confidence)
    long = {"Solidity", "Mean confidence", *whole.columns[whole.columns.str.contains(" mean| std")]}
    for columns in ([], ["Solidity"], ["Red mean", "Mean confidence"], ["Eosin OD std dev"]):
        table = finished(
            objects.measure_steps(
                labels, pixels, pixel_size=(0.5, 0.5), confidence=confidence, columns=columns
            )
        )
        pd.testing.assert_frame_equal(table, whole[table.columns])
        assert set(columns) <= set(table)
        assert set(whole) - set(table) <= long
        of_image = [name for name in table if name.startswith(("Red ", "Eosin "))]
        assert bool(of_image) == any(name.startswith(("Red", "Eosin")) for name in columns)
        assert ("Mean confidence" in table) == ("Mean confidence" in columns)


def test_what_is_known_of_a_column_by_its_header() -> None:
    image, labels = ps.synthetic_field((100, 120), seed=1)
    plain, table = ps.measure(labels, image), ps.measure(labels, image, pixel_size=0.5)
    in_px = [name for name in table if objects.in_micrometres(name)]
    assert [objects.in_micrometres(name) for name in in_px] == [
        name for name in table if name not in plain
    ]
    assert [objects.in_pixels(objects.in_micrometres(name)) for name in in_px] == in_px
    assert objects.in_micrometres("Local density per 10^4 px^2") == "Local density per mm^2"
    assert objects.in_micrometres("Solidity") is None
    places = [name for name in table if objects.is_place(name)]
    assert places == [
        "Label",
        *(f"Centroid {axis} {unit}" for axis in "XY" for unit in ("px", "µm")),
    ]
    without = [name for name in table if not objects.has_mean(name)]
    assert without == [*places, "Orientation °"]
    assert all(name.endswith(objects.unit_of(name)) for name in table)
    assert {objects.unit_of(name) for name in table if name[-1] in "2xm°"} == {
        *("px", "µm", "px^2", "µm^2", "°", "per 10^4 px^2", "per mm^2")
    }
    assert objects.unit_of("Red mean") == ""
    assert objects.pretty("Local density per 10^4 px^2") == "Local density per 10⁴ px²"


# -- channels, stains, confidence


def stained(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A section that is exactly of two stains, uint16, and what it has of haematoxylin."""
    haematoxylin = np.where(labels > 0, 0.4 + 0.1 * (labels % 5), 0.05)
    eosin = np.where(labels > 0, 0.1, 0.3)
    glass = np.arange(labels.shape[1]) < 8
    amounts = np.dstack([haematoxylin, eosin, 0 * eosin]) * ~glass[:, None] / 6
    return (60_000 * combine_stains(amounts, rgb_from_hed)).astype(np.uint16), haematoxylin


def assert_intensities(table: pd.DataFrame, labels: np.ndarray, **channels: np.ndarray) -> None:
    for name, values in channels.items():
        header = name.replace("_", " ")
        expected = regionprops_table(labels, values, properties=("intensity_mean", "intensity_std"))
        for ending, right in (("mean", "intensity_mean"), ("std dev", "intensity_std")):
            found = table[f"{header} {ending}"]
            np.testing.assert_allclose(found, expected[right], rtol=1e-9, atol=1e-9)


@given(small, st.integers(0, 2**32 - 1), st.sampled_from([np.uint8, np.int16, np.float64]))
def test_intensities_are_as_scikit_image_has_them(
    labels: np.ndarray, seed: int, dtype: type
) -> None:
    image = np.random.default_rng(seed).integers(0, 250, labels.shape).astype(dtype)
    table = ps.measure(labels, image)
    assert list(table.columns[-2:]) == ["Intensity mean", "Intensity std dev"]
    assert_intensities(table, labels, Intensity=image)


@pytest.mark.parametrize("offset", [0, 1e9])
def test_digits_are_kept_where_values_are_large(offset: float) -> None:
    """And where there are more pixels than are worked on at a time."""
    labels = np.zeros((1100, 1300), np.int32)
    labels[disk((560, 600), 530)], labels[500:600, 500:600] = 7, 3
    image = offset + np.random.default_rng(0).random(labels.shape)
    assert_intensities(ps.measure(labels, image), labels, Intensity=image)


def test_channels_have_names() -> None:
    labels = np.zeros((40, 50), int)
    labels[5:9, 5:9], labels[20:33, 20:29] = 1, 2
    values = np.random.default_rng(0).random((40, 50, 4))
    one, two, three, four = np.moveaxis(values, -1, 0)
    table = ps.measure(labels, np.moveaxis(values, -1, 0))
    assert_intensities(table, labels, Channel_1=one, Channel_4=four)
    table = ps.measure(labels, values[..., :3], rgb=True)
    assert_intensities(table, labels, Red=one, Green=two, Blue=three)
    assert not any("OD" in header for header in table)
    table = ps.measure(labels, values[..., :2], channel_axis=2)
    assert_intensities(table, labels, Channel_1=one, Channel_2=two)
    with_alpha = ps.measure(labels, values, rgb=True)
    assert_intensities(with_alpha, labels, Red=one, Green=two, Blue=three)
    assert len(with_alpha.columns) == len(ps.measure(labels).columns) + 6
    grey = ps.measure(labels, np.dstack([one] * 3), rgb=True)
    assert_intensities(grey, labels, Intensity=one)


@pytest.mark.parametrize("library", ["dask", "zarr"])
def test_arrays_of_other_libraries_are_read_by_region(library: str) -> None:
    image, labels = ps.synthetic_field((128, 160), seed=1)
    other = pytest.importorskip("dask.array" if library == "dask" else "zarr")
    chunked = other.from_array(image, chunks=(50, 70, 3)) if library == "dask" else None
    if chunked is None:
        chunked = other.create_array({}, data=image, chunks=(50, 70, 3))
    pd.testing.assert_frame_equal(ps.measure(labels, chunked), ps.measure(labels, image))


def test_a_box_of_an_image_is_measured_by_itself() -> None:
    image, labels = ps.synthetic_field((200, 220), seed=1)
    box = (30, 50, 140, 190)
    inside = labels[30:140, 50:190]
    table = objects.measure(inside, ps.Pixels.from_array(image, box=box))
    assert_intensities(table, inside, Red=image[30:140, 50:190, 0])


def test_stains_are_measured_as_they_were_put_there() -> None:
    labels = ps.synthetic_field((200, 200), seed=5)[1]
    labels[:, :9] = 0
    image, haematoxylin = stained(labels)
    table = ps.measure(labels, image)
    found = table.set_index("Label")
    right = [haematoxylin[labels == number].mean() for number in found.index]
    np.testing.assert_allclose(found["Haematoxylin OD mean"], right, atol=0.005)
    np.testing.assert_allclose(found["Eosin OD mean"], 0.1, atol=0.005)
    np.testing.assert_allclose(found["Haematoxylin OD std dev"], 0, atol=0.001)
    assert_intensities(table, labels, Red=image[..., 0])
    # under a lamp half as bright the stains are the same
    dim = ps.measure(labels, image // 2)["Haematoxylin OD mean"]
    np.testing.assert_allclose(dim, table["Haematoxylin OD mean"], atol=0.005)


def test_no_light_at_all_is_no_endless_density() -> None:
    labels = ps.synthetic_field((200, 200), seed=5)[1]
    image, _ = stained(labels)
    numbers = np.unique(labels)[1:]
    image[labels == numbers[0]] = 0
    table = ps.measure(labels, image, image_kind="stained")
    assert 1 < table["Haematoxylin OD mean"][0] < 3
    assert table["Haematoxylin OD mean"].max() == table["Haematoxylin OD mean"][0]


def test_nuclei_of_a_field_are_denser_in_haematoxylin() -> None:
    image, labels = ps.synthetic_field((300, 300), seed=2)
    table = ps.measure(labels, image)
    around = ps.measure((labels == 0).astype(int), image)
    assert (table["Haematoxylin OD mean"] > around["Haematoxylin OD mean"].item()).mean() > 0.95
    full = np.percentile(image.max(-1), 99.9) / 255
    amounts = 6 * separate_stains((image / 255 / full).clip(1 / 255, 1), hed_from_rgb)[..., :2]
    for name, channel in zip(("Haematoxylin", "Eosin"), np.moveaxis(amounts, -1, 0), strict=True):
        expected = regionprops_table(labels, channel, properties=("intensity_mean",))
        np.testing.assert_allclose(table[f"{name} OD mean"], expected["intensity_mean"], atol=0.01)


def test_dab_is_measured_where_it_is() -> None:
    """scikit-image's section of colon: nuclei are blue, membranes brown."""
    image = data.immunohistochemistry()
    stains = separate_stains(image, hdx_from_rgb)
    labels = np.zeros(image.shape[:2], np.uint8)
    labels[(stains[..., 0] > 0.04) & (stains[..., 1] < 0.02)] = 1
    labels[(stains[..., 0] < 0.02) & (stains[..., 1] > 0.12)] = 2
    table = ps.measure(labels, image)
    assert "Eosin OD mean" not in table
    blue, brown = table.to_dict("records")
    assert blue["Haematoxylin OD mean"] > 3 * blue["DAB OD mean"]
    assert brown["DAB OD mean"] > 5 * brown["Haematoxylin OD mean"]
    grey = ps.measure(labels, image, image_kind="grey")
    assert "DAB OD mean" not in grey
    pd.testing.assert_frame_equal(grey, table[grey.columns])


def test_pixels_without_a_value_are_left_out() -> None:
    labels = np.zeros((30, 30), int)
    labels[2:6, 2:6], labels[10:14, 10:14], labels[20, 20] = 1, 2, 3
    image = np.random.default_rng(0).random(labels.shape)
    image[2, 2:5], image[5, 5], image[20, 20] = np.nan, np.inf, -np.inf
    known = np.isfinite(image)
    masked = np.ma.masked_array(np.where(known, image, 7), ~known)
    for one in (image, masked):
        table = ps.measure(labels, one)
        good = image[(labels == 1) & known]
        assert table["Intensity mean"][0] == pytest.approx(good.mean())
        assert table["Intensity std dev"][0] == pytest.approx(good.std())
        assert table["Intensity mean"][1] == pytest.approx(image[labels == 2].mean())
        assert table[["Intensity mean", "Intensity std dev"]].iloc[2].isna().all()


@pytest.mark.parametrize("value", [0, 7, 255])
@pytest.mark.parametrize("shape", [(1, 1), (20, 3), (90, 90), (90, 90, 3)])
def test_an_even_image_of_any_size_is_measured(value: int, shape: tuple[int, ...]) -> None:
    labels = np.ones(shape[:2], int)
    table = ps.measure(labels, np.full(shape, value, np.uint8))
    assert table["Intensity mean"].item() == value
    assert table["Intensity std dev"].item() == 0


@pytest.mark.parametrize("colour", [(200, 100, 50), (0, 0, 255), (255, 0, 0)])
def test_so_is_one_of_an_even_colour(colour: tuple[int, int, int]) -> None:
    labels = np.ones((70, 70), int)
    table = ps.measure(labels, np.full((70, 70, 3), colour, np.uint8), rgb=True)
    assert tuple(table[f"{name} mean"].item() for name in ("Red", "Green", "Blue")) == colour


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
def test_confidence_is_a_column(dtype: type) -> None:
    labels = ps.synthetic_field((100, 90), seed=4)[1]
    confidence = np.random.default_rng(0).integers(0, 2, labels.shape).astype(dtype)
    table = ps.measure(labels, confidence=confidence)
    assert table.columns[-1] == "Mean confidence"
    expected = regionprops_table(labels, confidence.astype(float), properties=("intensity_mean",))
    np.testing.assert_allclose(table["Mean confidence"], expected["intensity_mean"])


def test_the_docs_describe_each_column(project_root: Path) -> None:
    spec = importlib.util.spec_from_file_location(
        "make_measurements", project_root / "tools" / "make_measurements.py"
    )
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    page = tool.DOCS.read_text(encoding="utf-8")
    assert page == tool.updated(page), "run python tools/make_measurements.py"
    image, labels = ps.synthetic_field((128, 128))
    for header in ps.measure(labels, image, pixel_size=0.5, confidence=labels / 255):
        shown = re.sub("Green|Blue", "Red", header).replace("Eosin", "Haematoxylin")
        assert f"`{shown}`" in page


# -- wrong use


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
    ("given", "match"),
    [
        ({"image": np.zeros((30, 41))}, r"\(30, 40\).*\(30, 41\)"),
        ({"image": np.zeros((3, 30, 40, 3))}, "dimensions"),
        ({"image": np.zeros((30, 40), bool)}, "mask"),
        ({"image": "slide.tif"}, "path"),
        ({"image": np.full((30, 40), np.nan)}, "NaN"),
        ({"image": np.zeros((30, 40)), "channel_axis": 5}, "channel_axis"),
        ({"image": np.zeros((30, 40)), "image_kind": "x-ray"}, "x-ray"),
        ({"confidence": np.zeros((30, 41))}, r"confidence.*\(30, 41\)"),
        ({"confidence": np.full((30, 40), "high")}, "numbers"),
    ],
)
def test_what_does_not_fit_the_labels_is_said(given: dict[str, Any], match: str) -> None:
    with pytest.raises(ps.PatchSegError, match=match):
        ps.measure(np.ones((30, 40), int), **given)


@pytest.mark.parametrize(
    "size", [0, -1, np.nan, np.inf, (0.5, 0), (1, 2, 3), "0.5 µm", (), [[1, 2]]]
)
def test_what_is_no_pixel_size_is_said(size: Any) -> None:
    with pytest.raises(ps.PatchSegError, match="pixel_size"):
        ps.measure(np.ones((3, 3), int), pixel_size=size)

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.errors import ImageError
from napari_patchseg.image.pixels import Pixels, even_tones, has_structure


def disks(height=96, width=128, dark=True, noise=0.02):
    """Grey image in [0, 1]: few disks, dark on bright or bright on dark."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows % 32 - 16) ** 2 + (columns % 32 - 16) ** 2) < 49
    image = np.where(inside, 0.3, 0.8) + rng.normal(0, noise, (height, width))
    return (image if dark else 1 - image).clip(0, 1)


def tissue():
    """RGB uint8 with blue-violet disks on pink."""
    inside = disks(noise=0) < 0.5
    image = np.where(inside[..., None], (90, 60, 150), (235, 200, 220))
    return (image + np.random.default_rng(1).integers(-5, 6, image.shape)).astype(np.uint8)


def whole(pixels):
    return pixels.read((0, 0, *pixels.shape[1:]))


def test_rgb_is_scaled_by_its_light():
    image = tissue()
    image[:2] = 250  # glass
    pixels = Pixels.from_array(image)
    assert pixels.kind == "stained"
    assert pixels.shape == (3, 96, 128)
    assert whole(pixels).dtype == np.float32
    assert np.allclose(whole(pixels), np.moveaxis(image, -1, 0) / 250, atol=1e-3)


@pytest.mark.parametrize("channels", [None, 1, 2])
def test_reading_leaves_the_image_as_it_was(channels):
    image = disks().astype(np.float32)
    if channels is not None:
        image = np.stack([image] * channels)
    before = image.copy()
    pixels = Pixels.from_array(image, channel_axis=None if channels is None else 0)
    pixels.prior()
    assert not np.array_equal(whole(pixels)[0], image.reshape(-1, *image.shape[-2:])[0])
    assert np.array_equal(image, before)


def test_alpha_is_left_out():
    image = tissue()
    with_alpha = np.dstack([image, np.full(image.shape[:2], 9, np.uint8)])
    assert np.array_equal(whole(Pixels.from_array(with_alpha)), whole(Pixels.from_array(image)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("dark", [True, False])
def test_grey_of_any_type_comes_out_dark_on_light(dtype, dark):
    image = disks(dark=dark)
    if np.dtype(dtype).kind != "f":
        image = image * min(np.iinfo(dtype).max, 3000)
    pixels = Pixels.from_array(image.astype(dtype))
    assert pixels.kind == ("grey" if dark else "fluorescence")
    out = whole(pixels)
    assert out.shape == (1, 96, 128)
    assert out.min() >= 0
    assert out.max() <= 1
    assert np.median(out) > 0.5  # background is bright
    assert out[0, 16, 16] < 0.3
    assert pixels.prior()[16, 16] > pixels.prior()[0, 0]


@given(scale=st.floats(1e-6, 1e6), offset=st.floats(-1e3, 1e3))
def test_value_range_does_not_matter(scale, offset):
    image = disks()
    plain = whole(Pixels.from_array(image))
    assert np.allclose(whole(Pixels.from_array((image + offset) * scale)), plain, atol=2e-3)


def test_channels_first_and_last_are_the_same():
    stack = np.stack([disks(), disks(dark=False), disks() * 0.5, disks() ** 2])
    first, last = Pixels.from_array(stack), Pixels.from_array(np.moveaxis(stack, 0, -1))
    assert first.shape == last.shape == (4, 96, 128)
    assert np.array_equal(whole(first), whole(last))
    named = Pixels.from_array(np.moveaxis(stack, 0, 1), channel_axis=1)
    assert np.array_equal(whole(named), whole(first))


def test_three_equal_channels_are_grey():
    image = (disks(dark=False) * 255).astype(np.uint8)
    pixels = Pixels.from_array(np.dstack([image, image, image, np.full_like(image, 255)]))
    assert pixels.shape == (1, 96, 128)
    assert pixels.kind == "fluorescence"
    assert "grey" in pixels.description


def test_reading_a_box_is_reading_a_part():
    pixels = Pixels.from_array(tissue())
    assert np.array_equal(pixels.read((10, 20, 50, 90)), whole(pixels)[:, 10:50, 20:90])
    assert np.allclose(pixels.prior((10, 20, 50, 90)), pixels.prior()[10:50, 20:90])


def test_a_region_is_an_image_of_its_own():
    image = tissue()
    part = Pixels.from_array(image, box=(8, 16, 88, 100))
    assert np.array_equal(whole(part), whole(Pixels.from_array(image[8:88, 16:100])))


def test_nan_and_infinite_pixels_are_masked_and_said():
    image = disks().astype(np.float32)
    image[3, 4], image[50, 60] = np.nan, np.inf
    pixels = Pixels.from_array(image)
    assert pixels.valid is not None
    assert not pixels.valid[3, 4]
    assert np.count_nonzero(~pixels.valid) == 2
    assert pixels.warnings == ["2 pixels are NaN or infinite and left out."]
    assert np.isfinite(whole(pixels)).all()


def test_the_users_array_is_not_changed():
    image = disks().astype(np.float32)
    image[0, 0] = np.nan
    before = image.copy()
    whole(Pixels.from_array(image))
    assert np.array_equal(image, before, equal_nan=True)


@pytest.mark.parametrize("reduction", [2, 3, 7])
def test_a_reduction_is_a_part_of_what_is_read_without_it(reduction):
    image = tissue().astype(np.float32)
    image[3:30, 6:40] = np.nan
    pixels = Pixels.from_array(image)
    box = (5, 7, 61, 90)
    some = np.s_[::reduction, ::reduction]
    assert np.array_equal(pixels.read(box, reduction), pixels.read(box)[:, *some])
    assert np.array_equal(pixels.prior(box, reduction), pixels.prior(box)[some])
    rgb = Pixels.from_array(disks(dark=False)).as_rgb()
    assert np.array_equal(rgb.read(box, reduction), rgb.read(box)[:, *some])


class Counted:
    """An array that counts the values that are read of it."""

    def __init__(self, array, count):
        self.array, self.count = array, count
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, index):
        return Counted(self.array[index], self.count)

    def __array__(self, dtype=None, copy=None):
        self.count.append(self.array.size)
        return np.array(self.array, dtype)


def test_what_is_looked_at_does_not_grow_with_the_image():
    read = []
    for times in (30, 60):
        image = np.tile(tissue(), (times, times, 1))
        count = []
        pixels = Pixels.from_array(Counted(image, count))
        assert has_structure(pixels)
        pixels.prior(None, image.shape[1] // 500)
        read.append(sum(count))
        assert max(count) < 4e6
    assert read[1] < 1.2 * read[0]
    assert read[1] < 0.4 * image.size


def test_lazy_arrays_are_read_by_region():
    dask = pytest.importorskip("dask.array")
    image = tissue()
    lazy = dask.from_array(image, chunks=32)
    assert np.array_equal(whole(Pixels.from_array(lazy)), whole(Pixels.from_array(image)))


BAD = [
    (np.zeros((0, 0), np.uint8), "empty"),
    (np.zeros((100, 100), np.uint8), "same value"),
    (np.full((100, 100, 3), 7, np.uint8), "same value"),
    (np.full((100, 100), np.nan), "NaN or infinite"),
    (np.full((100, 100), np.inf), "NaN or infinite"),
    (np.eye(63), "at least 64"),
    (np.eye(100)[:60], "at least 64"),
    (np.arange(200), "1 dimension"),
    (np.zeros((1, 1, 1, 70, 70)), "5 dimensions"),
    (np.eye(100) > 0, "true and false"),
    (np.eye(100).astype(complex), "complex128"),
    (np.eye(100).astype(str), "cannot be segmented"),
    (np.random.default_rng(0).random((70, 70, 70)), "channel axis"),
]


@pytest.mark.parametrize(("array", "says"), BAD)
def test_what_cannot_be_segmented_is_one_sentence(array, says):
    with pytest.raises(ImageError, match=says) as error:
        Pixels.from_array(array)
    assert "\n" not in str(error.value)


def test_a_single_pixel_that_differs_is_enough_not_to_be_constant():
    image = np.zeros((3000, 700), np.uint8)
    image[2999, 699] = 1  # off the grid that statistics are taken from
    assert Pixels.from_array(image).shape == (1, 3000, 700)


def test_rgb_said_of_what_is_not():
    with pytest.raises(ImageError, match="RGB needs"):
        Pixels.from_array(np.random.default_rng(0).random((70, 70, 5)), rgb=True)
    with pytest.raises(ImageError, match="channel_axis must be"):
        Pixels.from_array(np.random.default_rng(0).random((70, 70, 5)), channel_axis=3)


@given(st.floats(0, 0.4), st.floats(0.05, 0.5))
def test_even_tones_rise_from_0_to_1(low, spread):
    light = np.linspace(0, 1, 200, dtype=np.float32)
    tones = even_tones(light, low, low + spread)
    assert tones.dtype == np.float32
    assert tones[0] == 0
    assert tones[-1] == pytest.approx(1)
    assert (np.diff(tones) >= 0).all()
    middle = even_tones(np.float32([low + spread / 10]), low, low + spread)
    assert middle[0] == pytest.approx(np.log(3) / np.log(21), abs=1e-3)


def test_shining_nuclei_do_not_hide_dim_ones():
    """A tenth of the brightest is a third of the way up in what the start sees."""
    image = np.full((100, 100), 10, np.uint8)
    image[20:40, 20:40] = 30
    image[60:80, 60:80] = 210
    pixels = Pixels.from_array(image)
    assert pixels.kind == "fluorescence"
    box = (0, 0, 100, 100)
    raw, seen = pixels.read(box)[0], pixels.as_rgb().read(box)
    assert seen.shape == (3, 100, 100)
    assert raw[0, 0] - raw[30, 30] < 0.11
    assert seen[0, 0, 0] - seen[0, 30, 30] > 0.3
    assert seen[0, 30, 30] - seen[0, 70, 70] > 0.3


def test_what_no_number_is_left_out_however_it_comes() -> None:
    image = np.random.default_rng(0).random((80, 90, 4))
    image[..., 3] = 0  # an opacity that nobody filled
    image[5, 6, 0] = np.nan
    image[7, 8, 1] = 1e300  # more than the method's numbers hold
    pixels = Pixels.from_array(image, rgb=True)
    assert pixels.valid is not None
    assert (~pixels.valid).sum() == 2
    assert np.isfinite(pixels.read((0, 0, 80, 90))).all()


def test_a_section_that_is_nearly_all_black_can_be_said_to_be_one() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    image[:4, :4] = np.random.default_rng(0).integers(100, 255, (4, 4, 3))
    pixels = Pixels.from_array(image, image_kind="stained")
    assert np.isfinite(pixels.read((0, 0, 400, 400))).all()

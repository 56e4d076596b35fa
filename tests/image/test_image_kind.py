"""What kind of image it is: by the light, whatever the type, the layout and the surroundings."""

from pathlib import Path

import numpy as np
import pytest

from napari_patchseg.errors import ImageError
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.synthetic import synthetic_field, synthetic_fluorescence

SLIDES = Path(__file__).parents[3] / "shared" / "data"


def light(image):
    return image.astype(float) / 255


def as_bytes(values):
    return (255 * values).round().clip(0, 255).astype(np.uint8)


def half_black(image):
    image = image.copy()
    image[: int(0.6 * len(image))] = 0
    return image


def round_field(image):
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    middle = np.array(image.shape[:2]) / 2
    near = np.hypot(rows - middle[0], columns - middle[1]) < 0.37 * min(image.shape[:2])
    return np.where(near[..., None], image, 0).astype(image.dtype)


def transparent(image):
    alpha = np.full(image.shape[:2], 255, np.uint8)
    alpha[: int(0.8 * len(image))] = 0
    return np.dstack([half_black(image), alpha])


#: The same section, understood alike.
SECTIONS = {
    "0.7 of the light": lambda image: as_bytes(0.7 * light(image)),
    "0.5 of the light": lambda image: as_bytes(0.5 * light(image)),
    "0.2 of the light": lambda image: as_bytes(0.2 * light(image)),
    "dark stain": lambda image: as_bytes(light(image) ** 1.6),
    "pale stain": lambda image: as_bytes(light(image) ** 0.3),
    "60 % black": half_black,
    "60 % black, dim": lambda image: as_bytes(0.4 * light(half_black(image))),
    "round field": round_field,
    "transparent": transparent,
    "planes": lambda image: np.moveaxis(image, -1, 0),
    "16-bit planes on black": lambda image: np.moveaxis(half_black(image), -1, 0) * np.uint16(257),
    "signed": lambda image: image.astype(np.int16),
    "dim floats": lambda image: 0.3 * light(image),
    "floats from -1 to 1": lambda image: 2 * light(image) - 1,
}
#: The same pixels: equal to the last digit.
SAME = {
    "16 bits": lambda image: image.astype(np.uint16) * 257,
    "bytes in 16 bits": lambda image: image.astype(np.uint16),
    "12 bits": lambda image: image.astype(np.uint16) * 16,
    "floats to 1": lambda image: (image / 255).astype(np.float32),
    "double to 1": lambda image: image / 255,
    "floats to 255": lambda image: image.astype(np.float32),
    "big endian": lambda image: image.astype(">i4"),
    "planes": lambda image: np.moveaxis(image, -1, 0),
    "alpha": lambda image: np.dstack([image, np.full(image.shape[:2], 255, np.uint8)]),
}
#: Ways to say where the three colours are.
DOORS = [{}, {"rgb": True}, {"rgb": False}, {"channel_axis": 2}]


def coloured(*weights):
    return lambda image: as_bytes(light(image)[..., None] * weights)


#: The same glow, understood alike.
GLOWS = {
    "grey": lambda image: image,
    "grey as RGB": coloured(1, 1, 1),
    "blue": coloured(0, 0, 1),
    "cyan": coloured(0, 1, 1),
    "lilac": coloured(0.3, 0.1, 1),
    "grey as RGB, noisy": lambda image: (
        image[..., None] + np.random.default_rng(0).integers(0, 4, (*image.shape, 3))
    ).clip(0, 255).astype(np.uint8),
    "blue, black cut off": lambda image: np.where(
        image[..., None] > np.percentile(image, 60), coloured(0, 0, 1)(image), 0
    ).astype(np.uint8),
    "three channels": lambda image: np.stack(
        [image, np.roll(image, 40, 0), np.roll(image[::-1], 40, 1)]
    ).astype(np.uint16) + 200,
}  # fmt: skip


@pytest.fixture(scope="module")
def section():
    return synthetic_field((256, 256), seed=4)[0]


@pytest.fixture(scope="module")
def glow():
    image = synthetic_fluorescence((256, 256), 3)[0]
    return as_bytes(image / np.percentile(image, 99.9))


@pytest.mark.parametrize("change", SECTIONS)
def test_a_stained_section_is_one_whatever_was_done_to_it(section, change):
    assert Pixels.from_array(SECTIONS[change](section)).kind == "stained"


@pytest.mark.parametrize("change", SAME)
def test_the_same_colours_are_the_same_pixels(section, change):
    plain, other = Pixels.from_array(section), Pixels.from_array(SAME[change](section))
    box = (0, 0, 256, 256)
    assert other.kind == plain.kind
    assert np.array_equal(other.read(box), plain.read(box))
    assert np.array_equal(other.prior(), plain.prior())


@pytest.mark.parametrize("said", DOORS)
def test_colours_are_known_whatever_is_said_of_their_axis(section, said):
    pixels = Pixels.from_array(section, **said)
    assert pixels.description == Pixels.from_array(section).description
    assert pixels.description.startswith("RGB, 256 x 256 px: stained section")
    planes = Pixels.from_array(np.moveaxis(section, -1, 0), channel_axis=0)
    assert planes.description == pixels.description


@pytest.mark.parametrize("change", GLOWS)
def test_fluorescence_is_bright_on_dark_in_any_colour(glow, change):
    assert Pixels.from_array(GLOWS[change](glow)).kind == "fluorescence"


def test_light_is_scaled_not_the_type(section):
    box = (0, 0, 256, 256)
    bright = Pixels.from_array(section).read(box)
    dim = Pixels.from_array(as_bytes(0.5 * light(section))).read(box)
    assert np.abs(bright - dim).max() < 0.01


def test_transparent_pixels_are_left_out_and_said(section):
    pixels = Pixels.from_array(transparent(section))
    assert pixels.valid is not None
    assert not pixels.valid[: int(0.8 * 256)].any()
    assert pixels.valid[int(0.8 * 256) :].all()
    assert pixels.warnings == ["52224 pixels are transparent and left out."]
    nowhere = np.dstack([section, np.zeros((256, 256), np.uint8)])
    assert Pixels.from_array(nowhere).valid is None  # a byte that nobody filled


def test_what_the_user_says_of_an_image_counts(section, glow):
    kinds = {"stained": "stained", "grey": "grey", "fluorescence": "fluorescence"}
    for said, kind in kinds.items():
        pixels = Pixels.from_array(section, image_kind=said)
        assert (pixels.kind, pixels.image_kind) == (kind, said)
        assert Pixels.from_array(section).understood_as(said).description == pixels.description
    assert Pixels.from_array(glow, image_kind="grey").kind == "grey"
    assert Pixels.from_array(coloured(0, 0, 1)(glow), image_kind="stained").kind == "stained"
    for grey in (glow, coloured(1, 1, 1)(glow), np.stack([glow] * 4)):
        with pytest.raises(ImageError, match="needs three colours"):
            Pixels.from_array(grey, image_kind="stained")
    with pytest.raises(ImageError, match="no image kind 'purple'"):
        Pixels.from_array(section, image_kind="purple")


@pytest.mark.parametrize("folder", ["monuseg-train", "tnbc", "fluorescence"])
def test_real_slides_are_understood(folder):
    from napari_patchseg.files.images import read_image

    if not SLIDES.is_dir():
        pytest.skip("no slides here")
    glows = folder == "fluorescence"
    for path in sorted((SLIDES / folder / "images").iterdir())[::12]:
        image = read_image(path).array[..., :3]
        changes = GLOWS if glows else {"as it is": lambda image: image, **SECTIONS}
        for name, change in changes.items():
            changed = change(image[..., 0] if glows else image[:512, :512])
            kind = Pixels.from_array(changed).kind
            assert kind == ("fluorescence" if glows else "stained"), (path.name, name)


def test_auto_is_what_the_image_holds():
    image, _ = synthetic_field((96, 96), seed=1)
    assert Pixels.from_array(image, image_kind="auto").kind == Pixels.from_array(image).kind

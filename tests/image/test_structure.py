import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_patchseg.image.pixels import Pixels, has_structure
from napari_patchseg.synthetic import synthetic_field, synthetic_fluorescence

rng = np.random.default_rng(0)
SHADE = np.linspace(0, 20, 256)[:, None, None]


def around(colour, spread):
    noise = rng.normal(0, spread, (256, 256, 3))
    return (np.array(colour) + noise).clip(0, 255)


NOTHING = {
    "uniform noise": rng.integers(0, 256, (256, 256, 3)),
    "camera noise": around((128, 128, 128), 30),
    "glass": around((240, 238, 242), 3),
    "unevenly lit glass": around((220, 218, 222), 2) + SHADE,
    "blood of one colour": around((180, 40, 50), 5),
    "unevenly lit blood": around((170, 40, 50), 5) + SHADE,
    "blurred noise": ndi.gaussian_filter(rng.normal(0, 100, (256, 256, 3)), (1, 1, 0)) + 128,
}


@pytest.mark.parametrize("name", NOTHING)
def test_no_structure(name):
    image = NOTHING[name].clip(0, 255).astype(np.uint8)
    assert not has_structure(Pixels.from_array(image))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_no_structure_in_grey_noise(dtype):
    noise = (rng.normal(1000, 100, (256, 256))).astype(dtype)
    assert not has_structure(Pixels.from_array(noise))


@pytest.mark.parametrize("diameter", [12, 24, 40])
def test_tissue_has_structure(diameter):
    image, _labels = synthetic_field((512, 512), seed=diameter, nucleus_diameter=diameter)
    pixels = Pixels.from_array(image)
    assert has_structure(pixels)


def test_fluorescence_has_structure():
    _image, labels = synthetic_field((256, 256), seed=3)
    glow = np.where(labels > 0, 0.6, 0.05) + rng.normal(0, 0.02, labels.shape)
    assert has_structure(Pixels.from_array(glow.astype(np.float32)))


def test_dim_fluorescence_has_structure_and_an_empty_dark_field_none():
    image, _labels = synthetic_fluorescence((256, 256), 4)
    dim = (8 + 12 * (image / image.max())).round().astype(np.uint8)
    assert has_structure(Pixels.from_array(dim))
    dark = (8 + rng.normal(0, 1, image.shape)).round().clip(0, 255).astype(np.uint8)
    pixels = Pixels.from_array(dark)
    assert not has_structure(pixels)


def test_a_large_image_is_looked_at_through_crops():
    """Tissue in one corner of glass is seen."""
    image, _ = synthetic_field((700, 700), seed=1)
    slide = np.full((2300, 2300, 3), 240, np.uint8)
    slide[-700:, -700:] = image
    assert has_structure(Pixels.from_array(slide))


def test_few_nuclei_in_much_noise_are_seen():
    image, _ = synthetic_field((256, 256), seed=1)
    noise = np.random.default_rng(0).normal(230, 12, (1100, 1100, 3)).clip(0, 255)
    slide = noise.astype(np.uint8)
    assert not has_structure(Pixels.from_array(slide))
    slide[:256, -256:] = image
    assert has_structure(Pixels.from_array(slide))

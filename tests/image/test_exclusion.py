"""Pens on stained sections, drawn over fields whose tissue is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchseg.image.exclusion import ink
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.synthetic import Tissue, synthetic_field

BLUE, GREEN, BLACK = (1.9, 1.1, 0.3), (2.0, 0.7, 1.2), (2.4, 2.3, 2.2)


def density(image):
    return -np.log((image.astype(float) + 1) / 256)


def light(amounts):
    return (256 * np.exp(-amounts) - 1).clip(0, 255).astype(np.uint8)


def stroke(shape, width=34.0):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.abs(rows - 0.8 * columns - 60) < 0.64 * width


def drawn(image, of, where):
    return light(density(image) + where[..., None] * np.array(of))


def found(image, every=1):
    pixels = image[::every, ::every].transpose(2, 0, 1).astype(np.float32) / 255
    return ink(np.ascontiguousarray(pixels), every)


@pytest.fixture(scope="module")
def field():
    return synthetic_field((420, 420), seed=5)[0]


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("of", [BLUE, GREEN, BLACK], ids=["blue", "green", "black"])
def test_a_stroke_is_found_and_little_else(field, of, every):
    where = stroke(field.shape)
    seen = found(drawn(field, of, where), every)
    assert seen is not None
    truth = where[::every, ::every]
    assert seen[truth].mean() > 0.97
    assert seen[~truth].mean() < 0.06  # its edges


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    diameter=st.floats(10, 46),
    strength=st.floats(0.5, 1.6),
    density_of_nuclei=st.floats(0, 0.55),
)
def test_tissue_of_any_kind_is_no_ink(seed, diameter, strength, density_of_nuclei):
    image, _ = synthetic_field(
        (256, 256),
        seed,
        nucleus_diameter=diameter,
        density=density_of_nuclei,
        tissue=Tissue.drawn(np.random.default_rng(seed)),
    )
    assert found(light(strength * density(image))) is None


def test_what_is_no_larger_than_a_nucleus_is_no_ink(field):
    rows, columns = np.mgrid[:420, :420]
    dots = np.hypot(rows % 70 - 35, columns % 70 - 35) < 23
    assert found(drawn(field, BLUE, dots)) is None


def test_blue_cells_are_no_ink_where_all_the_tissue_is_blue(field):
    rows, columns = np.mgrid[:420, :420]
    cells = np.hypot(rows % 140 - 70, columns % 140 - 70) < 40
    pale_blue = 230 * np.exp(-0.1 * np.array((1.9, 1.1, 0.3))) * np.ones((420, 420, 1))
    section = pale_blue.astype(np.uint8)
    section[::2] = (section[::2] * 0.85).astype(np.uint8)
    assert found(drawn(section, BLUE, cells)) is None
    assert found(drawn(field, BLUE, cells)) is not None


def test_collagen_stained_blue_is_no_ink(field):
    rows, _ = np.mgrid[:420, :420]
    assert found(drawn(field, BLUE, rows < 160)) is None
    assert found(drawn(field, BLUE, rows < 60)) is not None


def test_what_surrounds_a_round_field_of_view_is_left_out(field):
    rows, columns = np.mgrid[:420, :420]
    outside = np.hypot(rows - 210, columns - 210) > 190
    seen = found(np.where(outside[..., None], 0, field).astype(np.uint8))
    assert seen is not None
    assert seen[outside].mean() > 0.99
    assert seen[~outside].mean() < 0.09


def test_brown_and_red_stains_are_no_ink(field):
    where = stroke(field.shape)
    assert found(drawn(field, (0.7, 1.5, 2.0), where)) is None  # diaminobenzidine
    assert found(drawn(field, (0.2, 1.4, 1.0), where)) is None  # blood


def test_ink_is_not_valid_filled_and_said(field):
    where = stroke(field.shape)
    pixels = Pixels.from_array(drawn(field, BLACK, where))
    assert pixels.valid is not None
    assert not pixels.valid[where].any()
    (warning,) = pixels.warnings
    assert warning.startswith("Ink or black covers ")
    whole = pixels.read((0, 0, 420, 420))
    under = whole[:, where]
    assert np.ptp(under, axis=1).max() == 0
    assert np.abs(under[:, 0] - np.median(whole[:, pixels.valid], axis=1)).max() < 0.02


def test_looking_for_ink_reads_nothing_anew(field):
    penned = drawn(field, BLACK, stroke(field.shape))
    reads = []

    class Slide:
        shape, dtype = penned.shape, penned.dtype

        def __getitem__(self, index):
            if index == np.s_[..., :3]:  # the colours of all of it
                return self
            reads.append(index)
            return penned[index]

    assert Pixels.from_array(Slide()).valid is not None
    assert len(reads) == 1


def test_a_float_image_may_have_ink_and_holes(field):
    where = stroke(field.shape)
    image = drawn(field, BLACK, where).astype(np.float32)
    image[:20, 300:] = np.nan
    pixels = Pixels.from_array(image)
    assert pixels.valid is not None
    assert pixels.valid[where].mean() < 0.02
    assert not pixels.valid[:20, 300:].any()
    assert pixels.valid.mean() > 0.8
    assert len(pixels.warnings) == 2
    assert np.isfinite(pixels.read((0, 0, 420, 420))).all()


def test_a_large_image_is_looked_at_by_a_grid():
    image = synthetic_field((512, 512), seed=5)[0]
    image = np.tile(image, (4, 4, 1))
    where = stroke(image.shape, 100)
    pixels = Pixels.from_array(drawn(image, BLUE, where))
    assert pixels.valid is not None
    assert pixels.valid.shape == image.shape[:2]
    assert (~pixels.valid)[where].mean() > 0.98
    assert (~pixels.valid)[~where].mean() < 0.03

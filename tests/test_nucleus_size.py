"""The size of nuclei, and what rescale it asks for: synthetic fields of known sizes."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import adapted_rand_error
from skimage.transform import resize

import napari_patchseg
from napari_patchseg.files.models import pretrained_weights
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.events import Control, MapMade
from napari_patchseg.method.hardware import resolve_machine
from napari_patchseg.method.scale import NetworkInput
from napari_patchseg.nucleus_size import choose_rescale, rescale_for
from napari_patchseg.pipeline import run
from napari_patchseg.settings import Settings
from napari_patchseg.synthetic import synthetic_field

MACHINE = {
    "device": "cpu",
    "precision": "float32",
    "memory_format": "channels_last",
    "threads": 1,
    "test_time_augmentation": 1,
}


def of_size(factor, diameter=26.0):
    """A field whose nuclei are ``factor`` times a diameter, as another objective would show it."""
    side = int(256 / factor)
    image, truth = synthetic_field((side, side), seed=5, nucleus_diameter=diameter)
    shape = (round(side * factor), round(side * factor))
    image = resize(image, (*shape, 3), order=1, anti_aliasing=factor < 1, preserve_range=True)
    truth = resize(truth, shape, order=0, anti_aliasing=False, preserve_range=True)
    return image.round().astype(np.uint8), truth.astype(np.uint16)


def chosen_for(image, **changes):
    pixels = Pixels.from_array(image)
    settings = Settings.create(**{**MACHINE, **changes})
    return choose_rescale(
        NetworkInput(pixels.as_rgb(), "pretrained"),
        resolve_machine(settings.machine),
        pretrained_weights(pixels.modality),
    )


@pytest.mark.parametrize(
    ("factor", "factors"),
    [(0.4, {"2"}), (0.7, {"3/2", "2"}), (1.1, {"1"}), (2.5, {"1/2"})],
)
def test_small_nuclei_are_enlarged_and_large_ones_the_opposite(factor, factors):
    assert chosen_for(of_size(factor)[0]) in factors


def test_in_bfloat16_the_whole_way_is_walked_at_another_size():
    image = of_size(0.4)[0][:128, :128]
    assert chosen_for(image, precision="bfloat16") == "2"
    settings = Settings.create(**{**MACHINE, "precision": "bfloat16", "max_steps": 2})
    *_, last = run(Pixels.from_array(image), settings)
    assert last.result.report.objects.count > 0


def test_where_nothing_is_found_the_image_is_seen_as_it_is():
    glass = np.random.default_rng(0).normal(240, 1, (200, 200, 3)).astype(np.uint8)
    assert chosen_for(glass) == "1"


def test_small_nuclei_are_found_better_for_it():
    image, truth = of_size(0.4)
    views = {**MACHINE, "test_time_augmentation": None, "max_steps": 5}
    plain = napari_patchseg.segment(image, **views, rescale="1")
    *_, last = run(Pixels.from_array(image), Settings.create(**views))
    assert last.result.report.settings.training.rescale == "2"
    assert last.result.model.settings.training.rescale == "2"
    better, worse = (adapted_rand_error(truth, found)[0] for found in (last.result.labels, plain))
    assert better < worse - 0.05


def test_the_expected_diameter_decides_where_it_is_given():
    image, _ = of_size(1)
    for diameter, rescale in ((12, "2"), (20, "3/2"), (30, "1"), (60, "1/2")):
        settings = Settings.create(**MACHINE, nucleus_diameter=diameter, max_steps=1)
        *_, last = run(Pixels.from_array(image), settings, make_labels=False)
        assert last.result.report.settings.training.rescale == rescale


def test_a_random_start_learns_at_the_size_of_the_image():
    image, _ = of_size(0.4)
    settings = Settings.create("default", weights="random", classes=2, **MACHINE, max_steps=1)
    *_, last = run(Pixels.from_array(image[:96, :96]), settings, make_labels=False)
    assert last.result.report.settings.training.rescale == "1"


def test_a_model_is_applied_at_the_size_of_the_nuclei_of_each_image():
    large, small = of_size(1)[0], of_size(0.4)[0]
    settings = Settings.create(**MACHINE, max_steps=1)
    *_, trained = run(Pixels.from_array(large), settings, make_labels=False)
    assert trained.result.model.settings.training.rescale == "1"
    *_, last = run(Pixels.from_array(small), Settings.create(**MACHINE), model=trained.result.model)
    assert last.result.report.settings.training.rescale == "2"


def test_a_model_is_measured_by_its_own_settings():
    small = of_size(0.4)[0]
    settings = Settings.create(**MACHINE, max_steps=1)
    *_, trained = run(Pixels.from_array(small), settings, make_labels=False)
    other = Settings.create(**MACHINE, weights="random", classes=4)
    *_, last = run(Pixels.from_array(small), other, model=trained.result.model)
    assert last.result.report.settings.training.rescale == "2"


def test_glass_among_several_images_does_not_decide():
    glass = np.random.default_rng(0).normal(240, 1, (200, 200, 3)).astype(np.uint8)
    images = [Pixels.from_array(image) for image in (glass, of_size(0.4)[0])]
    *_, last = run(images, Settings.create(**MACHINE, max_steps=1), make_labels=False)
    assert last.result.report.settings.training.rescale == "2"


def test_a_preview_is_not_taken_for_a_map_as_the_settings_say():
    control = Control()
    control.previews = True
    maps = {}
    pixels = Pixels.from_array(of_size(0.4)[0])
    for item in run(pixels, Settings.create(**MACHINE, max_steps=4), control=control):
        if isinstance(item, MapMade):
            maps[item.confidence.step] = item.confidence.is_exact
            control.request_map()
    assert maps[0] is False
    assert maps[1] is True


@given(st.floats(0.5, 1000), st.floats(0.5, 1000))
def test_larger_nuclei_are_never_enlarged_more(one, other):
    smaller, larger = sorted((one, other))
    assert Fraction(rescale_for(smaller)) >= Fraction(rescale_for(larger))

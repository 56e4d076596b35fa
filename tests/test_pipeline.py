"""The whole way, on synthetic images with known nuclei."""

import json
import tracemalloc

import numpy as np
import pytest
import torch
from skimage.metrics import adapted_rand_error

import napari_patchseg
from napari_patchseg.errors import (
    DeviceError,
    ImageError,
    ModelError,
    PatchSegError,
    SettingsError,
)
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.events import Control, MapMade, Step
from napari_patchseg.method.hardware import resolve_machine
from napari_patchseg.method.maps import ConfidenceMap, NucleusClass, channel_names
from napari_patchseg.modality import MODALITIES
from napari_patchseg.objects import ClassChooser, choose_nucleus
from napari_patchseg.pipeline import resolve, run
from napari_patchseg.report import Finished, Progress, Report, Started
from napari_patchseg.settings import Settings
from napari_patchseg.synthetic import synthetic_field, synthetic_fluorescence

MACHINE = {
    "device": "cpu",
    "precision": "float32",
    "memory_format": "contiguous",
    "threads": 1,
}
QUICK = {**MACHINE, "max_steps": 3, "batch_size": 2, "crop_size": 120}


@pytest.fixture(scope="module")
def field():
    return synthetic_field((256, 256), seed=11)


def result_of(image, control=None, model=None, make_labels=True, **changes):
    pixels = image if isinstance(image, list) else Pixels.from_array(image)
    settings = Settings.create(**{**QUICK, **changes})
    *_, last = run(pixels, settings, control=control, model=model, make_labels=make_labels)
    assert isinstance(last, Finished)
    return last.result


def test_the_default_preset_finds_the_nuclei_of_a_synthetic_field(dice):
    image, truth = synthetic_field((320, 320), seed=77)
    labels = napari_patchseg.segment(image, **MACHINE)
    assert labels.dtype == np.uint16
    assert dice(truth, labels) > 0.8
    assert adapted_rand_error(truth, labels)[0] < 0.2
    assert 0.7 < labels.max() / truth.max() < 1.3


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_fluorescence_is_found(seed, dice):
    image, truth = synthetic_fluorescence((256, 256), seed)
    labels = napari_patchseg.segment(image, **QUICK)
    assert dice(truth, labels) > 0.8
    assert adapted_rand_error(truth, labels)[0] < 0.4


@pytest.mark.parametrize(
    ("kind", "image"),
    [
        ("stained", synthetic_field((128, 128), 1)[0]),
        ("grey", synthetic_field((128, 128), 1)[0].mean(-1)),
        ("fluorescence", synthetic_fluorescence((128, 128), 1)[0]),
    ],
)
def test_every_kind_of_image_is_seen_as_such(kind, image):
    events = list(run(Pixels.from_array(image), Settings.create(**QUICK)))
    (started,) = (event for event in events if isinstance(event, Started))
    assert started.resolved.modality is MODALITIES[kind]
    assert events[-1].result.report.settings.image_kind == kind
    assert events[-1].result.model.image_kind == kind


def test_images_of_two_kinds_are_not_trained_on_together(field):
    glow = Pixels.from_array(synthetic_fluorescence((128, 128), 1)[0])
    with pytest.raises(ImageError, match="train on like images"):
        result_of([Pixels.from_array(field[0]), glow])


def test_a_model_of_another_kind_of_image_is_used_with_a_warning(field):
    model = result_of(synthetic_fluorescence((128, 128), 1)[0]).model
    warned = result_of(field[0], model=model).report.warnings
    assert any("train on this image" in text for text in warned)
    assert not result_of(synthetic_fluorescence((128, 128), 2)[0], model=model).report.warnings


@pytest.mark.parametrize("classes", [1, 4])
def test_a_model_is_read_as_it_was_made_whatever_the_settings_say(field, classes):
    """A random start has no map of interiors: the default's settings must not take one for it."""
    random = {"preset": "paper", "weights": "random", "classes": classes}
    model = result_of(field[0], **random, crop_size=160, batch_size=2).model
    as_default = result_of(field[0], model=model)
    as_paper = result_of(field[0], model=model, **random)
    assert np.array_equal(as_default.labels, as_paper.labels)
    assert as_default.report.objects == as_paper.report.objects


def test_interiors_belong_to_whole_nuclei_of_pretrained_weights():
    data = np.random.default_rng(0).random((2, 64, 64)).astype(np.float32)

    def map_of(weights="pretrained", index=0, inverted=False):
        nucleus = NucleusClass(index, inverted, 0.5)
        channels = channel_names(weights, 2)
        return ConfidenceMap(1, data, channels, (0, 0, 64, 64), 1, nucleus)

    assert np.array_equal(map_of().interiors, data[1])
    assert map_of(weights="random").interiors is None
    assert map_of(index=1).interiors is None
    assert map_of(inverted=True).interiors is None


def test_grey_goes_the_same_way(dice):
    image, truth = synthetic_field((256, 256), seed=5)
    rng = np.random.default_rng(0)
    glow = (400 + 3000 * (truth > 0) + rng.normal(0, 120, truth.shape)).clip(0).astype(np.uint16)
    assert dice(truth, napari_patchseg.segment(glow, **QUICK)) > 0.75
    grey = image.mean(-1).astype(np.float32)
    assert dice(truth, napari_patchseg.segment(grey, **QUICK)) > 0.6


def test_the_paper_preset_runs_from_random_weights(field):
    result = result_of(
        field[0], preset="paper", weights="random", classes=4, crop_size=160, batch_size=2
    )
    assert result.report.settings.training.weights == "random"
    assert result.confidence.data.shape == (4, 256, 256)


def test_the_run_tells_where_it_is_and_ends_with_a_report(field):
    pixels = Pixels.from_array(field[0])
    events = list(run(pixels, Settings.create(**QUICK), pixel_size=0.25))
    kinds = [type(event) for event in events]
    assert kinds.count(Step) == 3
    assert kinds[-1] is Finished
    phases = [event.phase for event in events if isinstance(event, Progress)]
    assert list(dict.fromkeys(phases)) == ["starting", "predicting", "labelling"]
    result = events[-1].result
    report = result.report
    assert json.loads(json.dumps(report.to_dict())) == report.to_dict()
    assert report.stop_reason == "step limit"
    assert report.steps == 3
    assert report.objects.count == result.labels.max()
    assert report.image.pixel_size_um == 0.25
    assert report.settings.machine.device == "cpu"
    assert {"torch", "numpy", "napari-patchseg"} <= set(report.versions)
    assert {"starting", "training", "predicting", "labelling"} == set(report.seconds)
    assert len(result.history) == 3


def test_the_same_seed_image_and_settings_give_identical_labels(field):
    one, two = (result_of(field[0]) for _ in range(2))
    assert np.array_equal(one.labels, two.labels)
    assert np.array_equal(one.confidence.data, two.confidence.data)


def test_a_trained_model_gives_the_labels_it_was_trained_to(field):
    trained = result_of(field[0])
    again = result_of(field[0], model=trained.model)
    assert np.array_equal(trained.labels, again.labels)
    assert again.report.steps == trained.report.steps


@pytest.mark.parametrize("weights", ["pretrained", "random"])
def test_training_goes_on_from_a_model(field, weights):
    kept = {"threads": 1, "device": "cpu", "weights": weights, "max_steps": 2}
    first = napari_patchseg.train_model([field[0]], **kept)
    last = napari_patchseg.train_model([field[0]], start=first, learning_rate=1e-9, **kept)
    assert last.steps == 2
    assert all(  # hardly moved from where it began, which is not where the preset begins
        torch.allclose(last.weights[name], tensor, atol=1e-4)
        for name, tensor in first.weights.items()
        if "running" not in name and "tracked" not in name
    )
    anew = napari_patchseg.train_model([field[0]], learning_rate=1e-9, **kept)
    assert any(not torch.equal(anew.weights[name], first.weights[name]) for name in first.weights)
    *_, end = run(Pixels.from_array(field[0]), Settings.create(**kept), start=first)
    assert end.result.report.start_steps == 2


def test_a_model_is_used_or_begun_with(field):
    model = napari_patchseg.train_model([field[0]], max_steps=1, threads=1, device="cpu")
    with pytest.raises(ModelError, match="not both"):
        napari_patchseg.segment(field[0], model=model, start=model)
    with pytest.raises(ModelError, match="start should be a Model"):
        napari_patchseg.segment(field[0], start="liver.safetensors")
    model = napari_patchseg.train_model(
        [field[0]], weights="random", max_steps=1, threads=1, device="cpu"
    )
    with pytest.raises(ModelError, match="channels"):
        napari_patchseg.segment(
            np.zeros((96, 96, 2)) + field[0][:96, :96, :2], start=model, channel_axis=2
        )


def test_several_images_train_one_model(field):
    other, _ = synthetic_field((200, 220), seed=12)
    model = napari_patchseg.train_model([field[0], other], **QUICK)
    assert model.steps == 3
    assert napari_patchseg.segment(other, model=model, **MACHINE).max() > 10


def test_a_region_is_labelled_in_its_place(field):
    labels = napari_patchseg.segment(field[0], box=(40, 60, 200, 240), **QUICK)
    assert labels.shape == (256, 256)
    assert labels[40:200, 60:240].max() > 5
    outside = labels.copy()
    outside[40:200, 60:240] = 0
    assert not outside.any()


def test_pixels_that_are_not_finite_get_no_label_and_are_said(field):
    image = field[0].astype(np.float32)
    image[100:120, 100:120] = np.nan
    result = result_of(image)
    assert not result.labels[100:120, 100:120].any()
    assert result.labels.any()
    assert any("NaN" in text for text in result.report.warnings)


rng = np.random.default_rng(3)
NOTHING = {
    "noise": rng.integers(0, 256, (128, 128, 3), dtype=np.uint8),
    "glass": rng.normal(240, 3, (128, 128, 3)).clip(0, 255).astype(np.uint8),
    "blood": (np.array([180, 40, 50]) + rng.normal(0, 5, (128, 128, 3))).astype(np.uint8),
}


@pytest.mark.parametrize("name", NOTHING)
def test_nothing_to_separate_is_a_result(name):
    result = result_of(NOTHING[name])
    assert result.report.stop_reason == "nothing separated"
    assert result.report.objects.count == 0
    assert result.labels.shape == (128, 128)
    assert not result.labels.any()
    assert any("Nothing could be separated" in text for text in result.report.warnings)


def test_stopping_keeps_the_weights_and_makes_no_labels(field):
    control = Control()
    events = []
    for event in run(Pixels.from_array(field[0]), Settings.create(**QUICK), control=control):
        events.append(event)
        if isinstance(event, Step):
            control.cancel()
    result = events[-1].result
    assert result.labels is None
    assert result.model.steps == 1  # the step under way is given up
    assert result.report.stop_reason == "stopped"


def test_stop_ends_the_labelling_too(field):
    control = Control()
    events = []
    model = result_of(field[0], make_labels=False).model
    pixels = Pixels.from_array(field[0])
    for event in run(pixels, Settings.create(**QUICK), control=control, model=model):
        events.append(event)
        if isinstance(event, Progress) and event.phase == "labelling" and event.done:
            assert event.done < event.total
            control.cancel()
    assert events[-1].result.labels is None
    assert events[-1].result.confidence is not None
    assert sum(getattr(event, "phase", "") == "labelling" for event in events) == 2


def test_the_class_of_a_large_map_is_chosen_on_a_part_of_it(field):
    pixels = Pixels.from_array(np.tile(field[0], (9, 9, 1)))
    height, width = pixels.shape[1:]
    prior = pixels.prior()
    data = np.stack([rng.random(prior.shape, np.float32), prior.max() - prior])
    tracemalloc.start()
    choose = ClassChooser(pixels, Settings.create("paper").objects)
    chosen = choose(data, channel_names("random", 2), (0, 0, height, width), 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (chosen.index, chosen.inverted) == (1, True)
    assert chosen.correlation == pytest.approx(-1, abs=1e-4)
    assert prior.size > 5e6
    assert peak < 100e6  # colours are taken apart by a million pixels at a time


def test_class_and_polarity_can_be_chosen(field):
    data = rng.random((2, 40, 50)).astype(np.float32)
    prior = data[1]
    automatic = Settings.create().objects
    taught, free = (channel_names(weights, 2) for weights in ("pretrained", "random"))
    assert choose_nucleus(data, taught, prior, automatic).index == 0
    assert choose_nucleus(data, free, prior, automatic).index == 1
    assert not choose_nucleus(data, free, prior, automatic).inverted
    said = Settings.create(nucleus_class=1, nucleus_polarity="inverted").objects
    chosen = choose_nucleus(data, taught, prior, said)
    assert (chosen.index, chosen.inverted) == (1, True)
    inverted = result_of(field[0], nucleus_polarity="inverted").confidence
    assert np.allclose(inverted.nuclei, 1 - inverted.data[0])


def test_every_choice_is_made_and_reported(field):
    """Of resolved settings nothing is left to image or machine: they give the same labels again."""
    pixels = Pixels.from_array(field[0])
    machine = resolve_machine(Settings.create().machine)
    resolved = resolve(Settings.create(), pixels, machine)
    settings = resolved.settings
    assert None not in (*settings.machine.model_dump().values(), settings.image_kind)
    assert None not in settings.training.model_dump().values()
    assert resolve(settings, pixels, resolve_machine(settings.machine)).settings == settings
    result = result_of(field[0])
    assert (
        result.report.settings
        == resolve(
            Settings.create(**QUICK), pixels, resolve_machine(Settings.create(**QUICK).machine)
        ).settings
    )
    again = napari_patchseg.segment(field[0], settings=result.report.settings)
    assert np.array_equal(again, result.labels)


@pytest.mark.parametrize("of", [(1.6, 1.0, 0.3), (2.2, 2.2, 2.2)], ids=["blue", "black"])
def test_a_pen_costs_no_nuclei_beside_it_and_makes_none(field, of, dice):
    image, truth = field
    rows, columns = np.mgrid[: truth.shape[0], : truth.shape[1]]
    stroke = np.abs(rows - 0.8 * columns - 40) < 20
    penned = image * np.exp(-np.array(of) * stroke[..., None])
    labels = result_of(penned.astype(np.uint8)).labels
    plain = result_of(image).labels
    assert not labels[stroke].any()
    truth, plain = np.where(stroke, 0, truth), np.where(stroke, 0, plain)
    assert dice(truth, labels) > dice(truth, plain) - 0.05


def test_a_map_of_the_pretrained_weights_comes_before_anything_is_chosen(field):
    events = run(
        Pixels.from_array(field[0]), Settings.create(**QUICK), control=Control(previews=True)
    )
    kinds = [type(event) for event in events]
    assert kinds.index(MapMade) < kinds.index(Started) < kinds.index(Step)


def test_a_run_that_is_stopped_at_its_first_map_ends_as_stopped(field):
    control = Control(previews=True)
    for event in run(Pixels.from_array(field[0]), Settings.create(**QUICK), control=control):
        if isinstance(event, MapMade):
            control.cancel()
    assert event.result.report.stop_reason == "stopped"
    assert event.result.labels is None


def failing(change, error, says):
    return pytest.param(change, error, says, id=says)


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        failing({"device": "cuda"}, DeviceError, "not available"),
        failing({"nucleus_diameter": 8, "diameter_unit": "µm"}, SettingsError, "pixel size"),
        failing({"classes": 3}, SettingsError, "2 classes"),
        failing({"colour": 3}, SettingsError, "colour"),
    ],
)
def test_what_a_user_gets_wrong_is_one_sentence(field, change, error, says):
    import torch

    if change.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has what must be missing")
    with pytest.raises(error, match=says) as caught:
        napari_patchseg.segment(field[0], **{**QUICK, **change})
    assert "\n" not in str(caught.value)


def test_images_and_models_must_go_together(field):
    with pytest.raises(ImageError, match="no image"):
        result_of([])
    stack = [Pixels.from_array(field[0]), Pixels.from_array(field[0][..., 0])]
    with pytest.raises(ImageError, match="channels"):
        result_of(stack)
    paper = {"preset": "paper", "weights": "random", "classes": 4}
    model = result_of(field[0], **paper).model
    with pytest.raises(ModelError, match="3 channel"):
        result_of(field[0][..., 0], model=model)


class _Failing:
    """A lazy image that cannot be read any more once it is armed."""

    def __init__(self, array):
        self.array, self.error = array, None
        self.shape, self.dtype, self.ndim = array.shape, array.dtype, array.ndim

    def __getitem__(self, index):
        if self.error is not None:
            raise self.error
        return self.array[index]


@pytest.mark.parametrize("kind", [RuntimeError, MemoryError])
def test_what_a_library_throws_reaches_the_user_as_a_sentence(field, kind):
    image = _Failing(field[0])
    pixels = Pixels.from_array(image)
    image.error = kind("inner detail\nand a second line")
    with pytest.raises((ImageError, DeviceError)) as caught:
        result_of([pixels])
    assert isinstance(caught.value, PatchSegError)
    assert "\n" not in str(caught.value)


def test_the_default_split_depth_follows_what_is_split(field):
    """Interiors add to the height, and nuclei that glow are smoother than stained ones."""
    bright, _ = synthetic_fluorescence((128, 128), seed=2)
    stained = result_of(field[0][:128, :128]).report.objects.split_depth
    glowing = result_of(bright).report.objects.split_depth
    assert 0 < glowing < stained
    assert result_of(bright, split_depth=0.3).report.objects.split_depth == 0.3


def test_most_of_the_image_being_empty_is_no_collapse(dice):
    """Crops without nuclei come often there; what is found in the rest must not be lost."""
    bright, truth = synthetic_fluorescence((128, 128), seed=2)
    image = np.full((700, 700), 3, np.uint8)
    image[:128, :128] = np.maximum(image[:128, :128], bright)
    *_, last = run(Pixels.from_array(image), Settings.create(**MACHINE, max_steps=12))
    result = last.result
    assert result.report.warnings == ()
    assert result.report.stop_reason in ("converged", "step limit")
    assert result.labels.max() > 0.5 * truth.max()
    assert dice(truth, result.labels[:128, :128]) > 0.7


def test_what_is_said_of_an_image_is_heeded_and_reported(field):
    pixels = Pixels.from_array(field[0])
    result = result_of([pixels], image_kind="grey")
    assert result.model.image_kind == "grey"
    assert result.report.settings.image_kind == "grey"
    assert "darker than" in result.report.image.description
    grey = Pixels.from_array(field[0], image_kind="grey")
    assert result_of([grey]).report.settings.image_kind == "grey"
    assert pixels.kind == "stained"


def test_stop_while_nuclei_are_measured_gives_that_up(field):
    control = Control()
    small = Pixels.from_array(field[0][::2, ::2])
    for event in run(small, Settings.create(**{**QUICK, "rescale": None}), control=control):
        if isinstance(event, Progress):
            control.cancel()
    assert isinstance(event, Finished)
    assert event.result.report.stop_reason == "stopped"
    assert event.result.report.settings.training.rescale == "1"


def test_a_report_is_read_as_it_was_written(field):
    report = result_of(field[0][:128, :128]).report
    assert Report.model_validate(report.to_dict()) == report

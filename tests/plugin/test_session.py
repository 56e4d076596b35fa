"""A session in a real viewer, with a real worker and the real pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import dask
import dask.array
import numpy as np
import pytest

from napari_patchseg import segment
from napari_patchseg.errors import PatchSegError
from napari_patchseg.plugin._run import Phase
from napari_patchseg.plugin.layer_source import Region, source_of
from napari_patchseg.plugin.session import TrainingSession, running_session
from napari_patchseg.settings import Settings

Wait = Callable[[Callable[[], Any]], None]


class Slide:
    """An image called "slide", and a session that segments it."""

    def __init__(self, viewer: Any, layer: Any, wait: Wait) -> None:
        self.viewer, self.layer, self.wait = viewer, layer, wait
        self.session = TrainingSession(viewer)
        self.told: list[str] = []
        self.session.told.connect(lambda sentence, _is_error: self.told.append(sentence))

    def start(self, settings: Settings, *, region: Region = Region.WHOLE, **options: Any) -> None:
        self.session.start(source_of(self.viewer, self.layer, region), settings, **options)

    def run(self, settings: Settings, **options: Any) -> None:
        self.start(settings, **options)
        self.end()

    def label(self, settings: Settings) -> Any:
        """Run to the labels' layer."""
        self.run(settings, make_labels=True)
        return self.session.labels

    def end(self) -> None:
        self.wait(lambda: not self.session.is_busy and not self.session.is_relabelling)

    def stop(self) -> None:
        self.session.stop()
        self.end()

    def until_step(self, step: int) -> None:
        self.wait(lambda: self.session.run_state.step >= step)

    def pause(self) -> None:
        self.session.pause()
        self.wait(lambda: self.session.state is Phase.PAUSED)

    def shows(self, role: str) -> bool:
        return f"{role} · slide" in self.viewer.layers

    def of(self, role: str) -> Any:
        return self.viewer.layers[f"{role} · slide"]

    def report(self) -> dict[str, Any]:
        """Of the labels."""
        assert self.session.labels is not None
        return dict(self.session.labels.metadata["napari_patchseg"])

    def set_objects(self, **changes: Any) -> None:
        assert self.session.run is not None
        self.session.set_objects(self.session.run.objects.model_copy(update=changes))


@pytest.fixture
def slide(viewer: Any, image: np.ndarray, transform: dict[str, Any], wait: Wait) -> Iterator[Slide]:
    layer = viewer.add_image(image.copy(), rgb=True, name="slide", **transform)
    slide = Slide(viewer, layer, wait)
    yield slide
    slide.session.shutdown()


@pytest.mark.parametrize("preset", ["quick", "quick_paper"])
def test_a_run_to_its_end(slide: Slide, preset: str, request: pytest.FixtureRequest) -> None:
    settings = request.getfixturevalue(preset)
    steps = settings.training.max_steps
    phases = []
    slide.session.state_changed.connect(lambda state: phases.append(state.phase))
    labels = slide.label(settings)
    assert phases[0] is Phase.STARTING
    assert slide.session.state is Phase.FINISHED
    run = slide.session.run
    assert run is not None
    assert [row.step for row in run.history] == list(range(1, steps + 1))
    assert run.trained is not None
    assert run.trained.steps == steps
    assert labels is slide.of("nuclei")
    assert labels.data.max() > 3
    report = slide.report()
    assert report["stop_reason"] == "step limit"
    assert report["steps"] == steps
    assert report["settings"]["preset"] == settings.preset
    assert report["versions"]["torch"]
    assert f"{report['objects']['count']} nuclei" in slide.session.message
    confidence = slide.of("confidence")
    assert confidence.data.shape == (128, 128)
    assert confidence.metadata["napari_patchseg"]["step"] == steps
    assert 0 <= confidence.data.min() < confidence.data.max() <= 1


def test_live_layers_change_while_it_trains(slide: Slide, long: Settings) -> None:
    slide.start(long)
    slide.wait(lambda: slide.shows("negative patches"))
    live = list(slide.viewer.layers)[1:]
    maps, patches = {}, set()

    def seen() -> bool:
        maps[live[0].metadata["napari_patchseg"]["step"]] = live[0].data.tobytes()
        patches.add(live[1].metadata["napari_patchseg"]["step"])
        return len(patches) >= 2 and len(maps) >= 3

    slide.wait(seen)
    assert len(set(maps.values())) == len(maps)
    assert list(slide.viewer.layers)[1:] == live
    assert live[1].nshapes + live[2].nshapes <= 60


def test_the_last_step_s_patches_are_shown_in_a_pause_and_at_the_end(
    slide: Slide, long: Settings
) -> None:
    def is_last() -> bool:
        layers = slide.of("positive patches"), slide.of("negative patches")
        steps = {layer.metadata["napari_patchseg"].get("step") for layer in layers}
        return slide.session.run_state.step in steps  # there may be none of one kind

    slide.start(long)
    slide.wait(lambda: slide.shows("negative patches"))
    slide.pause()
    slide.wait(is_last)
    slide.session.resume()
    slide.until_step(slide.session.run_state.step + 2)
    slide.stop()
    assert is_last()


def test_patches_are_where_the_crops_were(slide: Slide, long: Settings) -> None:
    """Under scale, rotation, shear and an affine a patch is the image of its pixels."""
    slide.start(long)
    slide.wait(lambda: slide.shows("negative patches"))
    slide.stop()
    for role in ("positive patches", "negative patches"):
        shapes = slide.of(role)
        for corners in shapes.data:
            inside = corners + 0.5
            assert (inside >= 0).all()
            assert (inside <= 128).all()
            for corner in corners:
                np.testing.assert_allclose(
                    shapes.data_to_world(corner), slide.layer.data_to_world(corner)
                )


def test_labels_while_it_trains_and_while_it_is_paused(slide: Slide, long: Settings) -> None:
    slide.start(long)
    slide.until_step(2)
    slide.session.make_labels()
    slide.wait(lambda: slide.shows("nuclei"))
    assert slide.session.is_busy
    made_at = slide.report()["steps"]
    slide.pause()
    slide.session.make_labels()
    slide.wait(lambda: slide.report()["steps"] > made_at)
    assert slide.session.state is Phase.PAUSED
    assert sum(layer.name.startswith("nuclei") for layer in slide.viewer.layers) == 1
    step = slide.session.run_state.step
    slide.session.resume()
    slide.until_step(step + 1)
    assert slide.session.state is Phase.TRAINING


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("streaming", [False, True])
def test_stop_keeps_the_weights(
    slide: Slide, long: Settings, paused: bool, streaming: bool
) -> None:
    slide.session.streaming = streaming
    slide.start(long)
    slide.until_step(2)
    if paused:
        slide.pause()
    slide.session.stop()
    assert slide.session.state is Phase.STOPPING
    slide.end()
    assert slide.session.state is Phase.STOPPED
    run = slide.session.run
    assert run is not None
    assert run.trained is not None
    assert slide.shows("confidence") == streaming
    slide.session.make_labels()
    slide.end()
    assert slide.report()["steps"] == run.trained.steps
    assert slide.report()["stop_reason"] == "stopped"
    assert slide.session.state is Phase.STOPPED
    if not streaming:
        assert len(slide.viewer.layers) == 2


def test_deleting_the_image_ends_the_run(slide: Slide, long: Settings) -> None:
    slide.start(long)
    slide.until_step(1)
    slide.viewer.layers.remove(slide.layer)
    slide.end()
    assert slide.told == ["'slide' was removed, so the run was ended."]
    assert not slide.session.can_label


CHANGES: dict[str, Callable[[Any], Any]] = {
    "in place": lambda layer: (layer.data.__setitem__(slice(40), 255), layer.refresh()),
    "other data": lambda layer: setattr(layer, "data", layer.data[::-1].copy()),
    "without an event": lambda layer: layer.data.__setitem__(slice(40), 255),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_end_the_run(slide: Slide, quick: Settings, change: str) -> None:
    """At the latest when it ends anyhow."""
    slide.start(quick.replace(max_steps=12), make_labels=True)
    slide.until_step(1)
    CHANGES[change](slide.layer)
    slide.end()
    assert slide.told == ["The data of 'slide' changed, so the run was ended."]
    assert not slide.session.can_label  # the weights stay, but they are of another picture
    assert not slide.shows("nuclei")
    slide.run(quick)
    assert slide.session.state is Phase.FINISHED


@pytest.mark.parametrize("error", [RuntimeError, ValueError, MemoryError, StopIteration, OSError])
def test_errors_in_the_worker_reach_the_user(
    slide: Slide, quick: Settings, error: type[Exception]
) -> None:
    @dask.delayed
    def break_down() -> None:
        raise error("mat1 and mat2 cannot be multiplied\nsecond line")

    intact, shape = slide.layer, (128, 128, 3)
    # one plane is there to be drawn, the other breaks when it is read
    rows = dask.array.from_delayed(break_down(), shape, np.uint8)
    stack = dask.array.stack([dask.array.from_array(np.asarray(intact.data)), rows])
    slide.layer = slide.viewer.add_image(stack, rgb=True, name="broken")
    source = source_of(slide.viewer, slide.layer)
    slide.session.start(type(source)(**{**vars(source), "plane": at(source.plane, 1)}), quick)
    slide.end()
    assert slide.session.state is Phase.FAILED
    (sentence,) = slide.told
    assert sentence
    assert "\n" not in sentence
    slide.layer = intact
    slide.run(quick)
    assert slide.session.state is Phase.FINISHED


def at(plane: Any, position: int) -> Any:
    return type(plane)(**{**vars(plane), "position": (position, 0, 0)})


def test_bad_images_fail_with_their_sentence(slide: Slide, quick: Settings) -> None:
    slide.layer = slide.viewer.add_image(np.full((100, 100), 7, np.uint8))
    slide.run(quick)
    assert slide.session.state is Phase.FAILED
    assert "same value" in slide.told[0]


def test_nothing_to_separate_is_a_result(slide: Slide, quick_paper: Settings) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    slide.layer = slide.viewer.add_image(noise, rgb=True, name="noise")
    labels = slide.label(quick_paper)
    assert slide.session.state is Phase.FINISHED
    assert "nothing separated" in slide.session.message
    assert len(slide.told) == 1
    assert labels.data.max() == 0
    assert slide.report()["stop_reason"] == "nothing separated"
    slide.set_objects(threshold=0.1)  # nothing follows: there is no nucleus in that map
    slide.end()
    assert labels.data.max() == 0
    slide.session.make_labels()
    slide.end()
    assert slide.session.labels is labels
    assert labels.data.max() == 0
    assert len(slide.told) == 1


def test_labels_asked_for_meanwhile_are_empty_where_nothing_separates(
    slide: Slide, quick_paper: Settings
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    slide.layer = slide.viewer.add_image(noise, rgb=True, name="noise")
    slide.start(quick_paper)
    slide.session.make_labels()
    slide.end()
    assert slide.report()["stop_reason"] == "nothing separated"
    assert slide.session.labels.data.max() == 0


def test_sliders_renew_the_last_unedited_labels(slide: Slide, quick: Settings) -> None:
    labels = slide.label(quick)
    for threshold in (0.2, 0.3, 0.6):
        slide.set_objects(threshold=threshold, min_area=1.0)
    slide.end()
    assert slide.report()["objects"]["threshold"] == 0.6
    assert slide.report()["settings"]["objects"]["threshold"] == 0.6
    labels.paint((60, 60), 99)
    edited = labels.data.copy()
    for threshold in (0.3, 0.4):
        slide.set_objects(threshold=threshold)
        slide.end()
    np.testing.assert_array_equal(labels.data, edited)
    assert slide.told == ["Edited labels stay; Make labels adds a new layer."]
    slide.session.make_labels()
    slide.end()
    assert slide.session.labels is not labels
    np.testing.assert_array_equal(labels.data, edited)


def test_labels_whose_array_was_changed_stay(slide: Slide, quick: Settings) -> None:
    labels = slide.label(quick)
    labels.data[labels.data == 3] = 0
    labels.refresh()
    slide.set_objects(threshold=0.3)
    slide.end()
    assert 3 not in labels.data
    assert slide.told == ["Edited labels stay; Make labels adds a new layer."]


def change_in_place(labels: Any) -> np.ndarray:
    """Take a nucleus away, of which no event tells."""
    labels.data[labels.data == 3] = 0
    return np.asarray(labels.data.copy())


@pytest.mark.parametrize("way", ["make labels", "another run", "a model on a part"])
def test_an_array_changed_without_an_event_is_not_lost(
    slide: Slide, quick: Settings, way: str
) -> None:
    labels = slide.label(quick)
    edited = change_in_place(labels)
    if way == "make labels":
        slide.session.make_labels()
        slide.end()
    elif way == "another run":
        slide.label(quick)
    else:
        assert slide.session.run is not None
        source = replace(source_of(slide.viewer, slide.layer), box=(0, 0, 64, 128))
        slide.session.start(source, quick, model=slide.session.run.trained, make_labels=True)
        slide.end()
    made = slide.session.labels
    assert made is not labels
    np.testing.assert_array_equal(labels.data, edited)
    if way == "a model on a part":
        np.testing.assert_array_equal(made.data[64:], edited[64:])


def test_a_diameter_is_estimated_once(slide: Slide, quick: Settings) -> None:
    """By the run or by the first labels; for another class, and beside the user's own, anew."""
    slide.label(quick)
    run = slide.session.run
    assert run is not None
    assert run.full is not None
    known = run.with_diameter(run.full, run.objects)
    assert known.diameter_in_pixels(None) == pytest.approx(slide.report()["objects"]["diameter"])
    own = run.objects.model_copy(update={"nucleus_diameter": 9.0})
    assert run.with_diameter(run.full, own) is own
    other = replace(run.full, nucleus=replace(run.full.nucleus, inverted=True))
    assert run.with_diameter(other, run.objects) == run.objects
    slide.set_objects(nucleus_polarity="inverted")
    slide.end()
    known = run.with_diameter(other, run.objects)
    assert known.diameter_in_pixels(None) == pytest.approx(slide.report()["objects"]["diameter"])


def test_a_wish_for_labels_ends_with_a_run_that_cannot_make_them(
    slide: Slide, long: Settings
) -> None:
    slide.start(long.replace(test_time_augmentation=1))
    slide.wait(lambda: slide.session.run is not None and slide.session.run.full is not None)
    slide.session.make_labels()
    slide.session.stop("The image has changed.")
    slide.end()
    slide.set_objects(threshold=0.3)
    slide.end()
    assert not slide.shows("nuclei")


def test_the_newest_wish_wins(slide: Slide, quick: Settings) -> None:
    slide.label(quick)
    made: list[float] = []
    slide.session.labelled.connect(lambda report: made.append(report.objects.threshold))
    for threshold in (0.2, 0.3, 0.35, 0.4):
        slide.set_objects(threshold=threshold)
    slide.end()
    assert made == [0.4]


def test_labels_asked_for_by_name_are_not_forgotten(slide: Slide, quick: Settings) -> None:
    slide.run(quick)
    slide.session.make_labels()
    slide.set_objects(threshold=0.3)  # there are no labels to renew yet
    slide.end()
    assert slide.report()["objects"]["threshold"] == 0.3


def test_the_shown_class_can_be_chosen(slide: Slide, quick_paper: Settings) -> None:
    slide.run(quick_paper)
    assert slide.session.run is not None
    full = slide.session.run.full
    assert full is not None
    for index in (0, 1):
        for polarity in ("direct", "inverted"):
            slide.set_objects(nucleus_class=index, nucleus_polarity=polarity)
            slide.end()
            expected = full.data[index] if polarity == "direct" else 1 - full.data[index]
            np.testing.assert_allclose(slide.of("confidence").data, expected, atol=1e-6)
            assert slide.of("confidence").metadata["napari_patchseg"]["class"] == index


def test_an_outline_is_shown_until_labels_are_there(slide: Slide, quick: Settings) -> None:
    labels = slide.label(quick)
    slide.viewer.layers.selection.active = slide.layer
    before = labels.data.copy()
    slide.set_objects(threshold=0.3)
    slide.wait(lambda: slide.shows("outline"))
    outline = slide.of("outline")
    assert set(slide.viewer.layers.selection) == {slide.layer}
    assert slide.session.labels is labels
    np.testing.assert_allclose(outline.data_to_world((9, 7)), slide.layer.data_to_world((9, 7)))
    slide.end()
    assert not outline.visible
    stay = (labels.data > 0) & (labels.data == before)
    assert 2 * stay.sum() > (before > 0).sum()  # with their numbers
    seen: list[bool] = []
    outline.events.visible.connect(lambda _event: seen.append(outline.visible))
    slide.set_objects(threshold=0.4)
    slide.wait(lambda: seen == [True, False])  # the same layer again
    slide.wait(lambda: not slide.shows("outline"))
    assert slide.viewer.layers.selection.active is slide.layer


def test_one_run_at_a_time(slide: Slide, long: Settings) -> None:
    slide.start(long)
    assert running_session() is slide.session
    other = Slide(slide.viewer, slide.layer, slide.wait)
    with pytest.raises(PatchSegError, match="under way"):
        other.start(long)
    slide.stop()
    assert running_session() is None


def test_the_same_seed_gives_the_same_labels(slide: Slide, quick: Settings) -> None:
    """Live layers and labels on the way change nothing."""
    slide.start(quick, make_labels=True)
    slide.until_step(1)
    slide.session.make_labels()
    slide.end()
    assert slide.session.labels is not None
    expected = segment(slide.layer.data, settings=quick, rgb=True, pixel_size=0.5)
    np.testing.assert_array_equal(slide.session.labels.data, expected)


def test_a_small_region_of_an_image(
    viewer: Any, image: np.ndarray, quick: Settings, wait: Wait
) -> None:
    slide = Slide(viewer, viewer.add_image(image, rgb=True, name="slide"), wait)
    viewer.add_shapes([np.array([[20, 30], [20, 120], [110, 120], [110, 30]]) - 0.5], name="box")
    slide.run(quick, region=Region.RECTANGLE, make_labels=True)
    labels = slide.of("nuclei").data
    assert labels.shape == (128, 128)
    inside = np.zeros((128, 128), bool)
    inside[20:110, 30:120] = True
    assert labels[inside].max() > 0
    assert labels[~inside].max() == 0
    for corners in slide.of("positive patches").data:
        assert (corners >= np.array([20, 30]) - 0.5).all()
        assert (corners <= np.array([110, 120]) - 0.5).all()
    slide.session.shutdown()


def test_the_window_s_thread_never_imports_torch(fresh_python: Callable[..., Any]) -> None:
    code = (
        "import sys, napari_patchseg.plugin.dock_widget, napari_patchseg.plugin.layer_menu;"
        "assert 'torch' not in sys.modules"
    )
    fresh_python("-c", code)


LEAVING = """
import napari
from qtpy.QtWidgets import QApplication
from napari_patchseg import Settings, synthetic_field
from napari_patchseg.plugin.layer_source import source_of
from napari_patchseg.plugin.session import TrainingSession
viewer = napari.Viewer(show=False)
image, _ = synthetic_field((128, 128), seed=0)
session = TrainingSession(viewer)
settings = Settings.create(crop_size=64, batch_size=2, max_steps=10_000, stop_at_convergence=False)
session.start(source_of(viewer, viewer.add_image(image)), settings)
while session.is_busy and session.run_state.step < STEPS:
    QApplication.processEvents()
assert session.is_busy
print("left")
"""


@pytest.mark.parametrize("steps", [0, 2])
def test_python_may_end_in_the_middle_of_a_run(
    fresh_python: Callable[..., Any], qapp: Any, steps: int
) -> None:
    assert "left" in fresh_python("-c", LEAVING.replace("STEPS", str(steps))).stdout

"""A session in a real viewer, with a real worker and the real pipeline."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_patchseg.errors import PatchSegError
from napari_patchseg.image.numbering import keep_numbers
from napari_patchseg.objects import make_labels
from napari_patchseg.plugin import mailbox, presenter
from napari_patchseg.plugin.layer_source import source_of
from napari_patchseg.plugin.live_layers import LiveLayers
from napari_patchseg.plugin.mailbox import Mailbox
from napari_patchseg.plugin.session import TrainingSession
from napari_patchseg.plugin.states import RunState
from napari_patchseg.plugin.worker import RunControl
from napari_patchseg.settings import Settings

Wait = Callable[[Callable[[], Any]], None]


@pytest.fixture
def session(viewer: Any, wait: Wait) -> Iterator[TrainingSession]:
    session = TrainingSession(viewer)
    yield session
    if session.is_busy:
        session.shutdown()
        wait(lambda: not session.is_busy)


@pytest.fixture
def layer(viewer: Any, image: np.ndarray, transform: dict[str, Any]) -> Any:
    return viewer.add_image(image.copy(), rgb=True, name="slide", **transform)


@pytest.fixture
def sentences(session: TrainingSession) -> list[str]:
    heard: list[str] = []
    session.told.connect(lambda text, _error: heard.append(text))
    return heard


def step(session: TrainingSession) -> int:
    return session.record.last.step if session.record and session.record.last else 0


def test_a_run_to_its_end(
    viewer: Any, session: TrainingSession, layer: Any, quick: Settings, wait: Wait
) -> None:
    states = []
    session.state_changed.connect(lambda: states.append(session.state))
    session.start(source_of(viewer, layer), quick, make_labels=True)
    assert session.state is RunState.STARTING
    wait(lambda: not session.is_busy)
    assert session.state is RunState.FINISHED
    assert "limit of 12 steps" in session.message
    assert RunState.TRAINING in states
    assert [row[0] for row in session.record.history] == list(range(1, 13))
    assert session.record.model.steps == 12
    labels = viewer.layers["nuclei · slide"]
    assert labels.data.max() > 3
    report = labels.metadata["napari_patchseg"]
    assert report["settings"]["seed"] == 0
    assert report["steps"] == 12
    assert report["stop_reason"] == "step limit"
    assert report["versions"]["torch"]
    confidence = viewer.layers["confidence · slide"]
    assert confidence.data.shape == (128, 128)
    assert confidence.metadata["napari_patchseg"]["step"] == 12
    assert 0 <= confidence.data.min() < confidence.data.max() <= 1


def test_live_layers_change_while_it_trains(
    viewer: Any, session: TrainingSession, layer: Any, long: Settings, wait: Wait
) -> None:
    session.start(source_of(viewer, layer), long)
    wait(lambda: "negative patches · slide" in viewer.layers)
    live = list(viewer.layers)[1:]
    maps, windows = set(), set()

    def seen() -> bool:
        shown = live[0].metadata["napari_patchseg"]["step"]
        maps.add((shown, live[0].data.tobytes()))
        windows.add(live[1].metadata["napari_patchseg"]["step"])
        return len(windows) >= 3 and len(maps) >= 3  # either may come first

    wait(seen)
    steps = [number for number, _ in maps]
    assert len(steps) == len(set(steps)) >= 3  # a step's map never changes, no map has two steps
    assert len({pixels for _, pixels in maps}) == len(maps)
    assert list(viewer.layers)[1:] == live
    assert live[1].nshapes + live[2].nshapes <= 60


def test_windows_are_drawn_once_a_second_and_at_the_end(
    viewer: Any,
    session: TrainingSession,
    layer: Any,
    long: Settings,
    quick: Settings,
    wait: Wait,
    qtbot: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Sixty shapes cost more than a map: with each step they would take the window's time."""
    written: list[int] = []
    show = presenter.show_patches

    def count(patches: Any, *others: Any) -> Any:
        written.append(patches.step)
        return show(patches, *others)

    monkeypatch.setattr(presenter, "show_patches", count)
    chosen = {"nucleus_class": 0, "nucleus_polarity": "direct"}  # one that changes is shown at once
    session.start(source_of(viewer, layer), long.replace(**chosen))
    wait(lambda: "negative patches · slide" in viewer.layers)
    written.clear()
    qtbot.wait(2500)
    assert len(written) <= 3
    session.pause()
    wait(lambda: session.state is RunState.PAUSED)
    wait(lambda: written and written[-1] == step(session))
    session.resume()
    wait(lambda: step(session) > written[-1] + 2)
    session.stop()
    wait(lambda: not session.is_busy)
    assert written[-1] == session.record.model.steps
    session.start(source_of(viewer, layer), quick.replace(**chosen))
    wait(lambda: not session.is_busy)
    assert written[-1] == quick.training.max_steps


def test_windows_are_where_the_crops_were(
    viewer: Any, session: TrainingSession, layer: Any, long: Settings, wait: Wait
) -> None:
    """Under scale, rotation, shear and an affine a window is the image of its pixels."""
    session.start(source_of(viewer, layer), long)
    wait(lambda: "positive patches · slide" in viewer.layers)
    session.stop()
    wait(lambda: not session.is_busy)
    for name in ("positive patches · slide", "negative patches · slide"):
        shapes = viewer.layers[name]
        for corners in shapes.data:
            inside = corners + 0.5
            assert (inside >= 0).all()
            assert (inside <= 128).all()
            np.testing.assert_array_equal(np.ptp(corners, axis=0), (16, 16))
            for corner in corners:
                np.testing.assert_allclose(
                    shapes.data_to_world(corner), layer.data_to_world(corner)
                )


def test_pause_and_resume(
    viewer: Any, session: TrainingSession, layer: Any, long: Settings, wait: Wait, qtbot: Any
) -> None:
    session.start(source_of(viewer, layer), long)
    wait(lambda: step(session) > 2)
    session.pause()
    assert session.state is RunState.PAUSING
    wait(lambda: session.state is RunState.PAUSED)
    qtbot.wait(150)  # what was under way has arrived
    before = step(session)
    qtbot.wait(400)
    assert step(session) == before
    session.resume()
    wait(lambda: step(session) > before + 2)
    assert session.state is RunState.TRAINING


def test_labels_while_it_trains_and_while_it_is_paused(
    viewer: Any, session: TrainingSession, layer: Any, long: Settings, wait: Wait
) -> None:
    session.start(source_of(viewer, layer), long)
    wait(lambda: step(session) > 2)
    session.make_labels()
    wait(lambda: "nuclei · slide" in viewer.layers)
    assert session.is_busy
    first = viewer.layers["nuclei · slide"]
    made_at = first.metadata["napari_patchseg"]["steps"]
    session.pause()
    wait(lambda: session.state is RunState.PAUSED)
    session.make_labels()
    wait(lambda: first.metadata["napari_patchseg"]["steps"] > made_at)
    assert session.state is RunState.PAUSED
    assert sum(layer.name.startswith("nuclei · slide") for layer in viewer.layers) == 1


def test_stop_keeps_weights_and_map(
    viewer: Any, session: TrainingSession, layer: Any, long: Settings, wait: Wait
) -> None:
    session.start(source_of(viewer, layer), long)
    wait(lambda: step(session) > 3)
    session.stop()
    assert session.state is RunState.STOPPING
    wait(lambda: not session.is_busy)
    assert session.state is RunState.STOPPED
    assert session.record.model is not None
    steps = session.record.model.steps
    assert "confidence · slide" in viewer.layers
    session.make_labels()
    wait(lambda: "nuclei · slide" in viewer.layers)
    report = viewer.layers["nuclei · slide"].metadata["napari_patchseg"]
    assert report["steps"] == steps
    assert report["stop_reason"] == "stopped"
    assert session.state is RunState.STOPPED


def test_labels_after_a_stop_without_any_map(
    viewer: Any, session: TrainingSession, layer: Any, long: Settings, wait: Wait
) -> None:
    session.streaming = False
    session.start(source_of(viewer, layer), long)
    wait(lambda: step(session) > 1)
    session.stop()
    wait(lambda: not session.is_busy)
    assert session.record.whole is None
    words = session.message
    for number in (1, 2):
        session.make_labels({"threshold": 0.4 + number / 20})
        wait(lambda: not session.is_busy and not session.presenter.is_drawing)
        assert session.labels is not None
        assert session.record.whole.step == session.record.model.steps
        assert session.message.startswith(f"{words} · ")
    assert len(viewer.layers) == 2


def test_stop_while_paused(
    viewer: Any, session: TrainingSession, layer: Any, long: Settings, wait: Wait
) -> None:
    session.start(source_of(viewer, layer), long)
    wait(lambda: step(session) > 1)
    session.pause()
    wait(lambda: session.state is RunState.PAUSED)
    session.stop()
    wait(lambda: not session.is_busy)
    assert session.state is RunState.STOPPED


def test_without_streaming_there_are_no_live_layers(
    viewer: Any, session: TrainingSession, layer: Any, quick: Settings, wait: Wait
) -> None:
    session.streaming = False
    session.start(source_of(viewer, layer), quick)
    wait(lambda: not session.is_busy)
    assert list(viewer.layers) == [layer]
    session.make_labels()
    wait(lambda: "nuclei · slide" in viewer.layers)
    assert len(viewer.layers) == 2


def test_deleting_live_layers_is_no_error(
    viewer: Any,
    session: TrainingSession,
    layer: Any,
    long: Settings,
    wait: Wait,
    sentences: list[str],
) -> None:
    session.start(source_of(viewer, layer), long)
    wait(lambda: "negative patches · slide" in viewer.layers)
    for name in ("confidence · slide", "positive patches · slide"):
        viewer.layers.remove(name)
    before = step(session)
    wait(lambda: step(session) > before + 5)
    assert "confidence · slide" not in viewer.layers
    session.stop()
    wait(lambda: not session.is_busy)
    assert sentences == []
    session.start(source_of(viewer, layer), long)
    wait(lambda: "confidence · slide" in viewer.layers)


def test_deleting_the_image_ends_the_run(
    viewer: Any,
    session: TrainingSession,
    layer: Any,
    long: Settings,
    wait: Wait,
    sentences: list[str],
) -> None:
    session.start(source_of(viewer, layer), long)
    wait(lambda: step(session) > 1)
    viewer.layers.remove(layer)
    wait(lambda: not session.is_busy)
    assert sentences == ["'slide' was removed, so the run was ended."]
    assert not session.can_label


@pytest.mark.parametrize("in_place", [False, True])
def test_changed_data_end_the_run(
    viewer: Any,
    session: TrainingSession,
    layer: Any,
    long: Settings,
    wait: Wait,
    sentences: list[str],
    in_place: bool,
) -> None:
    session.start(source_of(viewer, layer), long)
    wait(lambda: step(session) > 1)
    if in_place:
        layer.data[:40] = 255
        layer.refresh()
    else:
        layer.data = layer.data[::-1].copy()
    wait(lambda: not session.is_busy)
    assert sentences == ["The data of 'slide' changed, so the run was ended."]
    assert not session.can_label  # the weights stay, but they are of another picture
    session.start(source_of(viewer, layer), long)
    wait(lambda: step(session) > 0)


def test_changes_without_an_event_are_noticed_at_the_end(
    viewer: Any,
    session: TrainingSession,
    layer: Any,
    quick: Settings,
    wait: Wait,
    sentences: list[str],
) -> None:
    session.start(source_of(viewer, layer), quick, make_labels=True)
    wait(lambda: step(session) > 0)
    layer.data[:40] = 255
    wait(lambda: not session.is_busy)
    assert sentences == ["The data of 'slide' changed, so the run was ended."]
    assert "nuclei · slide" not in viewer.layers


@pytest.mark.parametrize("error", [RuntimeError, ValueError, MemoryError, StopIteration, OSError])
def test_errors_in_the_worker_reach_the_user(
    viewer: Any,
    session: TrainingSession,
    layer: Any,
    quick: Settings,
    wait: Wait,
    sentences: list[str],
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    from napari_patchseg.image.pixels import Pixels

    def break_down(self: Pixels, box: Any) -> None:
        raise error("mat1 and mat2 cannot be multiplied\nsecond line")

    with monkeypatch.context() as broken:
        broken.setattr(Pixels, "read", break_down)
        session.start(source_of(viewer, layer), quick)
        wait(lambda: not session.is_busy)
    assert session.state is RunState.FAILED
    (sentence,) = sentences
    assert "\n" not in sentence
    assert sentence
    session.start(source_of(viewer, layer), quick)
    wait(lambda: not session.is_busy)
    assert session.state is RunState.FINISHED


def test_bad_images_fail_with_their_sentence(
    viewer: Any, session: TrainingSession, quick: Settings, wait: Wait, sentences: list[str]
) -> None:
    layer = viewer.add_image(np.full((100, 100), 7, np.uint8))
    session.start(source_of(viewer, layer), quick)
    wait(lambda: not session.is_busy)
    assert session.state is RunState.FAILED
    assert "same value" in sentences[0]


def test_nothing_to_separate_is_a_result(
    viewer: Any, session: TrainingSession, quick: Settings, wait: Wait, sentences: list[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    layer = viewer.add_image(noise, rgb=True, name="noise")
    session.start(source_of(viewer, layer), quick, make_labels=True)
    wait(lambda: not session.is_busy)
    assert session.state is RunState.FINISHED
    assert "nothing separated" in session.message
    assert len(sentences) == 1
    labels = viewer.layers["nuclei · noise"]
    assert labels.data.max() == 0
    assert labels.metadata["napari_patchseg"]["stop_reason"] == "nothing separated"


def test_sliders_redraw_the_last_unedited_labels(
    viewer: Any,
    session: TrainingSession,
    layer: Any,
    quick: Settings,
    wait: Wait,
    sentences: list[str],
) -> None:
    session.start(source_of(viewer, layer), quick, make_labels=True)
    wait(lambda: not session.is_busy)
    labels = viewer.layers["nuclei · slide"]
    nuclei = viewer.layers["confidence · slide"].data
    for threshold in (0.2, 0.3, float(np.quantile(nuclei, 0.98))):
        session.presenter.take_objects({"threshold": threshold, "min_area": 1})
    wait(lambda: not session.presenter.is_drawing)
    assert labels.metadata["napari_patchseg"]["objects"]["threshold"] == threshold
    labels.paint((60, 60), 99)
    edited = labels.data.copy()
    session.presenter.take_objects({"threshold": 0.3})
    wait(lambda: not session.presenter.is_drawing)
    np.testing.assert_array_equal(labels.data, edited)
    session.presenter.take_objects({"threshold": 0.4})
    assert sentences == ["Edited labels stay; Make labels adds a new layer."]
    session.make_labels()
    wait(lambda: "nuclei · slide [1]" in viewer.layers)
    np.testing.assert_array_equal(labels.data, edited)


def test_the_shown_class_can_be_chosen(
    viewer: Any, session: TrainingSession, layer: Any, quick: Settings, wait: Wait
) -> None:
    session.start(source_of(viewer, layer), quick)
    wait(lambda: not session.is_busy)
    confidence = viewer.layers["confidence · slide"]
    whole = session.record.whole
    for number in (0, 1):
        for polarity in ("direct", "inverted"):
            session.presenter.take_objects({"nucleus_class": number, "nucleus_polarity": polarity})
            wait(lambda: not session.presenter.is_drawing)
            expected = whole.data[number] if polarity == "direct" else 1 - whole.data[number]
            np.testing.assert_allclose(confidence.data, expected, atol=1e-6)


def test_one_run_at_a_time(
    viewer: Any, session: TrainingSession, layer: Any, long: Settings, wait: Wait
) -> None:
    session.start(source_of(viewer, layer), long)
    assert TrainingSession.running() is session
    other = TrainingSession(viewer)
    with pytest.raises(PatchSegError, match="under way"):
        other.start(source_of(viewer, layer), long)
    session.stop()
    wait(lambda: not session.is_busy)
    assert TrainingSession.running() is None


def test_the_same_seed_gives_the_same_labels(
    viewer: Any, session: TrainingSession, layer: Any, quick: Settings, wait: Wait
) -> None:
    """Live layers, pauses and labels on the way change nothing."""
    from napari_patchseg.api import segment

    session.start(source_of(viewer, layer), quick, make_labels=True)
    wait(lambda: step(session) > 1 or not session.is_busy)
    session.make_labels()
    wait(lambda: not session.is_busy and not session.presenter.is_drawing)
    labels = session.labels
    assert labels is not None
    np.testing.assert_array_equal(
        labels.data, segment(layer.data, settings=quick, rgb=True, pixel_size=0.5)
    )


def test_a_small_region_of_an_image(
    viewer: Any, session: TrainingSession, quick: Settings, wait: Wait, image: np.ndarray
) -> None:
    from napari_patchseg.plugin.layer_source import Region

    layer = viewer.add_image(image, rgb=True, name="slide")
    viewer.add_shapes([np.array([[20, 30], [20, 120], [110, 120], [110, 30]]) - 0.5], name="box")
    session.start(source_of(viewer, layer, Region.RECTANGLE), quick, make_labels=True)
    wait(lambda: not session.is_busy)
    labels = viewer.layers["nuclei · slide"].data
    assert labels.shape == (128, 128)
    assert labels[20:110, 30:120].max() > 0
    outside = labels.copy()
    outside[20:110, 30:120] = 0
    assert outside.max() == 0
    for corners in viewer.layers["positive patches · slide"].data:
        assert (corners >= np.array([20, 30]) - 0.5).all()
        assert (corners <= np.array([110, 120]) - 0.5).all()


def test_every_map_is_written_once(
    viewer: Any, session: TrainingSession, layer: Any, long: Settings, wait: Wait
) -> None:
    """And windows once a map: a Shapes layer says before and after that it changes."""
    session.start(source_of(viewer, layer), long)
    wait(lambda: "negative patches · slide" in viewer.layers)
    came, written, windows = [], [], []
    session._run.news.connect(lambda mail: came.append(mail.shown))
    viewer.layers["confidence · slide"].events.data.connect(written.append)
    for name in ("positive patches · slide", "negative patches · slide"):
        viewer.layers[name].events.data.connect(lambda e: windows.append(str(e.action)))
    wait(lambda: len(written) >= 4)
    session.stop()
    wait(lambda: not session.is_busy)
    assert len(written) == sum(shown is not None for shown in came)
    assert len(windows) <= 2 * 2 * (len(came) + 1)


def test_the_worker_waits_while_the_window_draws(
    viewer: Any,
    session: TrainingSession,
    layer: Any,
    long: Settings,
    wait: Wait,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: list[str] = []
    wait_until_drawn, write_map = Mailbox.wait_until_drawn, LiveLayers.write_map

    def waited(box: Mailbox, control: Any) -> bool:
        drawn = wait_until_drawn(box, control)
        events.append("drawn" if drawn else "gave up")
        return drawn

    def written(live: LiveLayers, shown: Any) -> None:
        write_map(live, shown)
        events.append("written")

    monkeypatch.setattr(Mailbox, "wait_until_drawn", waited)
    monkeypatch.setattr(LiveLayers, "write_map", written)
    session.start(source_of(viewer, layer), long)
    wait(lambda: events.count("drawn") > 3)
    session.stop()
    wait(lambda: not session.is_busy)
    for before, after in itertools.pairwise(events):
        assert before == "written" or after != "drawn", events


def test_a_window_that_does_not_draw_holds_no_worker_up() -> None:
    box, control = Mailbox(), RunControl(previews=True)
    first, second = (SimpleNamespace(step=step) for step in (1, 2))
    box.post(shown=first)
    assert not box.wait_until_drawn(control)
    box.mark_drawn(1)
    assert box.wait_until_drawn(control)
    box.post(shown=second)
    box.mark_drawn(1)  # late: it says nothing about the second
    assert not box.wait_until_drawn(control)
    box.mark_drawn(2)
    assert box.wait_until_drawn(control)


def test_whoever_stops_does_not_wait_for_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "_DRAWING_PATIENCE", 600.0)
    box, control = Mailbox(), RunControl(previews=True)
    box.post(shown=SimpleNamespace(step=1))
    control.cancel()
    assert not box.wait_until_drawn(control)


def test_a_map_does_not_wait_for_the_letter_box_s_next_turn() -> None:
    box, told = Mailbox(), []
    box.arrived.connect(lambda: told.append(box.is_urgent))
    box.post(point=(1, 0.0, 0.0, 0.0))
    box.post(point=(2, 0.0, 0.0, 0.0))
    box.post(shown=SimpleNamespace(step=2))
    assert told == [False, True]


@pytest.mark.skipif(sys.platform != "linux", reason="priorities of threads are Linux's")
def test_the_run_gives_way_to_the_window_and_nobody_else_has_to(
    viewer: Any, session: TrainingSession, layer: Any, long: Settings, wait: Wait
) -> None:
    from napari.qt.threading import create_worker

    def priority(thread: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, thread)

    session.start(source_of(viewer, layer), long)
    wait(lambda: step(session) > 0)
    (run,) = [thread for thread in threading.enumerate() if thread.name.endswith("in slide")]
    ours = priority(threading.get_native_id())
    assert priority(run.native_id) > ours
    session.stop()
    wait(lambda: not session.is_busy)
    found: list[int] = []
    for _ in range(4):  # threads of the pool are used again
        worker = create_worker(lambda: priority(threading.get_native_id()))
        worker.returned.connect(found.append)
        worker.start()
    wait(lambda: len(found) == 4)
    assert set(found) == {ours}


def labelled(session: TrainingSession, viewer: Any, layer: Any, quick: Settings, wait: Wait) -> Any:
    session.start(source_of(viewer, layer), quick, make_labels=True)
    wait(lambda: not session.is_busy)
    return viewer.layers["nuclei · slide"]


def test_an_outline_is_shown_until_labels_are_drawn(
    viewer: Any, session: TrainingSession, layer: Any, quick: Settings, wait: Wait
) -> None:
    labels = labelled(session, viewer, layer, quick, wait)
    viewer.layers.selection.active = layer
    before = labels.data.copy()
    session.presenter.take_objects({"threshold": 0.3})
    wait(lambda: "outline · slide" in viewer.layers)
    outline = viewer.layers["outline · slide"]
    assert outline.visible
    assert set(viewer.layers.selection) == {layer}
    assert session.labels is labels
    np.testing.assert_array_equal(labels.data, before)
    np.testing.assert_allclose(outline.data_to_world((9, 7)), layer.data_to_world((9, 7)))
    wait(lambda: not session.presenter.is_drawing)
    assert not outline.visible
    assert viewer.layers.selection.active is layer
    session.presenter.take_objects({"threshold": 0.4})
    wait(lambda: outline.visible)  # the same layer again
    wait(lambda: "outline · slide" not in viewer.layers)
    record = session.record
    expected, _ = make_labels(record.whole, record.pixels, record.settings, pixel_size=0.5)
    np.testing.assert_array_equal(labels.data, keep_numbers(expected, labels.data))
    stay = (labels.data > 0) & (labels.data == before)
    assert 2 * stay.sum() > (before > 0).sum()  # with their numbers


def test_an_outline_goes_with_its_run(
    viewer: Any, session: TrainingSession, layer: Any, quick: Settings, wait: Wait
) -> None:
    labelled(session, viewer, layer, quick, wait)
    session.presenter.take_objects({"threshold": 0.3})
    wait(lambda: "outline · slide" in viewer.layers)
    session.presenter.clear()
    assert "outline · slide" not in viewer.layers


def test_the_newest_wish_wins(
    viewer: Any, session: TrainingSession, layer: Any, quick: Settings, wait: Wait
) -> None:
    labels = labelled(session, viewer, layer, quick, wait)
    maker = session.presenter._maker
    drawn: list[Any] = []
    maker.drawn.connect(lambda drawing: drawn.append(drawing.request.settings.objects.threshold))
    session.presenter.take_objects({"threshold": 0.2})
    wait(lambda: maker._under_way is not None)
    for threshold in (0.3, 0.35, 0.4):
        session.presenter.take_objects({"threshold": threshold})
    wait(lambda: not session.presenter.is_drawing)
    assert drawn == [0.4]
    assert labels.metadata["napari_patchseg"]["objects"]["threshold"] == 0.4


def test_labels_asked_for_by_name_are_not_forgotten(
    viewer: Any, session: TrainingSession, layer: Any, quick: Settings, wait: Wait
) -> None:
    session.start(source_of(viewer, layer), quick)
    wait(lambda: not session.is_busy)
    session.make_labels()
    session.presenter.take_objects({"threshold": 0.3})  # there are no labels to redraw yet
    wait(lambda: not session.presenter.is_drawing)
    report = session.labels.metadata["napari_patchseg"]
    assert report["objects"]["threshold"] == 0.3


def test_the_window_s_thread_never_imports_torch(fresh_python: Callable[..., Any]) -> None:
    code = (
        "import sys, napari_patchseg.plugin.dock_widget, napari_patchseg.plugin.layer_menu;"
        "assert 'torch' not in sys.modules"
    )
    fresh_python("-c", code)
    assert sys.executable

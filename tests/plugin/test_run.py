"""The ways between a run's worker and the window."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from napari_patchseg.corrections import Corrections
from napari_patchseg.errors import PatchSegError
from napari_patchseg.method.maps import ConfidenceMap, NucleusClass
from napari_patchseg.plugin._display import Canvas, display_map
from napari_patchseg.plugin._run import (
    Failed,
    Inbox,
    Mapped,
    Outbox,
    Paused,
    Phase,
    Run,
    RunState,
    _Live,
)
from napari_patchseg.plugin.layer_source import source_of
from napari_patchseg.report import Progress
from napari_patchseg.settings import Objects, Settings

BOX = (0, 0, 64, 64)


def a_map(step: int, *, is_full: bool = False) -> Mapped:
    data = np.zeros((2, 64, 64), np.float32)
    channels = ("nucleus", "interior")
    made = ConfidenceMap(step, data, channels, BOX, 1, NucleusClass(0, False, 0.5))
    return Mapped(made, made, display_map(made, Canvas(BOX, BOX)), is_full)


def drained(outbox: Outbox) -> list[Any]:
    return list(iter(outbox.pop, None))


def test_maps_do_not_queue_up() -> None:
    """A preview gives way to a newer map; one of all, which labels need, does not."""
    outbox = Outbox()
    progress = Progress("starting", 0, 1, "measuring nuclei")
    for event in (a_map(1), progress, a_map(2, is_full=True), a_map(3), a_map(4)):
        outbox.put(event)
    events = drained(outbox)
    assert events[0] is progress
    assert [event.confidence.step for event in events[1:]] == [2, 4]


def test_what_can_wait_is_told_apart() -> None:
    outbox = Outbox()
    told: list[str] = []
    outbox.arrived.connect(lambda: told.append("arrived"))
    outbox.moved.connect(lambda: told.append("moved"))
    for event in (Progress("starting", 0, 1, ""), a_map(1), Paused(), Failed(PatchSegError("no"))):
        outbox.put(event)
    assert told == ["moved", "arrived", "arrived", "arrived"]


class Worker(threading.Thread):
    """Goes from one piece of work to the next for as long as it may."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.waits = threading.Event()
        self.went_on = threading.Event()
        self.inbox = Inbox(Objects(), previews=False, on_pause=self.waits.set)
        self.inbox.pause()

    def run(self) -> None:
        self.inbox.wait_while_paused()
        self.went_on.set()


HOLDS = {"resume": None, "cancel": Phase.STOPPING, "request_map": Phase.PAUSED}


@pytest.mark.parametrize("wish", HOLDS)
def test_a_paused_worker_wakes(wish: str) -> None:
    worker = Worker()
    assert worker.inbox.hold is Phase.PAUSING
    worker.start()
    assert worker.waits.wait(60)
    assert worker.inbox.hold is Phase.PAUSED
    assert not worker.went_on.is_set()
    getattr(worker.inbox, wish)()
    assert worker.went_on.wait(60)
    assert worker.inbox.hold is HOLDS[wish]


def test_a_paused_worker_takes_corrections_and_waits_on() -> None:
    worker = Worker()
    taken = threading.Event()
    worker.inbox.on_corrected = taken.set
    worker.start()
    assert worker.waits.wait(60)
    worker.waits.clear()
    worker.inbox.correct(Corrections(shape=(4, 4)))
    assert taken.wait(60)
    assert worker.waits.wait(60)
    assert worker.inbox.hold is Phase.PAUSED
    assert not worker.went_on.is_set()
    worker.inbox.resume()
    assert worker.went_on.wait(60)


def test_a_paused_worker_goes_on_until_the_map_is_made() -> None:
    worker = Worker()
    worker.inbox.request_map()
    worker.inbox.wait_while_paused()
    assert worker.inbox.map_wanted
    worker.inbox.map_made()
    assert not worker.inbox.map_wanted
    worker.start()
    assert worker.waits.wait(60)
    worker.inbox.cancel()


def test_a_pause_hides_the_work_and_not_the_count() -> None:
    state = RunState(Phase.TRAINING, "learning: step 3", remaining=9, nuclei=1)
    assert state.text == "learning: step 3 · 1 nucleus"
    assert state.time_left
    paused = RunState(Phase.TRAINING, "learning: step 3", Phase.PAUSED, remaining=9, nuclei=2)
    assert paused.phase is Phase.PAUSED
    assert paused.text == "paused · 2 nuclei"
    assert not paused.time_left
    assert paused.is_busy


def test_nuclei_of_another_class_have_a_diameter_of_their_own(
    viewer: Any, image: np.ndarray
) -> None:
    """Else what is small beside the first class' nuclei would be dropped until the run's end."""
    source = source_of(viewer, viewer.add_image(image, rgb=True))
    run = Run(source, Canvas.of(source.shape, source.box), Settings.create("paper", classes=2))
    run.begin(previews=True, make_labels=True)
    rows, columns = np.mgrid[:128, :128]
    data = np.zeros((2, 128, 128), np.float32)
    for one, (distance, radius) in zip(data, ((64, 20), (32, 4)), strict=True):
        middle = distance // 2
        one[np.hypot(rows % distance - middle, columns % distance - middle) < radius] = 1
    live = _Live(run, source.open())
    for index, count in ((0, 4), (1, 16), (0, 4)):
        made = ConfidenceMap(1, data, ("0", "1"), source.box, 1, NucleusClass(index, False, 0.5))
        labels = live.mapped(made, sketch=True).labels
        assert labels is not None
        assert len(np.unique(labels)) - 1 == count

"""The letter-box between a run's thread and the window."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

if TYPE_CHECKING:
    from napari_patchseg.errors import PatchSegError
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.method.control import Control
    from napari_patchseg.method.events import Step, Trained
    from napari_patchseg.method.maps import ConfidenceMap, SampledPatches
    from napari_patchseg.report import HistoryRow, Progress, Segmentation
    from napari_patchseg.settings import Settings

    from .overlays import ShownMap

#: Most seconds that a worker waits for the window to draw what it sent, and those between two looks
#: at whether it should end.
_DRAWING_PATIENCE, _POLL = 0.25, 0.02


@dataclass
class Mail:
    """What has come since the letter-box was last emptied; of each kind only the newest.

    `points` alone holds everything: (step, loss, positive separation, negative separation).
    """

    points: list[HistoryRow] = field(default_factory=list)
    snapshot: Step | None = None
    trained: Trained | None = None
    patches: SampledPatches | None = None
    made: ConfidenceMap | None = None
    shown: ShownMap | None = None
    whole: ConfidenceMap | None = None
    progress: Progress | None = None
    paused: bool | None = None
    pixels: Pixels | None = None
    settings: Settings | None = None
    result: Segmentation | None = None
    error: PatchSegError | None = None


class Mailbox(QObject):
    """Carries what a worker yields to the window without ever queueing up.

    A worker that is faster than the window would fill Qt's event queue with maps: here the newest
    replaces the one before, and `arrived` is emitted once until the box is emptied; for what is
    urgent always: a map, since the worker waits until that has been drawn, and a pause.
    """

    arrived = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._mail = Mail()
        self._announced = self._urgent = False
        self._drawn = threading.Event()
        self._posted_step: int | None = None  # of the last map

    def post(self, *, point: HistoryRow | None = None, **news: Any) -> None:
        """Put in news, named as in `Mail`; from any thread."""
        with self._lock:
            if point is not None:
                self._mail.points.append(point)
            for name, value in news.items():
                setattr(self._mail, name, value)
            shown = news.get("shown")
            if shown is not None:
                self._posted_step = shown.step
                self._drawn.clear()
            urgent = shown is not None or news.get("paused") is not None
            self._urgent = self._urgent or urgent
            announce, self._announced = urgent or not self._announced, True
        if announce:
            with contextlib.suppress(RuntimeError):  # Qt's half is gone: the application has quit
                self.arrived.emit()

    def take(self) -> Mail:
        """Empty the box."""
        with self._lock:
            mail, self._mail = self._mail, Mail()
            self._announced = self._urgent = False
        return mail

    @property
    def is_urgent(self) -> bool:
        """Whether something waits to be taken that somebody waits for."""
        return self._urgent

    def mark_drawn(self, step: int) -> None:
        """Called by the window when it has drawn the map of a step."""
        with self._lock:
            if step == self._posted_step:
                self._drawn.set()

    def wait_until_drawn(self, control: Control) -> bool:
        """Let the window draw the map that was posted; from the worker's thread.

        A step takes the interpreter and the processor from a window drawn at the same time, and
        both take the longer for it. False where it was not drawn in time, or the end is wanted.
        """
        end = time.perf_counter() + _DRAWING_PATIENCE
        while not self._drawn.wait(_POLL):
            if control.cancelled or time.perf_counter() > end:
                return False
        return True

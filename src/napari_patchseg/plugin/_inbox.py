"""What the window asks of a run's worker: the newest value of each wish."""

from __future__ import annotations

import threading
from collections.abc import Callable

from napari_patchseg.method.events import Control
from napari_patchseg.settings import Objects

#: Most seconds that a worker waits for the window to show a map.
_PATIENCE = 0.25


class Inbox(Control):
    """A run's wishes: written by the window, read by the worker.

    Parameters
    ----------
    objects : Objects
        What counts as a nucleus when the run begins.
    previews : bool
        Whether maps are wanted during training.
    on_pause : callable
        Called by the worker when it begins to wait.
    """

    def __init__(self, objects: Objects, *, previews: bool, on_pause: Callable[[], object]) -> None:
        super().__init__(previews=previews)
        #: What counts as a nucleus now: frozen, and replaced as a whole.
        self.objects = objects
        self._on_pause = on_pause
        self._is_paused = False
        self._changed = threading.Condition()
        self._shown = threading.Event()

    def pause(self) -> None:
        """Ask the worker to wait after the piece of work under way."""
        self._is_paused = True

    def resume(self) -> None:
        """Let the worker go on."""
        self._is_paused = False
        self._wake()

    def cancel(self) -> None:
        """Ask for the end, of a paused worker too."""
        super().cancel()
        self._wake()

    def request_map(self) -> None:
        """Ask for a map of the whole image; a paused worker goes on until it is made."""
        super().request_map()
        self._wake()

    def map_sent(self) -> None:
        """Called by the worker before it sends a map."""
        self._shown.clear()

    def map_shown(self) -> None:
        """A map has been drawn."""
        self._shown.set()

    def wait_until_shown(self) -> None:
        """Called by the worker after a map: what it takes to draw counts as a preview's time.

        Drawing and training at once take each other's processor, and both the longer.
        """
        self._shown.wait(_PATIENCE)

    def wait_while_paused(self) -> None:
        """Called by the worker between two pieces of work."""
        if self._waits():
            self._on_pause()
            with self._changed:
                self._changed.wait_for(lambda: not self._waits())

    def _waits(self) -> bool:
        return self._is_paused and not self.map_wanted and not self.cancelled

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

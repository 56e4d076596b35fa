"""A run's line in napari's activity dock, for whoever has opened that, with a way to stop it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from superqt.utils import qthrottled

from ._run_state import RunState
from .napari_workarounds import StoppableProgress, activity_dock_is_open


class Activity:
    """Progress of one run. Only for the window's thread.

    Parameters
    ----------
    name : str
        The image's.
    stop : callable
        Called when the user stops the run there.
    """

    def __init__(self, name: str, stop: Callable[[], None]) -> None:
        self._name, self._stop = name, stop
        self._progress: StoppableProgress | None = None
        #: Shows a state soon, in a turn of its own: napari processes events in it.
        self.show = qthrottled(self._show, timeout=500, leading=False)

    def _show(self, state: RunState) -> None:
        if self._progress is None:
            if not activity_dock_is_open():
                return
            self._progress = StoppableProgress(total=0, desc=self._name, cancel_callback=self._stop)
        progress = self._progress
        done, total = (state.done, state.total) if state.total else (state.step, state.max_steps)
        if progress.total != total:
            progress.total = total
        progress.set_description(f"{self._name}: {state.text}")
        if done != progress.n:
            progress.update(done - progress.n)

    def close(self) -> None:
        """Take the line away."""
        self.show.cancel()
        if self._progress is not None:
            with contextlib.suppress(RuntimeError):  # the window has gone before
                self._progress.close()

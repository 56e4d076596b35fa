"""A run's line in napari's activity dock, with a way to stop it there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from superqt.utils import qthrottled

from ._run_state import RunState
from .napari_workarounds import StoppableProgress


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
        self._name = name
        self._progress = StoppableProgress(
            total=0, desc=f"Segment nuclei in {name}", cancel_callback=stop
        )
        #: Shows a state soon, in a turn of its own: napari processes events in it.
        self.show = qthrottled(self._show, timeout=500, leading=False)

    def _show(self, state: RunState) -> None:
        done, total = (state.done, state.total) if state.total else (state.step, state.max_steps)
        progress = self._progress
        if progress.total != total:
            progress.total = total
        progress.set_description(f"{self._name}: {state.text}")
        if done != progress.n:
            progress.update(done - progress.n)

    def close(self) -> None:
        """Take the line away."""
        self.show.cancel()
        with contextlib.suppress(RuntimeError):  # the window has gone before
            self._progress.close()

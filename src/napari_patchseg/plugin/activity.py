"""A run's line in napari's activity dock, with a way to stop it there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from napari.utils import cancelable_progress


class _StoppableProgress(cancelable_progress):
    """napari calls back only while it iterates; this one is counted by hand."""

    def cancel(self) -> None:
        super().cancel()
        if self.cancel_callback is not None:
            self.cancel_callback()


class Activity:
    """Progress of one run. Only for the GUI's thread.

    Parameters
    ----------
    name : str
        The image's.
    stop : callable
        Called when the user stops the run there.
    """

    def __init__(self, name: str, stop: Callable[[], None]) -> None:
        self._name = name
        self._progress: _StoppableProgress | None = _StoppableProgress(
            total=0, desc=f"Segment nuclei in {name}", cancel_callback=stop
        )

    def update(self, done: int, total: int, text: str) -> None:
        """Show how far the run is, and its state in words.

        napari processes events meanwhile: whoever calls this may be called again before it returns.
        """
        progress = self._progress
        if progress is None:
            return
        if progress.total != total:
            progress.total = total
        progress.set_description(f"{self._name}: {text}")
        if done != progress.n and self._progress is not None:
            progress.update(done - progress.n)

    def close(self) -> None:
        """Take the line away."""
        progress, self._progress = self._progress, None
        if progress is not None:
            with contextlib.suppress(RuntimeError):  # the window has gone before
                progress.close()

"""A run's line in napari's activity dock, with a way to stop it there."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from napari.resources import LOADING_GIF_PATH
from napari.utils import cancelable_progress
from qtpy.QtCore import QTimer
from qtpy.QtGui import QMovie
from qtpy.QtWidgets import QApplication, QDialog, QLabel, QWidget

#: Milliseconds between two looks for news to tell.
_INTERVAL_MS = 500
#: Per cent of its speed at which napari's spinner turns beside a run: two frames a second.
_SPINNER_SPEED = 6
#: Object name of napari's activity dock.
_DIALOG = "Activity"


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
        self._newest = self._shown = (0, 0, "")
        self._timer = QTimer()
        self._timer.setInterval(_INTERVAL_MS)
        self._timer.timeout.connect(self._show)
        self._timer.start()
        # Looked for once: a window that is being closed has no children to search.
        windows = QApplication.topLevelWidgets()
        self._dialogs = [
            found for window in windows for found in window.findChildren(QDialog, _DIALOG)
        ]
        self._spinners = [movie for window in windows for movie in _spinners(window)]
        self._set_spinner_speed(_SPINNER_SPEED)

    def update(self, done: int, total: int, text: str) -> None:
        """Show soon how far the run is, and its state in words."""
        self._newest = (done, total, text)

    def _show(self) -> None:
        # In a turn of its own, and asking anew each time: napari processes events meanwhile.
        if self._newest == self._shown or not self._is_seen():
            return
        self._shown = done, total, text = self._newest
        if self._progress is not None and self._progress.total != total:
            self._progress.total = total
        if self._progress is not None:
            self._progress.set_description(f"{self._name}: {text}")
        if self._progress is not None and done != self._progress.n:
            self._progress.update(done - self._progress.n)

    def _is_seen(self) -> bool:
        """Whether the dock is open, in any window: napari draws all of it with every move."""
        with contextlib.suppress(RuntimeError):  # it has gone with its window
            return any(dialog.isVisible() for dialog in self._dialogs)
        return False

    def close(self) -> None:
        """Take the line away."""
        self._timer.stop()
        progress, self._progress = self._progress, None
        if progress is not None:
            self._set_spinner_speed(100)
            with contextlib.suppress(RuntimeError):  # the window has gone before
                progress.close()

    def _set_spinner_speed(self, speed: int) -> None:
        """Set the speed of the spinner in napari's status bar, in per cent.

        Beside a canvas of OpenGL every frame of it composes the whole window anew, 33 times a
        second; without a graphics card that takes a fifth of a run's speed (docs/benchmarks.md).
        """
        for spinner in self._spinners:
            with contextlib.suppress(RuntimeError):  # it has gone with its window
                spinner.setSpeed(speed)


def _spinners(window: QWidget) -> Iterator[QMovie]:
    for label in window.findChildren(QLabel):
        movie = label.movie()
        if movie is not None and movie.fileName() == LOADING_GIF_PATH:
            yield movie

"""What napari 0.9.2 forces on a plugin, and how to see whether it is still needed."""

from __future__ import annotations

import atexit
import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakMethod

from napari.qt.threading import FunctionWorker, create_worker
from napari.utils import cancelable_progress
from qtpy.QtWidgets import QApplication, QDialog
from superqt.utils import WorkerBase

if TYPE_CHECKING:
    from napari.layers import Shapes
    from napari.viewer import Viewer


class _Task:
    """A worker's function, called once; what it works on goes with the call.

    napari shows a task as its ``str`` in the question whether to close the window, and keeps it for
    as long as the window. Needed while `TaskStatusManager` never forgets a worker.
    """

    def __init__(self, name: str, function: Callable[..., object], *args: object) -> None:
        self._name = name
        self._call = [(function, args)]

    def __str__(self) -> str:
        return self._name

    def __call__(self) -> None:
        function, args = self._call.pop()
        function(*args)


def start_task(
    name: str, function: Callable[..., object], *args: object, cancel: Callable[[], object]
) -> FunctionWorker:
    """Run a function that raises nothing in a worker of napari, which asks before it is lost.

    A function, not a generator: napari swallows a generator's ``RuntimeError``, which all of
    torch's errors are, and queues whatever it yields, maps too.

    Parameters
    ----------
    name : str
        Of the task, for the user.
    function, *args
        What to call in the worker's thread.
    cancel : callable
        A method, called where napari ends the worker, since its window closes; held weakly.
    """
    end = WeakMethod(cancel)

    class Worker(FunctionWorker):
        def quit(self) -> None:
            super().quit()
            if (method := end()) is not None:
                method()

    worker = create_worker(_Task(name, function, *args), _start_thread=False, _worker_class=Worker)
    worker.start()
    return worker


@atexit.register
def _end_workers() -> None:
    """End workers before Python does: a script need not have closed its window.

    A worker's signals would abort the process when Qt has gone. torch's import, which cannot be
    given up, takes many seconds on a busy machine; a worker of another plugin may never end. Needed
    while test_python_may_end_in_the_middle_of_a_run fails without it.
    """
    with contextlib.suppress(RuntimeError):  # it takes longer
        WorkerBase.await_workers(msecs=120_000)


class StoppableProgress(cancelable_progress):
    """A line in napari's activity dock that is counted by hand and can be cancelled.

    napari calls ``cancel_callback`` only between two items that are iterated over. Needed while
    `cancelable_progress.cancel` calls nothing.
    """

    def cancel(self) -> None:
        """The user has asked for the end."""
        super().cancel()
        if self.cancel_callback is not None:
            self.cancel_callback()


def activity_dock_is_open() -> bool:
    """Whether napari's activity dock is seen, in any window.

    A line in it makes napari's spinner turn, whose every frame composes the whole window anew:
    without a graphics card that takes a fifth of a run's speed. Needed while the status bar shows
    an animated GIF beside an OpenGL canvas.
    """
    with contextlib.suppress(RuntimeError):  # a window is closing: its Qt half has gone
        windows = QApplication.topLevelWidgets()
        docks = [dock for window in windows for dock in window.findChildren(QDialog, "Activity")]
        return any(dock.isVisible() for dock in docks)
    return False


def draw_before_removal(viewer: Viewer, layer: Shapes) -> None:
    """Draw a hidden Shapes layer once more, since it is about to be removed.

    napari keeps the buffers of one that was hidden after its data changed, and crashes in the next
    drawing after its removal. Needed while test_hidden_patches_can_be_removed fails without it.
    """
    if not layer.visible:
        layer.visible = True
        viewer.screenshot(canvas_only=True, flash=False)


def can_show_shapes(viewer: Viewer, ndim: int) -> bool:
    """Whether Shapes may be written: those of two dimensions raise in the 3-D display."""
    return bool(ndim > 2 or viewer.dims.ndisplay == 2)

"""What a run will need, imported in a thread ahead of need: torch takes more than a second."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import logging
import sys
import threading
from collections.abc import Iterator

LOG = logging.getLogger(__name__)


class Preload(threading.Thread):
    """Imports once, in the order of need.

    A failure is logged and no more: the run fails at the same import, and tells the user. Python
    waits for the thread when it exits; what is not begun by then is left out.
    """

    def __init__(self) -> None:
        super().__init__(name="PatchSeg: imports")
        self._hurried = threading.Event()

    def run(self) -> None:
        """Import."""
        try:
            import_pipeline()
            if not self._hurried.is_set() and threading.main_thread().is_alive():
                import_tables()
                # What torch brings makes the next search through everything long: now, while
                # nothing moves in the window, rather than in the middle of a run.
                gc.collect()
        except Exception:  # whatever it is, the run meets it too
            LOG.info("An early import failed.", exc_info=True)

    def hurry(self) -> None:
        """Import what a run begins with, and no more.

        An import beside the run would take the interpreter from it, and spoil its timings.
        """
        self._hurried.set()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without collecting garbage meanwhile: what is imported stays, and napari's is much to search.

    Of the time that an import of torch takes in a window a fifth is this (docs/benchmarks.md).
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@uncollected()
def import_pipeline() -> None:
    """What a run begins with."""
    importlib.import_module("napari_patchseg.pipeline")
    importlib.import_module("safetensors.torch")  # reads the start's weights


def import_tables() -> None:
    """What napari's Shapes layers keep their features in: napari imports it with the first."""
    if "pandas" in sys.modules:
        return
    with uncollected():
        importlib.import_module("pandas")


def preload() -> Preload:
    """Begin to import, the first time this is called from any thread; returns the importing one."""
    with _LOCK:
        return _started()


_LOCK = threading.Lock()


@functools.cache
def _started() -> Preload:
    thread = Preload()
    thread.start()
    return thread

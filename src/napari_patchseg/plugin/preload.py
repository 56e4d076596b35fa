"""What a run will need, imported in a thread ahead of need: torch takes more than a second."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from superqt.utils import ensure_main_thread

LOG = logging.getLogger(__name__)

#: What a run begins with; safetensors reads the pretrained weights.
_FIRST = ("napari_patchseg.pipeline", "safetensors.torch")
#: What napari keeps the features of shapes in, and imports with the first Shapes layer.
_TABLES = "pandas"


def preload(is_busy: Callable[[], bool] = lambda: False) -> threading.Thread:
    """Begin to import; what is there already takes no time.

    Parameters
    ----------
    is_busy : callable
        Whether a run is under way, which would have to wait for what it needs later.

    Returns
    -------
    Thread
        The importing one.
    """
    thread = threading.Thread(target=_import, args=(is_busy,), name="PatchSeg: imports")
    thread.start()
    return thread


def import_tables() -> None:
    """Import what patches need, in a run's own thread rather than in the window's."""
    importlib.import_module(_TABLES)


def _import(is_busy: Callable[[], bool]) -> None:
    try:
        with _waiting_quietly():
            for name in _FIRST:
                if threading.main_thread().is_alive():  # Python waits for the thread when it exits
                    importlib.import_module(name)
        if not is_busy() and threading.main_thread().is_alive():
            import_tables()
            _collect(is_busy)
    except Exception:  # whatever it is, the run meets it too, and tells the user
        LOG.info("An early import failed.", exc_info=True)


@ensure_main_thread
def _collect(is_busy: Callable[[], bool]) -> None:
    """Collect garbage while nobody waits.

    The first time after torch's import that takes a third of a second; Python would do it at any
    moment of a run. Not in a thread: it destroys widgets.
    """
    if not is_busy():
        gc.collect()


@contextmanager
def _waiting_quietly() -> Iterator[None]:
    """Let OpenMP's idle threads sleep, unless the user has said how they wait.

    They spin, and take the cores that the window needs: labels come two to three times as late on a
    busy machine. The variable is read once, when torch loads its own OpenMP:
    https://gcc.gnu.org/onlinedocs/libgomp/OMP_005fWAIT_005fPOLICY.html
    """
    name = "OMP_WAIT_POLICY"
    if name in os.environ:
        yield
        return
    os.environ[name] = "PASSIVE"
    try:
        yield
    finally:
        os.environ.pop(name, None)

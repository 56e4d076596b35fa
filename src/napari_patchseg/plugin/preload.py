"""What a run will need, imported in a thread ahead of need: torch takes more than a second."""

from __future__ import annotations

import importlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LOG = logging.getLogger(__name__)

#: In the order of need. safetensors reads the pretrained weights; pandas is what napari keeps the
#: features of shapes in, and imports with the first Shapes layer.
_MODULES = ("napari_patchseg.pipeline", "safetensors.torch", "pandas")


def preload() -> threading.Thread:
    """Begin to import; what is there already takes no time. Returns the importing thread."""
    thread = threading.Thread(target=_import, name="PatchSeg: imports")
    thread.start()
    return thread


def _import() -> None:
    try:
        with _waiting_quietly():
            for name in _MODULES:
                if threading.main_thread().is_alive():  # Python waits for the thread when it exits
                    importlib.import_module(name)
    except Exception:  # whatever it is, the run meets it too, and tells the user
        LOG.info("An early import failed.", exc_info=True)


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

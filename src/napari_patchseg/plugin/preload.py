"""What a run will need, imported in a thread ahead of need: torch takes more than a second."""

from __future__ import annotations

import importlib
import logging
import threading

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
        for name in _MODULES:
            if threading.main_thread().is_alive():  # Python waits for the thread when it exits
                importlib.import_module(name)
    except Exception:  # whatever it is, the run meets it too, and tells the user
        LOG.info("An early import failed.", exc_info=True)

"""Label-free nucleus segmentation of one image: train on its own patches, watch, get labels.

The public names load when they are first used: importing the package imports neither torch, nor
Qt, nor napari.
"""

from __future__ import annotations

import importlib
import logging
import sys

import lazy_loader

__version__ = "0.1.0.dev0"

# They are listed in __init__.pyi alone.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def _install_layer_menu() -> None:
    # napari's layer menu cannot be contributed from a manifest. npe2 imports this package when it
    # looks for the manifest, while napari starts: the one moment to add the entry before first use.
    try:
        importlib.import_module(f"{__name__}.plugin.layer_menu").install()
    except Exception:  # napari must start, whatever happens here
        logging.getLogger(__name__).warning(
            "No right-click entry: napari's layer menu could not be extended.", exc_info=True
        )


if "napari.plugins" in sys.modules:  # inside napari, not for `npe2 validate` or a script
    _install_layer_menu()

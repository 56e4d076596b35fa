"""Label-free nucleus segmentation of one image: train on its own patches, watch, get labels.

The public names load when they are first used: importing the package imports neither torch, nor
Qt, nor napari.
"""

from __future__ import annotations

import importlib
import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_patchseg.api import segment, train_model
    from napari_patchseg.errors import PatchSegError
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.report import Segmentation
    from napari_patchseg.settings import Settings
    from napari_patchseg.synthetic import synthetic_field

__version__ = "0.1.0.dev0"

__all__ = [
    "PatchSegError",
    "Pixels",
    "Segmentation",
    "Settings",
    "__version__",
    "segment",
    "synthetic_field",
    "train_model",
]

_HOMES = {
    "PatchSegError": "errors",
    "Pixels": "image.pixels",
    "Segmentation": "report",
    "Settings": "settings",
    "segment": "api",
    "synthetic_field": "synthetic",
    "train_model": "api",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


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

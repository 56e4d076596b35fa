"""File > Open Sample > PatchSeg."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

from napari_patchseg.errors import FileError
from napari_patchseg.synthetic import synthetic_field

LOG = logging.getLogger(__name__)

LayerDataTuple = tuple[Any, dict[str, Any], str]

#: µm per pixel of the synthetic field, as of a 40x objective.
PIXEL_SIZE = 0.25

_SKIN = {"name": "H&E skin", "rgb": True}
_SKIN_THREAD = "PatchSeg: skin sample"


def synthetic(size: int = 512) -> list[LayerDataTuple]:
    """A synthetic H&E field, `size` pixels a side, and its true nuclei as a hidden Labels layer."""
    image, labels = synthetic_field((size, size), seed=0, pixel_size=PIXEL_SIZE)
    place = {"scale": (PIXEL_SIZE, PIXEL_SIZE), "units": ("µm", "µm")}
    return [
        (image, {"name": "synthetic H&E", "rgb": True, **place}, "image"),
        (labels, {"name": "synthetic H&E true nuclei", "visible": False, **place}, "labels"),
    ]


def ihc() -> list[LayerDataTuple]:
    """The immunohistochemistry section that scikit-image carries; its pixel size is not known."""
    from skimage import data

    return [(data.immunohistochemistry(), {"name": "IHC", "rgb": True}, "image")]


def skin() -> list[LayerDataTuple]:
    """scikit-image's H&E section of skin (10x), fetched by its own loader on first use.

    Raises
    ------
    FileError
        If it has to be fetched first: its layer comes when it is there.
    """
    from skimage import data

    if Path(data.data_dir, "skin.jpg").exists():
        return [(data.skin(), _SKIN, "image")]
    if all(thread.name != _SKIN_THREAD for thread in threading.enumerate()):
        # Nothing waits for it, not even Python's exit: a network may swallow packets for minutes.
        threading.Thread(target=_fetch, name=_SKIN_THREAD, daemon=True).start()
    # napari takes no answer without a layer for success
    raise FileError("The skin image is being downloaded; it is opened as soon as it is there.")


def _fetch() -> None:
    from skimage import data
    from superqt.utils import ensure_main_thread

    @ensure_main_thread
    def show(image: Any | None) -> None:
        from napari import current_viewer
        from napari.utils.notifications import show_error

        viewer = current_viewer()
        if image is None:
            show_error(
                "The skin image could not be downloaded; check the network and try again, or open "
                "one of the other samples."
            )
        elif viewer is not None:
            viewer.add_image(image, **_SKIN)

    try:
        image = data.skin()
    except Exception:  # of pooch, requests, urllib3 or the disk: one meaning
        LOG.info("The skin image could not be downloaded.", exc_info=True)
        image = None
    show(image)

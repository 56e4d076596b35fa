"""File > Open Sample > PatchSeg."""

from __future__ import annotations

import threading
from typing import Any

from napari_patchseg.errors import FileError
from napari_patchseg.synthetic import synthetic_field

LayerDataTuple = tuple[Any, dict[str, Any], str]

#: µm per pixel of the synthetic field, as of a 40x objective.
PIXEL_SIZE = 0.25

#: Seconds to wait for a download; it goes on meanwhile, and the next try finds it.
_PATIENCE = 60.0


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
        If it cannot be fetched.
    """
    from skimage import data

    answer: list[Any] = []

    def fetch() -> None:
        try:
            answer.append(data.skin())
        except Exception as error:  # noqa: BLE001  # of pooch, requests, urllib3 or the disk: one meaning
            answer.append(error)

    # In a thread: a network that swallows packets would hold the window for minutes.
    thread = threading.Thread(target=fetch, name="skin sample", daemon=True)
    thread.start()
    thread.join(_PATIENCE)
    if not answer:
        raise FileError(
            "The skin image is still being downloaded; open it again in a few minutes, "
            "or check the network."
        )
    if isinstance(answer[0], Exception):
        raise FileError(
            "The skin image could not be downloaded; check the network and try again, "
            "or open one of the other samples."
        ) from answer[0]
    return [(answer[0], {"name": "H&E skin", "rgb": True}, "image")]

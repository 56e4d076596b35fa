"""Numbers in sentences for the user."""

from __future__ import annotations

import math
from pathlib import PurePath


def pluralize(count: int, one: str, many: str | None = None) -> str:
    """A number and its noun, "1 step" and "2 steps"; `many` for a plural without a mere s."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def image_name(path: PurePath) -> str:
    """Name of a file's image: without its extension, or both of them in ".ome.tif" and the like."""
    return path.stem.removesuffix(".ome").removesuffix(".geojson")


def layer_name(kind: str, image: str) -> str:
    """Name of a layer or a series made from an image.

    The kind comes first: napari cuts long names in the middle, and images' names are long.
    """
    return f"{kind} · {image}"


def image_of(layer: str) -> str:
    """Name of the image that a layer of nuclei is named after, as `image_name` has it.

    napari's name of an image is its file's, without the last extension.
    """
    return layer.removeprefix(layer_name("nuclei", "")).removesuffix(".ome")


def time_left(seconds: float, *, may_end_sooner: bool) -> str:
    """How long training will take yet, such as "about 3 min left", as a `Step` knows it.

    Parameters
    ----------
    seconds : float
        Its `remaining`.
    may_end_sooner : bool
        Its own.
    """
    if seconds < 90:
        time = f"{max(1, math.ceil(seconds))} s"
    elif seconds < 5400:
        time = f"{round(seconds / 60)} min"
    else:
        time = f"{round(seconds / 3600)} h"
    return f"{'at most' if may_end_sooner else 'about'} {time} left"

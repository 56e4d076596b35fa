"""Rules of other rooms that the window asks, as far as they are there."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

MOST_CHANNELS = 32
_PLAUSIBLE = (0.05, 10.0)
_UNNAMED = 10


def _find(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def is_plausible(size: float) -> bool:
    """Whether a micrograph's pixel can be so many µm wide."""
    return _PLAUSIBLE[0] <= size <= _PLAUSIBLE[1]


def pixel_size_of_file(path: str, shape: tuple[int, int]) -> tuple[float, float] | None:
    """Height and width of a file's pixels in µm, if its picture has that shape."""
    ask = _find("napari_patchseg.files.images", "pixel_size_of_file")
    found: tuple[float, float] | None = None if ask is None else ask(path, shape)
    return found


def channel_axis_of(shape: Sequence[int], dtype: Any, names: Sequence[str]) -> int | None:
    """The axis of channels."""
    ask = _find("napari_patchseg.image.layout", "layout_of")
    if ask is not None:
        axis: int | None = ask(shape, dtype, rgb=False, names=names).channels
        return axis
    for number, name in enumerate(names):
        if str(name).lower() in ("c", "channel", "channels"):
            return number
    for number in (0, 2) if len(shape) == 3 else ():
        others = [length for other, length in enumerate(shape) if other != number]
        named = str(names[number]).lower() in ("z", "t")
        if shape[number] <= _UNNAMED and shape[number] < min(others) and not named:
            return number
    return None

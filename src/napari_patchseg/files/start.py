"""The weights that training starts from: learnt on synthetic images with generated masks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

#: Made by tools/train_start.py; its metadata says how.
NAME = "start.safetensors"


@cache
def start_weights() -> Mapping[str, Tensor]:
    """State dict of a `ConfidenceNetwork`: three channels; two classes, nucleus and its core."""
    from safetensors.torch import load

    return load(files("napari_patchseg.files").joinpath(NAME).read_bytes())

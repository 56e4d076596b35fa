"""The weights that training starts from: learnt on synthetic images with generated masks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from napari_patchseg.image.stain import Kind

if TYPE_CHECKING:
    from torch import Tensor

#: Made by tools/train_start.py; their metadata says how.
NAMES: Mapping[Kind, str] = {
    "stained": "start-stained.safetensors",
    "dark on light": "start-stained.safetensors",
    "bright on dark": "start-fluorescence.safetensors",
}


@cache
def start_weights(kind: Kind) -> Mapping[str, Tensor]:
    """State dict of a `ConfidenceNetwork` for images of a kind.

    Three channels, as `napari_patchseg.image.pixels.RGBPixels` has them; two classes, nucleus and
    its core.
    """
    from safetensors.torch import load

    return load(files("napari_patchseg.files").joinpath(NAMES[kind]).read_bytes())

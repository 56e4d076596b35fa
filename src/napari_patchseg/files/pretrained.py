"""The pretrained weights, learnt on synthetic images with generated masks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from napari_patchseg.image.stain import Kind

if TYPE_CHECKING:
    from torch import Tensor

#: Made by tools/pretrain.py; their metadata says how.
NAMES: Mapping[Kind, str] = {
    "stained": "pretrained-stained.safetensors",
    "dark on light": "pretrained-stained.safetensors",
    "bright on dark": "pretrained-fluorescence.safetensors",
}


@cache
def pretrained_weights(kind: Kind) -> Mapping[str, Tensor]:
    """State dict of a `ConfidenceNetwork` for images of a kind.

    Three channels, as `napari_patchseg.image.pixels.RGBPixels` has them; two classes, nucleus and
    interior.
    """
    from safetensors.torch import load

    return load(files("napari_patchseg.files").joinpath(NAMES[kind]).read_bytes())

"""The weights that training starts from: learnt on synthetic images with generated masks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from napari_patchseg.modality import Modality

if TYPE_CHECKING:
    from torch import Tensor


@cache
def pretrained_weights(modality: Modality) -> Mapping[str, Tensor]:
    """State dict of a `ConfidenceNetwork` for images of a modality.

    Three channels, as `napari_patchseg.image.pixels.RGBPixels` has them; two classes, nucleus and
    its interior.
    """
    from safetensors.torch import load

    return load(files("napari_patchseg.files").joinpath(modality.pretrained_weights).read_bytes())

"""How much larger than it is the network sees an image, so that nuclei suit it."""

from __future__ import annotations

from fractions import Fraction

from torch import Tensor
from torch.nn.functional import interpolate, pad


def grain(magnification: float) -> int:
    """Pixels of the image that are a whole number of the network's: what a tile starts at."""
    return Fraction(magnification).denominator


def magnified(images: Tensor, magnification: float) -> Tensor:
    """Images (N, C, H, W) as the network sees them: (N, C, H m, W m), bilinear.

    Sides that are no whole number of the network's pixels are first continued to the next one.
    """
    if magnification == 1:
        return images
    height, width = images.shape[2:]
    unit = grain(magnification)
    images = pad(images, (0, -width % unit, 0, -height % unit), mode="replicate")
    size = [round(side * magnification) for side in images.shape[2:]]
    return interpolate(images, size, mode="bilinear", antialias=magnification < 1)


def restored(maps: Tensor, magnification: float, height: int, width: int) -> Tensor:
    """What `magnified` images gave, (N, K, H m, W m), in the image's pixels: (N, K, H, W)."""
    if magnification == 1:
        return maps
    size = [round(side / magnification) for side in maps.shape[2:]]
    maps = interpolate(maps, size, mode="bilinear", antialias=magnification > 1)
    return maps[:, :, :height, :width]

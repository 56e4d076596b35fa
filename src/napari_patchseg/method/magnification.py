"""How much larger than it is the network sees an image, so that nuclei suit it."""

from __future__ import annotations

from fractions import Fraction

from torch import Tensor
from torch.nn.functional import interpolate, pad

#: The image as it is: nothing is resampled.
AS_IT_IS = Fraction(1)


def magnified(images: Tensor, magnification: Fraction) -> Tensor:
    """Images (N, C, H, W) as the network sees them: (N, C, H m, W m), bilinear.

    Sides that are no whole number of the network's pixels are first continued to the next one.
    """
    if magnification == 1:
        return images
    height, width = images.shape[2:]
    unit = magnification.denominator
    images = pad(images, (0, -width % unit, 0, -height % unit), mode="replicate")
    size = [int(side * magnification) for side in images.shape[2:]]
    return interpolate(images, size, mode="bilinear", antialias=magnification < 1)


def restored(maps: Tensor, magnification: Fraction, height: int, width: int) -> Tensor:
    """What `magnified` images gave, (N, K, H m, W m), in the image's pixels: (N, K, H, W).

    Resampled as float32, and without filtering, which some devices have no gradient of: at a
    magnification of 2 it is the mean of 2 x 2 all the same.
    """
    if magnification == 1:
        return maps
    size = [int(side / magnification) for side in maps.shape[2:]]
    maps = interpolate(maps.float(), size, mode="bilinear")
    return maps[:, :, :height, :width]

"""Labels drawn as outlines over their image: a picture to look at, not to measure on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from .pixels import Pixels

#: Stands out from haematoxylin, eosin, grey and black alike.
COLOUR = (255, 230, 0)


def outlined(
    pixels: Pixels,
    labels: NDArray[np.integer],
    *,
    colour: tuple[int, int, int] = COLOUR,
) -> NDArray[np.uint8]:
    """Outline every label.

    Parameters
    ----------
    pixels : Pixels
        The image. Colours stay; of other channels the mean is shown, in grey.
    labels : ndarray
        (H, W) of integers; 0 is background.
    colour : tuple of int
        Red, green and blue of the outlines, 0 to 255.

    Returns
    -------
    ndarray
        (H, W, 3) uint8. The outlines lie on the labels' own outermost pixels.

    Raises
    ------
    ValueError
        If image and labels differ in size.
    """
    channels, height, width = pixels.shape
    if labels.shape != (height, width):
        raise ValueError(
            f"Labels of shape {labels.shape} do not fit an image of {(height, width)}."
        )
    image = pixels.read((0, 0, height, width))
    if pixels.kind == "bright on dark":  # read() turns them round
        image = 1 - image
    if channels != 3:
        image = np.repeat(image.mean(0, keepdims=True), 3, axis=0)
    picture = np.moveaxis((image * 255).round().astype(np.uint8), 0, -1).copy()
    picture[find_boundaries(labels, mode="inner")] = colour
    return picture

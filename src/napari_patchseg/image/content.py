"""Whether an image shows anything at the scale of nuclei."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from napari_patchseg.geometry import ENOUGH, crop_boxes

from .pixels import Pixels

#: Structure of a few pixels must stand this far above pixel noise. White noise has 0.16, noise
#: blurred by one pixel 1.0, real sections 2.4 and more.
STRUCTURE_TO_NOISE = 1.3
#: Images are looked at through crops of so many pixels a side; large ones through so many of them.
_SIDE, _CROPS = 512, 9


def has_structure(pixels: Pixels) -> bool:
    """Whether anything in the image is of the size and contrast of nuclei.

    Compares the prior's standard deviation between scales of 2 and 20 px with that below 1 px:
    noise, empty glass and evenly coloured fields have none of the former. Crop by crop: a
    few nuclei in one of them are enough, however empty the others.
    """
    contrast = pixels.modality.least_contrast
    _, height, width = pixels.shape
    most = _CROPS if height * width > ENOUGH else None
    return any(
        _structured(pixels.prior(box), contrast) for box in crop_boxes((height, width), _SIDE, most)
    )


def _structured(prior: NDArray[np.float32], contrast: float) -> bool:
    structure = float((ndi.gaussian_filter(prior, 2) - ndi.gaussian_filter(prior, 20)).std())
    noise = float((prior - ndi.gaussian_filter(prior, 1)).std())
    return structure > contrast and structure > STRUCTURE_TO_NOISE * noise

"""Sections stained with haematoxylin and DAB: brown taken out, blue shown as in an H&E section."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.color import combine_stains, hdx_from_rgb, rgb_from_hed, separate_stains

#: DAB absorbs blue most, haematoxylin and eosin green: at least so much of it (optical density,
#: natural logarithm), which the saffron of pale collagen doesn't reach ...
_DENSE_BLUE = 0.5
#: ... in at least this share of the pixels. Sections without DAB have below 0.01, of red cells.
_LEAST_SHARE = 0.02
#: Amounts of stain in H&E sections, in the units of `skimage.color.separate_stains`: haematoxylin
#: of the darkest hundredth, and eosin where there is tissue.
_HAEMATOXYLIN, _EOSIN = 0.15, 0.03
#: Haematoxylin from which there is tissue, in the same units.
_TISSUE = 0.02


def has_dab(pixels: NDArray[np.float32]) -> bool:
    """Whether a bright-field image is stained with DAB, by how much of it is brown.

    Parameters
    ----------
    pixels : ndarray
        (3, n) in [0, 1]. Each colour is seen against its own full light: a warm lamp is no stain.
    """
    glass = np.percentile(pixels, 99.9, axis=1)
    _, green, blue = pixels / np.maximum(glass, 1e-6)[:, None]
    brown = (blue < np.exp(-_DENSE_BLUE)) & (blue < green)
    return bool(brown.mean() > _LEAST_SHARE)


def counterstain(pixels: NDArray[np.float32]) -> float:
    """How strong the haematoxylin beside DAB is: 99th percentile of its amount in pixels (3, n)."""
    return float(np.percentile(_haematoxylin(pixels), 99))


def without_dab(pixels: NDArray[np.float32], strength: float) -> NDArray[np.float32]:
    """The image as if it were stained with haematoxylin and eosin, and not with DAB.

    Haematoxylin is told apart from DAB by Ruifrok and Johnston's colour deconvolution and made as
    strong as in H&E sections. Tissue that it stains gets an even ground of eosin; what is brown
    alone becomes glass.

    Parameters
    ----------
    pixels : ndarray
        (3, h, w) in [0, 1].
    strength : float
        The image's `counterstain`.

    Returns
    -------
    ndarray
        (3, h, w) float32 in [0, 1].
    """
    haematoxylin = _haematoxylin(pixels) * (_HAEMATOXYLIN / max(strength, 1e-6))
    eosin = _EOSIN * (1 - np.exp(-haematoxylin / _TISSUE))
    stains = np.stack([haematoxylin, eosin, np.zeros_like(eosin)], -1)
    rgb = np.moveaxis(combine_stains(stains, rgb_from_hed), -1, 0)
    return np.ascontiguousarray(rgb, np.float32)


def _haematoxylin(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    stains = separate_stains(np.moveaxis(pixels, 0, -1), hdx_from_rgb)
    return np.asarray(stains[..., 0], np.float32)

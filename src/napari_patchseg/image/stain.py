"""What stains say of an image: whether it is a section, where nuclei are, and what DAB hides.

Stains are told apart by Ruifrok and Johnston's colour deconvolution (2001).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.color import (
    combine_stains,
    hdx_from_rgb,
    hed_from_rgb,
    rgb_from_hed,
    separate_stains,
)
from skimage.filters import threshold_otsu

from napari_patchseg.geometry import grid_step, strips
from napari_patchseg.modality import FLUORESCENCE, GREY, Modality

from .exclusion import BLACK

#: How bright a section's darker quarter is at least (0.32 and more on 60 slides, 0.17 and more with
#: 1.6 times the stain; fluorescence at most 0.06), which share of a pixel's brightest colour its
#: faintest has (0.32 and more; of light of one colour 0), and how its colours correlate (0.76 and
#: more; three fluorescences about 0 where they are crowded).
_STAINED, _ALL_COLOURS, _TOGETHER = 0.17, 0.15, 0.4
#: An image of less contrast shows hardly anything but light.
_FAINT = 0.2

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


def haematoxylin(
    pixels: NDArray[np.float32], stains: NDArray[np.float64] = hed_from_rgb
) -> NDArray[np.float32]:
    """Haematoxylin of a bright-field RGB image.

    Parameters
    ----------
    pixels : ndarray
        (3, ...) in [0, 1].
    stains : ndarray
        (3, 3), of scikit-image: what it is told apart from.

    Returns
    -------
    ndarray
        (...) float32, the stain's amount, 0 and more.
    """
    amounts = separate_stains(np.moveaxis(pixels, 0, -1), stains)
    return np.asarray(amounts[..., 0], np.float32)


def optical_density(light: NDArray[np.float32], stains: NDArray[np.float64]) -> NDArray[np.float32]:
    """Decadic optical density of a section's two stains, 0 and more.

    A pixel without any light has that of a 255th of the full light, as in QuPath: the darkest that
    8 bits tell apart.

    Parameters
    ----------
    light : ndarray
        (3, n) in [0, 1].
    stains : ndarray
        (3, 3), of scikit-image: what is told apart.

    Returns
    -------
    ndarray
        (2, n) float32.
    """
    density = -np.log10(np.maximum(light, np.float32(1 / 255)))
    return np.maximum(stains.T[:2].astype(np.float32) @ density, 0)


def is_stained(light: NDArray[np.float32]) -> bool:
    """Whether colours come from a stained section in bright field, under a lamp of any brightness.

    Light that was only absorbed leaves the background as the brightest part, and some of every
    colour: an image whose pixels are mostly dark was lit by fluorescence, and so was one whose
    pixels are of a single colour. Tissue takes light of all colours, where fluorescences are each
    somewhere else.

    Parameters
    ----------
    light : ndarray
        (3, n), shares of the image's light, without black surroundings.
    """
    brightest = light.max(0)
    darkest = np.percentile(light, 0.1)
    quarter, full = np.percentile(brightest, [25, 99.9]) - darkest
    if quarter <= _STAINED * full:
        return False
    if np.median(light.min(0) / np.maximum(brightest, BLACK)) <= _ALL_COLOURS:
        return False
    if full < _FAINT:  # glass: its noise says nothing
        return True
    together = [correlation(light[one], light[two]) for one, two in ((0, 1), (0, 2), (1, 2))]
    return bool(np.mean(together) > _TOGETHER)


def best_channel(sample: NDArray[np.float32]) -> tuple[int, Modality]:
    """Which channel of (C, n) shows nuclei best, and whether they are its dark or its bright side.

    The rule: the channel in which Otsu's threshold explains most of the variance; nuclei are the
    side with fewer pixels.
    """
    scores = [_explained(channel) for channel in sample]
    best = int(np.argmax([score for score, _ in scores]))
    return best, FLUORESCENCE if scores[best][1] < 0.5 else GREY


def _explained(values: NDArray[np.float32]) -> tuple[float, float]:
    """Share of variance that Otsu's threshold explains, and the share of pixels above it."""
    if np.ptp(values) == 0:
        return 0.0, 1.0
    above = values > threshold_otsu(values)
    share = float(above.mean())
    between = share * (1 - share) * (values[above].mean() - values[~above].mean()) ** 2
    return float(between / values.var()), share


def correlation(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Pearson's correlation of two maps, in [-1, 1]; 0 where one of them is constant."""
    x, y = a.ravel() - a.mean(), b.ravel() - b.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0


def counterstain(pixels: NDArray[np.float32]) -> float | None:
    """How strong the haematoxylin beside DAB is; None where hardly anything is brown.

    Parameters
    ----------
    pixels : ndarray
        (3, n) in [0, 1], bright field. Each colour is seen against its own full light: a warm lamp
        is no stain.
    """
    glass = np.percentile(pixels, 99.9, axis=1)
    _, green, blue = pixels / np.maximum(glass, 1e-6)[:, None]
    brown = (blue < np.exp(-_DENSE_BLUE)) & (blue < green)
    if brown.mean() <= _LEAST_SHARE:
        return None
    return float(np.percentile(haematoxylin(pixels, hdx_from_rgb), 99))


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
    blue = haematoxylin(pixels, hdx_from_rgb) * (_HAEMATOXYLIN / max(strength, 1e-6))
    eosin = _EOSIN * (1 - np.exp(-blue / _TISSUE))
    stains = np.stack([blue, eosin, np.zeros_like(eosin)], -1)
    rgb = np.moveaxis(combine_stains(stains, rgb_from_hed), -1, 0)
    return np.ascontiguousarray(rgb, np.float32)


def choose_class(
    confidence: NDArray[np.float32], prior: NDArray[np.float32]
) -> tuple[int, bool, float]:
    """The class whose confidence goes most, up or down, with the prior.

    Parameters
    ----------
    confidence : ndarray
        (K, h, w).
    prior : ndarray
        (h, w), larger is more nucleus-like.

    Returns
    -------
    index : int
        The class.
    inverted : bool
        Whether low confidence is nuclei.
    correlation : float
        That class's correlation with the prior.
    """
    correlations = [correlation(one, prior) for one in confidence]
    index = int(np.argmax(np.abs(correlations)))
    return index, correlations[index] < 0, correlations[index]


def with_prior(
    confidence: NDArray[np.float32],
    prior: NDArray[np.float32],
    weight: float,
    valid: NDArray[np.bool_] | None = None,
) -> NDArray[np.float32]:
    """Confidence moved by the prior: sigmoid(l + weight sd(l) z(prior)).

    l is the confidence's logit; z subtracts the mean and divides by the standard deviation sd of
    the valid pixels, for which an even grid of them stands above 1 Mpx.

    Parameters
    ----------
    confidence, prior : ndarray
        (h, w) each; confidence in [0, 1].
    weight : float
        Of the prior; at 0 the confidence is returned as it is.
    valid : ndarray, optional
        (h, w) bool.
    """
    if weight == 0:
        return confidence
    step = grid_step(confidence.shape)
    grid = np.s_[::step, ::step]
    good = np.s_[:] if valid is None else valid[grid]
    spread = float(_logit(confidence[grid])[good].std())
    seen = prior[grid][good]
    middle, wide = float(seen.mean()), float(seen.std())
    out = np.empty(confidence.shape, np.float32)
    for rows in strips((confidence.shape[0], confidence.shape[1])):
        z = (prior[rows] - middle) / (wide if wide > 0 else 1.0)
        together = _logit(confidence[rows]) + weight * spread * z
        out[rows] = 1 / (1 + np.exp(-together))
    return out


def _logit(confidence: NDArray[np.float32]) -> NDArray[np.float32]:
    clipped = confidence.clip(1e-4, 1 - 1e-4)
    return np.asarray(np.log(clipped / (1 - clipped)))

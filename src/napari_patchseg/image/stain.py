"""What looks like nuclei before training: the prior that chooses class and polarity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu

from napari_patchseg.modality import FLUORESCENCE, GREY, Modality

from .regions import every, strips

#: Percentiles taken for full light and for none.
LIGHT, DARK = 99.9, 0.1
#: Below the first share of the light a pixel may be black; from there to the second it is dim,
#: which of a section's pixels hardly any is, where light that glows fades into the dark.
BLACK, _DIM, _MOST_DIM = 0.08, 0.12, 0.03
#: How bright a section's darker quarter is at least (0.32 and more on 60 slides, 0.17 and more with
#: 1.6 times the stain; fluorescence at most 0.06), which share of a pixel's brightest colour its
#: faintest has (0.32 and more; of light of one colour 0), and how its colours correlate (0.76 and
#: more; three fluorescences about 0 where they are crowded).
_STAINED, _ALL_COLOURS, _TOGETHER = 0.17, 0.15, 0.4
#: An image of less contrast shows hardly anything but light.
_FAINT = 0.2


def haematoxylin(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Haematoxylin of a bright-field RGB image, by Ruifrok and Johnston's colour deconvolution.

    Parameters
    ----------
    pixels : ndarray
        (3, h, w) in [0, 1].

    Returns
    -------
    ndarray
        (h, w) float32, the stain's amount, 0 and more.
    """
    hed = rgb2hed(np.moveaxis(pixels, 0, -1))
    return np.asarray(hed[..., 0], dtype=np.float32)


def is_black(light: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Which pixels are the black that surrounds a picture of glass; None where nothing is.

    The lamp shines through the darkest nuclei too: between them and what is black, such as the
    surroundings of a round field or missing tiles, no pixels are. Of light that glows there are
    pixels of any brightness.

    Parameters
    ----------
    light : ndarray
        (n,) of each pixel's brightest colour, as a share of that of the whole image.
    """
    black = light < BLACK
    lit = light.size - np.count_nonzero(black)
    dim = np.count_nonzero((light >= BLACK) & (light < _DIM))
    return black if 0 < lit < light.size and dim < _MOST_DIM * lit else None


def is_stained(sample: NDArray[np.float32]) -> bool:
    """Whether colours come from a stained section in bright field, under a lamp of any brightness.

    Light that was only absorbed leaves the background as the brightest part, and some of every
    colour: an image whose pixels are mostly dark was lit by fluorescence, and so was one whose
    pixels are of a single colour. Tissue takes light of all colours, where fluorescences are each
    somewhere else. Black surroundings have no vote.

    The rule: the brightest colour of three quarters of the pixels is above 0.17 of the range, the
    faintest of half of them more than 0.15 of their brightest, and, where there is any contrast,
    the mean correlation of two colours above 0.4.

    Parameters
    ----------
    sample : ndarray
        (3, n), of any range.
    """
    brightest = sample.max(0)
    low = min(0.0, float(brightest.min()))
    full = float(np.percentile(brightest, LIGHT)) - low
    if full <= 0:
        return False
    black = is_black((brightest - low) / full)
    if black is not None:
        sample, brightest = sample[:, ~black], brightest[~black]
    darkest = float(np.percentile(sample, DARK))
    quarter, light = np.percentile(brightest, [25, LIGHT]) - darkest
    if quarter <= _STAINED * light:
        return False
    lit = np.maximum(brightest - low, full * BLACK)
    if np.median((sample.min(0) - low) / lit) <= _ALL_COLOURS:
        return False
    if light < _FAINT * full:  # glass: its noise says nothing
        return True
    together = [correlation(sample[one], sample[two]) for one, two in ((0, 1), (0, 2), (1, 2))]
    return bool(np.mean(together) > _TOGETHER)


def grey_kind(sample: NDArray[np.float32]) -> tuple[int, Modality]:
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
    the valid pixels, for which an even grid of them stands above 4 Mpx.

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
    step = every(confidence.shape)
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

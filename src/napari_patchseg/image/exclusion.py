"""Pixels that are left out: without a value, masked, transparent, black, or under a marker pen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.morphology import isotropic_closing, isotropic_dilation, isotropic_opening

from napari_patchseg.errors import ImageError
from napari_patchseg.geometry import strips
from napari_patchseg.words import pluralize

from .source import ImageSource, single

#: Why a pixel has no value that counts; 0 of `valid_pixels` is one that has.
_REASONS = ("", "NaN or infinite", "transparent", "masked")

#: Below the first share of the light a pixel may be black; from there to the second it is dim,
#: which of a section's pixels hardly any is, where light that glows fades into the dark.
BLACK, _DIM, _MOST_DIM = 0.08, 0.12, 0.03

#: Optical density (natural logarithm) of ink, and of tissue.
_INK, _TISSUE = 1.0, 0.15
#: Least density of black in red and blue, as a share of that in green.
_EVENLY = 0.7
#: Largest share of an image that pens colour: more is a stain, as of collagen in trichrome.
_MOST_COLOURED = 0.3
#: Pixels of the smallest stroke (as a disk 62 px wide, which no nucleus is), and half the width of
#: the thinnest one, of gaps in it and of its faint edge.
_SMALLEST, _HALF = 3000, 5


def valid_pixels(
    colours: ImageSource, opacity: ImageSource | None
) -> tuple[NDArray[np.bool_] | None, list[str]]:
    """Which pixels have a value.

    Parameters
    ----------
    colours : ImageSource
        (H, W, C).
    opacity : ImageSource, optional
        The same with a fourth channel that is 0 where pixels are transparent. Zero everywhere it
        says nothing: a byte that nobody filled.

    Returns
    -------
    valid : ndarray or None
        (H, W) bool; None if all pixels are valid.
    warnings : list of str
        What the user should know, one sentence each.

    Raises
    ------
    ImageError
        If no pixel is valid.
    """
    if not (opacity or colours.may_be_masked or colours.dtype.kind == "f"):
        return None, []
    channels = colours.shape[2]
    reasons = np.zeros(colours.shape[:2], np.uint8)
    counts = np.zeros(len(_REASONS), int)
    for rows in strips(reasons.shape):
        strip = (opacity or colours).read(rows)
        values, reason = np.ma.getdata(strip), reasons[rows]
        if values.dtype.kind == "f":
            reason[~np.isfinite(single(values[..., :channels])).all(-1)] = 1
        if opacity:
            reason[values[..., 3] == 0] = 2
        if isinstance(strip, np.ma.MaskedArray):
            reason[np.ma.getmaskarray(strip).any(-1)] = 3
        counts += np.bincount(reason.ravel(), minlength=len(counts))
    if counts[2] == reasons.size:
        return valid_pixels(colours, None)
    why = [(int(count), name) for count, name in zip(counts, _REASONS, strict=True) if count][::-1]
    if counts[0] == 0:
        names = ", ".join(name for _, name in why)
        raise ImageError(f"All pixels are {names}; choose an image with values that can be used.")
    if counts[0] == reasons.size:
        return None, []
    return reasons == 0, [
        f"{pluralize(count, 'pixel')} {'is' if count == 1 else 'are'} {name} and left out."
        for count, name in why
        if name
    ]


def is_black(light: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which pixels are the black that surrounds a picture of glass.

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
    return black if dim < _MOST_DIM * lit else np.zeros_like(black)


def ink(pixels: NDArray[np.float32], every: int = 1) -> NDArray[np.bool_] | None:
    """What pens cover on a stained section, and what is black: no nuclei are seen there.

    By colour and by size. Black absorbs all colours, where stains let blue or red through; blue and
    green ink absorb red more than green, where stains absorb green at least as much. Sections whose
    tissue does that too, for want of eosin, have no ink of these colours. Red ink looks like eosin
    and is not found.

    Parameters
    ----------
    pixels : ndarray
        (3, h, w) float32 in [0, 1], bright field.
    every : int
        Which rows and columns of the image these pixels are: lengths are in pixels of the image.

    Returns
    -------
    ndarray or None
        (h, w) bool, True where ink is; None where there is none.
    """
    red, green, blue = pixels
    dense = np.exp(-_INK)
    black = pixels.max(0) < dense
    black &= np.maximum(red, blue) <= np.maximum(green, np.float32(1 / 256)) ** _EVENLY
    coloured = (red < dense) & (red < green)
    tissue = (green < np.exp(-_TISSUE)) & ~(coloured | black)
    bluish = not tissue.any() or (green[tissue] > red[tissue]).mean() > 0.5
    found = black if bluish or coloured.mean() > _MOST_COLOURED else black | coloured
    least, radius = _SMALLEST / every**2, max(1, round(_HALF / every))
    if found.sum() < least:
        return None
    found = isotropic_opening(found, radius)
    parts, _count = ndi.label(found)  # before gaps are closed: crowded nuclei would join
    large = np.bincount(parts.ravel()) >= least
    large[0] = False
    if not large.any():
        return None
    return np.asarray(isotropic_dilation(isotropic_closing(large[parts], radius), radius))

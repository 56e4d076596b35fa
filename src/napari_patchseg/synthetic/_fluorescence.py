"""Synthetic fluorescence: nuclei that glow, with the haze, the noise and the range of real ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from ._nuclei import Array, scatter_nuclei, smooth_noise
from ._stained import check_field


@dataclass(frozen=True)
class Culture:
    """Nuclei before they are looked at; each array (H, W).

    Attributes
    ----------
    labels : ndarray
        int32: 0 is background, nuclei 1, 2, ...
    chromatin, cover : ndarray
        float32: amount of chromatin, and how much of a pixel is nucleus, in [0, 1].
    diameter : float
        Typical nucleus diameter in pixels.
    """

    labels: NDArray[np.int32]
    chromatin: Array
    cover: Array
    diameter: float


def culture(
    shape: tuple[int, int], seed: int, *, nucleus_diameter: float = 24.0, density: float = 0.3
) -> Culture:
    """Grow nuclei: everywhere, or in colonies with loose cells between them.

    Parameters and errors are those of `synthetic_field`.
    """
    size = check_field(shape, seed, nucleus_diameter, density)
    rng = np.random.default_rng([seed, *size, 1])
    cells = np.ones(size, np.float32)
    if rng.random() < 0.5:
        colonies = smooth_noise(rng, size, 6 * nucleus_diameter, octaves=2)
        cells = (colonies > rng.uniform(-0.8, 0.6)).astype(np.float32)
    labels, chromatin, cover = scatter_nuclei(rng, cells, nucleus_diameter, density)
    return Culture(labels, chromatin, cover, nucleus_diameter)


def expose(nuclei: Culture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture of a culture, (H, W) uint8, bright on dark: every call lights it otherwise.

    Nuclei differ in brightness, a few dying ones shine; light from above and below the focal plane,
    from the cells and from the medium lies over them; the range may be a few grey values only.
    """
    size, diameter = nuclei.labels.shape, nuclei.diameter
    light = _nuclei(nuclei, rng)
    out_of_focus = ndi.gaussian_filter(light, rng.uniform(0.3, 1.5) * diameter)
    image = light + rng.uniform(0, 0.5) * out_of_focus
    if rng.random() < 0.5:  # other cells above and below
        other = np.roll(light[::-1, ::-1], rng.integers(0, size), (0, 1))
        image += rng.uniform(0, 0.5) * ndi.gaussian_filter(other, rng.uniform(0.2, 0.8) * diameter)
    if rng.random() < 0.5:  # cytoplasm and tissue that glow by themselves
        glow = smooth_noise(rng, size, rng.uniform(0.5, 6) * diameter, octaves=2)
        image += rng.uniform(0, 0.4) * np.exp(rng.uniform(0, 1) * glow)
    if rng.random() < 0.4:
        haze = smooth_noise(rng, size, rng.uniform(2, 8) * diameter).clip(0)
        image += rng.uniform(0, 1) * haze
    image *= np.exp(rng.uniform(0, 0.4) * smooth_noise(rng, size, 10 * diameter))
    if rng.random() < 0.5:
        image += rng.uniform(0, 0.3)
    image = ndi.gaussian_filter(image, rng.uniform(0.4, max(0.6, 0.09 * diameter)))
    return _camera(image, rng)


def _nuclei(nuclei: Culture, rng: np.random.Generator) -> Array:
    count = int(nuclei.labels.max()) + 1
    brightness = np.exp(rng.normal(0, rng.uniform(0, 0.7), count))
    dying = rng.random(count) < (0.03 if rng.random() < 0.5 else 0.0)
    brightness[dying] *= rng.uniform(2, 5)
    owner = nuclei.labels
    if count > 1:  # blurred edges belong to the nearest nucleus
        nearest = ndi.distance_transform_edt(
            owner == 0, return_distances=False, return_indices=True
        )
        owner = owner[tuple(nearest)]
    inside = nuclei.cover > 0.5
    typical = float(nuclei.chromatin[inside].mean()) if inside.any() else 1.0
    texture = (nuclei.chromatin / typical).clip(0.1) ** rng.uniform(0, 1.2)
    uneven = smooth_noise(rng, nuclei.labels.shape, 1.5 * nuclei.diameter, octaves=2)
    lit = nuclei.cover * texture * brightness[owner] * np.exp(rng.uniform(0, 0.15) * uneven)
    return np.asarray(lit, np.float32)


def _camera(image: Array, rng: np.random.Generator) -> NDArray[np.uint8]:
    peak = np.exp(rng.uniform(np.log(20), np.log(250)))
    image = image / max(float(np.percentile(image, 99.9)), 1e-3) * peak
    read_noise, shot_noise = rng.uniform(0, 1.5), rng.uniform(0, 0.06) * rng.random() * peak
    spread = np.sqrt(read_noise**2 + shot_noise * image.clip(0))
    image = image + rng.standard_normal(image.shape) * spread
    return np.asarray(image.round().clip(0, 255), np.uint8)


def synthetic_fluorescence(
    shape: tuple[int, int] = (512, 512),
    seed: int = 0,
    *,
    nucleus_diameter: float = 24.0,
    density: float = 0.3,
) -> tuple[NDArray[np.uint8], NDArray[np.unsignedinteger]]:
    """A fluorescence image of a culture and its true labels.

    Parameters and labels are those of `synthetic_field`; the image
    is (H, W) uint8, bright on dark. The same arguments give the same image.

    Raises
    ------
    SettingsError
        If an argument is out of range.
    """
    grown = culture(shape, seed, nucleus_diameter=nucleus_diameter, density=density)
    image = expose(grown, np.random.default_rng([seed, *grown.labels.shape, 2]))
    labels = grown.labels
    return image, labels.astype(np.uint16 if labels.max() < 2**16 else np.uint32)

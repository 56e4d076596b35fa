"""A synthetic H&E field with true nuclei, for trying out and for tests: no slide, no licence.

Tissue is painted as amounts of stain in each pixel (haematoxylin, eosin, blood), which absorb light
by Beer-Lambert's law: transmitted light = lamp * exp(-amounts @ optical densities). Lengths are in
nucleus diameters, so that the field looks alike at every size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from scipy.spatial import cKDTree

from napari_patchseg.errors import SettingsError

from ._nuclei import Array, Layout, Tissue, outline, paint_nuclei, smooth_noise, soft_step

#: Optical density of red, green and blue per stain, around Ruifrok and Johnston's (2001).
_DENSITIES = np.array(
    [
        [0.54, 0.74, 0.36],  # haematoxylin
        [0.10, 0.95, 0.28],  # eosin
        [0.08, 0.70, 0.52],  # haemoglobin with eosin
    ]
)


@dataclass
class _Stains:
    """Amounts of stain, each (H, W) float32 from 0."""

    haematoxylin: Array
    eosin: Array
    blood: Array


def synthetic_field(
    shape: tuple[int, int] = (512, 512),
    seed: int = 0,
    *,
    nucleus_diameter: float = 24.0,
    density: float = 0.3,
    pixel_size: float = 0.25,
    tissue: Tissue | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.unsignedinteger]]:
    """Paint an H&E field.

    Nests of epithelium with textured and vesicular nuclei, fibrous stroma with spindle-shaped ones,
    lymphocytes, red blood cells and gaps of glass. The same arguments give the same field.

    Parameters
    ----------
    shape : tuple of int
        (H, W), at least 64 each.
    seed : int
        From 0.
    nucleus_diameter : float
        Typical diameter of a nucleus in pixels, 6 to 200.
    density : float
        Share of the epithelium that is nuclei, 0 to 0.6.
    pixel_size : float
        µm per pixel; decides how much the microscope blurs.
    tissue : Tissue, optional
        Other traits than the sample image's.

    Returns
    -------
    image : ndarray
        (H, W, 3) uint8.
    labels : ndarray
        (H, W) uint16, or uint32 for more than 65,535 nuclei: 0 is background, nuclei 1, 2, ...

    Raises
    ------
    SettingsError
        If an argument is out of range.

    Examples
    --------
    >>> from napari_patchseg import synthetic_field
    >>> field, truth = synthetic_field((96, 128), seed=1)
    >>> field.shape, truth.shape
    ((96, 128, 3), (96, 128))
    """
    size = check_field(shape, seed, nucleus_diameter, density)
    if pixel_size <= 0:
        raise SettingsError("pixel_size must be above 0.")
    rng = np.random.default_rng([seed, *size])
    diameter = float(nucleus_diameter)
    tissue = tissue or Tissue()
    layout = _layout(rng, size, diameter)
    if tissue.fat > 0:
        layout = _with_fat(rng, layout, diameter, tissue)
    stains = _stroma(rng, layout, diameter)
    if tissue.strands > 0 or tissue.specks > 0:
        stains.haematoxylin += _debris(rng, layout, diameter, tissue)
    labels, chromatin, cover = paint_nuclei(rng, layout, diameter, density, tissue)
    _cytoplasm(rng, stains, layout, labels, diameter)
    stains.eosin *= 1 + (tissue.eosin - 1) * layout.epithelium
    stains.haematoxylin *= 1 + (tissue.blue - 1) * layout.epithelium
    _red_cells(rng, stains, layout, labels, diameter)
    _cut_glass(rng, stains, layout, labels)
    stains.haematoxylin += cover * (chromatin - stains.haematoxylin)
    stains.eosin *= 1 - 0.3 * cover
    _section(rng, stains, diameter)
    image = _camera(rng, stains, pixel_size)
    return image, labels.astype(np.uint16 if labels.max() < 2**16 else np.uint32)


def check_field(
    shape: tuple[int, int], seed: int, nucleus_diameter: float, density: float
) -> tuple[int, int]:
    """Raise `SettingsError` for what cannot be painted; returns the shape as (H, W)."""
    height, width = (int(side) for side in shape)
    if min(height, width) < 64:
        raise SettingsError(f"A synthetic field needs sides of 64 px or more, not {min(shape)}.")
    if not 6 <= nucleus_diameter <= 200:
        raise SettingsError(f"nucleus_diameter must be 6 to 200 px, not {nucleus_diameter}.")
    if not 0 <= density <= 0.6:
        raise SettingsError(f"density must be 0 to 0.6, not {density}.")
    if seed < 0:
        raise SettingsError("seed must not be negative.")
    return height, width


# -- tissue


def _layout(rng: np.random.Generator, size: tuple[int, int], diameter: float) -> Layout:
    gaps = smooth_noise(rng, size, 7 * diameter, octaves=4)
    ragged = 0.09 * smooth_noise(rng, size, 0.6 * diameter, octaves=3)
    glass = soft_step(gaps + ragged - rng.uniform(1.45, 1.9), 0.03)
    nests = smooth_noise(rng, size, 8 * diameter, octaves=3)
    epithelium = soft_step(nests - rng.uniform(-0.4, 0.2), 0.08)
    turn = rng.uniform(0, math.pi)
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float32)
    along = columns * math.cos(turn) + rows * math.sin(turn)
    across = rows * math.cos(turn) - columns * math.sin(turn)
    # Bent coordinates, not a turned angle at each pixel: strands stay whole.
    across += 0.4 * diameter * smooth_noise(rng, size, 2.5 * diameter, octaves=2)
    across += 1.4 * diameter * smooth_noise(rng, size, 9 * diameter)
    down, right = np.gradient(across)
    return Layout(glass, epithelium, along, across, np.arctan2(-right, down))


def _with_fat(rng: np.random.Generator, layout: Layout, diameter: float, tissue: Tissue) -> Layout:
    """Large empty cells, close to each other: of the tissue only their walls are left."""
    height, width = layout.glass.shape
    cell = tissue.fat_cell * diameter
    count = int(height * width / cell**2) + 6
    middles = rng.uniform(-cell, np.array((height, width)) + cell, (count, 2))
    bend = [0.2 * diameter * smooth_noise(rng, (height, width), 2 * diameter, 2) for _ in range(2)]
    places = np.mgrid[:height, :width].astype(np.float32) + np.stack(bend)
    nearest, _ = cKDTree(middles).query(np.moveaxis(places, 0, -1), k=2)
    wall = np.exp(0.5 * smooth_noise(rng, (height, width), 3 * diameter))
    wall *= rng.uniform(0.08, 0.5) * diameter
    empty = soft_step(nearest[..., 1] - nearest[..., 0] - wall, 0.04 * diameter)
    where = smooth_noise(rng, (height, width), 10 * diameter) + 3 * (tissue.fat - 0.5)
    fat = soft_step(where, 0.1)
    return replace(
        layout,
        glass=np.maximum(layout.glass, empty * fat),
        epithelium=layout.epithelium * (1 - fat),
    )


def _debris(rng: np.random.Generator, layout: Layout, diameter: float, tissue: Tissue) -> Array:
    """Haematoxylin of thin strands and specks that are no nuclei."""
    height, width = layout.glass.shape
    thin = _fibres(rng, layout, rng.uniform(0.8, 3) * diameter, rng.uniform(0.06, 0.15) * diameter)
    amount = tissue.strands * (thin - rng.uniform(1, 2)).clip(0, 1.5)
    for _ in range(rng.poisson(tissue.specks * height * width / (2 * diameter) ** 2)):
        window, ratio = outline(
            rng, (height, width), rng.uniform(0, (height, width)),
            rng.uniform(0.06, 0.2) * diameter, rng.uniform(1, 3), rng.uniform(0, math.pi), 0.15,
        )  # fmt: skip
        if window is not None:
            speck = soft_step(1 - ratio, 0.15) * rng.uniform(0.1, 0.7)
            amount[window] = np.maximum(amount[window], speck)
    return np.asarray(amount, np.float32)


def _fibres(rng: np.random.Generator, layout: Layout, length: float, thickness: float) -> Array:
    """Strands of mean 0 and deviation 1: noise stretched along the bent coordinates."""
    at = [
        (layout.across - layout.across.min()) / thickness + 3,
        (layout.along - layout.along.min()) / length + 3,
    ]
    coarse = rng.standard_normal([int(part.max()) + 5 for part in at], dtype=np.float32)
    strands = ndi.map_coordinates(coarse, at, order=3, mode="reflect", prefilter=False)
    return np.asarray((strands - strands.mean()) / strands.std(), dtype=np.float32)


def _stroma(rng: np.random.Generator, layout: Layout, diameter: float) -> _Stains:
    size = layout.glass.shape
    coarse = _fibres(rng, layout, 5 * diameter, 0.22 * diameter)
    fine = _fibres(rng, layout, 3 * diameter, 0.09 * diameter)
    slits = _fibres(rng, layout, 4 * diameter, 0.35 * diameter)
    loose = smooth_noise(rng, size, 4 * diameter, octaves=3)
    amount = 0.29 + 0.07 * coarse + 0.05 * fine + 0.06 * loose
    amount *= 1 - 0.75 * soft_step(slits - 1.35 + 0.4 * loose, 0.12)  # spaces between strands
    eosin = np.clip(amount, 0.02, None).astype(np.float32)
    haze = 0.07 + 0.03 * loose + 0.02 * fine
    return _Stains(
        np.clip(haze, 0, None).astype(np.float32), eosin, np.zeros(size, dtype=np.float32)
    )


def _cytoplasm(
    rng: np.random.Generator, stains: _Stains, layout: Layout, labels: NDArray[np.int32],
    diameter: float,
) -> None:  # fmt: skip
    """Cells around the nuclei of the epithelium: each its own tint, with borders between them."""
    size = labels.shape
    if labels.max() == 0:
        return
    distance, nearest = ndi.distance_transform_edt(labels == 0, return_indices=True)
    owner = labels[tuple(nearest)]
    reach = 0.75 * diameter * (1 + 0.2 * smooth_noise(rng, size, diameter))
    cell = layout.epithelium * soft_step(reach - distance, 0.06 * diameter)
    tint = rng.normal(1, 0.12, labels.max() + 1)[owner]
    blue = rng.normal(1, 0.25, labels.max() + 1).clip(0.3)[owner]
    grain = 1 + 0.10 * smooth_noise(rng, size, 0.6 * diameter)
    border = (ndi.maximum_filter(owner, 3) != ndi.minimum_filter(owner, 3)) & (labels == 0)
    line = ndi.gaussian_filter(border.astype(np.float32), 0.04 * diameter)
    # Some borders gape, others are dark.
    cleft = soft_step(smooth_noise(rng, size, 1.5 * diameter) - 0.9, 0.3)
    edge = 1 + line * (0.6 * (1 - cleft) - 1.5 * cleft)
    eosin = 0.38 * tint * grain * edge.clip(0.1)
    haematoxylin = 0.26 * blue * grain * edge.clip(0.1)
    stains.eosin += cell * (eosin - stains.eosin)
    stains.haematoxylin += cell * (haematoxylin - stains.haematoxylin)
    # Cytoplasm shrinks away from parts of a nucleus.
    patchy = soft_step(smooth_noise(rng, size, 0.8 * diameter), 0.5)
    halo = np.exp(-(((distance / diameter - 0.07) / (0.03 + 0.04 * patchy)) ** 2)) * patchy
    shrunk = rng.random(labels.max() + 1) < 0.3
    pale = 1 - 0.75 * (halo * shrunk[owner] * (labels == 0)).astype(np.float32)
    stains.eosin *= pale
    stains.haematoxylin *= pale


def _red_cells(
    rng: np.random.Generator, stains: _Stains, layout: Layout, labels: NDArray[np.int32],
    diameter: float,
) -> None:  # fmt: skip
    """A few groups of red blood cells in the stroma, some paler in the middle."""
    height, width = labels.shape
    groups = rng.poisson(height * width / (22 * diameter) ** 2 + 0.3)
    for _ in range(groups):
        middle = rng.uniform(0, (height, width))
        if layout.epithelium[int(middle[0]), int(middle[1])] > 0.5:
            continue
        for _ in range(rng.integers(3, 10)):
            centre = middle + rng.normal(0, 1.3 * diameter, 2)
            radius = rng.uniform(0.4, 0.5) * diameter
            window, ratio = outline(rng, labels.shape, centre, radius, rng.uniform(1, 1.3),
                                     rng.uniform(0, math.pi), 0.04)  # fmt: skip
            if window is None:
                continue
            disc = soft_step(1 - ratio, 0.05) * (labels[window] == 0)
            amount = rng.uniform(0.65, 0.95) * (1 - 0.25 * np.exp(-((ratio / 0.45) ** 2)))
            stains.blood[window] = np.maximum(stains.blood[window], disc * amount)
            stains.eosin[window] *= 1 - 0.9 * disc
            stains.haematoxylin[window] *= 1 - 0.9 * disc


def _cut_glass(
    rng: np.random.Generator, stains: _Stains, layout: Layout, labels: NDArray[np.int32]
) -> None:
    left = (1 - layout.glass * (labels == 0)).astype(np.float32)
    rim = 1 + 0.8 * layout.glass * left * rng.uniform(0.5, 1)  # tissue is thicker where it folds
    for amounts in (stains.haematoxylin, stains.eosin, stains.blood):
        amounts *= left * rim


def _section(rng: np.random.Generator, stains: _Stains, diameter: float) -> None:
    """Uneven thickness of the cut, and the grain that every stain has."""
    for amounts in (stains.haematoxylin, stains.eosin, stains.blood):
        uneven = 0.06 * smooth_noise(rng, amounts.shape, 6 * diameter)
        grain = 0.15 * smooth_noise(rng, amounts.shape, 0.08 * diameter)
        grain += 0.10 * smooth_noise(rng, amounts.shape, 0.16 * diameter)
        amounts *= (1 + uneven + grain).clip(0.3)


# -- microscope


def _camera(rng: np.random.Generator, stains: _Stains, pixel_size: float) -> NDArray[np.uint8]:
    """Light through the stains, blurred by the objective, with the camera's noise."""
    densities = _DENSITIES * rng.normal(1, 0.06, _DENSITIES.shape)
    densities[1, 2] = rng.uniform(0.2, 0.48)  # from magenta to salmon, as laboratories differ
    strength = rng.uniform((0.85, 0.65, 0.9), (1.2, 1.15, 1.1))
    amounts = np.stack([stains.haematoxylin, stains.eosin, stains.blood], axis=-1)
    light = np.exp(-(amounts * strength.astype(np.float32)) @ densities.astype(np.float32))
    light *= 1 + 0.012 * smooth_noise(rng, light.shape[:2], max(light.shape[:2]) / 2)[..., None]
    blur = 0.15 / pixel_size  # 0.15 µm: the width of a 0.75 NA objective's point spread
    light = ndi.gaussian_filter(light, (blur, blur, 0), truncate=3)
    values = light * np.array((243, 241, 246), dtype=np.float32)  # the lamp
    values += rng.standard_normal(values.shape, dtype=np.float32) * np.sqrt(0.6 + 0.012 * values)
    return np.asarray(values.round().clip(0, 255), dtype=np.uint8)

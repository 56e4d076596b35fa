"""Tissue of a synthetic field, the nuclei in it, and the noise and shapes they are painted from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.float32]
Slices = tuple[slice, slice]


@dataclass(frozen=True)
class Tissue:
    """Traits of a field; the defaults are those of the sample image.

    Attributes
    ----------
    fat : float
        How much of the field is fat: 0 none, 1 nearly all.
    fat_cell : float
        Diameter of a fat cell in nucleus diameters.
    strands : float
        Haematoxylin of thin strands in the stroma that are no nuclei.
    specks : float
        Specks of haematoxylin that are no nuclei, per square of two nucleus diameters.
    vesicular : float
        How often a nucleus of the epithelium is pale inside with a dark rim and a nucleolus.
    pale : float
        How often it is paler still, down to its cytoplasm.
    inside : tuple of float
        Range of a pale nucleus's inner stain, as a share of its darkness.
    darkness : tuple of float
        Range of the nuclei's haematoxylin in the epithelium.
    eosin, blue : float
        Eosin and haematoxylin of the epithelium beside that of the sample image.
    """

    fat: float = 0.0
    fat_cell: float = 5.0
    strands: float = 0.0
    specks: float = 0.0
    vesicular: float = 0.5
    pale: float = 0.0
    inside: tuple[float, float] = (0.25, 0.6)
    darkness: tuple[float, float] = (0.65, 1.2)
    eosin: float = 1.0
    blue: float = 1.0

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Tissue:
        """Tissue of any kind: what the pretrained weights are taught with."""
        low, high = sorted(rng.uniform(0.25, 0.6, 2))
        dirty = rng.random() < 0.5
        return cls(
            fat=float(rng.uniform(0.3, 1.2)) if rng.random() < 0.18 else 0.0,
            fat_cell=float(rng.uniform(3, 8)),
            strands=float(rng.uniform(0.1, 0.5)) if dirty else 0.0,
            specks=float(rng.uniform(0, 0.12)) if dirty else 0.0,
            vesicular=float(rng.uniform(0.2, 0.8)),
            pale=float(rng.uniform(0, 0.6)) if rng.random() < 0.5 else 0.0,
            inside=(float(low), float(high)),
            darkness=(0.6, 1.2),
            eosin=float(np.exp(rng.normal(0, 0.2))),
            blue=float(np.exp(rng.normal(0, 0.25))),
        )


@dataclass(frozen=True)
class _Kind:
    """A kind of nucleus: ranges are drawn from evenly, lengths in nucleus diameters."""

    diameter: tuple[float, float]
    elongation: tuple[float, float]
    warp: float
    darkness: tuple[float, float]
    vesicular: float  # how often pale inside with a dark rim and a nucleolus
    texture: float


_EPITHELIAL = _Kind((0.9, 1.3), (1.0, 1.6), 0.05, (0.65, 1.2), 0.5, 0.34)
_LYMPHOID = _Kind((0.62, 0.8), (1.0, 1.25), 0.04, (1.2, 1.7), 0.0, 0.22)
_SPINDLE = _Kind((0.6, 0.85), (2.2, 4.2), 0.06, (0.8, 1.4), 0.05, 0.20)


@dataclass(frozen=True)
class Layout:
    """What lies where, each (H, W): shares in [0, 1], and coordinates that follow the fibres."""

    glass: Array
    epithelium: Array
    along: Array
    across: Array
    angle: Array


def paint_nuclei(
    rng: np.random.Generator, layout: Layout, diameter: float, density: float, tissue: Tissue
) -> tuple[NDArray[np.int32], Array, Array]:
    """True labels, haematoxylin of the nuclei, and their opacity, which is soft at the edges."""
    size = layout.glass.shape
    labels = np.zeros(size, np.int32)
    chromatin, cover = np.zeros(size, np.float32), np.zeros(size, np.float32)
    epithelial = replace(_EPITHELIAL, vesicular=tissue.vesicular, darkness=tissue.darkness)
    coarse = smooth_noise(rng, size, 0.16 * diameter)
    fine = smooth_noise(rng, size, 0.07 * diameter)
    infiltrate = smooth_noise(rng, size, 5 * diameter, octaves=2)  # where lymphocytes gather
    tries = int(3.2 * density * size[0] * size[1] / (math.pi / 4 * diameter**2)) + 1
    margin = 0.5 * diameter
    count = 0
    for centre in rng.uniform(-margin, np.array(size) + margin, (tries, 2)):
        row, column = (int(np.clip(v, 0, n - 1)) for v, n in zip(centre, size, strict=True))
        if layout.glass[row, column] > 0.3:
            continue
        if rng.random() < layout.epithelium[row, column]:
            kind = epithelial if rng.random() < 0.95 else _LYMPHOID
            angle = rng.uniform(0, math.pi)
        elif infiltrate[row, column] > 1.0 and rng.random() < 0.7:
            kind, angle = _LYMPHOID, rng.uniform(0, math.pi)
        elif rng.random() < 0.3:
            kind = _SPINDLE if rng.random() < 0.75 else _LYMPHOID
            angle = float(layout.angle[row, column]) + rng.normal(0, 0.25)
        else:
            continue
        radius = rng.uniform(*kind.diameter) * diameter / 2
        elongation = rng.uniform(*kind.elongation)
        window, ratio = outline(rng, size, centre, radius, elongation, angle, kind.warp)
        if window is None:
            continue
        inside = ratio < 1
        free = inside & (labels[window] == 0)
        # Neighbours may touch and dent each other a little, and a nucleus at the image's edge must
        # show enough of itself to be one.
        taken = int(inside.sum()) - int(free.sum())
        if taken > 0.08 * inside.sum() or free.sum() < 0.3 * math.pi * radius**2:
            continue
        count += 1
        labels[window][free] = count
        focus = rng.uniform(0.02, 0.09)
        opacity = soft_step(1 - ratio, focus) * (free | ~inside)
        here = opacity > cover[window]
        cover[window][here] = opacity[here]
        if kind is epithelial and tissue.pale > 0 and rng.random() < tissue.pale:
            amount = _pale_chromatin(rng, tissue, ratio, coarse[window], fine[window])
        else:
            amount = _chromatin(rng, kind, ratio, coarse[window], fine[window])
        chromatin[window][here] = amount[here]
    return labels, chromatin, cover


def scatter_nuclei(
    rng: np.random.Generator, epithelium: Array, diameter: float, density: float
) -> tuple[NDArray[np.int32], Array, Array]:
    """Nuclei without tissue: those of epithelium where that is 1, some loose ones where it is 0.

    Returns labels, amount of chromatin and opacity, each (H, W).
    """
    nothing = np.zeros_like(epithelium)
    layout = Layout(nothing, epithelium, nothing, nothing, nothing)
    return paint_nuclei(rng, layout, diameter, density, Tissue())


def _chromatin(
    rng: np.random.Generator, kind: _Kind, ratio: Array, coarse: Array, fine: Array
) -> Array:
    """Haematoxylin in one nucleus."""
    dark = rng.uniform(*kind.darkness)
    clumps = coarse.clip(0) + 0.5 * fine
    if rng.random() < kind.vesicular:
        rim = np.exp(-(((ratio - 0.93) / 0.11) ** 2))
        amount = 0.48 + 0.5 * rim + 0.22 * clumps
        for _ in range(rng.integers(1, 3)):
            amount = amount + 0.55 * _nucleolus(rng, ratio, 0.05)
    else:
        amount = (
            0.85 + kind.texture * (clumps - 0.4) + 0.12 * np.exp(-(((ratio - 0.95) / 0.1) ** 2))
        )
    return np.asarray((dark * amount).clip(0.12), dtype=np.float32)


def _pale_chromatin(
    rng: np.random.Generator, tissue: Tissue, ratio: Array, coarse: Array, fine: Array
) -> Array:
    """Haematoxylin in a nucleus that is hardly darker than its cytoplasm, but for its rim."""
    rim = np.exp(-(((ratio - rng.uniform(0.9, 0.97)) / rng.uniform(0.05, 0.14)) ** 2))
    clumps = coarse.clip(0) + 0.5 * fine
    amount = (
        rng.uniform(*tissue.inside) + rng.uniform(0.3, 1) * rim + rng.uniform(0.1, 0.4) * clumps
    )
    for _ in range(rng.integers(0, 3)):
        amount = amount + rng.uniform(0.3, 0.8) * _nucleolus(rng, ratio, rng.uniform(0.03, 0.07))
    return np.asarray((rng.uniform(*tissue.darkness) * amount).clip(0.05), dtype=np.float32)


def _nucleolus(rng: np.random.Generator, ratio: Array, size: float) -> Array:
    """A spot somewhere in the inner half of a nucleus, 1 in its middle."""
    rows, columns = np.nonzero(ratio < 0.55)
    if rows.size == 0:
        return np.zeros_like(ratio)
    chosen = rng.integers(rows.size)
    apart = np.hypot(
        np.arange(ratio.shape[0])[:, None] - rows[chosen],
        np.arange(ratio.shape[1])[None] - columns[chosen],
    )
    return np.asarray(np.exp(-((apart / (size * max(ratio.shape) + 0.5)) ** 2)), np.float32)


# -- noise and shapes


def smooth_noise(
    rng: np.random.Generator, size: tuple[int, int], length: float, octaves: int = 1
) -> Array:
    """Smooth noise of mean 0 and deviation 1 whose features are about `length` pixels wide."""
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        step = max(1.0, length / 2**octave)
        rows, columns = (_spline(side, step) for side in size)
        coarse = rng.standard_normal((rows.shape[1], columns.shape[1]), dtype=np.float32)
        total += 0.5**octave * (columns @ (rows @ coarse).T).T
    return np.asarray((total - total.mean()) / (total.std() + 1e-6), dtype=np.float32)


def _spline(side: int, step: float) -> sparse.csr_array:
    """Cubic B-spline weights that spread values `step` pixels apart over `side` pixels."""
    # ndimage.zoom does the same in ten times the time, since it weighs both axes at every pixel.
    at = np.arange(side) / step
    cell = at.astype(int)
    t = at - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (t + t**2 - t**3) + 1, t**3])
    places = cell + np.arange(4)[:, None]
    entries = (
        weights.ravel().astype(np.float32) / 6,
        (np.tile(np.arange(side), 4), places.ravel()),
    )
    return sparse.csr_array(entries, shape=(side, int(cell[-1]) + 4))


def soft_step(values: NDArray[np.floating], softness: float) -> Array:
    """0 far below 0, 1 far above, soft between."""
    return np.asarray(1 / (1 + np.exp(-np.clip(values / softness, -30, 30))), dtype=np.float32)


def outline(
    rng: np.random.Generator, size: tuple[int, int], centre: NDArray[np.float64], radius: float,
    elongation: float, angle: float, warp: float,
) -> tuple[Slices | None, Array]:  # fmt: skip
    """A warped ellipse: the window it covers, and how far out each pixel there is (inside: < 1)."""
    reach = math.ceil(1.35 * radius * math.sqrt(elongation)) + 2
    row, column = (round(float(value)) for value in centre)
    rows = slice(max(0, row - reach), min(size[0], row + reach + 1))
    columns = slice(max(0, column - reach), min(size[1], column + reach + 1))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return None, np.zeros((0, 0), np.float32)
    y = np.arange(rows.start, rows.stop)[:, None] - centre[0]
    x = np.arange(columns.start, columns.stop)[None] - centre[1]
    along = (x * math.cos(angle) + y * math.sin(angle)) / math.sqrt(elongation)
    across = (y * math.cos(angle) - x * math.sin(angle)) * math.sqrt(elongation)
    direction = np.arctan2(across, along)
    outline = radius * np.ones_like(direction)
    for wave in range(2, 6):
        size_of_wave = warp * 2 / wave * rng.standard_normal()
        outline += radius * size_of_wave * np.cos(wave * direction + rng.uniform(0, 2 * math.pi))
    ratio = np.hypot(along, across) / outline.clip(0.4 * radius)
    return (rows, columns), ratio.astype(np.float32)

"""Smooth noise, soft steps and warped ellipses, from which the synthetic images are painted."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.float32]
Slices = tuple[slice, slice]


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

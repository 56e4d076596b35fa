"""Smooth random fields, from which the synthetic tissue is made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Array = NDArray[np.float32]


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

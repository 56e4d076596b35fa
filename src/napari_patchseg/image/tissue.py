"""What kind of tissue a synthetic field shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
        """Tissue of any kind: what the start weights are taught with."""
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

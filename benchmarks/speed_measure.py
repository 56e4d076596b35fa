"""Section "measure" of `speed.py`: the table of measurements, beside scikit-image's.

Labels are the true ones of a synthetic field of small nuclei, repeated. Seconds are the
processor's. scikit-image's `regionprops_table` measures what it knows of shapes, and the channels;
stains, confidence and neighbours are ours alone. Some three minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from skimage.measure import regionprops_table

import napari_patchseg as ps
from common import short, table

#: How often the field of 1000x1000 is repeated along each side.
REPEATS = (1, 5)
SHAPES = (
    "label",
    "centroid",
    "area",
    "perimeter",
    "equivalent_diameter_area",
    "axis_major_length",
    "axis_minor_length",
    "eccentricity",
    "orientation",
    "solidity",
)


def measure(_images: Path | None = None) -> dict[str, Any]:
    """Every figure of this section, JSON-ready."""
    image, labels = ps.synthetic_field((1000, 1000), seed=3, nucleus_diameter=9)
    ps.measure(labels, image)  # loads what it needs
    return {str(times): _measured(image, labels, times) for times in REPEATS}


def _measured(image: np.ndarray, labels: np.ndarray, times: int) -> dict[str, float]:
    offsets = np.arange(times**2).reshape(times, times) * int(labels.max())
    many = np.tile(labels.astype(np.uint32), (times, times))
    many += (np.kron(offsets, np.ones_like(labels)) * (many > 0)).astype(np.uint32)
    large = np.tile(image, (times, times, 1))
    confidence = large[..., 0] / np.float32(255)
    return {
        "objects": len(np.unique(many)) - 1,
        "side": len(many),
        "shapes": _seconds(lambda: ps.measure(many)),
        "all": _seconds(lambda: ps.measure(many, large, pixel_size=0.5, confidence=confidence)),
        "regionprops shapes": _seconds(lambda: regionprops_table(many, properties=SHAPES)),
        "regionprops all": _seconds(
            lambda: regionprops_table(
                many, large, properties=(*SHAPES, "intensity_mean", "intensity_std")
            )
        ),
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def report(figures: Mapping[str, Any]) -> dict[str, str]:
    """Tables by name."""
    rows = []
    for row in figures.values():
        ratios = [row[f"regionprops {what}"] / row[what] for what in ("shapes", "all")]
        times = [
            f"{short(row[what])} ({short(ratio)})"
            for what, ratio in zip(("shapes", "all"), ratios, strict=True)
        ]
        rows.append((row["objects"], row["side"], *times))
    columns = (
        "objects",
        "side, px",
        "shapes and neighbours, s",
        "channels, stains, confidence too, s",
    )
    return {"measure": table(columns, rows)}

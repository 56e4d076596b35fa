"""When training has converged, and when it has collapsed (paper section 3.4)."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class ConvergenceRule:
    """Decides from the two separations alone; see docs/method.md for how it was chosen.

    Parameters
    ----------
    first : int
        No convergence before this step.
    smoothing : float
        Weight of the newest value in the running means, in (0, 1].
    ratio : float
        Converged once the positive-negative separation is this many times the positive-positive one.
    patience : int
        Steps in a row for which that must hold.
    """

    first: int = 60
    smoothing: float = 0.1
    ratio: float = 1.5
    patience: int = 10

    def __post_init__(self) -> None:
        self._positive: float | None = None
        self._negative: float | None = None
        self._held = 0

    def update(self, step: int, positive_separation: float, negative_separation: float) -> bool:
        """Take in a step's separations (NaN: none) and say whether training has converged."""
        if not (math.isfinite(positive_separation) and math.isfinite(negative_separation)):
            return False
        self._positive = self._mean(self._positive, positive_separation)
        self._negative = self._mean(self._negative, negative_separation)
        holds = self._negative >= self.ratio * max(self._positive, 1e-12)
        self._held = self._held + 1 if holds else 0
        return step >= self.first and self._held >= self.patience

    def _mean(self, old: float | None, new: float) -> float:
        return new if old is None else old + self.smoothing * (new - old)


@dataclass
class CollapseRule:
    """Notices that every confidence has gone to 0, or to 1.

    Parameters
    ----------
    margin : float
        A class is flat when its mean confidence is within this of 0 or 1.
    skips : int
        Skipped steps in a row (a class without positives or without negatives) that count as well.
    """

    margin: float = 0.02
    skips: int = 10

    def __post_init__(self) -> None:
        self._skipped = 0

    def update(self, class_means: list[float], skipped: bool) -> bool:
        """Take in the mean confidence of each class; true if the run has collapsed."""
        self._skipped = self._skipped + 1 if skipped else 0
        flat = all(m < self.margin or m > 1 - self.margin for m in class_means)
        return flat or not all(map(math.isfinite, class_means)) or self._skipped >= self.skips

    def reset(self) -> None:
        """Forget the steps that were undone."""
        self._skipped = 0

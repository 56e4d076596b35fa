"""When training has converged, and when it has collapsed (paper section 3.4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class ConvergenceRule:
    """Decides from the separations that positives and negatives are as far apart as they get.

    While the network learns, the positive-negative separation grows; once it has learnt what it
    can, both separations stand still and then shrink, since ever emptier patches also lower the
    loss, and the objects dissolve. So the run has converged when the smoothed positive-negative
    separation has passed its peak; the weights of the peak are the result.
    docs/experiments.md tells what else was tried.

    Parameters
    ----------
    first : int
        No peak before this step, and nothing counts before half of it: the first separations are
        those of a random network.
    smoothing : float
        Weight of the newest value in the running means, in (0, 1].
    drop : float
        Share of its peak by which the running mean must have fallen.
    growth : float
        Share by which a new peak must exceed the old.
    patience : int
        Steps that must have gone by since the peak.
    apart : float
        How many times the positive-positive separation the positive-negative one must exceed; a
        little below 1, since on some images the two stay level.

    Attributes
    ----------
    peak_step : int
        Step of the highest running mean so far; 0 before the first.
    """

    first: int = 20
    smoothing: float = 0.15
    drop: float = 0.05
    growth: float = 0.0
    patience: int = 10
    apart: float = 0.9

    def __post_init__(self) -> None:
        self.peak_step = 0
        self._peak = -math.inf
        self._positive: float | None = None
        self._negative: float | None = None

    def update(self, step: int, positive_separation: float, negative_separation: float) -> bool:
        """Take in a step's separations (NaN: none) and say whether training has converged."""
        if step < self.first // 2:
            return False
        if not (math.isfinite(positive_separation) and math.isfinite(negative_separation)):
            return False
        self._positive = self._mean(self._positive, positive_separation)
        self._negative = self._mean(self._negative, negative_separation)
        if step >= self.first and self._negative > (1 + self.growth) * self._peak:
            self._peak, self.peak_step = self._negative, step
        return (
            self.peak_step > 0
            and step - self.peak_step >= self.patience
            and self._negative <= (1 + self.growth - self.drop) * self._peak
            and self._negative > self.apart * self._positive
        )

    def _mean(self, old: float | None, new: float) -> float:
        return new if old is None else old + self.smoothing * (new - old)


@dataclass(frozen=True)
class Spread:
    """Lowest, mean and highest confidence of a class in a batch, each in [0, 1]."""

    lowest: float
    mean: float
    highest: float

    def is_flat(self, margin: float) -> bool:
        """Whether nearly every confidence is near 0, or near 1.

        A mean near 0 alone is no collapse: it is what an image with few nuclei looks like.
        """
        if not math.isfinite(self.mean):
            return True
        near_0 = self.mean < margin and self.highest < 0.5
        return near_0 or (self.mean > 1 - margin and self.lowest > 0.5)


@dataclass
class CollapseRule:
    """Notices that every confidence has gone to 0, or to 1.

    Parameters
    ----------
    margin : float
        How near to 0 or 1 a class's mean confidence is when it is flat.
    skips : int
        Skipped steps in a row (a class without positives or without negatives) that count as well.
    """

    margin: float = 0.02
    skips: int = 10

    def __post_init__(self) -> None:
        self._skipped = 0

    def update(
        self, classes: Sequence[Spread], skipped: bool, reference: Sequence[Spread] = ()
    ) -> bool:
        """Take in a step; true if the run has collapsed.

        Parameters
        ----------
        classes : sequence of Spread
            The confidences of each class.
        skipped : bool
            Whether the step was skipped.
        reference : sequence of Spread
            What a teacher sees in the same crops, class by class. Where its means are near 0 (or 1)
            too, the crops are empty, as many are of an image with few nuclei: they tell nothing.
        """
        self._skipped = self._skipped + 1 if skipped else 0
        flat = all(spread.is_flat(self.margin) for spread in classes)
        sure = 0.5 - self.margin
        empty = bool(reference) and all(abs(one.mean - 0.5) > sure for one in reference)
        return (flat and not empty) or self._skipped >= self.skips

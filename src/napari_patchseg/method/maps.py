"""What the network makes of an image: confidence maps, and the windows it learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.geometry import Box

#: Channels of the maps that the pretrained weights make: all of a nucleus, and its inner part,
#: which nuclei that touch do not share.
NUCLEUS, INTERIOR = "nucleus", "interior"


def channel_names(weights: str, classes: int) -> tuple[str, ...]:
    """Channels of the maps of a network: what the pretrained weights were taught, else classes."""
    if weights == "pretrained":
        return NUCLEUS, INTERIOR
    return tuple(f"class {index}" for index in range(classes))


@dataclass(frozen=True)
class NucleusClass:
    """Which confidence map is nuclei.

    Attributes
    ----------
    index : int
        Class of the confidence network, from 0.
    inverted : bool
        Whether low confidence is nuclei.
    correlation : float
        Correlation in [-1, 1] of that class's confidence with the prior that chose it; NaN where
        the user chose.
    """

    index: int
    inverted: bool
    correlation: float

    def of(self, confidence: NDArray[np.float32]) -> NDArray[np.float32]:
        """Confidence in nuclei (H, W) out of confidences (K, H, W)."""
        chosen: NDArray[np.float32] = confidence[self.index]
        return 1 - chosen if self.inverted else chosen

    def is_like(self, other: NucleusClass) -> bool:
        """Whether both are the same class and polarity."""
        return (self.index, self.inverted) == (other.index, other.inverted)


@dataclass(frozen=True)
class ConfidenceMap:
    """Confidences from forward passes of the weights of one step alone.

    Attributes
    ----------
    step : int
        The step whose weights made the map.
    data : ndarray
        (K, h, w) float32 in [0, 1].
    channels : sequence of str
        Names of its K channels, see `channel_names`.
    box : Box
        The part of the image it covers, in pixels of the full image.
    reduction : int
        Image pixels per map pixel; 1 for full size. Then h = ceil((row1 - row0) / reduction).
    nucleus : NucleusClass
        Which class is nuclei, as chosen on this map.
    is_exact : bool
        Whether it was made as the settings say, rescaled and augmented; previews are simpler.
    """

    step: int
    data: NDArray[np.float32]
    channels: Sequence[str]
    box: Box
    reduction: int
    nucleus: NucleusClass
    is_exact: bool = True

    @property
    def nuclei(self) -> NDArray[np.float32]:
        """Confidence in nuclei, (h, w) float32 in [0, 1]."""
        return self.nucleus.of(self.data)

    @property
    def interiors(self) -> NDArray[np.float32] | None:
        """Confidence in the inner parts of nuclei, (h, w); None where no channel shows them.

        Nor where the user chose another class to be nuclei: these have inner parts of their own.
        """
        if INTERIOR not in self.channels or self.nucleus.inverted:
            return None
        if self.channels[self.nucleus.index] != NUCLEUS:
            return None
        inner: NDArray[np.float32] = self.data[list(self.channels).index(INTERIOR)]
        return inner


@dataclass(frozen=True)
class SampledPatches:
    """The windows that a step was trained on.

    Attributes
    ----------
    step : int
        The step they were drawn in.
    boxes : ndarray
        (M, 4) int64: row0, column0, row1, column1 in pixels of the image, ends excluded.
    image_index, class_index : ndarray
        (M,) int64.
    positive : ndarray
        (M,) bool: taken as a positive of its class.
    confidence, entropy : ndarray
        (M,) float32: means over the window; entropy in bits.
    """

    step: int
    boxes: NDArray[np.int64]
    image_index: NDArray[np.int64]
    class_index: NDArray[np.int64]
    positive: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    entropy: NDArray[np.float32]

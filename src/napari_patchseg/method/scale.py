"""From pixels to what the network sees, and the statistics of the open image behind it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_patchseg.geometry import Box, crop_boxes
from napari_patchseg.settings import Weights

#: Rescaling of pixels (paper section 4): keeps black from silencing a patch.
OFFSET = 0.05


class PixelSource(Protocol):
    """An image that is read by region."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""

    @property
    def valid(self) -> NDArray[np.bool_] | None:
        """(H, W), False where nothing is to be learnt; None where all of the image counts."""

    def read(self, box: Box, reduction: int = 1) -> NDArray[np.float32]:
        """Pixels of a box (h, w) that lies inside the image: (C, h, w) float32 in [0, 1].

        At a reduction only every so many-th row and column: (C, ceil(h / r), ceil(w / r)).
        """


def contents(pixels: Tensor) -> Tensor:
    """(1 - 0.05) x + 0.05: from [0, 1] to [0.05, 1], the contents that patches are compared by."""
    return pixels * (1 - OFFSET) + OFFSET


@dataclass(frozen=True)
class InputScale:
    """Per channel, gain x + shift: what the network gets of pixels in [0, 1].

    Attributes
    ----------
    gain, shift : tuple of float
        One per channel.
    """

    gain: tuple[float, ...]
    shift: tuple[float, ...]

    @classmethod
    def of_the_paper(cls, channels: int) -> InputScale:
        """(1 - 0.05) x + 0.05 (section 4)."""
        return cls((1 - OFFSET,) * channels, (OFFSET,) * channels)

    @classmethod
    def of_image(cls, source: PixelSource) -> InputScale:
        """Stretch each channel of an image from its 0.5 to its 99.5 percentile to [-2, 2].

        Estimated once, on evenly spaced crops, so that tiles and the whole agree.
        """
        values = np.concatenate(
            [_seen(source, box) for box in crop_boxes(source.shape[1:], 512)], axis=1
        )
        if not values.size:  # the valid pixels lie between
            values = np.concatenate([c.reshape(len(c), -1) for c in crops(source, 512)], axis=1)
        low, high = np.percentile(values, [0.5, 99.5], axis=1)
        gain = 4 / np.maximum(high - low, 0.02)  # no noise is blown up
        return cls(tuple(gain.tolist()), tuple((-gain * low - 2).tolist()))

    def __call__(self, pixels: Tensor) -> Tensor:
        """Scale (N, C, H, W)."""
        gain = torch.tensor(self.gain, dtype=pixels.dtype, device=pixels.device)
        shift = torch.tensor(self.shift, dtype=pixels.dtype, device=pixels.device)
        return pixels * gain[:, None, None] + shift[:, None, None]


class NetworkInput:
    """An image as a network takes it; its scale is measured once, where it is first asked for.

    Parameters
    ----------
    source : PixelSource
        The image.
    weights : str
        What the network began with: "pretrained" weights take the image's own scale, "random" ones
        the paper's.
    """

    def __init__(self, source: PixelSource, weights: Weights) -> None:
        self.source = source
        self.weights = weights

    @cached_property
    def scale(self) -> InputScale:
        """From pixels to the network's input."""
        if self.weights == "random":
            return InputScale.of_the_paper(self.source.shape[0])
        return InputScale.of_image(self.source)


def crops(source: PixelSource, size: int) -> list[NDArray[np.float32]]:
    """A few evenly spaced crops of at most ``size`` px a side."""
    return [source.read(box) for box in crop_boxes(source.shape[1:], size)]


def _seen(source: PixelSource, box: Box) -> NDArray[np.float32]:
    """Every other valid pixel of every other row, (C, n)."""
    crop = source.read(box)[:, ::2, ::2]
    if source.valid is None:
        return crop.reshape(len(crop), -1)
    row0, column0, row1, column1 = box
    return crop[:, source.valid[row0:row1:2, column0:column1:2]]

"""From pixels to what the network sees, and the statistics of the open image behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .source import Box, PixelSource

#: Rescaling of pixels (paper section 4): keeps black from silencing a patch.
OFFSET = 0.05
#: Percentiles that the start weights take for the darkest and the brightest of a channel.
_LOW, _HIGH = 0.5, 99.5
#: The least range between them: an even channel is not blown up to noise.
_LEAST_RANGE = 0.02


def rescale(pixels: Tensor) -> Tensor:
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
            [crop[:, ::2, ::2].reshape(len(crop), -1) for crop in crops(source, 512, 9)], axis=1
        )
        low, high = np.percentile(values, [_LOW, _HIGH], axis=1)
        gain = 4 / np.maximum(high - low, _LEAST_RANGE)
        return cls(tuple(gain.tolist()), tuple((-gain * low - 2).tolist()))

    def __call__(self, pixels: Tensor) -> Tensor:
        """Scale (N, C, H, W)."""
        gain = torch.tensor(self.gain, dtype=pixels.dtype, device=pixels.device)
        shift = torch.tensor(self.shift, dtype=pixels.dtype, device=pixels.device)
        return pixels * gain[:, None, None] + shift[:, None, None]


def crops(source: PixelSource, size: int, most: int) -> list[NDArray[np.float32]]:
    """Evenly spaced crops of at most ``size`` px a side, no more than ``most`` of them."""
    _, height, width = source.shape
    tall, wide = min(size, height), min(size, width)
    a_side = int(np.sqrt(most))
    rows = np.linspace(0, height - tall, min(a_side, -(-height // tall)), dtype=int)
    columns = np.linspace(0, width - wide, min(a_side, -(-width // wide)), dtype=int)
    boxes: list[Box] = [
        (int(row), int(column), int(row) + tall, int(column) + wide)
        for row in rows
        for column in columns
    ]
    return [source.read(box) for box in boxes]


def freeze_statistics(network: nn.Module, batches: Sequence[Tensor], share: float = 1.0) -> None:
    """Take batch normalisation's statistics from these batches, and put it into evaluation mode.

    Parameters
    ----------
    network : Module
        Changed in place.
    batches : sequence of Tensor
        (N, C, H, W) each; the mean over the batches of their statistics is taken.
    share : float
        Of these in the result, in [0, 1]; the rest is what the network had.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [_statistics(norm) for norm in norms]
    network.train()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    with torch.no_grad():
        for batch in batches:
            network(batch)
        for norm, (mean, variance) in zip(norms, before, strict=True):
            seen_mean, seen_variance = _statistics(norm)
            norm.running_mean = seen_mean.lerp(mean, 1 - share)
            norm.running_var = seen_variance.lerp(variance, 1 - share)
    network.eval()


def _statistics(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    return norm.running_mean.clone(), norm.running_var.clone()

"""Entropy patch sampler (paper section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: Floor of a window's weight, so that no window is ever impossible.
WEIGHT_FLOOR = 1e-3


def binary_entropy(confidence: Tensor) -> Tensor:
    """Entropy in bits, in [0, 1], of confidences in [0, 1]; any shape."""
    p = confidence.clamp(1e-6, 1 - 1e-6)
    return -(p * torch.log2(p) + (1 - p) * torch.log2(1 - p))


@dataclass(frozen=True)
class Windows:
    """Windows drawn from a batch of crops.

    Attributes
    ----------
    crop, class_index, row, column : Tensor
        (M,) int64: the crop, the class, and the window's upper left corner in that crop's pixels.
    positive : Tensor
        (M,) bool: whether the window was taken as a positive of its class.
    confidence, entropy : Tensor
        (M,) float32: means over the window; entropy in bits.
    size : int
        Side of a window in pixels.
    """

    crop: Tensor
    class_index: Tensor
    row: Tensor
    column: Tensor
    positive: Tensor
    confidence: Tensor
    entropy: Tensor
    size: int

    def cut(self, maps: Tensor, chosen: Tensor) -> Tensor:
        """Cut the chosen windows out of ``maps`` (crops, classes, C, H, W), as (m, C, size, size).

        One indexed gather: its backward pass needs no more than the maps' own memory.
        """
        span = torch.arange(self.size, device=maps.device)
        rows = (self.row[chosen, None] + span)[:, None, :, None]
        columns = (self.column[chosen, None] + span)[:, None, None, :]
        channel = torch.arange(maps.shape[2], device=maps.device)[None, :, None, None]
        crop = self.crop[chosen][:, None, None, None]
        class_index = self.class_index[chosen][:, None, None, None]
        return maps[crop, class_index, channel, rows, columns]


class PatchSampler:
    """Draws windows by the entropy of their confidence (section 3.2).

    Per crop and class, windows are drawn with replacement with a probability proportional to
    ``max(1 - mean entropy, 0.001)``: those that the network is sure about, one way or the other.
    A drawn window is positive with a probability equal to its mean confidence.

    Parameters
    ----------
    patch_size, stride : int
        Side of a window and distance between candidates, in pixels.
    patches : int
        Windows drawn per crop and class.
    """

    def __init__(self, patch_size: int = 50, stride: int = 20, patches: int = 10) -> None:
        self.patch_size = patch_size
        self.stride = stride
        self.patches = patches

    def __call__(self, confidence: Tensor, generator: torch.Generator) -> Windows:
        """Draw from confidence (N, K, H, W); the generator lives on the CPU.

        Raises
        ------
        ValueError
            If the crops are smaller than a window.
        """
        crops, classes, height, width = confidence.shape
        if min(height, width) < self.patch_size:
            raise ValueError(f"crops of {height}x{width} are smaller than a window")
        with torch.no_grad():
            means = self._window_means(confidence)
            entropies = self._window_means(binary_entropy(confidence))
            columns = means.shape[-1]
            means = means.reshape(crops * classes, -1).cpu()
            entropies = entropies.reshape(crops * classes, -1).cpu()
            weight = (1 - entropies).clamp_min(WEIGHT_FLOOR)
            drawn = torch.multinomial(weight, self.patches, replacement=True, generator=generator)
            mean = means.gather(1, drawn).flatten()
            entropy = entropies.gather(1, drawn).flatten()
            positive = torch.bernoulli(mean.clamp(0, 1), generator=generator).bool()
            drawn = drawn.flatten()
            owner = torch.arange(crops * classes).repeat_interleave(self.patches)
            device = confidence.device
            return Windows(
                crop=(owner // classes).to(device),
                class_index=(owner % classes).to(device),
                row=(drawn // columns * self.stride).to(device),
                column=(drawn % columns * self.stride).to(device),
                positive=positive.to(device),
                confidence=mean.to(device),
                entropy=entropy.to(device),
                size=self.patch_size,
            )

    def _window_means(self, maps: Tensor) -> Tensor:
        return functional.avg_pool2d(maps, self.patch_size, self.stride)

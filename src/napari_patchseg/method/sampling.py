"""Entropy patch sampler (paper section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def binary_entropy(confidence: Tensor) -> Tensor:
    """Entropy in bits, in [0, 1], of confidences in [0, 1]; any shape."""
    p = confidence.clamp(1e-6, 1 - 1e-6)
    entropy = torch.log2(p).mul_(p)
    rest = p.neg_().add_(1)  # over p: as large as the crops, classes times over
    return entropy.addcmul_(torch.log2(rest), rest).neg_()


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

    def cut(self, image: Tensor) -> Tensor:
        """Cut the windows out of ``image`` (crops, C, H, W), as (M, C, size, size); no gradient."""
        with torch.no_grad():
            every = image.unfold(2, self.size, 1).unfold(3, self.size, 1)  # a view
            return every[self.crop, :, self.row, self.column]

    def cut_own(self, confidence: Tensor) -> Tensor:
        """Cut each window out of its class's map (crops, K, H, W), as (M, size, size).

        One gather, through which the gradient flows: its backward pass asks for the maps' own
        memory and no more, and adds up in a fixed order on the CPU.
        """
        _, classes, height, width = confidence.shape
        span = torch.arange(self.size, device=confidence.device)
        plane = self.crop * classes + self.class_index
        rows = (plane * height + self.row)[:, None] + span
        index = (rows * width + self.column[:, None])[:, :, None] + span
        return confidence.flatten().gather(0, index.flatten()).view(index.shape)


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
            weight = (1 - entropies).clamp_min(1e-3)  # no window is ever impossible
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
        # Along the rows, then along the columns: a pixel is read once, not by every window over it.
        down, across = (self._means_along(side, maps) for side in maps.shape[2:])
        return down @ maps @ across.T

    def _means_along(self, side: int, like: Tensor) -> Tensor:
        """(windows, side): one row a window, 1 / patch_size inside it and 0 elsewhere."""
        first = torch.arange(0, side - self.patch_size + 1, self.stride, device=like.device)
        beyond = torch.arange(side, device=like.device) - first[:, None]
        return ((beyond >= 0) & (beyond < self.patch_size)).to(like.dtype) / self.patch_size

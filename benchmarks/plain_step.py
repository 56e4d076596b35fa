"""The plain formulation of preset "paper"'s training step: the yardstick of `speed_step.py`.

Kept as it is from now on, and on its own: it shares no code with the package, so that a change
there cannot move it. Contiguous float32, eager; batch normalisation as layers of its own; contents
(image x confidence) as full-size maps that windows are cut from; pairs compared class by class.
`test_plain_step.py` holds losses and gradients of both equal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH, DILATIONS, OFFSET = 8, (1, 2, 3, 5, 10, 20), 0.05
PATCH, STRIDE, PATCHES, ANCHORS, WEIGHT_FLOOR = 50, 20, 10, 10, 1e-3
RATE, WEIGHT_DECAY = 2e-4, 1e-4


def block(channels_in: int, channels_out: int, dilation: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=dilation, dilation=dilation, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ELU(),
    )


class Residual(nn.Module):
    def __init__(self, dilation: int) -> None:
        super().__init__()
        self.first = block(WIDTH, WIDTH, dilation)
        self.second = block(WIDTH, WIDTH, dilation)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.first(x))


class PlainNetwork(nn.Module):
    """(N, C, H, W) → logits (N, K, H, W); takes the state dict of the package's network."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stem = block(channels, WIDTH, 1)
        self.residuals = nn.Sequential(*(Residual(dilation) for dilation in DILATIONS))
        self.head = nn.Conv2d(WIDTH, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.residuals(self.stem(image)))


@dataclass(frozen=True)
class PlainWindows:
    """Crop, class, upper left corner, and whether it was taken as a positive: (M,) each."""

    crop: Tensor
    class_index: Tensor
    row: Tensor
    column: Tensor
    positive: Tensor
    size: int = PATCH


def sample(confidence: Tensor, generator: torch.Generator) -> PlainWindows:
    crops, classes = confidence.shape[:2]
    with torch.no_grad():
        p = confidence.clamp(1e-6, 1 - 1e-6)
        entropy = -(p * torch.log2(p) + (1 - p) * torch.log2(1 - p))
        means = functional.avg_pool2d(confidence, PATCH, STRIDE)
        entropies = functional.avg_pool2d(entropy, PATCH, STRIDE)
        columns = means.shape[-1]
        means = means.reshape(crops * classes, -1)
        weight = (1 - entropies.reshape(crops * classes, -1)).clamp_min(WEIGHT_FLOOR)
        drawn = torch.multinomial(weight, PATCHES, replacement=True, generator=generator)
        mean = means.gather(1, drawn).flatten()
        positive = torch.bernoulli(mean.clamp(0, 1), generator=generator).bool()
        drawn = drawn.flatten()
        owner = torch.arange(crops * classes).repeat_interleave(PATCHES)
        return PlainWindows(
            owner // classes,
            owner % classes,
            drawn // columns * STRIDE,
            drawn % columns * STRIDE,
            positive,
        )


def mean_squared_difference(a: Tensor, b: Tensor) -> Tensor:
    squares = a.square().sum(1)[:, None] + b.square().sum(1)[None, :]
    return (squares - 2 * (a @ b.T)).clamp_min(0) / a.shape[1]


def contrast(
    image: Tensor, confidence: Tensor, windows: PlainWindows, generator: torch.Generator
) -> tuple[Tensor | None, float, float]:
    """The loss, and the positive and the positive-negative separation."""
    classes = confidence.shape[1]
    contents = image[:, None] * confidence[:, :, None]
    every = torch.arange(len(windows.row))
    span = torch.arange(windows.size)
    rows = (windows.row[:, None] + span)[:, None, :, None]
    columns = (windows.column[:, None] + span)[:, None, None, :]
    channel = torch.arange(contents.shape[2])[None, :, None, None]
    crop = windows.crop[:, None, None, None]
    class_index = windows.class_index[:, None, None, None]
    flat = contents[crop, class_index, channel, rows, columns].flatten(1)

    positive = [every[windows.positive & (windows.class_index == k)] for k in range(classes)]
    negative = [every[~windows.positive & (windows.class_index == k)] for k in range(classes)]
    within, between = [], []
    still = flat.detach()
    for p, n in zip(positive, negative, strict=True):
        if len(p) > 1:
            pairs = mean_squared_difference(still[p], still[p])
            within.append(pairs.sum() / (len(p) * (len(p) - 1)))
        if len(p) and len(n):
            between.append(mean_squared_difference(still[p], still[n]).mean())
    nan = float("nan")
    separations = (
        float(torch.stack(within).mean()) if within else nan,
        float(torch.stack(between).mean()) if between else nan,
    )
    if any(len(p) == 0 or len(n) == 0 for p, n in zip(positive, negative, strict=True)):
        return None, *separations

    total = image.new_zeros(())
    for k in range(classes):
        drawn = torch.randint(len(positive[k]), (ANCHORS,), generator=generator)
        anchor = flat[positive[k][drawn]]
        attraction = -mean_squared_difference(anchor, flat[positive[k]])
        others = [negative[k]]
        if classes > 1:
            others.append(torch.cat([positive[j] for j in range(classes) if j != k]))
        for other in others:
            repulsion = (-mean_squared_difference(anchor, flat[other])).logsumexp(1)
            total = total + (repulsion[:, None] - attraction).sum()
    return total / (ANCHORS**2 * image.shape[0]), *separations


class PlainStep:
    """Network, optimiser and random numbers; a call is one training step.

    Parameters
    ----------
    weights : mapping of str to Tensor
        State dict of the package's `ConfidenceNetwork`.
    channels, classes : int
        C and K.
    seed : int
        Of the windows and anchors drawn.
    """

    def __init__(
        self, weights: Mapping[str, Tensor], channels: int = 3, classes: int = 4, seed: int = 0
    ) -> None:
        self.network = PlainNetwork(channels, classes)
        self.network.load_state_dict({name: held.clone() for name, held in weights.items()})
        self.network.train()
        self.generator = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY
        )

    def __call__(self, pixels: Tensor, number: int) -> tuple[float, float, float]:
        """Step ``number`` (from 1) on crops (N, C, H, W) in [0, 1]: loss and separations."""
        for module in self.network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = max(0.1, 1 / number)
        image = pixels * (1 - OFFSET) + OFFSET
        confidence = self.network(image).sigmoid()
        windows = sample(confidence, self.generator)
        loss, within, between = contrast(image, confidence, windows, self.generator)
        spread = confidence.detach()
        torch.stack([spread.amin((0, 2, 3)), spread.mean((0, 2, 3)), spread.amax((0, 2, 3))])
        if loss is None:
            return float("nan"), within, between
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        return float(loss.detach()), within, between

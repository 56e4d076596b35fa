"""Confidence maps of an image of any size: windows with a halo, stitched exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray

from napari_patchseg.settings import Resolved, ResolvedMachine, Weights

from .control import Control
from .network import HALO, ConfidenceNetwork
from .scale import InputScale
from .source import Box, PixelSource

#: Side of a window without its halo: large enough that the halo costs little, small enough that its
#: maps take some hundred megabytes at the most.
TILE = 1024
#: What the network looks at: the image as it is, and smaller and turned by right angles. What it
#: finds in all of them is more often right.
VIEWS = ((Fraction(1), 0), (Fraction(5, 6), 1), (Fraction(2, 3), 2))


def windows(
    start: int, stop: int, length: int, *, halo: int, unit: int = 1, most: int = TILE
) -> list[tuple[slice, slice]]:
    """Cut one side of an image into overlapping windows, all of one size.

    Of one size, so that the memory of one window serves the next.

    Parameters
    ----------
    start, stop : int
        The part of the side that is wanted, in pixels.
    length : int
        The image's side.
    halo : int
        Pixels that a window has to have on both sides of what it is for, or up to the border.
    unit : int
        Windows begin and end whole multiples of it away from the image's borders.
    most : int
        Pixels that a window is for, at most.

    Returns
    -------
    list of tuple of slice
        Each window, and the part of the side that it is for; these parts follow on each other.
    """
    margin = halo + unit  # windows are placed to the unit
    low = max(0, start - margin) // unit * unit
    span = length - max(0, length - stop - margin) // unit * unit - low
    count = max(1, math.ceil((span - 2 * margin) / max(most, 2 * unit)))
    size = span if count == 1 else 2 * margin + math.ceil((span - 2 * margin) / count)
    size += (span - size) % unit
    rest = (span - size) // unit
    firsts = [low + index * rest // max(1, count - 1) * unit for index in range(count)]
    bounds = [start, *((one + size + other) // 2 for one, other in pairwise(firsts)), stop]
    return [
        (slice(first, first + size), slice(*part))
        for first, part in zip(firsts, pairwise(bounds), strict=True)
    ]


def halo(magnification: Fraction) -> int:
    """Pixels of the image on each side that a confidence depends on: 83 at a magnification of 1.

    Resampling, there and back, asks for a little more.
    """
    if magnification == 1:
        return HALO
    return math.ceil((HALO + 2) / magnification) + 2 * math.ceil(1 / magnification)


def average_logits(
    network: ConfidenceNetwork,
    image: torch.Tensor,
    magnification: Fraction,
    views: int,
    between: Callable[[], None] | None = None,
) -> torch.Tensor:
    """Mean over some of the `VIEWS` of confidence before the sigmoid: (N, K, H, W) float32."""
    total: torch.Tensor | None = None
    for size, turns in VIEWS[:views]:
        turned = torch.rot90(image, turns, (2, 3))
        logits = network.logits(turned, between, magnification * size)
        seen = torch.rot90(logits.float(), -turns, (2, 3))
        total = seen if total is None else total + seen
    assert total is not None
    return total / views


def prepare(network: ConfidenceNetwork, machine: ResolvedMachine) -> ConfidenceNetwork:
    """Move a network to the machine's device and memory format."""
    network = network.to(machine.device)
    if machine.memory_format == "channels_last":
        network = to_channels_last(network)
    return network


def to_channels_last(network: ConfidenceNetwork) -> ConfidenceNetwork:
    """Lay the weights out with the channels last."""
    moved: ConfidenceNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def to_batch(pixels: NDArray[np.float32], machine: ResolvedMachine) -> torch.Tensor:
    """(N, C, H, W) float32 in [0, 1] → tensor on the machine's device and layout."""
    batch = torch.from_numpy(np.ascontiguousarray(pixels)).to(machine.device)
    if machine.memory_format == "channels_last":
        batch = batch.contiguous(memory_format=torch.channels_last)
    return batch


def autocast(machine: ResolvedMachine) -> torch.autocast:
    """The machine's precision as a context."""
    return torch.autocast(
        machine.device, dtype=torch.bfloat16, enabled=machine.precision == "bfloat16"
    )


def predict(
    network: ConfidenceNetwork,
    source: PixelSource,
    resolved: Resolved,
    scale: InputScale,
    *,
    box: Box | None = None,
    control: Control | None = None,
    tile: int = TILE,
) -> NDArray[np.float32]:
    """Confidences of an image, or of a box of it: `predict_tiles` run to its end.

    Returns
    -------
    ndarray
        (K, h, w) float32 in [0, 1].

    Raises
    ------
    Cancelled
        If the control asks for the end.
    """
    top, left, bottom, right = box or (0, 0, *source.shape[1:])
    out = np.empty((network.classes, bottom - top, right - left), np.float32)
    for _ in predict_tiles(
        network, source, resolved, scale, out, box=box, control=control, tile=tile
    ):
        pass
    return out


def predict_tiles(
    network: ConfidenceNetwork,
    source: PixelSource,
    resolved: Resolved,
    scale: InputScale,
    out: NDArray[np.float32],
    *,
    box: Box | None = None,
    control: Control | None = None,
    tile: int = TILE,
) -> Iterator[tuple[int, int]]:
    """Fill ``out`` with confidences, one window at a time.

    Each is read with a halo of the receptive field (83 px of what the network sees), so that the
    result is that of one forward pass over the whole image, whatever their size.

    Parameters
    ----------
    network : ConfidenceNetwork
        On the settings' device; put into evaluation mode and left in the mode it was in.
    source : PixelSource
        The image.
    resolved : Resolved
        Machine, rescale factor and test-time augmentation are taken from it.
    scale : InputScale
        From pixels to the network's input.
    out : ndarray
        (K, h, w) float32, written in place.
    box : Box or None
        The part wanted; None for all of it. Pixels around it are read as context.
    control : Control or None
        Checked before every window, and a few times within it.
    tile : int
        Side of a window without its halo at most, in pixels of the image or, where it is
        magnified, as the network sees them.

    Yields
    ------
    done, total : int
        Windows done and windows in all.

    Raises
    ------
    Cancelled
        If the control asks for the end.
    """
    _, height, width = source.shape
    top, left, bottom, right = box or (0, 0, height, width)
    magnification, views = resolved.rescale, resolved.test_time_augmentation
    sizes = [magnification * size for size, _ in VIEWS[:views]]
    margin, unit = max(map(halo, sizes)), math.lcm(*(size.denominator for size in sizes))
    most = max(1, int(tile / max(magnification, Fraction(1))))  # memory follows the larger grid
    # Whole pixels of the network away from the image's borders on all sides, so that it is
    # resampled, from whichever side a turned view begins, as in one pass over the image.
    rows = windows(top, bottom, height, halo=margin, unit=unit, most=most)
    columns = windows(left, right, width, halo=margin, unit=unit, most=most)

    def go_on() -> None:
        if control is not None:
            control.checkpoint()

    was_training = network.training
    network.eval()
    try:
        for done, ((row, rows_in), (column, columns_in)) in enumerate(product(rows, columns), 1):
            go_on()
            pixels = source.read((row.start, column.start, row.stop, column.stop))[None]
            with torch.inference_mode(), autocast(resolved.machine):
                inputs = scale(to_batch(pixels, resolved.machine))
                confidence = average_logits(network, inputs, magnification, views, go_on).sigmoid()
            inner = confidence[
                0,
                :,
                rows_in.start - row.start : rows_in.stop - row.start,
                columns_in.start - column.start : columns_in.stop - column.start,
            ]
            out[
                :,
                rows_in.start - top : rows_in.stop - top,
                columns_in.start - left : columns_in.stop - left,
            ] = inner.float().cpu().numpy()
            yield done, len(rows) * len(columns)
    finally:
        network.train(was_training)


def input_scale(source: PixelSource, weights: Weights) -> InputScale:
    """The scale that belongs to the weights: the paper's, or that of the image."""
    if weights == "random":
        return InputScale.of_the_paper(source.shape[0])
    return InputScale.of_image(source)

"""Confidence maps of an image of any size: windows with a halo, stitched exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import torch
from numpy.typing import NDArray

from napari_patchseg.geometry import TILE, Box
from napari_patchseg.settings import ResolvedMachine

from .events import Control
from .network import AS_IT_IS, HALO, ConfidenceNetwork
from .scale import NetworkInput

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


def halo(rescale: Fraction) -> int:
    """Pixels of the image on each side that a confidence depends on: 83 at a rescale factor of 1.

    Resampling, there and back, asks for a little more.
    """
    if rescale == 1:
        return HALO
    return math.ceil((HALO + 2) / rescale) + 2 * math.ceil(1 / rescale)


def average_logits(
    network: ConfidenceNetwork,
    image: torch.Tensor,
    rescale: Fraction,
    views: int,
    between: Callable[[], None] | None = None,
) -> torch.Tensor:
    """Mean over some of the `VIEWS` of confidence before the sigmoid: (N, K, H, W) float32."""
    seen = []
    for size, turns in VIEWS[:views]:
        logits = network.logits(torch.rot90(image, turns, (2, 3)), between, rescale * size)
        seen.append(torch.rot90(logits.float(), -turns, (2, 3)))
    return torch.stack(seen).mean(0)


@contextmanager
def evaluating(network: ConfidenceNetwork, machine: ResolvedMachine) -> Iterator[None]:
    """Forward passes without gradients, in the machine's precision; the network's mode stays."""
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode(), autocast(machine):
            yield
    finally:
        network.train(was_training)


def prepare(network: ConfidenceNetwork, machine: ResolvedMachine) -> ConfidenceNetwork:
    """Move a network to the machine's device and memory format."""
    layout = _layout(machine)
    moved: ConfidenceNetwork = network.to(machine.device, memory_format=layout)  # type: ignore[call-overload]
    return moved


def to_batch(pixels: NDArray[np.float32], machine: ResolvedMachine) -> torch.Tensor:
    """(N, C, H, W) float32 in [0, 1] → tensor on the machine's device and layout."""
    batch = torch.from_numpy(np.ascontiguousarray(pixels))
    return batch.to(machine.device, memory_format=_layout(machine))


def _layout(machine: ResolvedMachine) -> torch.memory_format:
    last = machine.memory_format == "channels_last"
    return torch.channels_last if last else torch.contiguous_format


def autocast(machine: ResolvedMachine) -> torch.autocast:
    """The machine's precision as a context."""
    return torch.autocast(
        machine.device, dtype=torch.bfloat16, enabled=machine.precision == "bfloat16"
    )


def predict(
    network: ConfidenceNetwork,
    image: NetworkInput,
    machine: ResolvedMachine,
    *,
    rescale: Fraction = AS_IT_IS,
    views: int = 1,
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
    top, left, bottom, right = box or (0, 0, *image.source.shape[1:])
    out = np.empty((network.classes, bottom - top, right - left), np.float32)
    for _ in predict_tiles(
        network,
        image,
        machine,
        out,
        rescale=rescale,
        views=views,
        box=box,
        control=control,
        tile=tile,
    ):
        pass
    return out


def predict_tiles(
    network: ConfidenceNetwork,
    image: NetworkInput,
    machine: ResolvedMachine,
    out: NDArray[np.float32] | NDArray[np.float16],
    *,
    rescale: Fraction = AS_IT_IS,
    views: int = 1,
    box: Box | None = None,
    control: Control | None = None,
    tile: int = TILE,
    activation: Callable[[torch.Tensor], torch.Tensor] = torch.sigmoid,
) -> Iterator[tuple[int, int]]:
    """Fill ``out`` with confidences, one window at a time.

    Each is read with a halo of the receptive field (83 px of what the network sees), so that the
    result is that of one forward pass over the whole image, whatever their size.

    Parameters
    ----------
    network : ConfidenceNetwork
        On the machine's device; evaluated, and left in the mode it was in.
    image : NetworkInput
        The image.
    machine : ResolvedMachine
        Where and how to compute.
    out : ndarray
        (K, h, w), written in place.
    rescale : Fraction
        How much larger than the image the network sees it.
    views : int
        Of `VIEWS` that are averaged.
    box : Box or None
        The part wanted; None for all of it. Pixels around it are read as context.
    control : Control or None
        Asked before every window, and a few times within it.
    tile : int
        Side of a window without its halo at most, in pixels of the image or, where it is enlarged,
        as the network sees them.
    activation : callable
        From what the network's last layer gives to what is written.

    Yields
    ------
    done, total : int
        Windows done and windows in all.

    Raises
    ------
    Cancelled
        If the control asks for the end.
    """
    _, height, width = image.source.shape
    top, left, bottom, right = box or (0, 0, height, width)
    sizes = [rescale * size for size, _ in VIEWS[:views]]
    # Whole pixels of the network away from the image's borders on all sides, so that it is
    # resampled, from whichever side a turned view begins, as in one pass over the image.
    unit = math.lcm(*(size.denominator for size in sizes))
    margin, most = max(map(halo, sizes)), max(1, int(tile / max(rescale, AS_IT_IS)))
    rows = windows(top, bottom, height, halo=margin, unit=unit, most=most)
    columns = windows(left, right, width, halo=margin, unit=unit, most=most)
    control = control or Control()
    for done, ((row, inner_row), (column, inner_column)) in enumerate(product(rows, columns), 1):
        control.checkpoint()
        pixels = image.source.read((row.start, column.start, row.stop, column.stop))
        with evaluating(network, machine):
            inputs = image.scale(to_batch(pixels[None], machine))
            confidence = activation(
                average_logits(network, inputs, rescale, views, control.checkpoint)
            )
        inner = confidence[0, :, _within(row, inner_row), _within(column, inner_column)]
        out[
            :, _within(slice(top, bottom), inner_row), _within(slice(left, right), inner_column)
        ] = inner.float().cpu().numpy()
        yield done, len(rows) * len(columns)


def _within(whole: slice, part: slice) -> slice:
    """Where a part of a side lies in another part that holds it."""
    return slice(part.start - whole.start, part.stop - whole.start)

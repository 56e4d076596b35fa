"""Confidence maps while training goes on: when one is due, and how it is made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from napari_patchseg.geometry import Box
from napari_patchseg.settings import Resolved, ResolvedMachine

from .events import Cancelled, Control
from .inference import evaluating, predict, to_batch
from .maps import ConfidenceMap, NucleusClass, channel_names
from .network import AS_IT_IS, ConfidenceNetwork
from .scale import NetworkInput, PixelSource

#: Shortest time in seconds between two previews, and the share of the run's time that making and
#: showing them may take.
PREVIEW_INTERVAL = 0.2
PREVIEW_SHARE = 0.2
#: Pixels of a preview, a larger box is shown at reduced size; and how many of them the network
#: sees, so that a preview a step fits into the share on two cores.
PREVIEW_PIXELS, PREVIEW_SEEN = 300_000, 145_000

#: Chooses the nucleus class from confidences (K, h, w), their channels' names, box and reduction.
ClassChooser = Callable[[NDArray[np.float32], Sequence[str], Box, int], NucleusClass]


class Previews:
    """Decides when a map of an image is due, and makes it.

    Parameters
    ----------
    image : NetworkInput
        The image that is mapped.
    machine : ResolvedMachine
        Where to compute.
    control : Control
        What the host wishes to see.
    choose_class : callable
        Chooses the nucleus class of a map.
    clock : callable
        Tells the time in seconds.
    """

    def __init__(
        self,
        image: NetworkInput,
        machine: ResolvedMachine,
        control: Control,
        choose_class: ClassChooser,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.image = image
        self.machine = machine
        self.control = control
        self.choose_class = choose_class
        self.clock = clock
        self._due = -math.inf
        self._key: tuple[Box, int] | None = None
        self._reduced = torch.empty(0)

    def first(self, network: ConfidenceNetwork) -> ConfidenceMap | None:
        """A map of weights before the first step and of the image as it is, if any is wanted."""
        try:
            return self._preview(0, network, AS_IT_IS) if self.control.previews else None
        except Cancelled:
            return None

    def make(
        self, step: int, network: ConfidenceNetwork, resolved: Resolved
    ) -> ConfidenceMap | None:
        """A map of a step's weights if one is due or asked for, else None.

        Raises `Cancelled` where the control asks for the end.
        """
        if self.control.map_wanted:
            whole = (0, 0, *self.image.source.shape[1:])
            views = resolved.test_time_augmentation
            data = self._predicted(network, whole, resolved.rescale, views)
            self.control.map_made()
            return self._map(step, data, whole, 1, is_exact=True)
        if not self.control.previews or self.clock() < self._due:
            return None
        return self._preview(
            step, network, resolved.rescale, is_exact=resolved.test_time_augmentation == 1
        )

    def took(self, seconds: float) -> None:
        """Count what a host took to show a preview: with software OpenGL more than the making."""
        self._due += seconds / PREVIEW_SHARE

    def _preview(
        self, step: int, network: ConfidenceNetwork, rescale: Fraction, *, is_exact: bool = False
    ) -> ConfidenceMap:
        start = self.clock()
        box = self.control.preview_box or (0, 0, *self.image.source.shape[1:])
        pixels = (box[2] - box[0]) * (box[3] - box[1])
        if pixels * rescale**2 <= PREVIEW_PIXELS:
            data = self._predicted(network, box, rescale, 1)
            made = self._map(step, data, box, 1, is_exact=is_exact)
        else:  # not enlarged: that would take more pixels again
            reduction = _reduction(pixels)
            data = self._reduced_map(network, box, reduction)
            made = self._map(step, data, box, reduction, is_exact=False)
        took = self.clock() - start
        self._due = start + max(took / PREVIEW_SHARE, took + PREVIEW_INTERVAL)
        return made

    def _predicted(
        self, network: ConfidenceNetwork, box: Box, rescale: Fraction, views: int
    ) -> NDArray[np.float32]:
        return predict(
            network,
            self.image,
            self.machine,
            rescale=rescale,
            views=views,
            box=box,
            control=self.control,
        )

    def _reduced_map(
        self, network: ConfidenceNetwork, box: Box, reduction: int
    ) -> NDArray[np.float32]:
        if self._key != (box, reduction):  # previews show the same box again and again
            self._reduced = reduced(self.image.source, box, reduction, self.machine)
            self._key = (box, reduction)
        pixels = self._reduced.shape[2] * self._reduced.shape[3]
        seen = min(AS_IT_IS, Fraction(int(16 * math.sqrt(PREVIEW_SEEN / pixels)), 16))
        with evaluating(network, self.machine):
            logits = network.logits(self.image.scale(self._reduced), rescale=seen)
            return logits.float().sigmoid()[0].cpu().numpy()

    def _map(
        self, step: int, data: NDArray[np.float32], box: Box, reduction: int, *, is_exact: bool
    ) -> ConfidenceMap:
        channels = channel_names(self.image.weights, len(data))
        nucleus = self.choose_class(data, channels, box, reduction)
        return ConfidenceMap(step, data, channels, box, reduction, nucleus, is_exact)


def _reduction(pixels: int) -> int:
    """Image pixels per pixel of a preview, along a side; above 3 an even number, for `reduced`."""
    least = math.ceil(math.sqrt(pixels / PREVIEW_PIXELS))
    return least if least <= 3 else least + least % 2


def reduced(source: PixelSource, box: Box, reduction: int, machine: ResolvedMachine) -> Tensor:
    """A box (h, w) at reduced size: (1, C, ceil(h / r), ceil(w / r)) on the machine's device.

    Each pixel is the mean of several: nuclei stay smooth, where every r-th pixel would alias. Of an
    odd reduction these are all r x r, of an even one 2 x 2 of them: what is read of an image does
    not grow with it.
    """
    top, left, bottom, right = box
    stride = 1 if reduction % 2 else reduction // 2
    rows = reduction * max(1, 512 // reduction)  # read in strips, for the sake of memory
    strips = [
        avg_pool2d(
            torch.from_numpy(source.read((row, left, min(row + rows, bottom), right), stride))[
                None
            ],
            reduction // stride,
            ceil_mode=True,
        )
        for row in range(top, bottom, rows)
    ]
    return to_batch(torch.cat(strips, 2).numpy(), machine)

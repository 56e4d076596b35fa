"""Confidence maps while training goes on: when one is due, and how it is made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_patchseg.settings import Resolved, ResolvedMachine

from .control import Cancelled, Control
from .inference import autocast, predict, to_batch
from .maps import ConfidenceMap, NucleusClass, channel_names
from .network import ConfidenceNetwork
from .scale import InputScale
from .source import Box, PixelSource

#: Shortest time in seconds between two previews, and the share of the run's time that making and
#: showing them may take.
PREVIEW_INTERVAL = 0.2
PREVIEW_SHARE = 0.2
#: Seconds of that time which may be saved up while steps or a pause kept a preview from its turn.
PREVIEW_CREDIT = 0.5
#: Pixels of a preview, a larger box is shown at reduced size; and how many of them the network sees
#: on a CPU, so that a preview a step fits into the share on two cores. A graphics card takes more.
PREVIEW_PIXELS, PREVIEW_SEEN = 300_000, 145_000
PREVIEW_PIXELS_GPU = 1_000_000

#: Up to this reduction a preview's pixel is the mean of all the pixels that it stands for; above,
#: of four of them: what is read of an image does not grow with it.
_WHOLE_MEANS = 3

#: Chooses the nucleus class from confidences (K, h, w), their channels' names, box and reduction.
ClassChooser = Callable[[NDArray[np.float32], Sequence[str], Box, int], NucleusClass]


class PreviewedRun(Protocol):
    """What a preview needs of a training run; the first image is the one that is mapped."""

    sources: Sequence[PixelSource]
    scales: Sequence[InputScale]
    resolved: Resolved
    network: ConfidenceNetwork


class Previews:
    """Decides when a map is due, and makes it."""

    def __init__(self, run: PreviewedRun, control: Control, choose_class: ClassChooser) -> None:
        self.run = run
        self.control = control
        self.choose_class = choose_class
        self._due = self._allowed = -math.inf
        self._key: tuple[Box, int] | None = None
        self._reduced = torch.empty(0)

    def first(self) -> ConfidenceMap | None:
        """A map of the weights before the first step, if previews are wanted; they are step 0."""
        try:
            return self._preview(0) if self.control.previews else None
        except Cancelled:
            return None

    def make(self, step: int) -> ConfidenceMap | None:
        """A map of the current weights if one is due or asked for, else None."""
        if self.control.take_map_request():
            whole = (0, 0, *self.run.sources[0].shape[1:])
            return self._map(step, whole, exact=True)
        if not self.control.previews or time.perf_counter() < max(self._due, self._allowed):
            return None
        return self._preview(step)

    def _preview(self, step: int) -> ConfidenceMap:
        start = time.perf_counter()
        run = self.run
        box = self.control.preview_box or (0, 0, *run.sources[0].shape[1:])
        pixels = (box[2] - box[0]) * (box[3] - box[1])
        most = PREVIEW_PIXELS if run.resolved.machine.device == "cpu" else PREVIEW_PIXELS_GPU
        magnification = run.resolved.rescale
        if pixels * magnification**2 <= most:
            made = self._map(step, box, exact=False)
        else:  # not magnified: that would take more pixels again
            reduction = math.ceil(math.sqrt(pixels / most))
            if reduction > _WHOLE_MEANS:
                reduction += reduction % 2
            made = self._small(step, box, reduction)
        end = time.perf_counter()
        self._allowed = end + PREVIEW_INTERVAL
        # From when it was due, not from when it was made: steps are long beside the wait.
        self._due = max(self._due, start - PREVIEW_CREDIT) + (end - start) / PREVIEW_SHARE
        return made

    def took(self, seconds: float) -> None:
        """Count what a host took to show a preview: with software OpenGL more than the making."""
        self._due += seconds / PREVIEW_SHARE

    def _map(self, step: int, box: Box, *, exact: bool) -> ConfidenceMap:
        run = self.run
        simple = run.resolved.test_time_augmentation == 1
        data = predict(
            run.network,
            run.sources[0],
            run.resolved if exact else replace(run.resolved, test_time_augmentation=1),
            run.scales[0],
            box=box,
            control=self.control,
        )
        chosen = self.choose_class(data, self._channels(), box, 1)
        return ConfidenceMap(step, data, self._channels(), box, 1, chosen, exact or simple)

    def _small(self, step: int, box: Box, reduction: int) -> ConfidenceMap:
        run = self.run
        if self._key != (box, reduction):  # previews show the same box again and again
            self._reduced = reduced(run.sources[0], box, reduction, run.resolved.machine)
            self._key = (box, reduction)
        run.network.eval()
        seen = Fraction(1)
        if run.resolved.machine.device == "cpu":
            pixels = self._reduced.shape[2] * self._reduced.shape[3]
            seen = min(seen, Fraction(int(16 * math.sqrt(PREVIEW_SEEN / pixels)), 16))
        with torch.inference_mode(), autocast(run.resolved.machine):
            scaled = run.scales[0](self._reduced)
            data = run.network.logits(scaled, magnification=seen).float().sigmoid()[0]
        array = data.cpu().numpy()
        chosen = self.choose_class(array, self._channels(), box, reduction)
        return ConfidenceMap(step, array, self._channels(), box, reduction, chosen, is_exact=False)

    def _channels(self) -> tuple[str, ...]:
        return channel_names(self.run.resolved.training.weights, self.run.network.classes)


def reduced(source: PixelSource, box: Box, reduction: int, machine: ResolvedMachine) -> Tensor:
    """A box (h, w) at reduced size: (1, C, ceil(h / r), ceil(w / r)) on the machine's device.

    Each pixel is the mean of r x r: nuclei stay smooth, where every r-th pixel would alias. Above
    a reduction of 3, which must be even then, it is the mean of 2 x 2 of these.
    """
    top, left, bottom, right = box
    stride = 1 if reduction <= _WHOLE_MEANS else reduction // 2
    rows = reduction * max(1, 512 // reduction)  # read in strips, for the sake of memory
    strips = [
        torch.nn.functional.avg_pool2d(
            torch.from_numpy(source.read((row, left, min(row + rows, bottom), right), stride))[
                None
            ],
            reduction // stride,
            ceil_mode=True,
        )
        for row in range(top, bottom, rows)
    ]
    return to_batch(torch.cat(strips, 2).numpy(), machine)

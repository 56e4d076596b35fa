"""Confidence maps while training goes on: when one is due, and how it is made."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from .inference import autocast, predict, reduced, to_batch
from .network import ConfidenceNetwork
from .scale import InputScale
from .settings import Settings
from .snapshot import ConfidenceMap, Control, NucleusClass
from .source import Box, PixelSource

#: Shortest time in seconds between two previews, and the share of the run's time they may take.
PREVIEW_INTERVAL = 0.2
PREVIEW_SHARE = 0.2
#: Pixels of a preview; a larger box is shown at reduced size.
PREVIEW_PIXELS = 1_000_000

#: Chooses the nucleus class from confidences (K, h, w) of a box at a reduction.
ClassChooser = Callable[[NDArray[np.float32], Box, int], NucleusClass]


class PreviewedRun(Protocol):
    """What a preview needs of a training run; the first image is the one that is mapped."""

    sources: Sequence[PixelSource]
    scales: Sequence[InputScale]
    settings: Settings
    network: ConfidenceNetwork


class Previews:
    """Decides when a map is due, and makes it."""

    def __init__(self, run: PreviewedRun, control: Control, choose_class: ClassChooser) -> None:
        self.run = run
        self.control = control
        self.choose_class = choose_class
        self._next = -math.inf

    def make(self, step: int) -> ConfidenceMap | None:
        """A map of the current weights if one is due or asked for, else None."""
        if self.control.take_map_request():
            return self._map(step, (0, 0, *self.run.sources[0].shape[1:]))
        start = time.perf_counter()
        if not self.control.previews or start < self._next:
            return None
        source = self.run.sources[0]
        box = self.control.preview_box or (0, 0, *source.shape[1:])
        pixels = (box[2] - box[0]) * (box[3] - box[1])
        reduction = max(1, math.ceil(math.sqrt(pixels / PREVIEW_PIXELS)))
        if reduction == 1:
            made = self._map(step, box)
        else:
            made = self._reduced(step, box, reduction)
        seconds = time.perf_counter() - start
        wait = max(PREVIEW_INTERVAL, seconds * (1 / PREVIEW_SHARE - 1))
        self._next = time.perf_counter() + wait
        return made

    def _map(self, step: int, box: Box) -> ConfidenceMap:
        run = self.run
        data = predict(
            run.network,
            run.sources[0],
            run.settings,
            run.scales[0],
            box=box,
            control=self.control,
        )
        chosen = self.choose_class(data, box, 1)
        return ConfidenceMap(step, data, box, 1, chosen, run.settings.start)

    def _reduced(self, step: int, box: Box, reduction: int) -> ConfidenceMap:
        run = self.run
        pixels = reduced(run.sources[0], box, reduction)
        run.network.eval()
        with torch.inference_mode(), autocast(run.settings):
            data = run.network(run.scales[0](to_batch(pixels[None], run.settings)))[0]
        array = data.float().cpu().numpy()
        chosen = self.choose_class(array, box, reduction)
        return ConfidenceMap(step, array, box, reduction, chosen, run.settings.start)

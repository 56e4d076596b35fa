"""Label-free training on one image or several: a plain generator of snapshots."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .contrast import Contrast, contrast
from .convergence import CollapseRule, ConvergenceRule, Spread
from .inference import autocast, input_scale, prepare, to_batch
from .model import Model, weights_of
from .network import ConfidenceNetwork, Featuriser
from .previews import ClassChooser, Previews
from .sampling import PatchSampler, Windows
from .scale import InputScale, rescale
from .settings import Settings
from .snapshot import (
    Cancelled,
    ConfidenceMap,
    Control,
    NucleusClass,
    SampledPatches,
    Snapshot,
    State,
    StopReason,
)
from .source import Box, PixelSource

#: Steps between two copies of the weights, to which a collapsed run returns.
CHECKPOINT_STEPS = 10
#: Collapses after which training gives up and keeps the last good weights.
MAX_RECOVERIES = 4


def _first_class(_data: NDArray[np.float32], _box: Box, _reduction: int) -> NucleusClass:
    return NucleusClass(0, False, math.nan)


class _Trainer:
    """Network, optimiser and random numbers of one run; one call of `step` is one training step."""

    def __init__(
        self,
        sources: Sequence[PixelSource],
        settings: Settings,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.sources: Sequence[PixelSource] = sources
        self.settings = settings
        self.start = start
        self.scales: Sequence[InputScale] = [input_scale(source, settings) for source in sources]
        smallest = min(min(source.shape[1:]) for source in sources)
        self.crop = min(settings.crop_size, smallest)
        self.channels = sources[0].shape[0]
        patch = min(settings.patch_size, self.crop // 2)
        self.sampler = PatchSampler(
            patch, min(settings.stride, max(1, patch // 2)), settings.patches
        )
        self.restart(settings.seed)

    def restart(self, seed: int) -> None:
        """New weights, optimiser and random numbers from a seed."""
        settings = self.settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = ConfidenceNetwork(self.channels, settings.classes)
            featuriser = (
                Featuriser(self.channels, self.sampler.patch_size)
                if settings.similarity == "featurised-cosine"
                else None
            )
        if self.start is not None:
            network.load_state_dict(dict(self.start))
        self.learner = prepare(network, settings)
        if self.start is not None:
            self.learner.eval()  # the start's statistics stay: they hold on nearly empty images too
            self.teacher = copy.deepcopy(self.learner).requires_grad_(False)
        # What is shown and kept: the mean of the learner's latest weights, which jumps less.
        self.network = self.learner
        if settings.averaging > 0:
            self.network = copy.deepcopy(self.learner).requires_grad_(False)
        self.featuriser = featuriser.to(settings.device) if featuriser is not None else None
        self.random = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        # Made when it is first needed: torch imports for a second before its first optimiser, and
        # the first map need not wait for that.
        self.optimiser: torch.optim.Optimizer | None = None

    def new_optimiser(self, learning_rate: float) -> torch.optim.Optimizer:
        parameters = list(self.learner.parameters())
        if self.featuriser is not None:
            parameters += list(self.featuriser.parameters())
        self.optimiser = torch.optim.Adam(
            parameters, lr=learning_rate, weight_decay=self.settings.weight_decay, fused=True
        )
        return self.optimiser

    def step(self, number: int, control: Control) -> tuple[Contrast, list[Spread], SampledPatches]:
        """One training step; returns the contrast, each class's confidences, and the windows.

        Raises `Cancelled`, before it moves the weights, where the control asks for the end.
        """
        settings = self.settings
        pixels, origins, owners = self._crops()
        images = to_batch(pixels, settings)
        if self.start is None:
            self._normalise_by_batch(number)
        inputs = self._scaled(images, owners)
        with autocast(settings):
            logits = self.learner.logits(inputs)
        _go_on(control)
        # One class after the other, whatever the network's layout: what follows takes maps alone.
        logits = logits.to(torch.float32, memory_format=torch.contiguous_format)
        confidence = logits.sigmoid()
        windows = self.sampler(confidence, self.generator)
        result = contrast(
            rescale(images),
            confidence,
            windows,
            similarity_name=settings.similarity,
            anchors=settings.anchors,
            featuriser=self.featuriser,
            generator=self.generator,
        )
        loss = result.loss
        if self.start is not None:
            agreement = settings.anchor * self._disagreement(inputs, logits, number)
            loss = agreement if loss is None else loss + agreement
            _go_on(control)
        if loss is not None:
            optimiser = self.optimiser or self.new_optimiser(settings.learning_rate)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            self._average()
        return result, _spreads(confidence.detach()), _patches(number, windows, origins, owners)

    def _average(self) -> None:
        if self.network is self.learner:
            return
        share = 1 - self.settings.averaging
        with torch.no_grad():
            for mean, latest in zip(
                self.network.parameters(), self.learner.parameters(), strict=True
            ):
                mean.lerp_(latest, share)
            for held, newest in zip(self.network.buffers(), self.learner.buffers(), strict=True):
                held.copy_(newest)

    def _disagreement(self, inputs: Tensor, logits: Tensor, number: int) -> Tensor:
        """Cross-entropy with what the start sees in the same crops.

        They are turned by a right angle more each step, so that the maps come to agree with every
        turn; the contrast may sharpen them but not carry them away.
        """
        turns = number % 4
        with torch.no_grad(), autocast(self.settings):
            seen = self.teacher.logits(torch.rot90(inputs, turns, (2, 3)))
        target = torch.rot90(seen.float(), -turns, (2, 3)).sigmoid()
        return torch.nn.functional.binary_cross_entropy_with_logits(logits, target)

    def _scaled(self, images: Tensor, owners: NDArray[np.int64]) -> Tensor:
        scaled = [self.scales[owner](one[None]) for owner, one in zip(owners, images, strict=True)]
        return torch.cat(scaled)

    def _normalise_by_batch(self, number: int) -> None:
        """The paper's way: batch statistics in training, running ones in prediction.

        These start as the mean of the first batches, so that a preview of an early step shows that
        step's weights and not the initial statistics.
        """
        self.learner.train()
        momentum = max(0.1, 1 / number)
        for module in self.learner.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = momentum

    def _crops(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        pixels, origins, owners = [], [], []
        for _ in range(self.settings.batch_size):
            owner = int(self.random.integers(len(self.sources)))
            _, height, width = self.sources[owner].shape
            row = int(self.random.integers(height - self.crop + 1))
            column = int(self.random.integers(width - self.crop + 1))
            pixels.append(
                self.sources[owner].read((row, column, row + self.crop, column + self.crop))
            )
            origins.append((row, column))
            owners.append(owner)
        return np.stack(pixels), np.array(origins), np.array(owners)


def _go_on(control: Control) -> None:
    # Between the passes of a step, so that stop and pause need not wait for the whole of it.
    if control.cancelled:
        raise Cancelled


def _spreads(confidence: Tensor) -> list[Spread]:
    rows = torch.stack(
        [confidence.amin((0, 2, 3)), confidence.mean((0, 2, 3)), confidence.amax((0, 2, 3))], 1
    )
    return [Spread(*row) for row in rows.tolist()]


def _patches(
    step: int, windows: Windows, origins: NDArray[np.int64], owners: NDArray[np.int64]
) -> SampledPatches:
    crop = windows.crop.cpu().numpy()
    row = windows.row.cpu().numpy() + origins[crop, 0]
    column = windows.column.cpu().numpy() + origins[crop, 1]
    return SampledPatches(
        step=step,
        boxes=np.stack([row, column, row + windows.size, column + windows.size], 1),
        image_index=owners[crop],
        class_index=windows.class_index.cpu().numpy(),
        positive=windows.positive.cpu().numpy(),
        confidence=windows.confidence.cpu().numpy(),
        entropy=windows.entropy.cpu().numpy(),
    )


def train(
    images: PixelSource | Sequence[PixelSource],
    settings: Settings,
    *,
    start: Mapping[str, Tensor] | None = None,
    choose_class: ClassChooser = _first_class,
    control: Control | None = None,
) -> Iterator[Snapshot]:
    """Train a confidence network without labels.

    Every step draws ``batch_size`` random crops, samples windows by the entropy of their confidence
    and contrasts them. The first image is the one that maps are made of.

    Parameters
    ----------
    images : PixelSource or sequence of PixelSource
        One image, or the paper's data set; all with the same number of channels.
    settings : Settings
        Resolved: no "auto" left among device, precision, memory format and threads.
    start : mapping of str to Tensor or None
        Weights to start from, with ``settings.start`` "synthetic"; their batch normalisation's
        statistics stay. None: random weights.
    choose_class : callable
        Chooses the nucleus class of a map.
    control : Control or None
        The host's wishes: cancel, previews, a whole map now.

    Yields
    ------
    Snapshot
        One after every step; the last has ``stop_reason`` and ``model``. Where previews are wanted
        and there is a start, one of step 0 comes first: its map is that of the start's own weights.

    Raises
    ------
    ValueError
        For images that differ in channels, or settings that are not resolved.
    """
    sources = list(images) if isinstance(images, Sequence) else [images]
    if len({source.shape[0] for source in sources}) != 1:
        raise ValueError("All images must have the same number of channels.")
    if "auto" in (settings.device, settings.precision, settings.memory_format, settings.threads):
        raise ValueError("Settings must be resolved before training.")
    if settings.device == "cpu":
        torch.set_num_threads(int(settings.threads))
    if (start is None) != (settings.start == "random"):
        raise ValueError(f"start {settings.start!r} and the weights given do not go together.")
    control = control or Control()
    trainer = _Trainer(sources, settings, start)
    previews = Previews(trainer, control, choose_class)
    converged, collapse = ConvergenceRule.for_start(settings.start), CollapseRule()
    good = best = weights_of(trainer.network)
    recoveries: list[str] = []
    settled = 0  # the step at which the network last started anew
    began = time.perf_counter()
    nucleus: NucleusClass | None = None
    last: Snapshot | None = None
    if start is not None and (first := previews.first()) is not None:
        nucleus = first.nucleus
        yield Snapshot.of_start(first, settings.max_steps)

    for step in range(1, settings.max_steps + 1):
        # A given-up step of a random start has moved the batch statistics.
        before = weights_of(trainer.network) if start is None else None
        try:
            result, spreads, patches = trainer.step(
                step, control if step > settled + 1 else Control()
            )
        except Cancelled:
            assert last is not None
            before = before or weights_of(trainer.network)
            yield _stopped_within(
                last, Model(before, trainer.channels, settings, last.step, "stopped", nucleus)
            )
            return
        state: State = "separating"
        if collapse.update(spreads, result.loss is None and start is None):
            state = "collapsed"
            recoveries.append(_recover(trainer, good, len(recoveries), step))
            converged = ConvergenceRule.for_start(settings.start)
            collapse, settled = CollapseRule(), step
        elif step % CHECKPOINT_STEPS == 0 and result.loss is not None:
            good = weights_of(trainer.network)
        if state != "collapsed" and converged.update(
            step - settled, result.positive_separation, result.negative_separation
        ):
            state = "converged"
        # From random weights quality falls again after the separation's peak; a start levels off.
        kept = settled + converged.peak_step if start is None else step
        if kept == step:
            best = weights_of(trainer.network)
        ended = _stop_reason(state, step, settings, control, len(recoveries))
        if ended in ("stopped", "step limit"):
            state = ended
        preview: ConfidenceMap | None = None
        if ended is None:
            try:
                preview = previews.make(step)
            except Cancelled:
                ended = state = "stopped"
        nucleus = preview.nucleus if preview is not None else nucleus
        elapsed = time.perf_counter() - began
        last = Snapshot(
            step=step,
            max_steps=settings.max_steps,
            loss=float(result.loss.detach()) if result.loss is not None else math.nan,
            positive_separation=result.positive_separation,
            negative_separation=result.negative_separation,
            state=state,
            message=_message(state, step, kept, settings, recoveries),
            elapsed=elapsed,
            remaining=0.0 if ended else elapsed / step * (settings.max_steps - step),
            patches=patches,
            confidence=preview,
            model=None
            if ended is None
            else Model(
                best if ended == "converged" else weights_of(trainer.network),
                trainer.channels,
                settings,
                kept if ended == "converged" else step,
                ended,
                nucleus,
            ),
            stop_reason=ended,
            recoveries=tuple(recoveries),
        )
        yield last
        if ended is not None:
            return


def _stopped_within(last: Snapshot, model: Model) -> Snapshot:
    """The end of a run whose step under way was given up: it stands where `last` left it."""
    return replace(
        last,
        state="stopped",
        message=f"stopped after {last.step} steps",
        remaining=0.0,
        patches=None,
        confidence=None,
        model=model,
        stop_reason="stopped",
    )


def _stop_reason(
    state: State, step: int, settings: Settings, control: Control, recoveries: int
) -> StopReason | None:
    if control.cancelled:
        return "stopped"
    if state == "converged" and settings.stop_at_convergence:
        return "converged"
    if recoveries >= MAX_RECOVERIES:
        return "nothing separated"
    return "step limit" if step == settings.max_steps else None


def _recover(trainer: _Trainer, good: dict[str, torch.Tensor], earlier: int, step: int) -> str:
    """Undo a collapse: the first time from the last good weights with half the rate, then anew."""
    if earlier == 0 and step > CHECKPOINT_STEPS:
        rate = trainer.settings.learning_rate / 2
        trainer.network.load_state_dict(good)
        trainer.learner.load_state_dict(good)
        trainer.new_optimiser(rate)
        return (
            f"collapse at step {step}: went back to the last good weights at half the learning rate"
        )
    seed = trainer.settings.seed + 1000 * (earlier + 1)
    trainer.restart(seed)
    return f"collapse at step {step}: started anew with seed {seed}"


def _message(state: State, step: int, kept: int, settings: Settings, recoveries: list[str]) -> str:
    if state == "collapsed":
        return f"collapsed; {recoveries[-1].split(': ', 1)[1]}"
    if state == "converged" and settings.stop_at_convergence:
        best = f", the best at {kept}" if kept != step else ""
        return f"converged after {step} steps{best}"
    if state == "stopped":
        return f"stopped after {step} steps"
    if state == "step limit":
        return f"reached the limit of {step} steps"
    return "separating"

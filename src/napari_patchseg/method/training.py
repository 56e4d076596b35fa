"""Label-free training on one image or several: a plain generator of events."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_patchseg.settings import Resolved, Training
from napari_patchseg.words import pluralize

from .control import Cancelled, Control
from .convergence import CollapseRule, ConvergenceRule
from .events import MapMade, State, Step, StopReason, Trained
from .maps import ConfidenceMap, NucleusClass
from .model import Model, weights_of
from .previews import ClassChooser, Previews
from .source import Box, PixelSource
from .trainer import Trainer

#: Steps between two copies of the weights, to which a collapsed run returns.
CHECKPOINT_STEPS = 10
#: Steps after which the time left is told, from the median of all but the first, which warms up.
TIMED_STEPS = 5
#: Collapses after which training gives up and keeps the last good weights.
MAX_RECOVERIES = 4


def _first_class(
    _data: NDArray[np.float32], _channels: Sequence[str], _box: Box, _reduction: int
) -> NucleusClass:
    return NucleusClass(0, False, math.nan)


def train(
    images: PixelSource | Sequence[PixelSource],
    resolved: Resolved,
    *,
    pretrained: Mapping[str, Tensor] | None = None,
    choose_class: ClassChooser = _first_class,
    control: Control | None = None,
    first_map: bool = True,
) -> Iterator[Step | MapMade | Trained]:
    """Train a confidence network without labels.

    Every step draws ``batch_size`` random crops, samples windows by the entropy of their confidence
    and contrasts them. The first image is the one that maps are made of.

    Parameters
    ----------
    images : PixelSource or sequence of PixelSource
        One image, or the paper's data set; all with the same number of channels.
    resolved : Resolved
        The settings, with every choice made.
    pretrained : mapping of str to Tensor or None
        Weights to start from, where the settings say "pretrained"; their batch normalisation's
        statistics stay. None: random weights.
    choose_class : callable
        Chooses the nucleus class of a map.
    control : Control or None
        The host's wishes: cancel, previews, a full map now.
    first_map : bool
        Whether to begin with a map of the pretrained weights, where previews are wanted.

    Yields
    ------
    Step
        After every step.
    MapMade
        Where one was due or asked for, after the step whose weights made it.
    Trained
        Last.

    Raises
    ------
    ValueError
        For images that differ in channels, and weights that do not go with the settings.
    """
    sources = list(images) if isinstance(images, Sequence) else [images]
    if len({source.shape[0] for source in sources}) != 1:
        raise ValueError("All images must have the same number of channels.")
    settings = resolved.training
    if (pretrained is None) != (settings.weights == "random"):
        raise ValueError(f"weights {settings.weights!r} and the ones given do not go together.")
    if resolved.machine.device == "cpu":
        torch.set_num_threads(resolved.machine.threads)
    control = control or Control()
    trainer = Trainer(sources, resolved, pretrained)
    previews = Previews(trainer, control, choose_class)
    converged, collapse = ConvergenceRule.for_start(settings.weights), CollapseRule()
    good = best = weights_of(trainer.network)
    recoveries: list[str] = []
    settled = done = 0  # the step at which the network last started anew; steps done
    began = time.perf_counter()
    durations: list[float] = []
    nucleus: NucleusClass | None = None

    def trained(weights: dict[str, Tensor], step: int, reason: StopReason, message: str) -> Trained:
        model = Model(weights, trainer.channels, resolved.settings, step, reason, nucleus)
        return Trained(model, done, message, tuple(recoveries))

    def shown(made: ConfidenceMap) -> Iterator[MapMade]:
        nonlocal nucleus
        nucleus = made.nucleus
        handed = time.perf_counter()
        yield MapMade(made)
        previews.took(time.perf_counter() - handed)

    if pretrained is not None and first_map and (first := previews.first()) is not None:
        yield from shown(first)

    for step in range(1, settings.max_steps + 1):
        step_began = time.perf_counter()
        # A given-up step of random weights has moved the batch statistics.
        before = weights_of(trainer.network) if pretrained is None else None
        try:
            result, spreads, seen, patches = trainer.step(
                step, control if step > settled + 1 else Control()
            )
        except Cancelled:
            before = before or weights_of(trainer.network)
            yield trained(before, done, "stopped", f"stopped after {pluralize(done, 'step')}")
            return
        state: State = "separating"
        if collapse.update(spreads, result.loss is None and pretrained is None, seen):
            state = "collapsed"
            recoveries.append(_recover(trainer, good, len(recoveries), step))
            converged = ConvergenceRule.for_start(settings.weights)
            collapse, settled = CollapseRule(), step
        elif step % CHECKPOINT_STEPS == 0 and result.loss is not None:
            good = weights_of(trainer.network)
        if state != "collapsed" and converged.update(
            step - settled, result.positive_separation, result.negative_separation
        ):
            state = "converged"
        # From random weights quality falls again after the separation's peak; pretrained ones level
        # off.
        kept = settled + converged.peak_step if pretrained is None else step
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
        now = time.perf_counter()
        durations.append(now - step_began)
        done = step
        message = _message(state, step, kept, settings, recoveries)
        yield Step(
            step=step,
            max_steps=settings.max_steps,
            loss=float(result.loss.detach()) if result.loss is not None else math.nan,
            positive_separation=result.positive_separation,
            negative_separation=result.negative_separation,
            state=state,
            message=message,
            elapsed=now - began,
            remaining=0.0 if ended else _remaining(durations, settings.max_steps),
            may_end_sooner=settings.stop_at_convergence,
            patches=patches,
        )
        if preview is not None:
            yield from shown(preview)
        if ended is not None:
            at_best = ended == "converged"
            yield trained(
                best if at_best else weights_of(trainer.network),
                kept if at_best else step,
                ended,
                message,
            )
            return


def _remaining(durations: Sequence[float], max_steps: int) -> float | None:
    """Seconds to the step limit; a pause or a preview now and then does not move the median."""
    if len(durations) < TIMED_STEPS:
        return None
    return statistics.median(durations[1:]) * (max_steps - len(durations))


def _stop_reason(
    state: State, step: int, settings: Training, control: Control, recoveries: int
) -> StopReason | None:
    if control.cancelled:
        return "stopped"
    if state == "converged" and settings.stop_at_convergence:
        return "converged"
    if recoveries >= MAX_RECOVERIES:
        return "nothing separated"
    return "step limit" if step == settings.max_steps else None


def _recover(trainer: Trainer, good: dict[str, torch.Tensor], earlier: int, step: int) -> str:
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


def _message(state: State, step: int, kept: int, settings: Training, recoveries: list[str]) -> str:
    if state == "collapsed":
        return f"collapsed; {recoveries[-1].split(': ', 1)[1]}"
    if state == "converged" and settings.stop_at_convergence:
        best = f", the best at {kept}" if kept != step else ""
        return f"converged after {pluralize(step, 'step')}{best}"
    if state == "stopped":
        return f"stopped after {pluralize(step, 'step')}"
    if state == "step limit":
        return f"reached the limit of {pluralize(step, 'step')}"
    return f"learning: step {step}, at most {settings.max_steps}"

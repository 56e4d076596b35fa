"""Label-free training on one image or several: a plain generator of snapshots."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_patchseg.words import counted

from .convergence import CollapseRule, ConvergenceRule
from .hardware import MACHINE_FIELDS
from .model import Model, weights_of
from .previews import ClassChooser, Previews
from .settings import Settings
from .snapshot import (
    Cancelled,
    ConfidenceMap,
    Control,
    NucleusClass,
    Snapshot,
    State,
    StopReason,
    learning,
)
from .source import Box, PixelSource
from .trainer import Trainer

#: Steps between two copies of the weights, to which a collapsed run returns.
CHECKPOINT_STEPS = 10
#: Steps after which the time left is told, from the median of all but the first, which warms up.
TIMED_STEPS = 5
#: Collapses after which training gives up and keeps the last good weights.
MAX_RECOVERIES = 4


def _first_class(_data: NDArray[np.float32], _box: Box, _reduction: int) -> NucleusClass:
    return NucleusClass(0, False, math.nan)


def train(
    images: PixelSource | Sequence[PixelSource],
    settings: Settings,
    *,
    start: Mapping[str, Tensor] | None = None,
    choose_class: ClassChooser = _first_class,
    control: Control | None = None,
    first_map: bool = True,
) -> Iterator[Snapshot]:
    """Train a confidence network without labels.

    Every step draws ``batch_size`` random crops, samples windows by the entropy of their confidence
    and contrasts them. The first image is the one that maps are made of.

    Parameters
    ----------
    images : PixelSource or sequence of PixelSource
        One image, or the paper's data set; all with the same number of channels.
    settings : Settings
        Resolved: no "auto" left among device, precision, memory format, threads and magnification.
    start : mapping of str to Tensor or None
        Weights to start from, with ``settings.start`` "synthetic"; their batch normalisation's
        statistics stay. None: random weights.
    choose_class : callable
        Chooses the nucleus class of a map.
    control : Control or None
        The host's wishes: cancel, previews, a whole map now.
    first_map : bool
        Whether to begin with the snapshot of step 0.

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
    if "auto" in (*(getattr(settings, name) for name in MACHINE_FIELDS), settings.magnification):
        raise ValueError("Settings must be resolved before training.")
    if settings.device == "cpu":
        torch.set_num_threads(int(settings.threads))
    if (start is None) != (settings.start == "random"):
        raise ValueError(f"start {settings.start!r} and the weights given do not go together.")
    control = control or Control()
    trainer = Trainer(sources, settings, start)
    previews = Previews(trainer, control, choose_class)
    converged, collapse = ConvergenceRule.for_start(settings.start), CollapseRule()
    good = best = weights_of(trainer.network)
    recoveries: list[str] = []
    settled = 0  # the step at which the network last started anew
    began = time.perf_counter()
    durations: list[float] = []
    nucleus: NucleusClass | None = None
    last: Snapshot | None = None
    if start is not None and first_map and (first := previews.first()) is not None:
        nucleus = first.nucleus
        handed = time.perf_counter()
        yield Snapshot.of_start(first, settings.max_steps)
        previews.took(time.perf_counter() - handed)

    for step in range(1, settings.max_steps + 1):
        step_began = time.perf_counter()
        # A given-up step of a random start has moved the batch statistics.
        before = weights_of(trainer.network) if start is None else None
        try:
            result, spreads, seen, patches = trainer.step(
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
        if collapse.update(spreads, result.loss is None and start is None, seen):
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
        now = time.perf_counter()
        durations.append(now - step_began)
        last = Snapshot(
            step=step,
            max_steps=settings.max_steps,
            loss=float(result.loss.detach()) if result.loss is not None else math.nan,
            positive_separation=result.positive_separation,
            negative_separation=result.negative_separation,
            state=state,
            message=_message(state, step, kept, settings, recoveries),
            elapsed=now - began,
            remaining=0.0 if ended else _remaining(durations, settings.max_steps),
            may_end_sooner=settings.stop_at_convergence,
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
        handed = time.perf_counter()
        yield last
        if ended is not None:
            return
        if preview is not None:
            previews.took(time.perf_counter() - handed)


def _remaining(durations: Sequence[float], max_steps: int) -> float | None:
    """Seconds to the step limit; a pause or a preview now and then does not move the median."""
    if len(durations) < TIMED_STEPS:
        return None
    return statistics.median(durations[1:]) * (max_steps - len(durations))


def _stopped_within(last: Snapshot, model: Model) -> Snapshot:
    """The end of a run whose step under way was given up: it stands where `last` left it."""
    return replace(
        last,
        state="stopped",
        message=f"stopped after {counted(last.step, 'step')}",
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


def _message(state: State, step: int, kept: int, settings: Settings, recoveries: list[str]) -> str:
    if state == "collapsed":
        return f"collapsed; {recoveries[-1].split(': ', 1)[1]}"
    if state == "converged" and settings.stop_at_convergence:
        best = f", the best at {kept}" if kept != step else ""
        return f"converged after {counted(step, 'step')}{best}"
    if state == "stopped":
        return f"stopped after {counted(step, 'step')}"
    if state == "step limit":
        return f"reached the limit of {counted(step, 'step')}"
    return learning(step, settings.max_steps)

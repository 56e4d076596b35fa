"""Label-free training on one image or several: a plain generator of events."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim.adam import adam

from napari_patchseg.geometry import Box
from napari_patchseg.settings import Resolved, Training
from napari_patchseg.words import pluralize

from .convergence import CollapseRule
from .events import Cancelled, Control, MapMade, State, Step, StopReason, Trained
from .inference import prepare, to_batch
from .maps import ConfidenceMap, SampledPatches
from .network import ConfidenceNetwork, Model, weights_of
from .objective import Batch, Loss, Objective
from .previews import Previews
from .sampling import Windows
from .scale import NetworkInput, PixelSource

#: Collapses after which training gives up.
MAX_RECOVERIES = 4


def train(
    images: Sequence[NetworkInput],
    resolved: Resolved,
    objective: Objective,
    *,
    previews: Previews | None = None,
    control: Control | None = None,
) -> Iterator[Step | MapMade | Trained]:
    """Train a confidence network without labels.

    Every step draws ``batch_size`` random crops, samples windows by the entropy of their confidence
    and contrasts them.

    Parameters
    ----------
    images : sequence of NetworkInput
        One image, or the paper's data set; all with the same number of channels.
    resolved : Resolved
        The settings, with every choice made.
    objective : Objective
        What the network is trained towards.
    previews : Previews or None
        Makes maps between the steps.
    control : Control or None
        The host's wishes.

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
        For images that differ in channels.
    """
    if len({image.source.shape[0] for image in images}) != 1:
        raise ValueError("All images must have the same number of channels.")
    settings = resolved.training
    control = control or Control()
    trainer = Trainer(images, resolved, objective)
    collapse = CollapseRule()
    latest = best = weights_of(trainer.network)
    best_step = settled = done = 0  # settled: the step at which the network last began anew
    recoveries: list[str] = []
    began = time.perf_counter()
    durations: list[float] = []

    def trained(weights: dict[str, Tensor], step: int, reason: StopReason, message: str) -> Trained:
        channels = trainer.network.channels
        model = Model(weights, channels, resolved.settings, step, reason)
        return Trained(model, done, message, tuple(recoveries))

    for step in range(1, settings.max_steps + 1):
        step_began = time.perf_counter()
        try:  # the first step since the beginning is not given up: there are weights then
            loss, patches = trainer.step(step, control if step > settled + 1 else Control())
        except Cancelled:
            yield trained(latest, done, "stopped", f"stopped after {pluralize(done, 'step')}")
            return
        state: State = "separating"
        if collapse.update(loss.spreads, loss.total is None, loss.reference):
            state = "collapsed"
            recoveries.append(
                _recover(trainer, step, len(recoveries), best if best_step > 0 else None)
            )
            collapse, settled = CollapseRule(), step
        latest = weights_of(trainer.network)
        if state != "collapsed":
            if objective.keep(step - settled, loss):
                best, best_step = latest, step
            if objective.has_converged:
                state = "converged"
        ended = _stop_reason(state, step, settings, control, len(recoveries))
        if ended in ("stopped", "step limit"):
            state = ended
        preview: ConfidenceMap | None = None
        if ended is None and previews is not None:
            try:
                preview = previews.make(step, trainer.network, resolved)
            except Cancelled:
                ended = state = "stopped"
        now = time.perf_counter()
        durations.append(now - step_began)
        done = step
        message = _message(state, step, best_step, settings, recoveries)
        contrast = loss.contrast
        yield Step(
            step=step,
            max_steps=settings.max_steps,
            loss=float(contrast.loss.detach()) if contrast.loss is not None else math.nan,
            positive_separation=contrast.positive_separation,
            negative_separation=contrast.negative_separation,
            state=state,
            message=message,
            elapsed=now - began,
            remaining=0.0 if ended else _remaining(durations, settings.max_steps),
            may_end_sooner=settings.stop_at_convergence,
            patches=patches,
        )
        if preview is not None and previews is not None:
            handed = time.perf_counter()
            yield MapMade(preview)
            previews.took(time.perf_counter() - handed)
        if ended == "converged":
            yield trained(best, best_step, ended, message)
            return
        if ended is not None:
            yield trained(latest, step, ended, message)
            return


def _remaining(durations: Sequence[float], max_steps: int) -> float | None:
    """Seconds to the step limit, by the median of all steps but the first, which warms up.

    A pause or a preview now and then does not move it.
    """
    if len(durations) < 5:
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


def _recover(trainer: Trainer, step: int, earlier: int, best: Mapping[str, Tensor] | None) -> str:
    """Undo a collapse: the first time at half the rate from sound weights, then anew."""
    settings = trainer.resolved.training
    seed = settings.seed + 1000 * (earlier + 1)
    if earlier == 0 and settings.weights == "pretrained":
        # The best are those of the step before, which had begun to collapse.
        trainer.begin(seed, settings.learning_rate / 2)
        return f"collapse at step {step}: started anew with seed {seed} at half the learning rate"
    if earlier == 0 and best is not None:
        trainer.begin(seed, settings.learning_rate / 2, best)
        return f"collapse at step {step}: went back to the best weights at half the learning rate"
    trainer.begin(seed, settings.learning_rate)
    return f"collapse at step {step}: started anew with seed {seed}"


def _message(state: State, step: int, best: int, settings: Training, recoveries: list[str]) -> str:
    if state == "collapsed":
        return f"collapsed; {recoveries[-1].split(': ', 1)[1]}"
    if state == "converged" and settings.stop_at_convergence:
        where = f", the best at {best}" if best != step else ""
        return f"converged after {pluralize(step, 'step')}{where}"
    if state == "stopped":
        return f"stopped after {pluralize(step, 'step')}"
    if state == "step limit":
        return f"reached the limit of {pluralize(step, 'step')}"
    return f"learning: step {step}, at most {settings.max_steps}"


class Trainer:
    """Network, optimiser and random numbers of one run.

    Attributes
    ----------
    learner : ConfidenceNetwork
        What is trained.
    network : ConfidenceNetwork
        What is shown and kept: the moving average of the learner's weights, which jumps less, or
        the learner itself.
    """

    def __init__(
        self,
        images: Sequence[NetworkInput],
        resolved: Resolved,
        objective: Objective,
    ) -> None:
        self.images = images
        self.resolved = resolved
        self.objective = objective
        # Crops are of the settings' size as the network sees them.
        size = max(1, round(resolved.training.crop_size / resolved.rescale))
        self.crop = min(size, *(side for image in images for side in image.source.shape[1:]))
        self.crop -= self.crop % resolved.rescale.denominator
        self.begin(resolved.training.seed, resolved.training.learning_rate)

    def begin(
        self, seed: int, learning_rate: float, weights: Mapping[str, Tensor] | None = None
    ) -> None:
        """New weights, optimiser and random numbers; other weights than the objective's if given.

        Parameters
        ----------
        seed : int
            Of every random draw.
        learning_rate : float
            Of the optimiser.
        weights : mapping of str to Tensor or None
            State dict to go on from.
        """
        settings, machine = self.resolved.training, self.resolved.machine
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = ConfidenceNetwork(self.images[0].source.shape[0], settings.classes)
            self.learner = prepare(network, machine)
            self.objective.prepare(self.learner, self.crop, seed)
        if weights is not None:
            self.learner.load_state_dict(dict(weights))
        self.network = self.learner
        if settings.ema_decay > 0:
            self.network = copy.deepcopy(self.learner).requires_grad_(False)
        self.random = np.random.default_rng(seed)
        learnt = [*self.learner.parameters(), *self.objective.parameters()]
        self.optimiser = Adam(learnt, learning_rate, settings.weight_decay)

    def step(self, number: int, control: Control) -> tuple[Loss, SampledPatches]:
        """One training step, ``number`` from 1.

        Raises `Cancelled`, before it moves the weights, where the control asks for the end.
        """
        pixels, origins, owners = self._crops()
        images = to_batch(pixels, self.resolved.machine)
        scaled = [
            self.images[owner].scale(one[None]) for owner, one in zip(owners, images, strict=True)
        ]
        batch = Batch(number, images, torch.cat(scaled))
        loss = self.objective.loss(self.learner, batch, control.checkpoint)
        if loss.total is not None:
            loss.total.backward()
            self.optimiser.step()
            self._average()
        return loss, _patches(number, loss.windows, origins, owners)

    def _average(self) -> None:
        if self.network is self.learner:
            return
        share = 1 - self.resolved.training.ema_decay
        with torch.no_grad():
            for mean, latest in zip(
                self.network.parameters(), self.learner.parameters(), strict=True
            ):
                mean.lerp_(latest, share)
            for held, newest in zip(self.network.buffers(), self.learner.buffers(), strict=True):
                held.copy_(newest)

    def _crops(self) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.int64]]:
        pixels, origins, owners = [], [], []
        for _ in range(self.resolved.training.batch_size):
            owner = int(self.random.integers(len(self.images)))
            source = self.images[owner].source
            _, height, width = source.shape
            for _ in range(20):  # drawn anew where most of it is left out
                row = int(self.random.integers(height - self.crop + 1))
                column = int(self.random.integers(width - self.crop + 1))
                box = (row, column, row + self.crop, column + self.crop)
                if _is_worth_it(source, box):
                    break
            pixels.append(source.read(box))
            origins.append((row, column))
            owners.append(owner)
        return np.stack(pixels), np.array(origins), np.array(owners)


class Adam:
    """Torch's fused Adam (Kingma and Ba, arXiv 1412.6980), called as a function.

    An instance of `torch.optim.Optimizer` imports torch's compiler, which takes as long as torch
    itself: https://github.com/pytorch/pytorch/blob/v2.9.0/torch/_compile.py. The first nuclei need
    not wait for that.

    Parameters
    ----------
    parameters : iterable of Tensor
        What is learnt, float32.
    learning_rate : float
        As the paper calls it.
    weight_decay : float
        Factor of the L2 penalty, added to the gradients.
    """

    def __init__(
        self, parameters: Iterable[Tensor], learning_rate: float, weight_decay: float
    ) -> None:
        self._learning_rate, self._weight_decay = learning_rate, weight_decay
        self._parameters = list(parameters)
        self._means = [torch.zeros_like(one) for one in self._parameters]
        self._squares = [torch.zeros_like(one) for one in self._parameters]
        self._steps = [torch.zeros((), device=one.device) for one in self._parameters]

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient, and forget the gradients."""
        moved = [i for i, one in enumerate(self._parameters) if one.grad is not None]
        adam(
            [self._parameters[i] for i in moved],
            [one.grad for one in self._parameters if one.grad is not None],
            [self._means[i] for i in moved],
            [self._squares[i] for i in moved],
            [],
            [self._steps[i] for i in moved],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            eps=1e-8,
            maximize=False,
            lr=self._learning_rate,
            weight_decay=self._weight_decay,
        )
        for one in self._parameters:
            one.grad = None


def _is_worth_it(source: PixelSource, box: Box) -> bool:
    """Whether most of a crop is valid: of what is left out nothing can be learnt."""
    row0, column0, row1, column1 = box
    valid = source.valid
    return valid is None or bool(valid[row0:row1, column0:column1].mean() > 0.5)


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

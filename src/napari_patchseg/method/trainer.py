"""One run's network, optimiser and random numbers, and what a training step does to them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.optim.adam import adam

from napari_patchseg.settings import Resolved

from .contrast import Contrast, contrast
from .control import Control
from .convergence import Spread
from .inference import autocast, input_scale, prepare, to_batch
from .maps import SampledPatches
from .network import FEATURISED, ConfidenceNetwork, Featuriser
from .sampling import PatchSampler, Windows
from .scale import InputScale, rescale
from .source import Box, PixelSource

#: How often a crop is drawn anew where most of it is left out of the image.
_DRAWS = 20


class Step(NamedTuple):
    """What one training step brought.

    Attributes
    ----------
    contrast : Contrast
        The contrastive loss and both separations.
    spreads, seen : list of Spread
        Each class's confidences in the crops, and what the start sees there; the latter is empty
        without a start.
    patches : SampledPatches
        The windows.
    """

    contrast: Contrast
    spreads: list[Spread]
    seen: list[Spread]
    patches: SampledPatches


class Trainer:
    """Network, optimiser and random numbers of one run; one call of `step` is one training step."""

    def __init__(
        self,
        sources: Sequence[PixelSource],
        resolved: Resolved,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.sources: Sequence[PixelSource] = sources
        self.resolved = resolved
        self.settings = settings = resolved.training
        self.start = start
        self.scales: Sequence[InputScale] = [
            input_scale(source, settings.weights) for source in sources
        ]
        self.magnification = resolved.rescale
        smallest = min(min(source.shape[1:]) for source in sources)
        # Crops and windows are of the settings' size as the network sees them.
        self.crop = min(self._in_image(settings.crop_size), smallest)
        self.crop -= self.crop % self.magnification.denominator
        self.channels = sources[0].shape[0]
        least = FEATURISED if settings.similarity == "featurised-cosine" else 1
        patch = min(max(self._in_image(settings.patch_size), least), self.crop // 2)
        self.sampler = PatchSampler(
            patch, min(self._in_image(settings.stride), max(1, patch // 2)), settings.patches
        )
        self.restart(settings.seed)

    def _in_image(self, length: int) -> int:
        return max(1, round(length / self.magnification))

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
        self.learner = prepare(network, self.resolved.machine)
        if self.start is not None:
            self.learner.eval()  # the start's statistics stay: they hold on nearly empty images too
            self.teacher = copy.deepcopy(self.learner).requires_grad_(False)
        # What is shown and kept: the mean of the learner's latest weights, which jumps less.
        self.network = self.learner
        if settings.ema_decay > 0:
            self.network = copy.deepcopy(self.learner).requires_grad_(False)
        self.featuriser = (
            featuriser.to(self.resolved.machine.device) if featuriser is not None else None
        )
        self.random = np.random.default_rng(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.new_optimiser(settings.learning_rate)

    def new_optimiser(self, learning_rate: float) -> None:
        """Adam over what is learnt, without the past of the one before."""
        parameters = list(self.learner.parameters())
        if self.featuriser is not None:
            parameters += list(self.featuriser.parameters())
        self.optimiser = Adam(parameters, learning_rate, self.settings.weight_decay)

    def step(self, number: int, control: Control) -> Step:
        """One training step.

        Raises `Cancelled`, before it moves the weights, where the control asks for the end.
        """
        settings = self.settings
        pixels, origins, owners = self._crops()
        images = to_batch(pixels, self.resolved.machine)
        if self.start is None:
            self._normalise_by_batch(number)
        inputs = self._scaled(images, owners)
        with autocast(self.resolved.machine):
            logits = self.learner.logits(inputs, magnification=self.magnification)
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
        seen: list[Spread] = []
        if self.start is not None:
            target = self._seen_by_start(inputs, number)
            seen = _spreads(target)
            agreement = settings.consistency_weight * binary_cross_entropy_with_logits(
                logits, target
            )
            loss = agreement if loss is None else loss + agreement
            _go_on(control)
        if loss is not None:
            loss.backward()
            self.optimiser.step()
            self._average()
        patches = _patches(number, windows, origins, owners)
        return Step(result, _spreads(confidence.detach()), seen, patches)

    def _average(self) -> None:
        if self.network is self.learner:
            return
        share = 1 - self.settings.ema_decay
        with torch.no_grad():
            for mean, latest in zip(
                self.network.parameters(), self.learner.parameters(), strict=True
            ):
                mean.lerp_(latest, share)
            for held, newest in zip(self.network.buffers(), self.learner.buffers(), strict=True):
                held.copy_(newest)

    def _seen_by_start(self, inputs: Tensor, number: int) -> Tensor:
        """What the start sees in the same crops: confidences (N, K, H, W).

        They are turned by a right angle more each step, so that the maps come to agree with every
        turn; agreeing with it, the contrast may sharpen the maps but not carry them away.
        """
        turns = number % 4
        with torch.no_grad(), autocast(self.resolved.machine):
            turned = torch.rot90(inputs, turns, (2, 3))
            seen = self.teacher.logits(turned, magnification=self.magnification)
        return torch.rot90(seen.float(), -turns, (2, 3)).sigmoid()

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
            for _ in range(_DRAWS):
                row = int(self.random.integers(height - self.crop + 1))
                column = int(self.random.integers(width - self.crop + 1))
                box = (row, column, row + self.crop, column + self.crop)
                if _is_worth_it(self.sources[owner], box):
                    break
            pixels.append(self.sources[owner].read(box))
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


def _go_on(control: Control) -> None:
    # Between the passes of a step, so that stop and pause need not wait for the whole of it.
    control.checkpoint()


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

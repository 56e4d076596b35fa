"""What a network is trained towards, and which of its weights are kept."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from napari_patchseg.settings import Resolved

from .contrast import Contrast, contrast
from .convergence import ConvergenceRule, Spread
from .inference import autocast
from .network import FEATURISED, ConfidenceNetwork, Featuriser
from .sampling import PatchSampler, Windows
from .scale import contents


@dataclass(frozen=True)
class Batch:
    """Crops of a training step.

    Attributes
    ----------
    number : int
        The step, from 1.
    images : Tensor
        (N, C, H, W) in [0, 1].
    inputs : Tensor
        The same as the network takes them.
    """

    number: int
    images: Tensor
    inputs: Tensor


@dataclass(frozen=True)
class Loss:
    """What an objective says of a batch.

    Attributes
    ----------
    total : Tensor or None
        Scalar to descend; None: the step is skipped.
    contrast : Contrast
        The contrastive loss and both separations.
    windows : Windows
        The windows these are taken from.
    spreads, reference : list of Spread
        Each class's confidences in the crops, and what a teacher sees there; the latter is empty
        without one.
    """

    total: Tensor | None
    contrast: Contrast
    windows: Windows
    spreads: list[Spread]
    reference: list[Spread]


class Objective(Protocol):
    """What a network is trained towards.

    Attributes
    ----------
    has_converged : bool
        Whether training may end, after the latest `keep`.
    """

    has_converged: bool

    def prepare(self, network: ConfidenceNetwork, crop: int, seed: int) -> None:
        """Begin, or begin anew, with a network of random weights and crops of a side in pixels."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """What is learnt beside the network."""

    def loss(self, network: ConfidenceNetwork, batch: Batch, between: Callable[[], None]) -> Loss:
        """The loss of a batch; ``between`` is called between the passes and may raise."""

    def keep(self, step: int, loss: Loss) -> bool:
        """Take in a step, from 1 since `prepare`: whether its weights are the best so far."""


class Contrastive:
    """The paper's: contrast alone, from random weights, with the batch's statistics.

    The maps get worse after the separation's peak, so its weights are the best.

    Parameters
    ----------
    resolved : Resolved
        Patch size and stride are as the network sees them.
    start : mapping of str to Tensor or None
        Weights to begin with in place of random ones.
    """

    def __init__(self, resolved: Resolved, start: Mapping[str, Tensor] | None = None) -> None:
        self.resolved = resolved
        self._start = None if start is None else dict(start)
        self.training = resolved.training
        self.has_converged = False

    def prepare(self, network: ConfidenceNetwork, crop: int, seed: int) -> None:
        """Take random weights as they are, or those to begin with."""
        training, rescale = self.training, self.resolved.rescale
        if self._start is not None:
            network.load_state_dict(self._start)
        network.train()
        is_featurised = training.similarity == "featurised-cosine"
        least = FEATURISED if is_featurised else 1
        patch = min(max(round(training.patch_size / rescale), least), crop // 2)
        stride = min(max(round(training.stride / rescale), 1), max(patch // 2, 1))
        self._sampler = PatchSampler(patch, stride, training.patches)
        self._featuriser: Featuriser | None = None
        if is_featurised:
            featuriser = Featuriser(network.channels, patch)
            self._featuriser = featuriser.to(self.resolved.machine.device)
        self._generator = torch.Generator().manual_seed(seed)
        self._rule = self._convergence()
        self.has_converged = False

    def _convergence(self) -> ConvergenceRule:
        return ConvergenceRule()

    def parameters(self) -> Iterable[nn.Parameter]:
        """The featuriser's."""
        return () if self._featuriser is None else self._featuriser.parameters()

    def loss(self, network: ConfidenceNetwork, batch: Batch, between: Callable[[], None]) -> Loss:
        """Contrast of windows sampled by the network's own confidence."""
        # Running statistics begin as the mean of the first batches, so that a preview of an early
        # step shows its weights and not the initial statistics.
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d) and module.num_batches_tracked is not None:
                module.momentum = max(0.1, 1 / (int(module.num_batches_tracked) + 1))
        loss, _ = self._contrast(network, batch)
        between()
        return loss

    def keep(self, step: int, loss: Loss) -> bool:
        """Whether the separation has its peak here."""
        self.has_converged = self._rule.update(
            step, loss.contrast.positive_separation, loss.contrast.negative_separation
        )
        return self._rule.peak_step == step

    def _contrast(self, network: ConfidenceNetwork, batch: Batch) -> tuple[Loss, Tensor]:
        """The contrastive loss, and the logits (N, K, H, W) float32."""
        with autocast(self.resolved.machine):
            logits = network.logits(batch.inputs, rescale=self.resolved.rescale)
        # One class after the other, whatever the network's layout: what follows takes maps alone.
        logits = logits.to(torch.float32, memory_format=torch.contiguous_format)
        confidence = logits.sigmoid()
        windows = self._sampler(confidence, self._generator)
        result = contrast(
            contents(batch.images),
            confidence,
            windows,
            similarity_name=self.training.similarity,
            anchors=self.training.anchors,
            featuriser=self._featuriser,
            generator=self._generator,
        )
        return Loss(result.loss, result, windows, spreads(confidence.detach()), []), logits


class Anchored(Contrastive):
    """Contrast, and agreement with the network that it began as: it may sharpen, not carry away.

    The statistics stay, which hold on nearly empty images too. From there the separation levels
    off, so the latest weights are the best.

    Parameters
    ----------
    resolved : Resolved
        Patch size and stride are as the network sees them.
    start : mapping of str to Tensor
        Weights to begin with, and of the teacher.
    """

    def __init__(self, resolved: Resolved, start: Mapping[str, Tensor]) -> None:
        super().__init__(resolved, start)

    def prepare(self, network: ConfidenceNetwork, crop: int, seed: int) -> None:
        """Take the weights and statistics to begin with."""
        super().prepare(network, crop, seed)
        network.eval()
        self._teacher = copy.deepcopy(network).requires_grad_(False)

    def _convergence(self) -> ConvergenceRule:
        # Windows are mixed, so that positives differ as much as positives from negatives, and the
        # separation moves by a few per cent: it has converged when it has stopped growing.
        return ConvergenceRule(
            first=10, smoothing=0.3, drop=0.0, growth=0.01, patience=2, apart=0.0
        )

    def loss(self, network: ConfidenceNetwork, batch: Batch, between: Callable[[], None]) -> Loss:
        """Contrast, and cross-entropy with what the teacher sees in the same crops.

        They are turned by a right angle more each step, so that the maps come to agree with every
        turn.
        """
        loss, logits = self._contrast(network, batch)
        between()
        turns = batch.number % 4
        with torch.no_grad(), autocast(self.resolved.machine):
            turned = torch.rot90(batch.inputs, turns, (2, 3))
            seen = self._teacher.logits(turned, rescale=self.resolved.rescale)
        target = torch.rot90(seen.float(), -turns, (2, 3)).sigmoid()
        weight = self.training.consistency_weight
        total = weight * binary_cross_entropy_with_logits(logits, target)
        if loss.total is not None:
            total = loss.total + total
        between()
        return replace(loss, total=total, reference=spreads(target))

    def keep(self, step: int, loss: Loss) -> bool:
        """Always."""
        super().keep(step, loss)
        return True


def spreads(confidence: Tensor) -> list[Spread]:
    """Of each class of confidences (N, K, H, W)."""
    rows = torch.stack(
        [confidence.amin((0, 2, 3)), confidence.mean((0, 2, 3)), confidence.amax((0, 2, 3))], 1
    )
    return [Spread(*row) for row in rows.tolist()]

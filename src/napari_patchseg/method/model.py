"""Trained weights and what belongs to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from napari_patchseg.modality import ImageKind
from napari_patchseg.settings import Settings

from .maps import NucleusClass
from .network import ConfidenceNetwork


@dataclass(frozen=True)
class Model:
    """A trained confidence network.

    Attributes
    ----------
    weights : mapping of str to Tensor
        State dict of `ConfidenceNetwork`, on the CPU, float32 (and int64 counters).
    channels : int
        Channels of the images it takes.
    settings : Settings
        The resolved settings it was trained with.
    steps : int
        Training steps behind the weights.
    stop_reason : str
        Why its training ended.
    nucleus : NucleusClass or None
        Which class is nuclei on the image it was trained on.
    image_kind : str or None
        What that image was.
    """

    weights: Mapping[str, Tensor]
    channels: int
    settings: Settings
    steps: int
    stop_reason: str
    nucleus: NucleusClass | None = field(default=None)
    image_kind: ImageKind | None = field(default=None)

    def network(self) -> ConfidenceNetwork:
        """The network with these weights, in evaluation mode, on the CPU."""
        network = ConfidenceNetwork(self.channels, self.settings.training.classes)
        network.load_state_dict(dict(self.weights))
        return network.eval()


def weights_of(network: torch.nn.Module) -> dict[str, Tensor]:
    """A copy of a network's state dict on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}

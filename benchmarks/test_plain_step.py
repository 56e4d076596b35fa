"""The step that the benchmark measures against says the same as the one that trains."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from napari_patchseg.method.events import Control
from napari_patchseg.method.hardware import resolve_machine
from napari_patchseg.method.objective import Contrastive
from napari_patchseg.method.scale import NetworkInput
from napari_patchseg.method.training import Trainer
from napari_patchseg.modality import STAINED
from napari_patchseg.settings import Resolved, Settings
from plain_step import PlainStep


class Blobs:
    """(3, 180, 200): so that maps are neither flat nor noise."""

    valid = None

    def __init__(self):
        coarse = torch.from_numpy(np.random.default_rng(0).random((1, 3, 18, 20), np.float32))
        self.data = torch.nn.functional.interpolate(coarse, scale_factor=10)[0].numpy()
        self.shape = self.data.shape

    def read(self, box, reduction=1):
        return self.data[:, box[0] : box[2] : reduction, box[1] : box[3] : reduction]


@pytest.fixture
def trainer():
    settings = Settings.create(
        "paper", crop_size=120, batch_size=4, device="cpu", precision="float32", threads=1
    )
    machine = resolve_machine(settings.machine)
    resolved = Resolved(settings, STAINED, machine, Fraction(1), 1)
    return Trainer([NetworkInput(Blobs(), "random")], resolved, Contrastive(resolved))


def gradients(network):
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def test_three_steps_in_float32_are_the_plain_ones(trainer):
    plain = PlainStep(trainer.learner.state_dict(), seed=trainer.resolved.training.seed)
    crops = np.random.default_rng(trainer.resolved.training.seed)
    for number in (1, 2, 3):
        boxes = [(crops.integers(1), crops.integers(61), crops.integers(81)) for _ in range(4)]
        pixels = [trainer.images[0].source.data[:, r : r + 120, c : c + 120] for _, r, c in boxes]
        loss, within, between = plain(torch.from_numpy(np.stack(pixels)), number)
        found, _ = trainer.step(number, Control())
        assert found.total.item() == pytest.approx(loss, rel=1e-5)
        assert found.contrast.positive_separation == pytest.approx(within, rel=1e-3)
        assert found.contrast.negative_separation == pytest.approx(between, rel=1e-3)
    for name, held in plain.network.state_dict().items():
        assert torch.allclose(trainer.learner.state_dict()[name], held, atol=1e-4), name

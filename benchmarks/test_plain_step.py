"""The step that the benchmark measures against says the same as the one that trains."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_patchseg.method.contrast import contrast
from napari_patchseg.method.control import Control
from napari_patchseg.method.inference import autocast, to_batch
from napari_patchseg.method.sampling import Windows
from napari_patchseg.method.scale import rescale
from napari_patchseg.method.source import ArraySource
from napari_patchseg.method.trainer import Trainer
from napari_patchseg.settings import Settings

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "plain_step.py"
LAYOUTS = ["contiguous", "channels_last"]


@pytest.fixture(scope="module")
def plain_step():
    spec = importlib.util.spec_from_file_location("plain_step", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "plain_step", module)  # where its dataclass looks for it
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def source():
    """(3, 180, 200): blobs, so that maps are neither flat nor noise."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.random((1, 3, 18, 20), dtype=np.float32))
    return ArraySource(torch.nn.functional.interpolate(coarse, scale_factor=10)[0].numpy())


def paper(precision, layout):
    machine = {"device": "cpu", "precision": precision, "memory_format": layout, "threads": 1}
    return Settings.create("paper", crop_size=120, batch_size=4, **machine)


def gradients(network):
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def error(found, expected):
    """Of all gradients together, relative to their length."""
    far = sum((found[name] - held).square().sum() for name, held in expected.items())
    return float((far / sum(held.square().sum() for held in expected.values())).sqrt())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_three_steps_in_float32_are_the_plain_ones(plain_step, source, layout):
    settings = paper("float32", layout)
    trainer, same_crops = Trainer([source], settings), Trainer([source], settings)
    plain = plain_step.PlainStep(trainer.learner.state_dict(), seed=settings.training.seed)
    for number in (1, 2, 3):
        pixels, _, _ = same_crops._crops()
        loss, within, between = plain(torch.from_numpy(pixels), number)
        result, spreads, *_ = trainer.step(number, Control())
        assert result.loss.item() == pytest.approx(loss, rel=1e-5)
        assert result.positive_separation == pytest.approx(within, rel=1e-3)
        assert result.negative_separation == pytest.approx(between, rel=1e-3)
        assert len(spreads) == 4
        assert error(gradients(trainer.learner), gradients(plain.network)) < 1e-4
    for name, held in plain.network.state_dict().items():
        assert torch.allclose(trainer.learner.state_dict()[name], held, atol=1e-4), name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bfloat16_is_near_it_on_the_same_windows(plain_step, source, layout):
    settings = paper("bfloat16", layout)
    trainer = Trainer([source], settings)
    plain = plain_step.PlainStep(trainer.learner.state_dict(), seed=settings.training.seed)
    pixels, _, _ = trainer._crops()
    image = rescale(torch.from_numpy(pixels))
    confidence = plain.network(image).sigmoid()
    windows = plain_step.sample(confidence, plain.generator)
    state = plain.generator.get_state()
    expected, *_ = plain_step.contrast(image, confidence, windows, plain.generator)
    expected.backward()

    inputs = rescale(to_batch(pixels, settings))
    trainer.learner.train()
    with autocast(settings):
        logits = trainer.learner.logits(inputs)
    assert logits.dtype == torch.bfloat16
    found = contrast(
        inputs,
        logits.float().sigmoid(),
        Windows(**vars(windows), confidence=torch.empty(0), entropy=torch.empty(0)),
        generator=torch.Generator().set_state(state),
    )
    found.loss.backward()
    assert found.loss.item() == pytest.approx(expected.item(), rel=1e-3)
    assert error(gradients(trainer.learner), gradients(plain.network)) < 0.03

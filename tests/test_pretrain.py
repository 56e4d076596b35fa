"""The pretrained weights are taught with what the network is later shown."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

from napari_patchseg.files.models import pretrained_weights
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.method.scale import InputScale
from napari_patchseg.modality import MODALITIES
from napari_patchseg.synthetic import culture, synthetic_field

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("pretrain", ROOT / "tools" / "pretrain.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pretrain", module)  # where its dataclasses look for it
        spec.loader.exec_module(module)
        yield module


def shown(image):
    source = Pixels.from_array(image).as_rgb()
    pixels = torch.from_numpy(source.read((0, 0, *source.shape[1:])))
    return InputScale.of_image(source)(pixels[None])[0].numpy()


def test_fluorescence_looks_the_same_to_the_script_and_to_the_package(script):
    grown = culture((256, 256), 3, nucleus_diameter=24, density=0.3)
    taught = script.stretch(script.light(grown, np.random.default_rng(0))).transpose(2, 0, 1)
    picture = script.expose(grown, np.random.default_rng(0))
    assert np.abs(taught - shown(picture)).max() < 0.2


def test_stained_fields_look_the_same_to_the_script_and_to_the_package(script):
    field, _ = synthetic_field((320, 320), 3)
    taught = script.stretch(field.astype(np.float32) / 255).transpose(2, 0, 1)
    assert np.abs(taught - shown(field).clip(-2.8, 2.8)).max() < 0.2


@pytest.mark.parametrize("kind", ["stained", "fluorescence"])
def test_the_shipped_weights_say_how_they_were_made(script, kind):
    path = ROOT / "src" / "napari_patchseg" / "files" / f"pretrained-{kind}.safetensors"
    with safe_open(path, framework="pt") as file:
        made = file.metadata()
    assert made["kind"] == kind
    assert "no human label" in made["learnt_from"]
    assert [script.Phase(**phase) for phase in script.json.loads(made["recipe"])["phases"]] == list(
        script.RECIPES[kind]
    )


@pytest.mark.parametrize("modality", MODALITIES.values(), ids=MODALITIES)
def test_the_shipped_weights_fit_the_network(modality):
    weights = pretrained_weights(modality)
    ConfidenceNetwork(3, 2).load_state_dict(dict(weights))
    assert all(torch.isfinite(values).all() for values in weights.values())


def test_an_interior_is_the_inner_part_of_each_nucleus(script):
    labels = np.zeros((60, 60), int)
    labels[10:30, 10:30], labels[10:30, 30:50] = 1, 2
    inner = script.interior(labels)
    assert inner[20, 20]
    assert inner[20, 40]
    assert not inner[20, 29:31].any()
    assert not inner[labels == 0].any()


def test_teaching_brings_the_loss_down_and_averages(script, capsys):
    torch.manual_seed(0)
    network = ConfidenceNetwork(3, 2).to(memory_format=torch.channels_last)
    fields = [script.fluorescent_field(index, 208) for index in range(2)]
    random = np.random.default_rng(0)

    def loss():
        images = script.batch(fields, np.random.default_rng(1))
        with torch.no_grad():
            return float(script.loss_of(script.logits_of(network, images), images[1]))

    before = loss()
    script.teach(network, fields, random, script.Phase("cultures", 0, 2, 12, 8e-3))
    assert loss() < before


def test_weights_that_were_averaged_get_statistics_of_their_own(script):
    torch.manual_seed(0)
    network = ConfidenceNetwork(3, 2).to(memory_format=torch.channels_last)
    random = np.random.default_rng(0)
    fields = [script.fluorescent_field(0, 208)]
    batches = [script.batch(fields, random) for _ in range(2)]
    script.take_statistics(network, batches)
    with torch.no_grad():
        seen = torch.cat([network.stem[0](images) for images, _ in batches])
    np.testing.assert_allclose(network.stem[1].running_mean, seen.mean((0, 2, 3)), atol=0.02)

from __future__ import annotations

import pytest
import torch

from napari_patchseg.errors import DeviceError
from napari_patchseg.method.hardware import available_devices, resolve_machine
from napari_patchseg.settings import Machine


def test_every_choice_is_made_and_is_the_same_each_time():
    resolved = resolve_machine(Machine())
    assert resolved == resolve_machine(Machine())
    assert resolved.device == available_devices()[0]
    assert resolved.threads >= 1


def test_what_was_said_stays():
    said = {"device": "cpu", "precision": "float32", "memory_format": "contiguous", "threads": 3}
    assert vars(resolve_machine(Machine(**said))) == said


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what must be missing")
def test_a_device_that_is_not_there_is_a_mistake():
    with pytest.raises(DeviceError, match="cpu"):
        resolve_machine(Machine(device="cuda"))

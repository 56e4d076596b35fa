"""A small image with known dark disks, and settings that train on it in a second or two."""

from fractions import Fraction

import numpy as np
import pytest

from napari_patchseg.method.hardware import resolve_machine
from napari_patchseg.modality import STAINED
from napari_patchseg.settings import Resolved, Settings

QUICK = {
    "weights": "random",
    "classes": 2,
    "patch_size": 24,
    "stride": 8,
    "crop_size": 96,
    "batch_size": 4,
    "max_steps": 6,
    "learning_rate": 1e-3,
    "stop_at_convergence": False,
    "rescale": "1",
    "test_time_augmentation": 1,
    "device": "cpu",
    "precision": "float32",
    "memory_format": "contiguous",
    "threads": 1,
}


class ArraySource:
    """A `PixelSource` over an array (C, H, W) float32 in [0, 1]."""

    def __init__(self, data, valid=None):
        self.data, self.valid, self.shape = data, valid, data.shape

    def read(self, box, reduction=1):
        row0, column0, row1, column1 = box
        return self.data[:, row0:row1:reduction, column0:column1:reduction]


@pytest.fixture(scope="session")
def source_of():
    """Makes a source of an array (C, H, W) float32 in [0, 1]."""
    return ArraySource


@pytest.fixture(scope="session")
def disks():
    """(3, 128, 160) float32: dark disks of 14 px on a bright background with a little noise."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:128, :160]
    truth = np.zeros((128, 160), bool)
    for row in range(14, 128, 28):
        for column in range(14, 160, 28):
            truth |= (rows - row) ** 2 + (columns - column) ** 2 < 49
    image = np.where(truth, 0.35, 0.85) + rng.normal(0, 0.03, (3, 128, 160))
    return ArraySource(image.clip(0, 1).astype(np.float32))


@pytest.fixture(scope="session")
def resolve():
    """Makes resolved settings of a preset, without looking at an image."""

    def made(preset="default", **changes):
        settings = Settings.create(preset, **changes)
        training, machine = settings.training, resolve_machine(settings.machine)
        rescale, views = Fraction(training.rescale), training.test_time_augmentation
        return Resolved(settings, STAINED, machine, rescale, views)

    return made


@pytest.fixture(scope="session")
def quick(resolve):
    """Makes resolved settings that train on the CPU in a moment, with some changed."""
    return lambda **changes: resolve(**{**QUICK, **changes})

"""A small image with known dark disks, and settings that train on it in a second or two."""

import numpy as np
import pytest

from napari_patchseg.method.source import ArraySource
from napari_patchseg.settings import Settings


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


@pytest.fixture
def quick():
    """Resolved settings for the CPU."""
    return Settings.create(
        weights="random",
        classes=2,
        patch_size=24,
        stride=8,
        crop_size=96,
        batch_size=4,
        max_steps=6,
        learning_rate=1e-3,
        stop_at_convergence=False,
        rescale="1",
        test_time_augmentation=1,
        device="cpu",
        precision="float32",
        memory_format="contiguous",
        threads=1,
    )

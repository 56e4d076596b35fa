from __future__ import annotations

import numpy as np
import pytest

from napari_patchseg.synthetic._nuclei import smooth_noise, soft_step


@pytest.mark.parametrize("length", [0.5, 1, 3.3, 20, 500])
@pytest.mark.parametrize("octaves", [1, 3])
def test_mean_and_deviation(length, octaves):
    noise = smooth_noise(np.random.default_rng(0), (70, 131), length, octaves)
    assert noise.shape == (70, 131)
    assert noise.dtype == np.float32
    assert abs(noise.mean()) < 1e-3
    assert noise.std() == pytest.approx(1, abs=1e-3)


def test_length_is_the_size_of_features():
    steps = [
        np.abs(np.diff(smooth_noise(np.random.default_rng(0), (300, 300), length))).mean()
        for length in (2, 8, 32)
    ]
    assert steps[0] > 2.5 * steps[1] > 6 * steps[2]


def test_soft_step():
    np.testing.assert_allclose(
        soft_step(np.array([-1e9, -0.1, 0, 0.1, 1e9]), 0.1), [0, 0.268941, 0.5, 0.731059, 1], 1e-5,
        1e-6,
    )  # fmt: skip

import numpy as np
import pytest

from napari_patchseg.errors import SettingsError
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.synthetic import culture, expose, synthetic_fluorescence


def test_same_arguments_same_image():
    one, labels = synthetic_fluorescence((128, 160), 3)
    other, other_labels = synthetic_fluorescence((128, 160), 3)
    assert one.shape == labels.shape == (128, 160)
    assert one.dtype == np.uint8
    assert labels.dtype == np.uint16
    assert np.array_equal(one, other)
    assert np.array_equal(labels, other_labels)
    assert not np.array_equal(one, synthetic_fluorescence((128, 160), 4)[0])


@pytest.mark.parametrize("seed", range(6))
def test_nuclei_are_what_glows(seed):
    image, labels = synthetic_fluorescence((256, 256), seed, density=0.2)
    assert labels.max() > 10
    assert image[labels > 0].mean() > 1.2 * image[labels == 0].mean()
    assert Pixels.from_array(image).kind == "fluorescence"


def test_every_exposure_is_another_of_the_same_nuclei():
    grown = culture((128, 128), 0, nucleus_diameter=20, density=0.3)
    random = np.random.default_rng(0)
    first, second = expose(grown, random), expose(grown, random)
    assert not np.array_equal(first, second)
    inside = grown.labels > 0
    for picture in (first, second):
        assert picture[inside].mean() > picture[~inside].mean()


def test_an_empty_culture_can_be_looked_at():
    image, labels = synthetic_fluorescence((96, 96), 1, density=0)
    assert labels.max() <= 1
    assert np.isfinite(image).all()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"shape": (32, 100)}, "64"),
        ({"nucleus_diameter": 2}, "nucleus_diameter"),
        ({"density": 0.9}, "density"),
        ({"seed": -1}, "seed"),
    ],
)
def test_what_cannot_be_grown(arguments, word):
    with pytest.raises(SettingsError, match=word):
        synthetic_fluorescence(**arguments)

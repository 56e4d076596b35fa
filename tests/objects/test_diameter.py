import numpy as np
import pytest
from scipy import ndimage as ndi

from napari_patchseg.image.pixels import Pixels
from napari_patchseg.nucleus_size import interior_diameter
from napari_patchseg.objects import expected_diameter, typical_diameter
from napari_patchseg.synthetic import synthetic_field


def rows_of_disks(radius, shape=(320, 320), apart=60):
    row, column = np.mgrid[: shape[0], : shape[1]]
    near = (row % apart - apart // 2) ** 2 + (column % apart - apart // 2) ** 2 <= radius**2
    return near.astype(np.float32)


@pytest.mark.parametrize("radius", [6, 12, 20])
def test_the_diameter_is_estimated(radius):
    prior = ndi.gaussian_filter(rows_of_disks(radius), 1)
    prior += np.random.default_rng(0).normal(0, 0.05, prior.shape).astype(np.float32)
    assert expected_diameter(prior) == pytest.approx(2 * radius, rel=0.15)


@pytest.mark.parametrize("diameter", [12, 24, 40])
def test_the_diameter_of_nuclei_in_tissue_is_estimated(diameter):
    image, labels = synthetic_field((512, 512), seed=diameter, nucleus_diameter=diameter)
    true = typical_diameter(np.bincount(labels.ravel())[1:])
    assert expected_diameter(Pixels.from_array(image).prior()) == pytest.approx(true, rel=0.35)


def test_a_large_map_is_looked_at_through_crops():
    prior = ndi.gaussian_filter(rows_of_disks(10, (2100, 2000)), 1)
    assert expected_diameter(prior) == pytest.approx(20, rel=0.15)


def test_a_stroke_of_a_pen_is_no_nucleus():
    disks = rows_of_disks(8, (300, 300), 30)
    disks[:, 180:] = 0
    disks[:, 201:280] = 1
    assert expected_diameter(ndi.gaussian_filter(disks, 1)) == pytest.approx(16, rel=0.15)


def test_larger_nuclei_than_it_knows_have_the_largest_diameter():
    disks = rows_of_disks(60, (300, 300), 150)
    assert expected_diameter(ndi.gaussian_filter(disks, 1)) == 80


def test_without_objects_the_diameter_is_that_at_40x():
    assert expected_diameter(np.zeros((100, 100), np.float32)) == 24


def test_interiors_of_several_crops():
    interiors = np.stack([rows_of_disks(6, (200, 200)), np.zeros((200, 200), np.float32)])
    assert interior_diameter(interiors) == pytest.approx(12, rel=0.15)
    assert interior_diameter(interiors[1:]) == 0

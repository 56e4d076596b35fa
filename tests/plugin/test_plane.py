from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_patchseg.plugin._plane import Plane, displayed_axes


@pytest.fixture
def model() -> ViewerModel:
    return ViewerModel()


def flat(layer: Any) -> Plane:
    return Plane(layer.data.shape[:2], 0, 1, (0, 0))


@pytest.mark.parametrize("place", [(0, 0), (17, 80), (3.5, 9.25)])
@pytest.mark.parametrize(("origin", "reduction"), [((0, 0), 1), ((12, 40), 1), ((12, 40), 3)])
def test_derived_layers_lie_on_their_image(
    model: ViewerModel,
    image: np.ndarray,
    transform: dict[str, Any],
    place: tuple[float, float],
    origin: tuple[int, int],
    reduction: int,
) -> None:
    layer = model.add_image(image, rgb=True, **transform)
    derived = model.add_image(np.zeros((20, 20)), **flat(layer).transform(layer, origin, reduction))
    # pixel i of a coarser grid covers the pixels i * r to i * r + r - 1
    pixel = np.array(origin) + np.array(place) * reduction + (reduction - 1) / 2
    np.testing.assert_allclose(derived.data_to_world(place), layer.data_to_world(pixel))
    assert derived.units == layer.units
    assert derived.axis_labels == layer.axis_labels


STACK = {
    "scale": (5, 0.5, 0.25),
    "translate": (1, 2, 3),
    "axis_labels": ("z", "y", "x"),
    "units": ("um",) * 3,
    "shear": (0.1, 0.2, 0.3),
}


@pytest.mark.parametrize("axes", [(1, 2), (0, 1), (0, 2)])
def test_derived_layers_of_a_stack_lie_on_their_plane(
    model: ViewerModel, axes: tuple[int, int]
) -> None:
    layer = model.add_image(np.zeros((30, 70, 80)), **STACK)
    plane = Plane((30, 70, 80), *axes, (11, 12, 13))
    labels = model.add_labels(
        plane.expand(np.zeros(plane.size, int)), **plane.transform(layer, (4, 6), 2)
    )
    assert labels.data.ndim == 3
    place = [11, 12, 13]
    place[axes[0]], place[axes[1]] = 4 + 7 * 2 + 0.5, 6 + 9 * 2 + 0.5
    here = plane.vertices(np.array([7.0, 9.0]))
    np.testing.assert_allclose(labels.data_to_world(here), layer.data_to_world(place))
    assert labels.axis_labels == layer.axis_labels


@pytest.mark.parametrize(("channels", "shape"), [(0, (70, 80)), (1, (1, 1, 70, 80))])
def test_what_is_of_all_channels_is_shown_with_each(
    model: ViewerModel, channels: int, shape: tuple[int, ...]
) -> None:
    size = (3, 70, 80) if channels == 0 else (5, 3, 70, 80)
    layer = model.add_image(np.zeros(size), scale=[2] * len(size))
    plane = Plane(size, len(size) - 2, len(size) - 1, (0,) * len(size), channels)
    labels = model.add_labels(plane.expand(np.ones(plane.size, int)), **plane.transform(layer))
    assert labels.data.shape == shape
    model.dims.set_point(0, 0)
    for number in range(3):
        model.dims.set_point(channels, 2 * number)
        assert (labels._slice.image.raw == 1).all()
    if channels:
        model.dims.set_point(0, 4)
        assert not labels._slice.image.raw.any()


def test_which_axes_are_displayed() -> None:
    assert displayed_axes((0, 1, 2), 2) == (0, 1)
    assert displayed_axes((2, 0, 1), 3) == (0, 1)
    assert displayed_axes((2, 0, 1), 2) == (1, 0)
    assert displayed_axes((0, 1), 3) == (1, 2)

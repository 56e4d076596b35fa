from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
from napari.components import ViewerModel
from napari.plugins import _initialize_plugins

from napari_patchseg.errors import PatchSegError
from napari_patchseg.plugin.layer_source import (
    METADATA_KEY,
    Plane,
    Region,
    image_layer_of,
    pixel_size_of,
    source_of,
)


@pytest.fixture
def model() -> ViewerModel:
    return ViewerModel()


def test_rgb_plane_is_read_as_it_is(model: ViewerModel, image: np.ndarray) -> None:
    source = source_of(model, model.add_image(image, rgb=True))
    assert (source.shape, source.box, source.rgb) == ((128, 128), (0, 0, 128, 128), True)
    assert source.open().shape == (3, 128, 128)
    assert source.pixel_size is None


def test_colours_that_napari_does_not_convert_are_said(
    model: ViewerModel, image: np.ndarray, tmp_path: Path
) -> None:
    _initialize_plugins()
    path = tmp_path / "slide.tif"
    for photometric, warned in (("ycbcr", True), ("rgb", False)):
        tifffile.imwrite(path, image, photometric=photometric, metadata=None)
        (layer,) = model.open(str(path), plugin="napari")
        warnings = source_of(model, layer).open().warnings
        assert any("YCbCr, which napari shows unconverted" in text for text in warnings) == warned


def test_current_plane_of_a_stack(model: ViewerModel) -> None:
    stack = np.stack([np.full((80, 90), value, np.uint16) for value in range(12)])
    stack[:, 10:20, 10:20] += 100
    layer = model.add_image(stack, scale=(2, 1, 1))
    model.dims.set_point(0, 6)
    source = source_of(model, layer)
    assert source.index[0] == 3
    assert source.data[source.index][0, 0] == 3


@pytest.mark.parametrize("display", [2, 3])
@pytest.mark.parametrize("kind", ["flat", "stack", "colour stack", "movie", "pyramid"])
def test_the_plane_on_the_canvas_is_taken(model: ViewerModel, kind: str, display: int) -> None:
    """Whichever axes are displayed; a transposed display is a sentence."""
    random = np.random.default_rng(0)
    shape = {"flat": (90, 80), "movie": (66, 68, 70, 72)}.get(kind, (66, 68, 70))
    if kind == "colour stack":
        shape = (*shape, 3)
    pixels = random.integers(0, 255, shape, np.uint8)
    if kind == "pyramid":
        layer = model.add_image([pixels, pixels[::2, ::2, ::2]], multiscale=True, rgb=False)
    else:
        layer = model.add_image(pixels, rgb=kind == "colour stack", scale=[2] * layer_ndim(shape))
    for order in itertools.permutations(range(layer.ndim)):
        model.dims.order = order
        for axis in range(layer.ndim):
            model.dims.set_point(axis, 20 + 7 * axis)
        model.dims.ndisplay = 2
        seen = np.asarray(layer._slice.image.raw)
        if order[-2] > order[-1]:
            with pytest.raises(PatchSegError, match="transpose"):
                source_of(model, layer)
            continue
        expected = pixels[plane_of(order, model, layer)] if kind == "pyramid" else seen
        source = source_of(model, layer)
        np.testing.assert_array_equal(source.data[source.index], expected)
        model.dims.ndisplay = display
        assert source_of(model, layer).index == source.index


def layer_ndim(shape: tuple[int, ...]) -> int:
    return len(shape) - (shape[-1] == 3)


def plane_of(order: tuple[int, ...], model: ViewerModel, layer: Any) -> tuple[Any, ...]:
    place = [round(number) for number in layer.world_to_data(model.dims.point)]
    return tuple(slice(None) if axis in order[-2:] else place[axis] for axis in range(layer.ndim))


def test_channels_are_taken_together(model: ViewerModel) -> None:
    random = np.random.default_rng(0)
    layer = model.add_image(
        random.integers(0, 999, (4, 70, 80), np.uint16), axis_labels=("c", "y", "x"), rgb=False
    )
    assert source_of(model, layer).open().shape == (4, 70, 80)


def test_a_short_axis_is_channels_unless_somebody_says_otherwise(model: ViewerModel) -> None:
    """The rule of the command line and of Python; the plane shown can be asked for."""
    from napari_patchseg.image.pixels import Pixels

    random = np.random.default_rng(0)
    for count, shape in ((3, (3, 70, 80)), (5, (5, 70, 80)), (4, (70, 80, 4))):
        pixels = random.integers(0, 999, shape, np.uint16)
        layer = model.add_image(pixels, rgb=False)
        source = source_of(model, layer)
        assert source.shape == (70, 80)
        opened = source.open()
        assert opened.description == Pixels.from_array(pixels).description
        assert opened.shape[0] == count
        if shape[0] == count:
            model.dims.set_point(0, 2)
            plane = source_of(model, layer, together=False)
            np.testing.assert_array_equal(plane.data[plane.index], pixels[2])
        model.layers.clear()


def test_planes_are_no_channels_unless_somebody_says_so(model: ViewerModel) -> None:
    pixels = np.random.default_rng(0).integers(0, 999, (5, 70, 80), np.uint16)
    layer = model.add_image(pixels, axis_labels=("z", "y", "x"))
    assert source_of(model, layer).open().shape == (1, 70, 80)
    assert source_of(model, layer, together=True).open().shape == (5, 70, 80)


def test_pyramid_is_read_at_full_resolution(model: ViewerModel, image: np.ndarray) -> None:
    layer = model.add_image([image, image[::2, ::2]], multiscale=True, rgb=True)
    assert source_of(model, layer).open().shape == (3, 128, 128)


def test_lazy_arrays_are_sliced_before_they_are_read(model: ViewerModel) -> None:
    read = []

    def block(block_info=None):  # type: ignore[no-untyped-def]
        read.append(block_info[None]["chunk-location"])
        return np.random.default_rng(0).integers(0, 255, (1, 64, 64), np.uint8)

    stack = da.map_blocks(
        block, chunks=((1,) * 50, (64, 64), (64,)), dtype=np.uint8, meta=np.empty(0, np.uint8)
    )
    layer = model.add_image(stack, contrast_limits=(0, 255))
    model.dims.set_point(0, 7)
    read.clear()
    source_of(model, layer).open()
    assert {where[0] for where in read} == {7}


def test_rectangle_is_mapped_through_the_world_and_clipped(
    model: ViewerModel, image: np.ndarray
) -> None:
    layer = model.add_image(image, rgb=True, scale=(0.5, 0.5), translate=(10, 20))
    shapes = model.add_shapes(
        [np.array([[4.75, 9.75], [4.75, 200], [49.75, 200], [49.75, 9.75]])],
        translate=(10, 20),
    )
    shapes.selected_data = {0}
    # 4.75 / 0.5 = 9.5: the border between pixels 9 and 10
    assert source_of(model, layer, Region.RECTANGLE).box == (10, 20, 100, 128)


@pytest.mark.parametrize("display", [2, 3])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
@pytest.mark.parametrize("ndim", [2, 3])
def test_rectangle_of_a_stack(
    model: ViewerModel, order: tuple[int, ...], display: int, ndim: int
) -> None:
    """As drawn on the canvas, in whichever plane; napari draws it axis by axis if it is 2-D."""
    layer = model.add_image(np.random.default_rng(0).random((70, 80, 90)), scale=(4, 2, 1))
    model.dims.order = order
    rows, columns = order[-2:]
    corners = np.array([[9.5, 29.5], [9.5, 59.5], [49.5, 59.5], [49.5, 29.5]])
    world = corners * np.array(layer.scale)[[rows, columns]]
    if ndim == 3:
        full = np.zeros((4, 3))
        full[:, [rows, columns]] = world
    else:
        full = world[:, np.argsort(np.argsort([a - 1 for a in order if a]))]
    model.add_shapes([full])
    model.dims.ndisplay = display
    assert source_of(model, layer, Region.RECTANGLE).box == (10, 30, 50, 60)


def test_the_visible_field_needs_a_display_of_two_dimensions(model: ViewerModel) -> None:
    layer = model.add_image(np.random.default_rng(0).random((70, 80)))
    model.dims.ndisplay = 3
    with pytest.raises(PatchSegError, match="3-D display"):
        source_of(model, layer, Region.VISIBLE)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_the_visible_field_is_what_the_canvas_shows(viewer: Any, order: tuple[int, ...]) -> None:
    """Of pyramids too, of which napari loads more than it shows."""
    pixels = np.random.default_rng(0).integers(0, 255, (300, 400, 500), np.uint8)
    plain = viewer.add_image(pixels, scale=(4, 2, 1))
    pyramid = viewer.add_image([pixels, pixels[:, ::4, ::4]], multiscale=True, scale=(4, 2, 1))
    viewer.dims.order = order
    viewer.reset_view()
    viewer.scene.camera.zoom *= 3
    viewer.screenshot(canvas_only=True, flash=False)  # napari has drawn it
    axes = list(order[-2:])
    box = source_of(viewer, plain, Region.VISIBLE).box
    shown = plain.corner_pixels[:, axes]
    np.testing.assert_allclose(box, [*shown[0], *(shown[1] + 1)], atol=1)
    assert (np.array(box[2:]) - box[:2]).min() < 300
    assert source_of(viewer, pyramid, Region.VISIBLE).box == box


def test_rectangle_under_rotation(model: ViewerModel, image: np.ndarray) -> None:
    layer = model.add_image(image, rgb=True, rotate=90)
    corners = np.array([[9.5, 29.5], [9.5, 99.5], [89.5, 99.5], [89.5, 29.5]])
    world = np.array([layer.data_to_world(corner) for corner in corners])
    model.add_shapes([world])
    assert source_of(model, layer, Region.RECTANGLE).box == (10, 30, 90, 100)


def test_no_rectangle_is_a_sentence(model: ViewerModel, image: np.ndarray) -> None:
    layer = model.add_image(image, rgb=True)
    with pytest.raises(PatchSegError, match="Select one rectangle"):
        source_of(model, layer, Region.RECTANGLE)


def test_rectangle_beside_the_image_is_a_sentence(model: ViewerModel, image: np.ndarray) -> None:
    layer = model.add_image(image, rgb=True)
    model.add_shapes([np.array([[500, 500], [500, 600], [600, 600], [600, 500.0]])])
    with pytest.raises(PatchSegError, match="does not touch"):
        source_of(model, layer, Region.RECTANGLE)


def test_too_many_dimensions_is_a_sentence(model: ViewerModel) -> None:
    layer = model.add_image(np.random.default_rng(0).random((2, 2, 2, 70, 70)), name="movie")
    with pytest.raises(PatchSegError, match="'movie' has 5 dimensions"):
        source_of(model, layer)


@pytest.mark.parametrize(
    ("pixels", "sentence"),
    [
        (np.zeros((100, 100)), "same value"),
        (np.full((100, 100), np.nan), "NaN or infinite"),
        (np.random.default_rng(0).random((40, 100)), "at least 64"),
        (np.random.default_rng(0).random((100, 100)) > 0.5, "true and false"),
    ],
)
def test_what_cannot_be_segmented_is_a_sentence(
    model: ViewerModel, pixels: np.ndarray, sentence: str
) -> None:
    layer = model.add_image(pixels, contrast_limits=(0, 1))
    with pytest.raises(PatchSegError, match=sentence):
        source_of(model, layer).open()


def test_which_layer_is_meant(model: ViewerModel, image: np.ndarray) -> None:
    with pytest.raises(PatchSegError, match="no layer"):
        image_layer_of(model)
    first = model.add_image(image, rgb=True, name="first")
    assert image_layer_of(model) is first
    second = model.add_image(image, rgb=True)
    model.layers.selection = {first, second}
    with pytest.raises(PatchSegError, match="2 layers are selected"):
        image_layer_of(model)
    model.layers.selection = set()
    with pytest.raises(PatchSegError, match="No layer is selected"):
        image_layer_of(model)
    model.add_labels(np.zeros((9, 9), int), name="drawn")
    with pytest.raises(PatchSegError, match="'drawn' is a Labels layer"):
        image_layer_of(model)
    model.add_image(image, rgb=True, metadata={METADATA_KEY: {"role": "confidence"}})
    with pytest.raises(PatchSegError, match="confidence map"):
        image_layer_of(model)


def test_pixel_size_is_in_micrometres(model: ViewerModel, image: np.ndarray) -> None:
    assert pixel_size_of(model.add_image(image, rgb=True, scale=(3, 3))) is None
    layer = model.add_image(image, rgb=True, scale=(250, 250), units="nm")
    assert pixel_size_of(layer) == pytest.approx(0.25)
    layer = model.add_image(image, rgb=True, scale=(0.5, 2), units="um", rotate=20)
    assert pixel_size_of(layer) == pytest.approx(1)


def test_changes_are_noticed(model: ViewerModel, image: np.ndarray) -> None:
    layer = model.add_image(image.copy(), rgb=True)
    source = source_of(model, layer)
    assert not source.has_changed()
    layer.data[30:60] = 0
    assert source.has_changed()
    layer.data = image
    assert not source.has_changed()
    layer.data = image[:100]
    assert source.has_changed()


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

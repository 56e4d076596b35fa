from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel

from napari_patchseg.method.maps import ConfidenceMap, NucleusClass
from napari_patchseg.plugin._display import Canvas, DisplayPatches, display_map
from napari_patchseg.plugin._layers import RunLayers, View, image_of
from napari_patchseg.plugin.layer_source import Plane

CANVAS = Canvas.of((128, 128), (0, 0, 128, 128))
PLANE = Plane((128, 128), 0, 1, (0, 0))


@pytest.fixture
def model() -> ViewerModel:
    return ViewerModel()


@pytest.fixture
def source(model: ViewerModel, image: np.ndarray, transform: dict[str, Any]) -> Any:
    return model.add_image(image, rgb=True, name="slide", **transform)


@pytest.fixture
def live(model: ViewerModel, source: Any) -> RunLayers:
    return begun(model, source)


def begun(model: ViewerModel, image: Any, canvas: Canvas = CANVAS) -> RunLayers:
    live = RunLayers(model)
    live.begin(image, canvas, PLANE)
    live.show(View.LIVE)
    return live


def a_map(step: int = 1) -> Any:
    data = np.random.default_rng(step).random((1, 128, 128), np.float32)
    nucleus = NucleusClass(0, False, math.nan)
    made = ConfidenceMap(step, data, ("class 0",), (0, 0, 128, 128), 1, nucleus)
    return made, display_map(made, CANVAS)


def some_windows(count: int, step: int = 1) -> DisplayPatches:
    square = np.array([[0, 0], [0, 16], [16, 16], [16, 0]]) - 0.5
    return DisplayPatches(
        np.array([square + i for i in range(count)]).reshape(-1, 4, 2),
        {
            "step": np.full(count, step),
            "class": np.ones(count, int),
            "mean confidence": np.linspace(0, 1, count),
            "mean entropy": np.linspace(0, 1, count),
        },
    )


def test_layers_are_made_once_and_then_written_to(model: ViewerModel, live: RunLayers) -> None:
    live.write_map(*a_map(1))
    live.write_patches(some_windows(5), some_windows(0))
    layers = list(model.layers)
    assert [layer.name for layer in layers] == [
        "slide",
        "confidence · slide",
        "positive patches · slide",
        "negative patches · slide",
    ]
    for step in (2, 3):
        live.write_map(*a_map(step))
        live.write_patches(some_windows(2 * step, step), some_windows(step, step))
    assert list(model.layers) == layers
    np.testing.assert_array_equal(layers[1].data, a_map(3)[1])
    assert layers[1].metadata["napari_patchseg"]["step"] == 3
    assert tuple(layers[1].contrast_limits) == (0, 1)
    assert (layers[2].nshapes, layers[3].nshapes) == (6, 3)
    assert set(layers[2].shape_type) == {"rectangle"}
    assert list(layers[2].features["step"]) == [3] * 6
    live.write_patches(some_windows(0), some_windows(1))
    assert (layers[2].nshapes, layers[3].nshapes) == (0, 1)


def test_layers_carry_the_image_s_transform(
    model: ViewerModel, source: Any, live: RunLayers
) -> None:
    live.write_map(*a_map())
    live.write_patches(some_windows(1), some_windows(1))
    live.write_labels(np.ones((128, 128), np.uint16), {})
    for layer in model.layers[1:]:
        for place in ((0, 0), (100, 30)):
            np.testing.assert_allclose(layer.data_to_world(place), source.data_to_world(place))
        np.testing.assert_allclose(layer.scale, source.scale)
        np.testing.assert_allclose(layer.translate, source.translate)
        np.testing.assert_allclose(layer.rotate, source.rotate)
        np.testing.assert_allclose(layer.shear, source.shear)
        np.testing.assert_allclose(layer.affine.affine_matrix, source.affine.affine_matrix)
        assert layer.units == source.units
        assert layer.axis_labels == source.axis_labels


def test_layers_follow_an_image_that_is_moved(
    model: ViewerModel, source: Any, live: RunLayers
) -> None:
    live.write_map(*a_map())
    source.translate, source.rotate = (50, 60), 10
    live.write_map(*a_map(2))
    np.testing.assert_allclose(
        model.layers["confidence · slide"].data_to_world((9, 9)), source.data_to_world((9, 9))
    )


def test_positive_and_negative_differ_in_colour(model: ViewerModel, live: RunLayers) -> None:
    live.write_patches(some_windows(2), some_windows(2))
    positive, negative = model.layers[1:]
    assert not np.allclose(positive.edge_color[0], negative.edge_color[0])
    assert (positive.face_color[:, 3] == 0).all()


def test_a_deleted_layer_stays_away_until_the_next_run(
    model: ViewerModel, source: Any, live: RunLayers
) -> None:
    live.write_map(*a_map())
    del model.layers["confidence · slide"]
    live.write_map(*a_map(2))
    assert "confidence · slide" not in model.layers
    live.begin(source, CANVAS, PLANE)
    live.write_map(*a_map(3))
    assert "confidence · slide" in model.layers


def test_layers_belong_to_the_image_and_not_to_its_name(
    model: ViewerModel, source: Any, live: RunLayers, image: np.ndarray
) -> None:
    live.write_map(*a_map())
    first = model.layers["confidence · slide"]
    source.name = "other"
    live.write_map(*a_map(2))
    assert model.layers[-1] is first
    assert first.name == "confidence · slide"


def test_runs_on_other_images_pile_up_no_layers(
    model: ViewerModel, source: Any, live: RunLayers, image: np.ndarray
) -> None:
    live.write_map(*a_map())
    live.write_patches(some_windows(3), some_windows(3))
    nuclei = live.write_labels(ones(1), {})
    ours = [layer for layer in model.layers[1:] if layer is not nuclei]
    other = model.add_image(image, rgb=True, name="other", translate=(200, 0))
    count = len(model.layers)
    for run in (other, source, other):
        live.begin(run, CANVAS, PLANE)
        live.write_map(*a_map(5))
        live.write_patches(some_windows(2, 5), some_windows(2, 5))
        assert len(model.layers) == count
        assert [layer.name for layer in ours] == [
            f"{kind} · {run.name}"
            for kind in ("confidence", "positive patches", "negative patches")
        ]
        assert ours[0].metadata["napari_patchseg"]["step"] == 5
        assert list(model.layers[-3:]) == ours  # above the image, as new ones would be
        np.testing.assert_allclose(ours[0].data_to_world((9, 9)), run.data_to_world((9, 9)))
    assert nuclei in model.layers


def test_a_copy_that_the_user_made_of_a_layer_is_theirs(
    model: ViewerModel, live: RunLayers, image: np.ndarray
) -> None:
    from napari.layers import Layer

    live.write_map(*a_map())
    copy = model.add_layer(Layer.create(*model.layers["confidence · slide"].as_layer_data_tuple()))
    other = begun(model, model.add_image(image, rgb=True, name="other"))
    other.write_map(*a_map(5))
    np.testing.assert_array_equal(copy.data, a_map(1)[1])


PATCHES = {"positive patches", "negative patches"}


def shown(model: ViewerModel) -> set[str]:
    return {layer.name.split(" · ")[0] for layer in model.layers if layer.visible} - {"slide"}


def of_a_run(live: RunLayers) -> None:
    live.show(View.LIVE)
    live.write_map(*a_map())
    live.write_patches(some_windows(3), some_windows(3))


def test_the_end_shows_the_nuclei_as_contours(model: ViewerModel, live: RunLayers) -> None:
    of_a_run(live)
    assert shown(model) == {"confidence", *PATCHES}
    layer = live.write_labels(ones(1), {"objects": {"diameter": 40.0}})
    assert layer is not None
    live.show(live.result_view)
    assert shown(model) == {"nuclei"}
    assert layer.contour == 3
    live.show(View.FILLED, asked=True)
    assert (shown(model), layer.contour) == ({"nuclei"}, 0)
    live.show(View.LIVE, asked=True)
    assert (shown(model), layer.contour) == ({"confidence", *PATCHES, "nuclei"}, 3)
    live.show(live.result_view)
    assert (shown(model), layer.contour) == ({"nuclei"}, 0)  # as the user chose


def test_a_thickness_of_the_user_s_own_stays(live: RunLayers) -> None:
    layer = live.write_labels(ones(1), {})
    assert layer is not None
    layer.contour, layer.opacity = 7, 0.5
    live.write_labels(ones(2), {})
    live.show(View.CONTOURS)
    assert (layer.contour, layer.opacity) == (7, 0.5)


def test_what_the_user_showed_or_hid_stays_until_they_ask_for_a_view(
    model: ViewerModel, source: Any, live: RunLayers
) -> None:
    of_a_run(live)
    model.layers["positive patches · slide"].visible = False
    live.write_labels(ones(1), {})
    live.show(View.CONTOURS)
    model.layers["confidence · slide"].visible = True
    live.show(View.CONTOURS)
    assert shown(model) == {"nuclei", "confidence"}
    live.begin(source, CANVAS, PLANE)
    of_a_run(live)
    assert shown(model) == {"nuclei", "confidence", "negative patches"}
    live.show(View.LIVE, asked=True)
    assert shown(model) == {"nuclei", "confidence", *PATCHES}


def test_labels_of_an_earlier_run_give_way_but_stay(
    model: ViewerModel, source: Any, live: RunLayers
) -> None:
    first = live.write_labels(ones(1), {})
    live.begin(source, CANVAS, PLANE)
    second = live.write_labels(ones(2), {})
    assert first is not None
    assert second is not None
    assert not first.visible
    assert second.visible
    live.begin(source, CANVAS, PLANE)
    second.visible = False
    second.visible = True
    live.write_labels(ones(3), {})
    assert second.visible  # by hand


def test_hidden_patches_are_drawn_when_they_are_seen_again(
    model: ViewerModel, live: RunLayers
) -> None:
    of_a_run(live)
    layer = model.layers["positive patches · slide"]
    live.show(View.CONTOURS)
    live.write_patches(some_windows(5, 9), some_windows(5, 9))
    assert layer.nshapes == 3
    layer.visible = True
    assert layer.nshapes == 5
    assert layer.metadata["napari_patchseg"]["step"] == 9


def test_the_region_s_labels_are_found_again(model: ViewerModel, source: Any) -> None:
    live = begun(model, source, Canvas.of((128, 128), (20, 30, 100, 110)))
    assert live.region_labels is None
    labels = np.arange(6400, dtype=np.uint16).reshape(80, 80)
    live.write_labels(labels, {})
    np.testing.assert_array_equal(live.region_labels, labels)


def test_the_user_s_selection_is_kept(model: ViewerModel, source: Any, live: RunLayers) -> None:
    drawn = model.add_shapes(name="mine")
    model.layers.selection.active = drawn
    live.write_map(*a_map())
    live.write_patches(some_windows(1), some_windows(1))
    live.write_labels(np.zeros((128, 128), np.uint16), {})
    assert model.layers.selection.active is drawn
    assert set(model.layers.selection) == {drawn}


def test_a_new_panel_finds_the_layers_of_the_one_before(
    model: ViewerModel, source: Any, live: RunLayers
) -> None:
    of_a_run(live)
    nuclei = live.write_labels(ones(1), {})
    layers = list(model.layers)
    second = begun(model, source)
    of_a_run(second)
    assert list(model.layers) == layers
    assert image_of(nuclei) is source


def ones(value: int) -> np.ndarray:
    return np.full((128, 128), value, np.uint16)


def test_labels_of_a_run_are_renewed(model: ViewerModel, live: RunLayers) -> None:
    layer = live.write_labels(ones(1), {"steps": 1})
    assert live.write_labels(ones(2), {"steps": 2}) is layer
    assert layer is not None
    assert layer.name == "nuclei · slide"
    assert layer.data[0, 0] == 2
    assert layer.metadata["napari_patchseg"]["steps"] == 2


def test_edited_labels_are_never_rewritten(model: ViewerModel, live: RunLayers) -> None:
    first = live.write_labels(ones(1), {})
    assert first is not None
    first.paint((50, 50), 7)
    edited = first.data.copy()
    assert live.unedited_labels is None
    second = live.write_labels(ones(2), {})
    assert second is not first
    np.testing.assert_array_equal(first.data, edited)
    assert live.write_labels(ones(3), {}) is second
    assert second is not None
    assert second.data[0, 0] == 3


def test_labels_with_other_data_count_as_edited(live: RunLayers) -> None:
    layer = live.write_labels(ones(1), {})
    assert layer is not None
    layer.data = ones(9)
    assert live.unedited_labels is None


@pytest.mark.parametrize("box", [(0, 0, 128, 128), (20, 30, 100, 110)])
@pytest.mark.parametrize("continued", [False, True])
def test_an_array_changed_without_an_event_counts_as_edited(
    model: ViewerModel, source: Any, box: Any, continued: bool
) -> None:
    live = begun(model, source, Canvas.of((128, 128), box))
    labels = np.ones((box[2] - box[0], box[3] - box[1]), np.uint16)
    layer = live.write_labels(labels, {})
    assert layer is not None
    if continued:
        live.begin(source, Canvas.of((128, 128), (0, 0, 64, 64)), PLANE, keeps_around=True)
        live.write_labels(np.full((64, 64), 2, np.uint16), {})
    live.find_edit()
    assert live.unedited_labels is layer
    layer.data[40:50] = 0
    assert labels.all()
    live.find_edit()
    assert live.unedited_labels is None


def test_labels_of_an_earlier_run_are_never_rewritten(
    model: ViewerModel, source: Any, live: RunLayers
) -> None:
    first = live.write_labels(ones(1), {})
    live.begin(source, CANVAS, PLANE)
    assert live.unedited_labels is None
    second = live.write_labels(ones(2), {})
    assert second is not first
    assert first is not None
    assert first.data[0, 0] == 1


def test_labels_of_a_region_lie_in_the_whole_image(model: ViewerModel, source: Any) -> None:
    live = begun(model, source, Canvas.of((128, 128), (20, 30, 100, 110)))
    layer = live.write_labels(np.ones((80, 80), np.uint16), {})
    assert layer is not None
    assert layer.data.shape == (128, 128)
    assert layer.data[20:100, 30:110].all()
    assert layer.data.sum() == 6400


def test_an_image_that_is_gone_gets_no_layers(
    model: ViewerModel, source: Any, live: RunLayers
) -> None:
    model.layers.remove(source)
    live.write_map(*a_map())
    live.write_patches(some_windows(1), some_windows(1))
    assert live.write_labels(ones(1), {}) is None
    assert len(model.layers) == 0


@pytest.mark.parametrize("panel", ["open", "closed"])
def test_hidden_patches_can_be_removed(fresh_python, panel):
    """In a process of its own: napari 0.9.2 crashes unless they are drawn before."""
    fresh_python(
        "-c",
        """
import napari, numpy as np
from qtpy.QtWidgets import QApplication
from napari_patchseg.plugin._layers import RunLayers, View, image_of
from napari_patchseg.plugin._display import Canvas, DisplayPatches
from napari_patchseg.plugin.layer_source import Plane
viewer = napari.Viewer()
image = viewer.add_image(np.random.default_rng(0).random((128, 128, 3)), rgb=True)
live = RunLayers(viewer)
live.begin(image, Canvas.of((128, 128), (0, 0, 128, 128)), Plane((128, 128), 0, 1, (0, 0)))
live.show(View.LIVE)
corners = np.array([[0, 0], [0, 50], [50, 50], [50, 0]])
FIELDS
for _ in range(5):
    rectangles = np.random.default_rng(1).random((30, 1, 2)) * 70 + corners
    live.write_patches(patches(rectangles), patches(rectangles))
    QApplication.processEvents()
for layer in viewer.layers[1:]:
    layer.visible = False
QApplication.processEvents()
CLOSE
for layer in list(viewer.layers[1:]):
    viewer.layers.remove(layer)
    QApplication.processEvents()
viewer.add_shapes(list(rectangles))
viewer.screenshot(canvas_only=True, flash=False)
viewer.close()
""".replace(
            "FIELDS",
            "patches = lambda r: DisplayPatches(r, {'step': np.ones(len(r), int)})",
        ).replace("CLOSE", "live.close(); del live" if panel == "closed" else ""),
    )

"""A run ends with its labels, whatever its viewer is made to do meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes
from qtpy.QtWidgets import QApplication

from napari_patchseg.plugin._run import Phase
from napari_patchseg.plugin.layer_source import is_ours
from napari_patchseg.settings import Settings

Wait = Callable[[Callable[[], Any]], None]


def our_labels(viewer: Any) -> list[Any]:
    return [layer for layer in viewer.layers if isinstance(layer, Labels) and is_ours(layer)]


def step(panel: Any) -> int:
    return panel.session.run_state.step


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What reached nobody."""
    errors: list[str] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, _: errors.append(f"{kind}: {error}"))
    return errors


def stack(image: np.ndarray, depth: int = 12) -> np.ndarray:
    """Planes that differ."""
    return np.stack([np.roll(image, 11 * number, 0) for number in range(depth)])


IMAGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "flat": lambda image: image,
    "stack": lambda image: stack(image[..., 0]),
    "colour stack": stack,
}


@pytest.mark.parametrize("kind", IMAGES)
def test_a_run_in_3d_display(
    viewer: Any,
    panel: Any,
    image: np.ndarray,
    wait: Wait,
    told: list[str],
    raised: list[str],
    kind: str,
) -> None:
    layer = viewer.add_image(IMAGES[kind](image), rgb=kind != "stack", name="slide")
    viewer.dims.ndisplay = 3
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    assert panel.session.state in (Phase.FINISHED, Phase.CONVERGED)
    (labels,) = our_labels(viewer)
    assert labels.data.max() > 3
    assert raised == told == []
    QApplication.processEvents()
    viewer.dims.ndisplay = 2
    QApplication.processEvents()
    assert raised == []


@pytest.mark.parametrize("kind", IMAGES)
def test_the_display_changes_during_a_run(
    viewer: Any,
    panel: Any,
    image: np.ndarray,
    wait: Wait,
    raised: list[str],
    long: Settings,
    kind: str,
) -> None:
    """3-D and back, rolled, transposed; live layers stay on what is segmented."""
    layer = viewer.add_image(IMAGES[kind](image), rgb=kind != "stack", name="slide")
    if kind != "flat":
        viewer.dims.set_point(0, 4)
    panel.show_settings(long)
    panel.run.train_button.click()
    wait(lambda: any(isinstance(layer, Shapes) for layer in viewer.layers))
    changes = [
        lambda: setattr(viewer.dims, "ndisplay", 3),
        viewer.dims.roll,
        lambda: setattr(viewer.dims, "ndisplay", 2),
        viewer.dims.transpose,
        lambda: setattr(viewer.dims, "ndisplay", 3),
        lambda: setattr(viewer.dims, "ndisplay", 2),
    ]
    for change in changes:
        change()
        before = step(panel)
        wait(lambda: step(panel) > before + 2)  # noqa: B023
    panel.session.stop()
    wait(lambda: not panel.session.is_busy)
    assert panel.session.state is Phase.STOPPED
    panel.make_labels()
    wait(lambda: our_labels(viewer) and not panel.session.is_busy)
    assert raised == []
    confidence = next(x for x in viewer.layers if isinstance(x, Image) and is_ours(x))
    place = (7, 9) if kind == "flat" else (4, 7, 9)
    for derived in (confidence, our_labels(viewer)[0]):
        np.testing.assert_allclose(
            derived.data_to_world(place[-2:] if kind == "flat" else (0, 7, 9)),
            layer.data_to_world(place),
        )


def test_what_is_made_of_a_plane_is_shown_with_it_alone(
    viewer: Any, panel: Any, image: np.ndarray, wait: Wait
) -> None:
    layer = viewer.add_image(stack(image[..., 0]), name="slide", scale=(3, 1, 1))
    viewer.dims.set_point(0, 12)
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    made = [derived for derived in viewer.layers if is_ours(derived)]
    assert len(made) == 4
    for derived in made:
        derived.visible = True
    for plane in (4, 5):
        viewer.dims.set_point(0, 3 * plane)
        for derived in made:
            if isinstance(derived, Shapes):
                seen = bool(derived._data_view.displayed_vertices.size)
            else:
                seen = bool(derived._slice.image.raw.any())
            assert seen == (plane == 4), derived.name


FAULTS = {
    "inserted": lambda viewer, fail: viewer.layers.events.inserted.connect(fail),
    "selected": lambda viewer, fail: viewer.layers.selection.events.changed.connect(fail),
    "data set": lambda viewer, fail: viewer.layers.events.inserted.connect(
        lambda event: event.value.events.set_data.connect(fail)
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_other_plugins_that_raise_lose_no_labels(
    viewer: Any,
    panel: Any,
    image: np.ndarray,
    wait: Wait,
    told: list[str],
    raised: list[str],
    fault: str,
) -> None:
    layer = viewer.add_image(image, rgb=True, name="slide")

    broken = True

    def fail(*_: Any) -> None:
        if broken:
            raise ValueError("somebody else's mistake")

    FAULTS[fault](viewer, fail)
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    assert panel.session.state in (Phase.FINISHED, Phase.CONVERGED)
    (labels,) = our_labels(viewer)
    assert labels.data.max() > 3
    assert "nuclei" in panel.session.message
    said = [sentence for sentence in told if "could be shown" in sentence]
    assert len(said) == 1
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    broken = False
    assert len(our_labels(viewer)) == 2


def test_live_layers_that_are_deleted_at_any_time(
    viewer: Any, panel: Any, image: np.ndarray, wait: Wait, raised: list[str], long: Settings
) -> None:
    layer = viewer.add_image(image, rgb=True, name="slide")
    panel.show_settings(long)
    panel.run.train_button.click()
    wait(lambda: any(isinstance(layer, Shapes) for layer in viewer.layers))
    for made in [made for made in viewer.layers if is_ours(made)]:
        viewer.layers.remove(made)
        before = step(panel)
        wait(lambda: step(panel) > before + 1)  # noqa: B023
    panel.session.stop()
    wait(lambda: not panel.session.is_busy)
    panel.make_labels()
    wait(lambda: our_labels(viewer))
    assert layer in viewer.layers
    assert raised == []

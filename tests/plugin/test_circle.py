"""The circle of the expected diameter: seen while it is changed, then gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest


def yellow(viewer: Any) -> np.ndarray:
    """Rows and columns of the canvas where the circle is."""
    shot = viewer.screenshot(canvas_only=True, flash=False).astype(int)
    found: np.ndarray = np.argwhere(
        (shot[..., 0] > 150) & (shot[..., 1] > 150) & (shot[..., 2] < 120)
    )
    return found


@pytest.mark.parametrize("turn", [0, 30])
def test_the_circle_is_as_large_as_it_says_and_goes(
    viewer: Any, panel: Any, wait: Callable[..., None], turn: int
) -> None:
    image = viewer.add_image(
        np.zeros((3, 200, 200)), scale=(1, 0.5, 0.5), units="um", rotate=turn, name="stack"
    )
    points = viewer.add_points(np.zeros((1, 3)), units="um", visible=False, name="mine")
    viewer.window._qt_window.show()
    viewer.reset_view()
    panel.image.choose(image)
    before = list(viewer.layers)
    panel.diameter.setFocus()
    panel.diameter.setValue(49)
    QTest.keyClick(panel.diameter, Qt.Key.Key_Up)
    assert len(viewer.layers) == 3
    assert viewer.layers.selection.active is points
    assert panel.image.layer is image
    wait(lambda: len(yellow(viewer)))
    places = yellow(viewer)
    side = np.ptp(places, axis=0) / viewer.scene.camera.zoom / 0.5
    np.testing.assert_allclose(side, 50, rtol=0.1)
    panel.image.unit.setCurrentText("µm")
    wait(lambda: np.ptp(yellow(viewer), axis=0).max() > 1.5 * np.ptp(places, axis=0).max())
    wait(lambda: list(viewer.layers) == before)
    assert viewer.layers.selection.active is points
    panel.diameter.setValue(0)
    assert list(viewer.layers) == before  # "auto" has no size yet


def test_no_circle_where_there_is_none(viewer: Any, panel: Any) -> None:
    panel.diameter.setValue(20)
    flat = viewer.add_image(np.zeros((90, 90)), scale=(1, 2))
    panel.diameter.setValue(21)
    assert list(viewer.layers) == [flat]
    flat.scale = (1, 1)
    viewer.dims.ndisplay = 3
    panel.diameter.setValue(22)
    assert list(viewer.layers) == [flat]
    viewer.dims.ndisplay = 2
    panel.diameter.setValue(23)
    viewer.layers.remove(viewer.layers["nucleus diameter"])  # faster than we
    panel.diameter.setValue(24)
    viewer.window.remove_dock_widget(panel)
    assert list(viewer.layers) == [flat]

"""A circle on the canvas for a few seconds: the expected diameter, or where a nucleus is."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from superqt.utils import qdebounced

from ._layers import OUTLINE_COLOUR
from .layer_source import METADATA_KEY, displayed_axes

if TYPE_CHECKING:
    from napari.layers import Image, Points
    from napari.viewer import Viewer

#: Milliseconds after the last change for which it is seen.
_SEEN_MS = 3000


class Circle:
    """A circle on the canvas, gone a few seconds after it was last shown.

    Parameters
    ----------
    viewer : Viewer
        Where it is drawn.
    """

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self._layer: Points | None = None
        self._remove_later = qdebounced(self.remove, timeout=_SEEN_MS)

    def show(
        self,
        image: Image,
        diameter: float,
        centre: tuple[float, float] | None = None,
        name: str = "nucleus diameter",
    ) -> None:
        """Draw a circle of so many of an image's pixels; none where these are no squares.

        Parameters
        ----------
        image : Image
            The image.
        diameter : float
            In its pixels.
        centre : tuple of float or None
            (y, x) in the world, which is brought into sight; None: the middle of the canvas.
        name : str
            What it shows.
        """
        from napari.layers import Points

        self.remove()
        axes = list(displayed_axes(self._viewer.dims.order, image.ndim))
        side = _side(image, axes)
        if side is None or self._viewer.dims.ndisplay != 2:
            return
        place = np.asarray(self._viewer.dims.point, float)[-image.ndim :]
        place[axes] = self._seen(centre)
        self._layer = Points(
            [place],
            size=diameter * side,
            face_color="transparent",
            border_color=OUTLINE_COLOUR,
            border_width=0.06,
            name=name,
            units=image.units,
            axis_labels=image.axis_labels,
            metadata={METADATA_KEY: {"role": "circle"}},
        )
        selection = self._viewer.layers.selection
        selected, active = set(selection), selection.active
        with selection.events.active.blocker():  # napari selects what is new, and drops the tool
            self._viewer.add_layer(self._layer)
            self._viewer.layers.selection = selected
            if len(selected) == 1:
                self._viewer.layers.selection.active = active
        self._remove_later()

    def _seen(self, centre: tuple[float, float] | None) -> NDArray[np.float64]:
        """The place (y, x) in the world, or the middle of the canvas; it is seen now."""
        camera = self._viewer.scene.camera
        middle = np.asarray(camera.center, float)[-2:]
        if centre is None:
            return middle
        half = np.asarray(self._viewer.canvas.size) / camera.zoom / 2
        if (abs(middle - centre) > 0.9 * half).any():
            camera.center = (*camera.center[:-2], *centre)
        return np.asarray(centre, float)

    def remove(self) -> None:
        """Take it away, if it is there."""
        layer, self._layer = self._layer, None
        with suppress(ValueError):  # the user was faster
            if layer is not None:
                self._viewer.layers.remove(layer)

    def close(self) -> None:
        """The panel goes."""
        self._remove_later.cancel()
        self.remove()


def _side(image: Image, axes: list[int]) -> float | None:
    """Side of an image's pixels in the world; None where they are no squares there."""
    steps = np.zeros((3, image.ndim))
    steps[[1, 2], axes] = 1
    origin, down, right = (np.asarray(image.data_to_world(step))[axes] for step in steps)
    down, right = down - origin, right - origin
    side = float(np.hypot(*down))
    is_square = np.isclose(side, np.hypot(*right)) and abs(down @ right) < 1e-6 * side**2
    return side if is_square else None

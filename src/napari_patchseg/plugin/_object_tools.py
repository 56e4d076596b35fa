"""Tools that correct objects by clicks and strokes on the canvas."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from skimage.draw import line

from ._layers import OUTLINE_COLOURS
from .layer_source import METADATA_KEY, displayed_axes, unwrap

if TYPE_CHECKING:
    from napari.layers import Image, Labels
    from napari.viewer import Viewer

#: What says where a layer lies.
_TRANSFORM = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
#: Pixels on the screen up to which a press that moves is a click.
CLICK = 4


class Tool(StrEnum):
    """What a click or a stroke on a nucleus does."""

    DELETE = "delete"
    MERGE = "merge"
    SPLIT = "split"
    ADD = "add"
    CLASS = "class"

    @property
    def is_stroke(self) -> bool:
        """Whether it follows a drag; else a click is enough, and dragging moves the view."""
        return self in (Tool.MERGE, Tool.SPLIT)

    @property
    def help(self) -> str:
        """For the status bar."""
        return {
            Tool.DELETE: "click an object to delete it",
            Tool.MERGE: "drag across objects to make them one",
            Tool.SPLIT: "drag through an object to cut it",
            Tool.ADD: "click inside a nucleus that is missing",
            Tool.CLASS: "click a nucleus to choose the class that is nuclei",
        }[self]


class ObjectTools:
    """One tool at a time, on one layer, for as long as that is the active layer.

    Parameters
    ----------
    viewer : Viewer
        Whose canvas is clicked.
    """

    #: Another tool, or None.
    changed = Signal(object)
    #: A tool was used, along pixels (row, column) of the plane that the layer shows.
    used = Signal(Tool, list)

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.tool: Tool | None = None
        self._layer: Image | Labels | None = None
        self._stroke: Labels | None = None
        viewer.layers.selection.events.active.connect(self._on_active)

    def close(self) -> None:
        """Put the tool away and listen no longer."""
        self.take(None)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)

    def take(self, tool: Tool | None, layer: Image | Labels | None = None) -> None:
        """Take a tool to a layer, which becomes the active one; None puts it away.

        Parameters
        ----------
        tool : Tool or None
            Which.
        layer : Image, Labels or None
            Whose pixels are clicked.
        """
        self._drop()
        if tool is not None and layer is not None:
            self._viewer.layers.selection.active = layer
            layer.mode = "pan_zoom"  # first: it ends a stroke of napari's own, and sets the rest
            layer.mouse_pan = not tool.is_stroke
            layer.cursor = "cross"
            layer.help = tool.help
            layer.mouse_drag_callbacks.append(self._on_drag)
            layer.events.mode.connect(self._on_mode)
            if tool.is_stroke:
                self._add_stroke(layer)
            self.tool, self._layer = tool, layer
        self.changed.emit(self.tool)

    def _drop(self) -> None:
        layer, self._layer, self.tool = self._layer, None, None
        stroke, self._stroke = self._stroke, None
        if stroke is not None and stroke in self._viewer.layers:
            self._viewer.layers.remove(stroke)
        if layer is None:
            return
        layer.events.mode.disconnect(self._on_mode)
        if self._on_drag in layer.mouse_drag_callbacks:
            layer.mouse_drag_callbacks.remove(self._on_drag)
        if layer.mode == "pan_zoom":
            layer.mouse_pan = True
            layer.cursor = "standard"
        layer.help = ""

    def _on_active(self, event: Any) -> None:
        if self._layer is not None and unwrap(event.value) is not self._layer:
            self.take(None)

    def _on_mode(self, _event: object) -> None:
        self.take(None)  # the user took one of napari's own tools

    def _on_drag(self, layer: Image | Labels, event: Any) -> Generator[None, None, None]:
        tool = self.tool
        if tool is None or event.button != 1 or self._viewer.dims.ndisplay != 2:
            return
        began = np.asarray(event.pos)
        path = [pixel_of(self._viewer, layer, event.position)]
        is_click = True
        yield
        while event.type == "mouse_move":
            is_click &= bool(np.abs(np.asarray(event.pos) - began).max() <= CLICK)
            if tool.is_stroke:
                event.handled = True  # else napari moves the view
                here = pixel_of(self._viewer, layer, event.position)
                if here != path[-1]:
                    path.append(here)
                    self._draw_stroke(layer, path[-2:])
            yield
        self._clear_stroke()
        if tool.is_stroke != is_click:
            self.used.emit(tool, path)

    def _add_stroke(self, layer: Image | Labels) -> None:
        """Make the layer that shows a stroke while it is drawn."""
        from napari.layers import Labels

        self._stroke = Labels(
            np.zeros(layer.data.shape, np.uint8),
            name="stroke",
            opacity=1,
            colormap=OUTLINE_COLOURS,
            metadata={METADATA_KEY: {"role": "stroke"}},
            **{name: getattr(layer, name) for name in _TRANSFORM},
        )
        self._viewer.add_layer(self._stroke)
        self._viewer.layers.selection.active = layer

    def _draw_stroke(self, layer: Image | Labels, ends: list[tuple[int, int]]) -> None:
        if self._stroke is not None:
            at: list[Any] = [np.zeros(1, int)] * layer.ndim
            rows, columns = displayed_axes(self._viewer.dims.order, layer.ndim)
            at[rows], at[columns] = line(*ends[0], *ends[1])
            self._stroke.data_setitem(tuple(np.broadcast_arrays(*at)), 1)

    def _clear_stroke(self) -> None:
        if self._stroke is not None and self._stroke.data.any():
            self._stroke.data = np.zeros_like(self._stroke.data)


def pixel_of(viewer: Viewer, layer: Image | Labels, position: Sequence[float]) -> tuple[int, int]:
    """Row and column of a place in the world; outside of the layer the nearest ones."""
    at = np.rint(layer.world_to_data(position)).astype(int)
    row, column = (
        int(np.clip(at[axis], 0, layer.data.shape[axis] - 1))
        for axis in displayed_axes(viewer.dims.order, layer.ndim)
    )
    return row, column

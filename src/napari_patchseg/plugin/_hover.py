"""Says what a sampled window is while the mouse is over it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QToolTip

from .layer_source import METADATA_KEY, unwrap

if TYPE_CHECKING:
    from napari.layers import Shapes
    from napari.viewer import Viewer


def watch_hover(viewer: Viewer) -> Callable[[], None]:
    """Show a tooltip over windows; returns what ends that.

    napari's own tooltips are off by default and know no features of shapes.
    """
    callbacks = unwrap(viewer).mouse_move_callbacks

    def on_move(model: Any, event: Any) -> None:
        if event.is_dragging:
            return
        for layer in reversed(model.layers):
            if is_windows(layer) and layer.visible:
                text = text_at(layer, event)
                if text:
                    QToolTip.showText(QCursor.pos(), text)
                    return

    callbacks.append(on_move)
    return lambda: callbacks.remove(on_move) if on_move in callbacks else None


def is_windows(layer: Any) -> bool:
    """Whether the layer holds windows of ours."""
    return str(layer.metadata.get(METADATA_KEY, {}).get("role", "")).endswith("patches")


def text_at(layer: Shapes, event: Any) -> str:
    """What the window under a mouse event of napari is; empty where there is none."""
    number = layer.get_value(
        event.position,
        view_direction=event.view_direction,
        dims_displayed=event.dims_displayed,
        world=True,
    )[0]
    if number is None or not 0 <= number < layer.nshapes:
        return ""
    features = layer.features.iloc[number]
    return (
        f"{layer.metadata[METADATA_KEY]['role'].removesuffix('es')}, step {features['step']:.0f}, "
        f"class {features['class']:.0f}\nmean confidence {features['mean confidence']:.2f}, "
        f"mean entropy {features['mean entropy']:.2f} bits"
    )

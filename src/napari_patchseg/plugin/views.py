"""What is shown of a run, without undoing what the user showed or hid by hand."""

from __future__ import annotations

import weakref
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari.layers import Layer


class View(StrEnum):
    """What the canvas shows of a run beside its image."""

    CONTOURS = "contours"
    FILLED = "filled"
    LIVE = "live"


class Visibility:
    """Shows and hides layers, except those that the user showed or hid by hand."""

    def __init__(self) -> None:
        self._by_hand: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._watched: weakref.WeakSet[Layer] = weakref.WeakSet()
        self._setting = False

    def set(self, layer: Layer, visible: bool, *, asked: bool = False) -> None:
        """Show or hide a layer.

        Parameters
        ----------
        layer : Layer
            Watched from now on.
        visible : bool
            Whether to show it.
        asked : bool
            Whether the user asked for just this, which counts more than what they did before.
        """
        if layer not in self._watched:
            self._watched.add(layer)
            layer.events.visible.connect(self._on_visible)
        if asked:
            self._by_hand.discard(layer)
        if layer in self._by_hand or layer.visible == visible:
            return
        self._setting = True
        try:
            layer.visible = visible
        finally:
            self._setting = False

    def _on_visible(self, event: Any) -> None:
        if not self._setting:
            self._by_hand.add(event.source)

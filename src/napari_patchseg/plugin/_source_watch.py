"""Watches the image that a run is bound to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .layer_source import LayerSource

if TYPE_CHECKING:
    from napari.viewer import Viewer


class SourceWatch:
    """Says in a sentence that the image's data have changed, or that its layer has gone.

    Parameters
    ----------
    viewer : Viewer
        Where the layer is.
    source : LayerSource
        What the run reads.
    tell : callable
        Called with the sentence.
    """

    def __init__(self, viewer: Viewer, source: LayerSource, tell: Callable[[str], None]) -> None:
        self._source, self._tell = source, tell
        self._listeners: list[tuple[Any, Callable[[Any], None]]] = [
            (viewer.layers.events.removed, self._on_removed)
        ]
        if (layer := source.layer) is not None:
            # A refresh after a change in place says no more than "set_data".
            for event in (layer.events.data, layer.events.set_data):
                self._listeners.append((event, self.check))
        for event, listener in self._listeners:
            event.connect(listener)

    def close(self) -> None:
        """Watch no longer."""
        for event, listener in self._listeners:
            event.disconnect(listener)

    def check(self, _event: Any = None) -> None:
        """Look at the data now; changes in place may come without any event."""
        if self._source.layer is not None and self._source.has_changed():
            self._tell(f"The data of '{self._source.name}' changed, so the run was ended.")

    def _on_removed(self, event: Any) -> None:
        if event.value is self._source.layer:
            self._tell(f"'{self._source.name}' was removed, so the run was ended.")

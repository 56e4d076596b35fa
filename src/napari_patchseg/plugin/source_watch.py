"""Watches the image that a run is bound to."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .layer_source import LayerSource

if TYPE_CHECKING:
    from napari.viewer import Viewer


class SourceWatch:
    """Calls back once, with a sentence, when the image's data change or its layer goes.

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
        self._viewer = viewer
        self._source = source
        #: Called with the sentence; None once it was.
        self.tell: Callable[[str], None] | None = tell
        layer = source.layer
        if layer is not None:
            layer.events.data.connect(self._on_data)
            # A refresh after a change in place says no more than this.
            layer.events.set_data.connect(self._on_data)
        viewer.layers.events.removed.connect(self._on_removed)

    def check(self) -> None:
        """Look at the data now; changes in place may come without any event."""
        if self._source.layer is not None and self._source.has_changed():
            self._say(f"The data of '{self._source.name}' changed, so the run was ended.")

    def close(self) -> None:
        """Watch no longer."""
        self.tell = None
        layer = self._source.layer
        if layer is not None:
            layer.events.data.disconnect(self._on_data)
            layer.events.set_data.disconnect(self._on_data)
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def _on_data(self, _event: Any = None) -> None:
        self.check()

    def _on_removed(self, event: Any) -> None:
        if event.value is self._source.layer:
            self._say(f"'{self._source.name}' was removed, so the run was ended.")

    def _say(self, sentence: str) -> None:
        tell, self.tell = self.tell, None
        if tell is not None:
            tell(sentence)

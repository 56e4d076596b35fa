"""Choosing the image and the part of it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QWidget

from .layer_source import channels_of, is_image, unwrap

if TYPE_CHECKING:
    from napari.layers import Image, Layer
    from napari.viewer import Viewer

_ONE_PLANE = "the plane shown only"


class ImageCombo(QComboBox):
    """The viewer's image layers; follows the active one unless it is held.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are.
    parent : QWidget or None
        Qt's owner.
    """

    #: Another layer was chosen, by the user or by following.
    layer_changed = Signal()

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = unwrap(viewer)
        self._layers: list[weakref.ref[Image]] = []
        self._held = False
        self.setObjectName("image")
        self.setToolTip("The image to segment; follows the active layer while nothing runs.")
        self.setAccessibleName("image layer")
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(12)
        self.currentIndexChanged.connect(lambda _: self.layer_changed.emit())
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.connect(self._refresh)
        self._viewer.layers.selection.events.active.connect(self._follow)
        self._refresh()
        self._follow()

    @property
    def layer(self) -> Image | None:
        """The layer chosen."""
        index = self.currentIndex()
        return self._layers[index]() if 0 <= index < len(self._layers) else None

    @layer.setter
    def layer(self, layer: Image) -> None:
        for index, known in enumerate(self._layers):
            if known() is unwrap(layer):
                self.setCurrentIndex(index)

    def hold(self, held: bool) -> None:
        """Whether to stay on the layer chosen, as during a run."""
        was_held, self._held = self._held, held
        if was_held and not held:
            self._follow()

    def disconnect_viewer(self) -> None:
        """Listen no longer."""
        events = self._viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered):
            event.disconnect(self._refresh)
        self._viewer.layers.selection.events.active.disconnect(self._follow)
        for known in self._layers:
            layer = known()
            if layer is not None:
                layer.events.name.disconnect(self._refresh)

    def _refresh(self, _event: Any = None) -> None:
        chosen = self.layer
        for known in self._layers:
            layer = known()
            if layer is not None:
                layer.events.name.disconnect(self._refresh)
        images = [layer for layer in self._viewer.layers if is_image(layer)]
        self._layers = [weakref.ref(layer) for layer in images]
        self.blockSignals(True)
        self.clear()
        for layer in images:
            layer.events.name.connect(self._refresh)
            self.addItem(layer.name)
        if chosen in images:
            self.setCurrentIndex(images.index(chosen))
        self.blockSignals(False)
        if self.layer is not chosen:
            self.layer_changed.emit()

    def _follow(self, _event: Any = None) -> None:
        active = self._viewer.layers.selection.active
        if not self._held and active is not None and is_image(active):
            self.layer = active


class ChannelsCombo(QComboBox):
    """Whether a layer's first or last axis is channels, where it may be.

    Parameters
    ----------
    parent : QWidget or None
        Qt's owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layer: weakref.ref[Image] | None = None
        #: Whether the user has chosen, or the axis' name says it.
        self.was_chosen = False
        self.activated.connect(self._on_activated)
        self.setObjectName("channels")
        self.setAccessibleName("channels")
        self.setToolTip(
            "How the image is understood: its channels are learnt from together,\n"
            "or each of its planes is an image of its own."
        )

    def show_layer(self, layer: Image | None) -> bool:
        """Offer what a layer may be; false where there is nothing to choose."""
        same = layer is not None and self._layer is not None and self._layer() is layer
        found = None if layer is None else channels_of(layer)
        texts = (
            [] if found is None else [f"{found.count} channels together", "the plane shown only"]
        )
        if same and texts == [self.itemText(index) for index in range(self.count())]:
            return found is not None  # the user's choice stays
        self._layer = None if layer is None else weakref.ref(layer)
        self.clear()
        self.addItems(texts)
        if found is not None:
            self.setCurrentIndex(0 if found.likely else 1)
        self.was_chosen = found is not None and found.is_named
        return found is not None

    def _on_activated(self, _index: int) -> None:
        self.was_chosen = True

    def together(self, layer: Layer | None) -> bool | None:
        """Whether a layer's channels are taken together; None where nobody was asked."""
        if layer is None or self._layer is None or self._layer() is not unwrap(layer):
            return None
        return self.currentIndex() == 0 if self.count() else None

"""The size of an image's pixels, as layer or file know it, or as the user says."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_patchseg.files.pixel_size import PLAUSIBLE

from .editors import NumberBox
from .layer_source import known_pixel_size, unwrap

if TYPE_CHECKING:
    from napari.layers import Image


class PixelSizeField(NumberBox):
    """Shows one image's pixel size; what the user enters belongs to that image alone.

    Parameters
    ----------
    parent : QWidget or None
        Qt's owner.
    """

    #: The user entered a size for the image shown.
    entered = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entered: weakref.WeakKeyDictionary[Image, float] = weakref.WeakKeyDictionary()
        self._layer: weakref.ref[Image] | None = None
        self.setRange(0, PLAUSIBLE[1])
        self.setDecimals(4)
        self.setSingleStep(0.05)
        self.setSpecialValueText("unknown")
        self.setSuffix(" µm/px")
        self.setToolTip(
            "Side of a pixel, as the layer or its file says; enter it where it is unknown.\n"
            "It is needed for a diameter in µm, and saved with the labels."
        )
        self.setAccessibleName("pixel size")
        self.setObjectName("pixel_size")
        self.valueChanged.connect(self._on_value)
        self.show_layer(None)

    def size_of(self, layer: Image) -> float | None:
        """µm per pixel of an image: what was entered for it, else what is known."""
        layer = unwrap(layer)
        if layer in self._entered:
            return self._entered[layer] or None
        return known_pixel_size(layer)

    @property
    def layer(self) -> Image | None:
        """The image whose size is shown."""
        return None if self._layer is None else self._layer()

    def show_layer(self, layer: Image | None) -> None:
        """Show the size of an image's pixels."""
        before = self.layer
        if before is not layer:
            for events in _events(before):
                events.disconnect(self._refresh)
            self._layer = None if layer is None else weakref.ref(layer)
            for events in _events(layer):
                events.connect(self._refresh)
        self._refresh()

    def _refresh(self, _event: Any = None) -> None:
        layer = self.layer
        self.setEnabled(layer is not None)
        blocked = self.blockSignals(True)
        self.setValue((None if layer is None else self.size_of(layer)) or 0)
        self.blockSignals(blocked)

    def _on_value(self, value: float) -> None:
        layer = self.layer
        if layer is not None:
            self._entered[layer] = value
            self.entered.emit()


def _events(layer: Image | None) -> tuple[Any, ...]:
    """Those that may change what is known of the size."""
    return () if layer is None else (layer.events.scale, layer.events.units, layer.events.affine)

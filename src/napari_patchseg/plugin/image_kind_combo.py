"""How the chosen image is to be understood."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, get_args

from qtpy.QtWidgets import QComboBox, QWidget

from napari_patchseg.modality import ImageKind
from napari_patchseg.settings import AUTOMATIC, Settings

from .layer_source import unwrap

if TYPE_CHECKING:
    from napari.layers import Layer


class ImageKindCombo(QComboBox):
    """What kind of image the chosen layer is; the choice ends with the layer.

    Parameters
    ----------
    parent : QWidget or None
        Qt's owner.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._layer: weakref.ref[Layer] | None = None
        self.addItem(AUTOMATIC, None)
        for kind in get_args(ImageKind):
            self.addItem(kind, kind)
        self.setObjectName("image_kind")
        self.setAccessibleName("image kind")
        self.setToolTip(Settings.model_fields["image_kind"].description or "")

    def show_layer(self, layer: Layer | None) -> None:
        """Begin with "auto" for every layer."""
        layer = unwrap(layer)
        if layer is None:
            return
        if self._layer is not None and self._layer() is not layer:
            self.setCurrentIndex(0)
        self._layer = weakref.ref(layer)

    def kind_of(self, layer: Layer | None) -> ImageKind | None:
        """What was chosen for a layer; None, automatic, for another one than that shown."""
        shown = None if self._layer is None else self._layer()
        chosen: ImageKind | None = self.currentData()
        return chosen if shown in (None, unwrap(layer)) else None

"""What is segmented: an image layer, how it is understood, and which part of it."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image
from psygnal import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget
from superqt.utils import signals_blocked

from napari_patchseg.files.pixel_size import PLAUSIBLE
from napari_patchseg.modality import ImageKind

from ._controls import NumberBox, form, narrow
from ._editors import Editors
from .layer_source import (
    LayerSource,
    Region,
    channels_of,
    is_image,
    known_pixel_size,
    source_of,
    unwrap,
)

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer


@dataclass(frozen=True)
class Said:
    """What the user said of one image; None where they said nothing.

    Attributes
    ----------
    kind : str or None
        What kind of image it is.
    together : bool or None
        Whether its short axis is channels.
    pixel_size : float or None
        µm per pixel; 0 is unknown.
    """

    kind: ImageKind | None = None
    together: bool | None = None
    pixel_size: float | None = None


class ImagePanel(QWidget):
    """Image, channels, region, pixel size and diameter; the kind, which is laid out elsewhere.

    What is said of an image belongs to that image alone.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are.
    editors : Editors
        Those of all settings.
    """

    #: The user entered the size of the shown image's pixels.
    pixel_size_entered = Signal()

    def __init__(self, viewer: Viewer, editors: Editors) -> None:
        super().__init__()
        self._viewer = viewer
        self._kind = editors["image_kind"]
        self.kind, self.unit = self._kind.widget, editors["diameter_unit"].widget
        self.unit.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self._said: weakref.WeakKeyDictionary[Image, Said] = weakref.WeakKeyDictionary()
        self._is_empty = True
        self._is_held = False
        self.combo = ComboBox(
            name="image",
            choices=lambda _: [(layer.name, layer) for layer in viewer.layers if is_image(layer)],
            tooltip="The image to segment; follows the active layer while nothing runs.",
        )
        self.combo.native.setAccessibleName("image layer")
        narrow(self.combo.native, 12)
        self.channels = QComboBox()
        self.channels.setAccessibleName("channels")
        self.channels.setToolTip(
            "How the image is understood: its channels are learnt from together,\n"
            "or each of its planes is an image of its own."
        )
        self.region = QComboBox()
        for region in Region:
            self.region.addItem(str(region), region)
        self.region.setAccessibleName("region")
        self.region.setToolTip(
            "What to train on and to segment: all of the image, what the canvas shows now,\n"
            "or the selected rectangle of a Shapes layer."
        )
        self.pixel_size = NumberBox(0, PLAUSIBLE[1], 4, unit="µm/px", word="unknown")
        self.pixel_size.setSingleStep(0.05)
        self.pixel_size.setAccessibleName("pixel size")
        self.pixel_size.setToolTip(
            "Side of a pixel, as the layer or its file says; enter it where it is unknown.\n"
            "It is needed for a diameter in µm, and saved with the labels."
        )
        self._form = form(
            self,
            ("image", self.combo.native),
            ("channels", self.channels),
            ("region", self.region),
            ("pixel size", self.pixel_size),
            # short: what it is estimated to be needs the room
            ("diameter", editors["nucleus_diameter"].widget, self.unit),
        )
        self.combo.changed.connect(self._show_layer)
        self.channels.currentIndexChanged.connect(self._on_channels)
        self.channels.activated.connect(self._on_channels)  # also the same once more
        self._kind.changed.connect(self.take_kind)
        self.pixel_size.valueChanged.connect(self._on_pixel_size)
        self.follow()
        self._show_layer()

    @property
    def layer(self) -> Image | None:
        """The image shown."""
        return self.combo.value

    def choose(self, layer: Layer | None) -> None:
        """Show this image, if it is one."""
        if unwrap(layer) in self.combo.choices:
            self.combo.value = unwrap(layer)

    def hold(self, held: bool) -> None:
        """Whether to stay on the image shown, as during a run."""
        self._is_held = held
        self.follow()

    def follow(self) -> None:
        """Show the active layer, if it is an image."""
        if not self._is_held:
            self.choose(self._viewer.layers.selection.active)

    def refresh(self) -> None:
        """Offer the layers that there are now, by the names that they have now."""
        # magicgui knows choices by their names: it would lose a renamed one, and keeps the order.
        chosen = self.layer
        with self.combo.changed.blocked():
            self.combo.choices = ()
            self.combo.reset_choices()
            self.choose(chosen)
        if self.layer is not chosen:
            self.combo.changed.emit(self.layer)

    def source(self, layer: Layer | None) -> LayerSource:
        """The chosen region of an image, as the user said that it is.

        Raises
        ------
        PatchSegError
            With one sentence, where there is nothing to segment.
        """
        together = self._said_of(layer).together
        region = Region(self.region.currentData())
        source = source_of(self._viewer, layer, region, together=together)
        assert source.layer is not None
        return replace(source, pixel_size=self.pixel_size_of(source.layer))

    def kind_of(self, layer: Layer | None) -> ImageKind | None:
        """What kind of image a layer is said to be."""
        return self._said_of(layer).kind

    def pixel_size_of(self, layer: Layer) -> float | None:
        """µm per pixel of an image: what was entered for it, else what is known."""
        size = self._said_of(layer).pixel_size
        return known_pixel_size(unwrap(layer)) if size is None else size or None

    def is_guess(self, source: LayerSource) -> bool:
        """Whether an axis was taken for channels, though neither user nor file said so."""
        layer = source.layer
        if layer is None or source.channel_axis is None:
            return False
        channels = channels_of(layer)
        return not (channels and channels.is_named) and self._said_of(layer).together is None

    def take_kind(self) -> None:
        """The kind shown is what is said of the image shown, or of the first one to come."""
        self._say(kind=self._kind.get())

    def show_pixel_size(self) -> None:
        """Show what is known of the size of the image's pixels now."""
        layer = self.layer
        self.pixel_size.setEnabled(layer is not None)
        size = None if layer is None else self.pixel_size_of(layer)
        with signals_blocked(self.pixel_size):
            self.pixel_size.setValue(size or 0)

    def _said_of(self, layer: Layer | None) -> Said:
        return self._said.get(unwrap(layer), Said()) if layer is not None else Said()

    def _say(self, **what: Any) -> None:
        layer = self.layer
        if layer is not None:
            self._said[layer] = replace(self._said_of(layer), **what)

    def _show_layer(self, _layer: object = None) -> None:
        layer = self.layer
        if self._is_empty and self._kind.get() is not None:
            self.take_kind()
        self._is_empty = layer is None
        self._kind.set(self.kind_of(layer))
        channels = None if layer is None else channels_of(layer)
        self._form.setRowVisible(1, channels is not None)
        if channels is not None:
            together = self._said_of(layer).together
            likely = channels.likely if together is None else together
            with signals_blocked(self.channels):
                self.channels.clear()
                self.channels.addItems(
                    [f"{channels.count} channels together", "the plane shown only"]
                )
                self.channels.setCurrentIndex(0 if likely else 1)
        self.show_pixel_size()

    def _on_channels(self, index: int) -> None:
        self._say(together=index == 0)

    def _on_pixel_size(self, value: float) -> None:
        self._say(pixel_size=value)
        self.pixel_size_entered.emit()

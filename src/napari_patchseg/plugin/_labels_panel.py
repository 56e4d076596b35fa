"""Making labels, and saving those that the user sees."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.notifications import show_info
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QPushButton, QWidget
from superqt import QElidingLabel

from napari_patchseg.errors import PatchSegError

from ._layers import image_of
from ._save_dialog import ask_for_file, folder_of, last_folder, offered_name
from .layer_source import METADATA_KEY, is_preview, unwrap
from .writer import write_ome_tiff, write_png

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from .session import TrainingSession

#: Formats of labels, and the endings that they give.
_FORMATS = {"OME-TIFF (*.ome.tif *.ome.tiff)": ".ome.tif", "16-bit PNG (*.png)": ".png"}
_ENDINGS = (".tif", ".tiff", ".png")


class LabelsPanel(QWidget):
    """Make labels, Save labels, and which ones that would save.

    Parameters
    ----------
    viewer : Viewer
        Whose labels are saved.
    session : TrainingSession
        The labels of its run come first.
    """

    #: A sentence for the user, and whether it is an error.
    told = Signal(str, bool)

    def __init__(self, viewer: Viewer, session: TrainingSession) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session
        self._watched: weakref.WeakSet[Labels] = weakref.WeakSet()
        self.make_button = QPushButton("Make labels")
        self.make_button.setShortcut("F8")
        self.make_button.setToolTip(
            "Add the nuclei as a Labels layer, at any moment; training goes on. (F8)"
        )
        self.save_button = QPushButton("Save labels…")
        self.save_button.clicked.connect(self._on_save)
        self.saved_label = QElidingLabel()
        self.saved_label.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.saved_label.setObjectName("labels_to_save")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        grid.addWidget(self.make_button, 0, 0)
        grid.addWidget(self.save_button, 0, 1)
        grid.addWidget(self.saved_label, 1, 0, 1, 2)
        for event in self._events():
            event.connect(self.refresh)
        self.refresh()

    def save(self, path: str) -> None:
        """Write the labels that the user sees to a file."""
        layer = self._to_save()
        if layer is None:
            self.told.emit("There are no labels to save; make some first.", True)
            return
        data, meta, _ = layer.as_layer_data_tuple()
        write = write_png if path.lower().endswith(".png") else write_ome_tiff
        try:
            show_info(f"Saved the labels as {write(path, data, meta)[0]}.")
        except PatchSegError as error:
            self.told.emit(str(error), True)

    def refresh(self, _event: object = None) -> None:
        """Say which layer *Save labels* writes, and whether labels can be made."""
        for layer in map(unwrap, self._viewer.layers):
            if isinstance(layer, Labels) and layer not in self._watched:
                self._watched.add(layer)
                layer.events.name.connect(self.refresh)
                layer.events.visible.connect(self.refresh)
        layer = self._to_save()
        saved = "" if layer is None else layer.name
        self.make_button.setEnabled(self._session.can_label)
        self.save_button.setEnabled(layer is not None)
        self.saved_label.setText(f"saves: {saved}" if saved else "no labels to save yet")
        what = f"Save the labels '{saved}'." if saved else "There are no labels to save yet."
        how = "As OME-TIFF, with pixel size and report, or 16-bit PNG."
        for widget in (self.save_button, self.saved_label):
            widget.setToolTip(f"{what}\n{how}")

    def disconnect_viewer(self) -> None:
        """Listen no longer."""
        for event in self._events():
            event.disconnect(self.refresh)
        for layer in self._watched:
            layer.events.name.disconnect(self.refresh)
            layer.events.visible.disconnect(self.refresh)

    def _events(self) -> tuple[Any, ...]:
        """Those that may change which labels are to be saved."""
        layers = self._viewer.layers
        return layers.events.inserted, layers.events.removed, layers.selection.events.active

    def _to_save(self) -> Labels | None:
        active = unwrap(self._viewer.layers.selection.active)
        ours = [layer for layer in map(unwrap, self._viewer.layers) if _are_nuclei(layer)]
        made = [layer for layer in (self._session.labels, *reversed(ours)) if layer is not None]
        chosen = isinstance(active, Labels) and not is_preview(active)
        for layer in [active, *made] if chosen else made:
            if layer.visible:  # hidden ones are not what the user sees
                return layer
        return made[0] if made else None  # beside live layers labels are hidden

    def _on_save(self) -> None:
        layer = self._to_save()
        if layer is None:
            return
        folder = folder_of(image_of(layer)) or folder_of(layer) or last_folder()
        start = folder / f"{offered_name(layer.name)}.ome.tif"
        path = ask_for_file(self, "Save labels", start, _FORMATS, _ENDINGS)
        if path is not None:
            self.save(path)


def _are_nuclei(layer: Any) -> bool:
    return bool(layer.metadata.get(METADATA_KEY, {}).get("role") == "nuclei")

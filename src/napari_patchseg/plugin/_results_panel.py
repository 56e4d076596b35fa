"""What a run leaves: labels to be made and saved, models to be saved, loaded and applied."""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari.layers import Labels
from napari.utils.history import get_save_history, update_save_history
from napari.utils.notifications import show_info
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QFileDialog, QGridLayout, QLabel, QMessageBox, QWidget
from superqt import QElidingLabel
from superqt.utils import create_worker

from napari_patchseg.errors import PatchSegError
from napari_patchseg.files.results import (
    CSV,
    FORMATS,
    GEOJSON,
    IMAGEJ_ROIS,
    OME_TIFF,
    OME_ZARR,
    PNG,
    format_of,
)
from napari_patchseg.words import pluralize

from ._controls import button
from ._layers import image_of
from .layer_source import role_of, unwrap
from .writer import write

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_patchseg.method.network import Model

    from .session import TrainingSession

#: What people know the formats for.
FOR = {
    OME_TIFF: "Labels, OME-TIFF",
    PNG: "Labels, 16-bit PNG",
    OME_ZARR: "Labels, OME-Zarr",
    GEOJSON: "Objects for QuPath, GeoJSON",
    CSV: "Measurements for Excel and others, CSV",
    IMAGEJ_ROIS: "Outlines for ImageJ and Fiji, ROIs",
}
#: Filters of the dialog, each with the ending that a name without one gets.
_LABELS_FORMATS = {
    f"{text} ({' '.join('*' + ending for ending in kind.endings)})": kind.endings[0]
    for kind, text in FOR.items()
}
_LABELS_ENDINGS = tuple(ending for kind in FORMATS for ending in kind.endings)
_MODEL_ENDING = ".safetensors"
_MODEL_FILTER = f"PatchSeg models (*{_MODEL_ENDING})"

#: Signs that some system takes in no file name.
FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f]')
#: Devices of Windows, whatever the ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)
#: Bytes of an offered name; systems take 255, and an ending and a temporary file's mark are added.
_MOST_BYTES = 180


class LabelsPanel(QWidget):
    """Make labels, save labels, and which ones that would save; the run as a script.

    Parameters
    ----------
    viewer : Viewer
        Whose labels are saved.
    session : TrainingSession
        The labels of its run come first.
    measure : callable
        Brings a layer's measurements up to date.
    """

    #: A sentence for the user, and whether it is an error.
    told = Signal(str, bool)

    def __init__(
        self, viewer: Viewer, session: TrainingSession, measure: Callable[[Labels], object]
    ) -> None:
        super().__init__()
        self._viewer = viewer
        self._session = session
        self._measure = measure
        self.make_button = button(
            "Make labels",
            "Add the nuclei as a Labels layer, at any moment; training goes on.",
            key="F8",
        )
        self.save_button = button("Save…", "", self._on_save)
        self.copy_button = button(
            "Copy as Python", "Put a script on the clipboard that makes the same labels."
        )
        self.saved_label = QElidingLabel()
        self.saved_label.setElideMode(Qt.TextElideMode.ElideMiddle)
        grid = _grid(self)
        grid.addWidget(self.make_button, 0, 0)
        grid.addWidget(self.save_button, 0, 1)
        grid.addWidget(self.copy_button, 0, 2)
        grid.addWidget(self.saved_label, 1, 0, 1, 3)

    def save(self, path: str) -> None:
        """Write the nuclei that the user sees to a file, of the kind that its name ends in."""
        layer = self._to_save()
        if layer is None:
            self.told.emit("There are no labels to save; make some first.", True)
            return
        try:
            kind = format_of(path)
        except PatchSegError:
            kind = OME_TIFF
        if kind.measured:
            self._measure(layer)
        data, meta, _ = layer.as_layer_data_tuple()
        try:
            show_info(f"Saved {write(kind, path, data, meta)[0]}.")
        except PatchSegError as error:
            self.told.emit(str(error), True)

    def refresh(self) -> None:
        """Say which layer *Save* writes, and whether labels can be made."""
        layer = self._to_save()
        self.make_button.setEnabled(self._session.can_label)
        self.save_button.setEnabled(layer is not None)
        if layer is None:
            text, what = "no labels to save yet", "There are no labels to save yet."
        else:
            text, what = f"saves: {layer.name}", f"Save the labels '{layer.name}'."
        self.saved_label.setText(text)
        for widget in (self.save_button, self.saved_label):
            widget.setToolTip(
                f"{what}\nAs an image (OME-TIFF, OME-Zarr, PNG), objects with measurements for "
                "QuPath,\na table for Excel, or ROIs for ImageJ and Fiji: choose in the dialog."
            )

    def _to_save(self) -> Labels | None:
        active = unwrap(self._viewer.layers.selection.active)
        ours = [layer for layer in map(unwrap, self._viewer.layers) if role_of(layer) == "nuclei"]
        made = [layer for layer in (self._session.labels, *reversed(ours)) if layer is not None]
        chosen = isinstance(active, Labels) and role_of(active) in ("", "nuclei")
        for layer in [active, *made] if chosen else made:
            if layer.visible:  # hidden ones are not what the user sees
                return layer
        return made[0] if made else None  # beside live layers labels are hidden

    def _on_save(self) -> None:
        layer = self._to_save()
        if layer is None:
            return
        folder = folder_of(image_of(layer)) or folder_of(layer) or last_folder()
        start = folder / offered_name(layer.name)  # the kind that is chosen gives the ending
        path = ask_for_file(self, "Save nuclei", start, _LABELS_FORMATS, _LABELS_ENDINGS)
        if path is not None:
            self.save(path)


class ModelPanel(QWidget):
    """The model at hand, and what can be done with it.

    Parameters
    ----------
    folder : callable
        Where dialogs begin.
    """

    #: A sentence for the user, and whether it is an error.
    told = Signal(str, bool)

    def __init__(self, folder: Callable[[], Path]) -> None:
        super().__init__()
        self._folder = folder
        #: The model at hand, of the last run, or loaded; and its file, where it has one.
        self.model: Model | None = None
        self.path: str | None = None
        self._files: dict[str, weakref.ref[Model]] = {}
        self.name = QLabel()
        self.name.setWordWrap(True)
        self.load_button = button(
            "Load model…", "A model saved before; it segments without training.", self._on_load
        )
        self.save_button = button(
            "Save model…", "Weights and settings, to segment other images with.", self._on_save
        )
        self.apply_button = button(
            "Segment with model",
            "Segment the chosen image with this model, without training on it.",
        )
        self.start_box = QCheckBox("train on from it")
        self.start_box.setToolTip(
            "Segment nuclei and Train begin with this model, not with the preset's weights."
        )
        grid = _grid(self)
        grid.addWidget(self.name, 0, 0, 1, 2)
        grid.addWidget(self.load_button, 1, 0)
        grid.addWidget(self.save_button, 1, 1)
        grid.addWidget(self.apply_button, 2, 0)
        grid.addWidget(self.start_box, 2, 1)
        self.take(None)

    @property
    def start(self) -> Model | None:
        """What training is to begin with; None: as the settings say."""
        return self.model if self.start_box.isChecked() else None

    def take(self, model: Model | None, path: str | None = None) -> None:
        """Have this model at hand."""
        if model is not None and path is not None:
            self._files[path] = weakref.ref(model)
        path = path or self.path_of(model)
        self.model, self.path = model, path
        self.save_button.setEnabled(model is not None)
        self.apply_button.setEnabled(model is not None)
        self.start_box.setEnabled(model is not None)
        if model is None:
            self.name.setText("no model yet")
        else:
            origin = "from this session" if path is None else Path(path).name
            steps, channels = pluralize(model.steps, "step"), pluralize(model.channels, "channel")
            self.name.setText(f"model: {origin}, {steps}, {channels}")

    def path_of(self, model: Model | None) -> str | None:
        """The file that a model was saved in or loaded from; None where there is none."""
        if model is None:
            return None
        return next((path for path, known in self._files.items() if known() is model), None)

    def load(self, path: str) -> None:
        """Read a model, in a thread: it needs torch."""
        self.load_button.setEnabled(False)
        create_worker(_read, path, _connect={"returned": self._on_read, "errored": self._on_error})

    def save(self, path: str) -> None:
        """Write the model at hand; a file whose name lacked its ending is never replaced."""
        from napari_patchseg.files.models import save_model

        if self.model is None:
            return
        target = with_ending(path, (_MODEL_ENDING,), _MODEL_ENDING)
        try:
            save_model(target, self.model, overwrite=target == path)
        except PatchSegError as error:
            self.told.emit(str(error), True)
        else:
            self.take(self.model, target)
            show_info(f"Saved the model as {target}.")

    def _on_read(self, read: tuple[Model, str]) -> None:
        self.load_button.setEnabled(True)
        self.take(*read)

    def _on_error(self, error: Exception) -> None:
        self.load_button.setEnabled(True)
        self.told.emit(str(error), True)

    def _on_save(self) -> None:
        start = self._folder() / f"model{_MODEL_ENDING}"
        formats = {_MODEL_FILTER: _MODEL_ENDING}
        path = ask_for_file(self, "Save model", start, formats, (_MODEL_ENDING,))
        if path is not None:
            self.save(path)

    def _on_load(self) -> None:
        start = self._folder() if self.path is None else Path(self.path).parent
        path, _ = QFileDialog.getOpenFileName(self, "Load model", str(start), _MODEL_FILTER)
        if path:
            self.load(path)


def offered_name(name: str) -> str:
    """A layer's name as a file name that every system takes, without an ending."""
    name = FORBIDDEN.sub("_", name).encode()[:_MOST_BYTES].decode(errors="ignore")
    return _DEVICES.sub(r"_\1", name.strip(" ."), count=1) or "labels"


def with_ending(path: str, endings: Sequence[str], otherwise: str) -> str:
    """The path, with the ending `otherwise` unless it has one of `endings`, however written."""
    return path if path.lower().endswith(tuple(endings)) else path + otherwise


def folder_of(layer: Layer | None) -> Path | None:
    """Where a layer's file lies; None where it comes from no file, or its folder is gone."""
    path = None if layer is None else layer.source.path
    if not path:
        return None
    folder = Path(path).absolute().parent
    return folder if folder.is_dir() else None


def last_folder() -> Path:
    """The folder that was saved to last in napari, or the user's own."""
    return Path(get_save_history()[0])


def ask_for_file(
    parent: QWidget,
    title: str,
    start: Path,
    formats: Mapping[str, str],
    endings: Sequence[str],
) -> str | None:
    """The file to save to, which may be replaced; None where the user changed their mind."""
    # Qt would ask about the name as it was typed, before it has its ending: we ask ourselves.
    path, chosen = QFileDialog.getSaveFileName(
        parent,
        title,
        str(start),
        ";;".join(formats),
        next(iter(formats)),
        QFileDialog.Option.DontConfirmOverwrite,
    )
    if not path:
        return None
    path = with_ending(path, endings, formats.get(chosen) or next(iter(formats.values())))
    yes, no = QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.No
    if Path(path).exists():
        question = f"{Path(path).name} exists already in {Path(path).parent}. Replace it?"
        if QMessageBox.question(parent, title, question, yes | no, no) != yes:
            return None
    update_save_history(path)
    return path


def _grid(panel: QWidget) -> QGridLayout:
    grid = QGridLayout(panel)
    grid.setContentsMargins(0, 0, 0, 0)
    grid.setSpacing(3)
    return grid


def _read(path: str) -> tuple[Model, str]:
    from napari_patchseg.files.models import load_model

    return load_model(path), path

"""Saving, loading and applying trained models; the run as a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_info
from psygnal import Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QPushButton, QWidget
from superqt.utils import create_worker

from napari_patchseg.errors import PatchSegError
from napari_patchseg.words import pluralize

from ._save_dialog import ask_for_file, with_ending

if TYPE_CHECKING:
    from napari_patchseg.method.network import Model

_ENDING = ".safetensors"
_FILTER = f"PatchSeg models (*{_ENDING})"


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
        self.name = QLabel()
        self.name.setWordWrap(True)
        self.load_button = QPushButton("Load model…")
        self.load_button.setToolTip("A model saved before; it segments without training.")
        self.save_button = QPushButton("Save model…")
        self.save_button.setToolTip("Weights and settings, to segment other images with.")
        self.apply_button = QPushButton("Segment with model")
        self.apply_button.setToolTip(
            "Segment the chosen image with this model, without training on it."
        )
        self.copy_button = QPushButton("Copy as Python")
        self.copy_button.setToolTip("Put a script on the clipboard that makes the same labels.")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        grid.addWidget(self.name, 0, 0, 1, 2)
        grid.addWidget(self.load_button, 1, 0)
        grid.addWidget(self.save_button, 1, 1)
        grid.addWidget(self.apply_button, 2, 0)
        grid.addWidget(self.copy_button, 2, 1)
        self.save_button.clicked.connect(self._on_save)
        self.load_button.clicked.connect(self._on_load)
        self.take(None)

    def take(self, model: Model | None, path: str | None = None) -> None:
        """Have this model at hand."""
        self.model, self.path = model, path
        self.save_button.setEnabled(model is not None)
        self.apply_button.setEnabled(model is not None)
        if model is None:
            self.name.setText("no model yet")
        else:
            origin = "from this session" if path is None else Path(path).name
            steps, channels = pluralize(model.steps, "step"), pluralize(model.channels, "channel")
            self.name.setText(f"model: {origin}, {steps}, {channels}")

    def load(self, path: str) -> None:
        """Read a model, in a thread: it needs torch."""
        self.load_button.setEnabled(False)
        create_worker(_read, path, _connect={"returned": self._on_read, "errored": self._on_error})

    def save(self, path: str) -> None:
        """Write the model at hand; a file whose name lacked its ending is never replaced."""
        from napari_patchseg.files.models import save_model

        if self.model is None:
            return
        target = with_ending(path, (_ENDING,), _ENDING)
        if target != path and Path(target).exists():
            self.told.emit(f"{target} exists already; choose another name.", True)
            return
        try:
            save_model(target, self.model)
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
        start = self._folder() / f"model{_ENDING}"
        path = ask_for_file(self, "Save model", start, {_FILTER: _ENDING}, (_ENDING,))
        if path:
            self.save(path)

    def _on_load(self) -> None:
        start = self._folder() if self.path is None else Path(self.path).parent
        path, _ = QFileDialog.getOpenFileName(self, "Load model", str(start), _FILTER)
        if path:
            self.load(path)


def _read(path: str) -> tuple[Model, str]:
    from napari_patchseg.files.models import load_model

    return load_model(path), path

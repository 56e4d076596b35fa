"""Saving, loading and applying trained models; the run as a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QGridLayout, QLabel, QPushButton, QVBoxLayout, QWidget
from superqt.utils import create_worker

from napari_patchseg.errors import PatchSegError
from napari_patchseg.words import pluralize

from .save_dialog import ask_for_file, last_folder, with_ending

if TYPE_CHECKING:
    from napari_patchseg.method.model import Model

_ENDING = ".safetensors"
_FILTER = f"PatchSeg models (*{_ENDING})"


class ModelPanel(QWidget):
    """The model at hand, and what can be done with it."""

    #: Segment the chosen image with the model at hand.
    apply_clicked = Signal()
    copy_clicked = Signal()
    #: A sentence for the user.
    failed = Signal(str)
    saved = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        #: The model at hand: of the last run, or loaded.
        self.model: Model | None = None
        #: Where it was loaded from or saved to.
        self.path: str | None = None
        #: Where dialogs begin.
        self.folder: Callable[[], Path] = last_folder
        self.name = QLabel()
        self.name.setWordWrap(True)
        self.save_button = QPushButton("Save model…")
        self.save_button.setToolTip("Weights and settings, to segment other images with.")
        self.load_button = QPushButton("Load model…")
        self.load_button.setToolTip("A model saved before; it segments without training.")
        self.apply_button = QPushButton("Segment with model")
        self.apply_button.setToolTip(
            "Segment the chosen image with this model, without training on it."
        )
        self.copy_button = QPushButton("Copy as Python")
        self.copy_button.setToolTip("Put a script on the clipboard that makes the same labels.")
        grid = QGridLayout()
        grid.addWidget(self.load_button, 0, 0)
        grid.addWidget(self.save_button, 0, 1)
        grid.addWidget(self.apply_button, 1, 0)
        grid.addWidget(self.copy_button, 1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self.name)
        layout.addLayout(grid)
        self.save_button.clicked.connect(self._on_save)
        self.load_button.clicked.connect(self._on_load)
        self.apply_button.clicked.connect(self.apply_clicked)
        self.copy_button.clicked.connect(self.copy_clicked)
        self.take(None)

    def take(self, model: Model | None, path: str | None = None) -> None:
        """Have this model at hand."""
        self.model, self.path = model, path
        self.save_button.setEnabled(model is not None)
        if model is None:
            self.name.setText("no model yet")
        else:
            origin = "from this session" if path is None else Path(path).name
            steps = pluralize(model.steps, "step")
            channels = pluralize(model.channels, "channel")
            self.name.setText(f"model: {origin}, {steps}, {channels}")

    def load(self, path: str) -> None:
        """Read a model, in a thread: it needs torch."""
        worker = create_worker(_read, path, _start_thread=False)
        worker.returned.connect(lambda answer: self._on_read(path, *answer))
        self.load_button.setEnabled(False)
        worker.start()

    def _on_read(self, path: str, model: Model | None, error: str | None) -> None:
        self.load_button.setEnabled(True)
        if error is not None:
            self.failed.emit(error)
        else:
            self.take(model, path)

    def save(self, path: str) -> None:
        """Write the model at hand; a file whose name lacked its ending is never replaced."""
        from napari_patchseg.files.models import save_model

        if self.model is None:
            return
        target = with_ending(path, (_ENDING,), _ENDING)
        if target != path and Path(target).exists():
            self.failed.emit(f"{target} exists already; choose another name.")
            return
        path = target
        try:
            save_model(path, self.model)
        except PatchSegError as error:
            self.failed.emit(str(error))
        else:
            self.take(self.model, path)
            self.saved.emit(f"Saved the model as {path}.")

    def _on_save(self) -> None:
        start = self.folder() / f"model{_ENDING}"
        path = ask_for_file(self, "Save model", start, {_FILTER: _ENDING}, (_ENDING,))
        if path:
            self.save(path)

    def _on_load(self) -> None:
        start = self.folder() if self.path is None else Path(self.path).parent
        path, _ = QFileDialog.getOpenFileName(self, "Load model", str(start), _FILTER)
        if path:
            self.load(path)


def _read(path: str) -> tuple[Model | None, str | None]:
    from napari_patchseg.files.models import load_model

    try:
        return load_model(path), None
    except PatchSegError as error:
        return None, str(error)

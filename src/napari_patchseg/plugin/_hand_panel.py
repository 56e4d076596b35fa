"""The panel's part for correcting by hand: hints, tools on objects, and undo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from psygnal import Signal
from qtpy.QtCore import QSize
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_patchseg.errors import PatchSegError

from ._controls import button
from ._hand import Hand
from ._layers import HINT_COLOURS
from ._object_tools import Tool
from ._results_panel import ask_for_file
from ._shortcuts import key_of

_ENDING = ".json"
_FILTER = f"PatchSeg corrections (*{_ENDING})"


class HandPanel(QWidget):
    """Buttons for hints and edits, which show what is in use and what can be undone.

    Parameters
    ----------
    hand : Hand
        Asked and shown.
    learn_box : QCheckBox
        The field of the setting `learn_from_hints`.
    folder : callable
        Where dialogs begin.

    Attributes
    ----------
    files : QWidget
        Corrections to a file and back; to be laid out elsewhere.
    class_button : QPushButton
        Chooses which class is nuclei; to be laid out beside its field.
    """

    #: A sentence for the user, and whether it is an error.
    told = Signal(str, bool)

    def __init__(self, hand: Hand, learn_box: QCheckBox, folder: Callable[[], Path]) -> None:
        super().__init__()
        self._hand, self._folder = hand, folder
        self.paint_buttons = {
            value: self._tool(text, f"{tip}{_key(name)}", partial(self._paint, value))
            for value, text, tip, name in (
                (1, "nucleus", "Paint nuclei, at any time; their like follows", "paint_nucleus"),
                (2, "not nucleus", "Paint what is no nucleus", "paint_not_nucleus"),
                (0, "erase", "Erase hints; their effect goes with them", ""),
            )
        }
        for value in (1, 2):
            self.paint_buttons[value].setIcon(_dot(str(HINT_COLOURS[value])))
        self.tool_buttons = {
            tool: self._tool(text, f"{tip}{_key(name)}", partial(hand.use, tool))
            for tool, text, tip, name in (
                (Tool.DELETE, "delete", "Click a nucleus to delete it", "delete_object"),
                (Tool.ADD, "add", "Click inside a nucleus that is missing", "add_object"),
                (Tool.MERGE, "join", "Drag across nuclei to make them one", "merge_objects"),
                (Tool.SPLIT, "split", "Drag through a nucleus to cut it", "split_object"),
            )
        }
        self.undo_button = button(
            "Undo", f"Take it back, a run too{_key('undo_correction')}", hand.undo
        )
        self.clear_button = button(
            "Clear", "Forget all hints and edits of this image; that can be undone", hand.clear
        )
        self.restore_button = button("Restore", "Take them up again", hand.restore)
        self.restore_label = QLabel()
        self.restore_label.setWordWrap(True)
        restore = QHBoxLayout()
        restore.setContentsMargins(0, 0, 0, 0)
        restore.addWidget(self.restore_label, 1)
        restore.addWidget(self.restore_button)
        self._restore = QWidget()
        self._restore.setLayout(restore)
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        grid.addWidget(QLabel("paint"), 0, 0)
        for column, value in enumerate((1, 2, 0)):
            grid.addWidget(self.paint_buttons[value], 0, 1 + 4 * column, 1, 4)
        grid.addWidget(QLabel("objects"), 1, 0)
        for column, one in enumerate(self.tool_buttons.values()):
            grid.addWidget(one, 1, 1 + 3 * column, 1, 3)
        self.tool_buttons[Tool.CLASS] = self.class_button = self._tool(
            "by a click",
            "Click a nucleus: class and polarity that stand out most there are nuclei"
            + _key("choose_class"),
            partial(hand.use, Tool.CLASS),
        )
        last = QHBoxLayout()
        last.setContentsMargins(0, 0, 0, 0)
        learn_box.setText("hints teach their like")
        last.addWidget(learn_box, 1)
        last.addWidget(self.undo_button)
        last.addWidget(self.clear_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(self._restore)
        layout.addLayout(grid)
        layout.addLayout(last)
        self.load_button = button(
            "Load corrections…", "Take hints and edits from a file instead", self._on_load
        )
        self.save_button = button(
            "Save corrections…", "Write the hints and edits of this image to a file", self._on_save
        )
        self.files = QWidget()
        files = QHBoxLayout(self.files)
        files.setContentsMargins(0, 0, 0, 0)
        files.setSpacing(3)
        files.addWidget(self.load_button)
        files.addWidget(self.save_button)
        hand.changed.connect(self.refresh)
        self.refresh()

    def _tool(self, text: str, tip: str, act: Callable[[], object]) -> QPushButton:
        def try_it() -> None:
            act()
            self.refresh()  # Qt has turned the button, whatever came of it

        one = button(text, tip, try_it)
        one.setCheckable(True)
        return one

    def _paint(self, value: int) -> None:
        if self._hand.painting == value:
            self._hand.rest()
        else:
            self._hand.paint(value)

    def refresh(self) -> None:
        """Show what is in use, what can be done and what can be undone."""
        hand, is_available = self._hand, self._hand.is_available
        for one in (*self.paint_buttons.values(), *self.tool_buttons.values(), self.load_button):
            one.setEnabled(is_available)
        for value, one in self.paint_buttons.items():
            one.setChecked(hand.painting == value)
        for tool, one in self.tool_buttons.items():
            one.setChecked(hand.tool is tool)
        self.undo_button.setText(hand.undo_text)
        self.undo_button.setEnabled(hand.can_undo)
        for one in (self.clear_button, self.save_button):
            one.setEnabled(bool(hand.corrections))
        self._restore.setVisible(hand.offered is not None)
        if hand.offered is not None:
            self.restore_label.setText(f"{hand.offered}.")

    def _on_save(self) -> None:
        start = self._folder() / f"corrections{_ENDING}"
        path = ask_for_file(self, "Save corrections", start, {_FILTER: _ENDING}, (_ENDING,))
        if path is not None:
            self._try(lambda: self._hand.save(path))

    def _on_load(self) -> None:
        start = str(self._folder())
        path, _ = QFileDialog.getOpenFileName(self, "Load corrections", start, _FILTER)
        if path:
            self._try(lambda: self._hand.load(path))

    def _try(self, act: Callable[[], object]) -> None:
        try:
            act()
        except PatchSegError as error:
            self.told.emit(str(error), True)


def _key(name: str) -> str:
    return f" ({key_of(name)})" if name else ""


def _dot(colour: str) -> QIcon:
    """A square of a colour."""
    pixmap = QPixmap(QSize(12, 12))
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)

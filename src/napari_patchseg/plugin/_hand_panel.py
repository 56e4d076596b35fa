"""The panel's part for correcting by hand: hints, tools on objects, and undo."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from qtpy.QtCore import QSize
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ._controls import button
from ._hand import Hand
from ._layers import HINT_COLOURS
from ._object_tools import Tool
from ._shortcuts import key_of


class HandPanel(QWidget):
    """Buttons for hints and edits, which show what is in use and what can be undone.

    Parameters
    ----------
    hand : Hand
        Asked and shown.
    learn_box : QCheckBox
        The field of the setting `learn_from_hints`.
    """

    def __init__(self, hand: Hand, learn_box: QCheckBox) -> None:
        super().__init__()
        self._hand = hand
        self.paint_buttons = {
            value: self._tool(text, f"{tip}{_key(name)}", partial(self._paint, value))
            for value, text, tip, name in (
                (1, "nucleus", "Paint what is nucleus; its like follows", "paint_nucleus"),
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
        self.undo_button = button("Undo", f"Take it back{_key('undo_correction')}", hand.undo)
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
        hand.changed.connect(self._show)
        self._show()

    def _tool(self, text: str, tip: str, act: Callable[[], object]) -> QPushButton:
        one = button(text, tip, act)
        one.setCheckable(True)
        return one

    def _paint(self, value: int) -> None:
        if self._hand.painting == value:
            self._hand.rest()
        else:
            self._hand.paint(value)

    def _show(self) -> None:
        hand = self._hand
        for value, one in self.paint_buttons.items():
            one.setChecked(hand.painting == value)
        for tool, one in self.tool_buttons.items():
            one.setChecked(hand.tool is tool)
        self.undo_button.setText(hand.undo_text)
        self.undo_button.setEnabled(hand.can_undo)
        self.clear_button.setEnabled(bool(hand.corrections))
        self._restore.setVisible(hand.offered is not None)
        if hand.offered is not None:
            when = hand.offered.when.strftime("%d %b, %H:%M")
            self.restore_label.setText(f"Corrections of this image were kept on {when}.")


def _key(name: str) -> str:
    return f" ({key_of(name)})" if name else ""


def _dot(colour: str) -> QIcon:
    """A square of a colour."""
    pixmap = QPixmap(QSize(12, 12))
    pixmap.fill(QColor(colour))
    return QIcon(pixmap)

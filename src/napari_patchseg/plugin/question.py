"""What is asked before a run is lost: to another one, or with its panel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QMessageBox, QWidget

from .session import TrainingSession


def ask_to_stop(
    parent: QWidget, running: TrainingSession, image: str, begin: Callable[[], None]
) -> QMessageBox:
    """Offer to stop a run; does not wait for the answer.

    Parameters
    ----------
    parent : QWidget
        Whose window asks.
    running : TrainingSession
        The run under way, in this window or another.
    image : str
        Name of the image to start on.
    begin : callable
        Called once the other run has ended, if the user wants that.
    """
    name = "" if running.record is None else f" on '{running.record.source.name}'"
    box = QMessageBox(parent)
    box.setObjectName("stop_the_other_run")
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("PatchSeg")
    box.setText(f"A run{name} is under way. Stop it and start on '{image}'?")
    stop = box.addButton("Stop it and start", QMessageBox.ButtonRole.AcceptRole)
    box.addButton("Let it run", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(stop)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

    def begin_after() -> None:
        running.ended.disconnect(begin_after)
        QTimer.singleShot(0, begin)  # the session is still tidying up

    def answered(_: Any) -> None:
        if box.clickedButton() is not stop:
            return
        if running.is_busy:
            running.ended.connect(begin_after)
            running.stop(labels=False)
        else:
            begin()

    box.finished.connect(answered)
    box.open()
    return box


def ask_to_close(parent: QWidget, running: TrainingSession, close: Callable[[], None]) -> None:
    """Say that a run ends with its panel; does not wait for the answer.

    Parameters
    ----------
    parent : QWidget
        The panel.
    running : TrainingSession
        Its run.
    close : callable
        Called if the user wants that.
    """
    if parent.findChild(QMessageBox, "close_the_panel") is not None:
        return  # asked already
    name = "" if running.record is None else f" on '{running.record.source.name}'"
    box = QMessageBox(parent)
    box.setObjectName("close_the_panel")
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("PatchSeg")
    box.setText(f"A run{name} is under way; without this panel it ends, and its result is lost.")
    end = box.addButton("End it and close", QMessageBox.ButtonRole.AcceptRole)
    keep = box.addButton("Keep the panel", QMessageBox.ButtonRole.RejectRole)
    box.setDefaultButton(keep)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)

    def answered(_: Any) -> None:
        if box.clickedButton() is end:
            QTimer.singleShot(0, close)  # the box is the panel's child, and still at work

    box.finished.connect(answered)
    box.open()

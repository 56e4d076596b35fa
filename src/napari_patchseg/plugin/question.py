"""What is asked when a run is started while another one is under way."""

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
            running.stop()
        else:
            begin()

    box.finished.connect(answered)
    box.open()
    return box

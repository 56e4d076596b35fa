"""What is asked before a run is lost: to another one, or with its panel."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QMessageBox, QWidget

from ._run import RunState
from .session import TrainingSession


def ask_to_stop(
    parent: QWidget, running: TrainingSession, image: str, begin: Callable[[], None]
) -> None:
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

    def begin_after(state: RunState) -> None:
        if not state.is_busy:
            running.state_changed.disconnect(begin_after)
            QTimer.singleShot(0, begin)  # the session is still tidying up

    def stop() -> None:
        if running.is_busy:
            running.state_changed.connect(begin_after)
            running.stop(labels=False)
        else:
            begin()

    sentence = f"A run{on_image(running)} is under way. Stop it and start on '{image}'?"
    yes, no = "Stop it and start", "Let it run"
    _ask(parent, "stop_the_other_run", sentence, stop, yes=yes, no=no, default=yes)


def ask_to_close(parent: QWidget, sentence: str, close: Callable[[], None]) -> None:
    """Say that work ends with its panel; does not wait for the answer.

    Parameters
    ----------
    parent : QWidget
        The panel.
    sentence : str
        What is under way, and what becomes of it.
    close : callable
        Called if the user wants that.
    """

    def close_soon() -> None:
        QTimer.singleShot(0, close)  # the box is the panel's child, and still at work

    yes, no = "End it and close", "Keep the panel"
    _ask(parent, "close_the_panel", sentence, close_soon, yes=yes, no=no, default=no)


def on_image(session: TrainingSession) -> str:
    """Of a session's run, for a sentence about it."""
    return "" if session.run is None else f" on '{session.run.source.name}'"


def _ask(
    parent: QWidget,
    name: str,
    sentence: str,
    then: Callable[[], None],
    *,
    yes: str,
    no: str,
    default: str,
) -> None:
    """Ask once, and do something if the answer is yes."""
    if parent.findChild(QMessageBox, name) is not None:
        return
    box = QMessageBox(parent)
    box.setObjectName(name)
    box.setIcon(QMessageBox.Icon.Question)
    box.setWindowTitle("PatchSeg")
    box.setText(sentence)
    roles = QMessageBox.ButtonRole
    for text, role in ((yes, roles.AcceptRole), (no, roles.RejectRole)):
        button = box.addButton(text, role)
        if text == default:
            box.setDefaultButton(button)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.accepted.connect(then)
    box.open()

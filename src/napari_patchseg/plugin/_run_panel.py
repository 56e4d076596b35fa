"""Buttons, progress and state of a run."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ._run_state import Phase, RunState
from .session import TrainingSession


class RunPanel(QWidget):
    """Train, Pause or Resume, Stop; what is done and what is left.

    Parameters
    ----------
    session : TrainingSession
        The one that is shown and asked; Train alone is left to whoever listens.
    """

    def __init__(self, session: TrainingSession) -> None:
        super().__init__()
        self._session = session
        self.train_button = _button(
            "Train", "F5", "Learn to tell nuclei apart, from this image alone"
        )
        self.pause_button = _button("Pause", "F6", "Wait, within the step under way, or go on")
        self.stop_button = _button(
            "Stop",
            "F7",
            "Give up the step under way; what was learnt before it is kept,\n"
            "and Segment nuclei still ends with labels",
        )
        self.stream_box = QCheckBox("live layers")
        self.stream_box.setChecked(True)
        self.stream_box.setToolTip(
            "Show confidence and sampled patches as layers while training.\n"
            "Off: training is faster, most of all without a graphics card."
        )
        self.bar = QProgressBar()
        self.bar.setAccessibleName("progress")
        self.bar.setFixedHeight(18)
        self.state_label = _text("state")
        self.notice_label = _text("notice")
        self.notice_label.setVisible(False)
        self.image_label = _text("understood")
        self.image_label.setToolTip(
            "How the image is understood; the field image kind has it otherwise"
        )
        buttons = QHBoxLayout()
        for button in (self.train_button, self.pause_button, self.stop_button):
            buttons.addWidget(button, 1)
        below = QGridLayout()
        below.addWidget(self.state_label, 0, 0)
        below.addWidget(self.stream_box, 0, 1, Qt.AlignmentFlag.AlignRight)
        below.setColumnStretch(0, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addLayout(below)
        layout.addWidget(self.notice_label)
        layout.addWidget(self.image_label)
        self.pause_button.clicked.connect(self._on_pause)
        self.stop_button.clicked.connect(lambda: session.stop())
        self.stream_box.toggled.connect(self._on_stream)
        session.state_changed.connect(self._show_state)
        self._show_state(session.run_state)

    def show_notice(self, sentence: str) -> None:
        """Keep a sentence to be read; none takes it away."""
        self.notice_label.setText(sentence)
        self.notice_label.setVisible(bool(sentence))

    def _on_pause(self) -> None:
        if self._session.run_state.waits:
            self._session.resume()
        else:
            self._session.pause()

    def _on_stream(self, on: bool) -> None:
        self._session.streaming = on

    def _show_state(self, state: RunState) -> None:
        stops = state.hold is Phase.STOPPING
        _rename(self.pause_button, "Resume" if state.waits else "Pause")
        self.pause_button.setEnabled(state.waits or state.can_pause)
        _rename(self.stop_button, "Stopping…" if stops else "Stop")
        self.stop_button.setEnabled(state.is_busy and not stops)
        self.state_label.setText(" · ".join(filter(None, (state.text, state.time_left))))
        maximum, value, text = bar = _bar(state)
        if bar != (self.bar.maximum(), self.bar.value(), self.bar.format()):
            # Else it would draw itself at once, and with it the whole window.
            self.bar.setUpdatesEnabled(False)
            self.bar.setRange(0, maximum)
            self.bar.setValue(value)
            self.bar.setFormat(text)
            self.bar.setUpdatesEnabled(True)
        self._show_image()

    def _show_image(self) -> None:
        """Say how the run understands its image."""
        run = self._session.run
        pixels = None if run is None else run.pixels
        self.image_label.setVisible(pixels is not None)
        if run is None or pixels is None:
            return
        text = pixels.description
        if run.resolved is not None and run.resolved.rescale != 1:
            text += f", rescaled by {run.resolved.rescale}"
        if pixels.image_kind is None:
            text += " (otherwise: image kind)"
        self.image_label.setText(text)


def _bar(state: RunState) -> tuple[int, int, str]:
    """Maximum, value and text of the progress bar.

    Where nobody knows it stands still: Qt's busy bar moves thirty times a second, and with each
    move the whole window is composed anew.
    """
    if state.total > 1:
        return state.total, state.done, f"{state.message} %p%"
    if state.work in (Phase.CONVERGED, Phase.FINISHED):
        return 1, 1, "done"
    if state.max_steps:
        return state.max_steps, state.step, f"step {state.step} of {state.max_steps}"
    return 1, 0, ""


def _button(text: str, key: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setShortcut(key)
    button.setToolTip(f"{tooltip} ({key})")
    button.setObjectName(text.lower())
    return button


def _rename(button: QPushButton, text: str) -> None:
    key = button.shortcut()
    button.setText(text)
    button.setShortcut(key)  # Qt takes it away with the text


def _text(name: str) -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setObjectName(name)
    return label

"""Buttons, progress and state of a run."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtGui import QKeySequence
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

from napari_patchseg.settings import Rescale

from .session import TrainingSession
from .states import RunState

#: In words how large the network sees an image, where that is not its own size.
_RESCALED: dict[Rescale | None, str] = {
    "2": "seen twice as large",
    "3/2": "seen 1.5 times as large",
    "2/3": "seen at two thirds of its size",
    "1/2": "seen at half its size",
    "1/4": "seen at a quarter of its size",
}


class RunPanel(QWidget):
    """Train, Pause or Resume, Stop; what is done and what is left.

    Parameters
    ----------
    session : TrainingSession
        The one that is shown and asked; Train alone is left to whoever listens.
    parent : QWidget or None
        Qt's owner.
    """

    train_clicked = Signal()

    def __init__(self, session: TrainingSession, parent: QWidget | None = None) -> None:
        super().__init__(parent)
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
        self.bar.setTextVisible(True)
        self.bar.setAccessibleName("progress")
        self.bar.setFixedHeight(18)
        self.state_label = QLabel()
        self.state_label.setWordWrap(True)
        self.state_label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.state_label.setObjectName("state")
        self.notice_label = QLabel()
        self.notice_label.setWordWrap(True)
        self.notice_label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.notice_label.setObjectName("notice")
        self.notice_label.setVisible(False)
        self.image_label = QLabel()
        self.image_label.setWordWrap(True)
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

        self.train_button.clicked.connect(self.train_clicked)
        self.pause_button.clicked.connect(self._on_pause)
        self.stop_button.clicked.connect(lambda: session.stop())
        self.stream_box.toggled.connect(self._on_stream)
        session.state_changed.connect(self._show_state)
        session.progressed.connect(self._show_progress)
        self._show_state()

    def show_notice(self, sentence: str) -> None:
        """Keep a sentence to be read; none takes it away."""
        self.notice_label.setText(sentence)
        self.notice_label.setVisible(bool(sentence))

    def _on_pause(self) -> None:
        if self._session.state in (RunState.PAUSED, RunState.PAUSING):
            self._session.resume()
        else:
            self._session.pause()

    def _on_stream(self, on: bool) -> None:
        self._session.streaming = on

    def _show_state(self) -> None:
        session = self._session
        state, busy = session.state, session.is_busy
        waits = state in (RunState.PAUSED, RunState.PAUSING)
        _rename(self.pause_button, "Resume" if waits else "Pause")
        self.pause_button.setEnabled(waits or state in (RunState.TRAINING, RunState.PREDICTING))
        _rename(self.stop_button, "Stopping…" if state is RunState.STOPPING else "Stop")
        self.stop_button.setEnabled(busy and state is not RunState.STOPPING)
        self._show_progress()

    def _show_words(self) -> None:
        words = self._session.message
        left = self._session.time_left
        if self._session.state is RunState.TRAINING and left:
            words = f"{words} · {left}"
        if self.state_label.text() != words:
            self.state_label.setText(words)

    def _show_progress(self) -> None:
        bar = self._bar()
        if bar != (self.bar.maximum(), self.bar.value(), self.bar.format()):
            maximum, value, text = bar
            # Else it would draw itself at once, and with it the whole window.
            self.bar.setUpdatesEnabled(False)
            self.bar.setRange(0, maximum)
            self.bar.setValue(value)
            self.bar.setFormat(text)
            self.bar.setUpdatesEnabled(True)
        record = self._session.record
        pixels = None if record is None else record.pixels
        if record is not None and pixels is not None:
            seen = _RESCALED.get(record.settings.training.rescale)
            text = f"{pixels.description}, {seen}" if seen else pixels.description
            if pixels.image_kind is None:
                text += " (otherwise: image kind)"
            if self.image_label.text() != text:
                self.image_label.setText(text)
        self.image_label.setVisible(pixels is not None)
        self._show_words()

    def _bar(self) -> tuple[int, int, str]:
        """Maximum, value and text of the progress bar.

        Where nobody knows it stands still: Qt's busy bar moves thirty times a second, and with each
        move the whole window is composed anew.
        """
        record = self._session.record
        last = None if record is None else record.last
        phase = None if record is None or not self._session.is_busy else record.progress
        if phase is not None and phase.total > 1:
            return phase.total, phase.done, f"{phase.message} %p%"
        if self._session.state in (RunState.CONVERGED, RunState.FINISHED):
            return 1, 1, "done"
        if last is not None:
            return last.max_steps, last.step, f"step {last.step} of {last.max_steps}"
        return 1, 0, ""


def _button(text: str, key: str, tooltip: str) -> QPushButton:
    button = QPushButton(text)
    button.setShortcut(QKeySequence(key))
    button.setToolTip(f"{tooltip} ({key})")
    button.setObjectName(text.lower())
    return button


def _rename(button: QPushButton, text: str) -> None:
    key = button.shortcut()
    button.setText(text)
    button.setShortcut(key)  # Qt takes it away with the text

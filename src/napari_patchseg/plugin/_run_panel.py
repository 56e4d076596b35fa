"""What a run shows of itself: buttons, progress and state."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)

from ._controls import button
from ._run import Phase, RunState
from .session import TrainingSession


class RunPanel(QWidget):
    """Segment and Stop; what is done and what is left.

    Parameters
    ----------
    session : TrainingSession
        The one that is shown and asked; Segment and Train are left to whoever listens.

    Attributes
    ----------
    more : QWidget
        Train, Pause or Resume, and the live layers, for those who watch; to be laid out elsewhere.
    image_label : QLabel
        How the image was understood; to be laid out elsewhere.
    """

    def __init__(self, session: TrainingSession) -> None:
        super().__init__()
        self._session = session
        self.segment_button = button(
            "Segment nuclei",
            "Learn from this image until convergence, and label its nuclei",
            key="F5",
        )
        self.train_button = button(
            "Train",
            "Learn to tell nuclei apart, from this image alone; Make labels ends with labels",
        )
        # Its key works while it is folded away, too: it is the panel's.
        self.pause_button = button(
            "Pause", "Wait, within the step under way, or go on (F6)", self._on_pause
        )
        self.stop_button = button(
            "Stop",
            "Give up the step under way; what was learnt before it is kept,\n"
            "and Segment nuclei still ends with labels",
            session.stop,
            key="F7",
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
        self.state_label, self.notice_label, self.image_label = (_text() for _ in range(3))
        self.image_label.setToolTip(
            "How the image is understood; the field image kind has it otherwise"
        )
        large = QHBoxLayout()
        for one, stretch in ((self.segment_button, 2), (self.stop_button, 1)):
            one.setMinimumHeight(34)
            large.addWidget(one, stretch)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(large)
        for widget in (self.bar, self.state_label, self.notice_label):
            layout.addWidget(widget)
        self.more = QWidget()
        watching = QHBoxLayout(self.more)
        watching.setContentsMargins(0, 0, 0, 0)
        for other in (self.train_button, self.pause_button, self.stream_box):
            watching.addWidget(other)
        self.stream_box.toggled.connect(self._on_stream)
        session.state_changed.connect(self._show_state)
        self.show_notice("")
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
        self.pause_button.setText("Resume" if state.waits else "Pause")
        self.pause_button.setEnabled(state.waits or state.can_pause)
        key = self.stop_button.shortcut()
        self.stop_button.setText("Stopping…" if stops else "Stop")
        self.stop_button.setShortcut(key)  # Qt takes it away with the text
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
        self.state_label.setToolTip(text)


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


def _text() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label

"""What a run shows of itself: buttons, progress, state and curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_patchseg.report import LOSS_COLOUR, NEGATIVE_COLOUR, POSITIVE_COLOUR

from ._controls import button
from ._run import Phase, RunState
from .session import TrainingSession

if TYPE_CHECKING:
    import pyqtgraph as pg

_GREY = "#909090"


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
        self.train_button = button(
            "Train", "Learn to tell nuclei apart, from this image alone", key="F5"
        )
        self.pause_button = button(
            "Pause", "Wait, within the step under way, or go on", self._on_pause, key="F6"
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
        buttons, below = QHBoxLayout(), QHBoxLayout()
        for one in (self.train_button, self.pause_button, self.stop_button):
            buttons.addWidget(one)
        below.addWidget(self.state_label, 1)
        below.addWidget(self.stream_box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(buttons)
        layout.addWidget(self.bar)
        layout.addLayout(below)
        layout.addWidget(self.notice_label)
        layout.addWidget(self.image_label)
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


def _rename(renamed: QPushButton, text: str) -> None:
    key = renamed.shortcut()
    renamed.setText(text)
    renamed.setShortcut(key)  # Qt takes it away with the text


def _text() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label


class CurvesPlot(QWidget):
    """Two plots over one axis of steps: the loss above, the separations below.

    They are made when there is something to draw. pyqtgraph and its axes take a quarter of a
    second, for which the first map of a run would wait.
    """

    #: Loss, positive-positive and positive-negative separation; none before the first step.
    curves: tuple[pg.PlotDataItem, ...] = ()

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "Top: contrastive loss. Bottom: information separation, positive to positive (falls)\n"
            "and positive to negative (rises); training ends once they have parted."
        )
        self._announcement = QLabel("Loss and separations are drawn here while it trains.")
        self._announcement.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._announcement.setWordWrap(True)
        self._announcement.setStyleSheet(f"color: {_GREY}")
        self._layout = layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._announcement)
        self.setMinimumSize(240, 220)
        self.setMaximumHeight(260)

    def show_history(self, history: Sequence[tuple[int, float, float, float]]) -> None:
        """Draw (step, loss, positive, negative separation) of all steps; NaN is a gap."""
        if not self.curves:
            if not history:
                return
            self.curves = self._make_plots()
        steps, *values = np.array(history, float).reshape(-1, 4).T
        for curve, value in zip(self.curves, values, strict=True):
            curve.setData(steps, value, connect="finite")

    def _make_plots(self) -> tuple[pg.PlotDataItem, ...]:
        import pyqtgraph as pg

        view = pg.GraphicsLayoutWidget()
        view.setBackground(None)
        view.setStyleSheet("background: transparent")  # else that of the theme it was made in
        # Curves are looked at: the wheel is the panel's.
        view.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        view.setAccessibleName("curves of loss and separations")
        top = _plot(view, 0, _title(("loss", LOSS_COLOUR)))
        names = _title(
            ("positive–positive", POSITIVE_COLOUR), ("positive–negative", NEGATIVE_COLOUR)
        )
        bottom = _plot(view, 1, f"separation {names}")
        bottom.setXLink(top)
        top.getAxis("bottom").setStyle(showValues=False)
        bottom.setLabel("bottom", "step", color=_GREY)
        self._layout.replaceWidget(self._announcement, view)
        self._announcement.deleteLater()
        # With points: a step between two gaps has no line.
        return tuple(
            plot.plot(pen=colour, symbol="o", symbolSize=3, symbolPen=colour, symbolBrush=colour)
            for plot, colour in (
                (top, LOSS_COLOUR),
                (bottom, POSITIVE_COLOUR),
                (bottom, NEGATIVE_COLOUR),
            )
        )


def _plot(view: pg.GraphicsLayoutWidget, row: int, title: str) -> pg.PlotItem:
    plot = view.addPlot(row=row, col=0)
    plot.setTitle(title, size="8pt", color=_GREY, justify="left")
    for side in ("left", "bottom"):
        axis = plot.getAxis(side)
        axis.setPen(_GREY)
        axis.setTextPen(_GREY)
        axis.setStyle(maxTickLevel=0, tickLength=-4)
        axis.enableAutoSIPrefix(False)
    plot.getAxis("left").setWidth(40)
    return plot


def _title(*parts: tuple[str, str]) -> str:
    """Names in their curves' colours: a legend that hides no curve."""
    return " · ".join(f'<span style="color: {colour}">{name}</span>' for name, colour in parts)

"""Live curves of the loss and of both separations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_patchseg.report import LOSS_COLOUR, NEGATIVE_COLOUR, POSITIVE_COLOUR

if TYPE_CHECKING:
    import pyqtgraph as pg

_GREY = "#909090"


class CurvesPlot(QWidget):
    """Two plots over one axis of steps: the loss above, the separations below.

    They are made when there is something to draw. pyqtgraph and its axes take a quarter of a
    second, for which the first map of a run would wait.
    """

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setToolTip(
            "Top: contrastive loss. Bottom: information separation, positive to positive (falls)\n"
            "and positive to negative (rises); training ends once they have parted."
        )
        self._curves: tuple[pg.PlotDataItem, ...] = ()
        self._announcement = QLabel("Loss and separations are drawn here while it trains.")
        self._announcement.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._announcement.setWordWrap(True)
        self._announcement.setStyleSheet(f"color: {_GREY}")
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.addWidget(self._announcement)
        self.setMinimumSize(240, 220)
        self.setMaximumHeight(260)

    def show_history(self, history: Sequence[tuple[int, float, float, float]]) -> None:
        """Draw (step, loss, positive, negative separation) of all steps; NaN is a gap."""
        if not self._curves:
            if not history:
                return
            self._make_plots()
        table = np.array(history, float).reshape(-1, 4)
        for number, curve in enumerate(self._curves, start=1):
            curve.setData(table[:, 0], table[:, number], connect="finite")

    @property
    def curves(self) -> tuple[pg.PlotDataItem, ...]:
        """Loss, positive-positive and positive-negative separation; empty before the first step."""
        return self._curves

    def _make_plots(self) -> None:
        import pyqtgraph as pg

        view = pg.GraphicsLayoutWidget()
        view.setBackground(None)
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
        self._curves = (
            _curve(top, LOSS_COLOUR),
            _curve(bottom, POSITIVE_COLOUR),
            _curve(bottom, NEGATIVE_COLOUR),
        )
        self._layout.replaceWidget(self._announcement, view)
        self._announcement.deleteLater()


def _curve(plot: pg.PlotItem, colour: str) -> pg.PlotDataItem:
    import pyqtgraph as pg

    # With points: a step between two gaps has no line.
    pen = pg.mkPen(colour, width=1)
    return plot.plot(pen=pen, symbol="o", symbolSize=3, symbolPen=pen, symbolBrush=colour)


def _plot(view: pg.GraphicsLayoutWidget, row: int, title: str) -> pg.PlotItem:
    plot = view.addPlot(row=row, col=0)
    plot.setMenuEnabled(False)
    plot.hideButtons()
    plot.setMouseEnabled(x=False, y=False)
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

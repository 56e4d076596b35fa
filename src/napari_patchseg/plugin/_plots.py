"""Plots of the panel: curves of a training, and how the nuclei are distributed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_patchseg.report import LOSS_COLOUR, NEGATIVE_COLOUR, POSITIVE_COLOUR

if TYPE_CHECKING:
    import pyqtgraph as pg

_GREY = "#909090"
_BARS = 48


class _Plots(QWidget):
    """Plots that are made when there is something to draw.

    pyqtgraph and its axes take a quarter of a second, for which the first map of a run would wait.

    Parameters
    ----------
    announcement : str
        Stands there until then.
    height : int
        In pixels.
    """

    def __init__(self, announcement: str, height: int) -> None:
        super().__init__()
        self._announcement = QLabel(announcement)
        self._announcement.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._announcement.setWordWrap(True)
        self._announcement.setStyleSheet(f"color: {_GREY}")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._announcement)
        self.setMinimumWidth(240)
        self.setFixedHeight(height)

    def _make_view(self, name: str) -> pg.GraphicsLayoutWidget:
        """Where plots are put, in place of the announcement."""
        import pyqtgraph as pg

        view = pg.GraphicsLayoutWidget()
        view.setBackground(None)
        view.setStyleSheet("background: transparent")  # else that of the theme it was made in
        view.setAccessibleName(name)
        layout = self.layout()
        assert layout is not None
        layout.replaceWidget(self._announcement, view)
        self._announcement.hide()
        self._announcement.deleteLater()
        return view


class CurvesPlot(_Plots):
    """Curves of steps: the loss above, the separations below."""

    #: Loss, positive-positive and positive-negative separation; none before the first step.
    curves: tuple[pg.PlotDataItem, ...] = ()

    def __init__(self) -> None:
        super().__init__("Loss and separations are drawn here while it trains.", 240)
        self.setToolTip(
            "Top: contrastive loss. Bottom: information separation, positive to positive (falls)\n"
            "and positive to negative (rises); training ends once they have parted."
        )

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
        view = self._make_view("curves of loss and separations")
        # Curves are looked at: the wheel is the panel's.
        view.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        top = _plot(view, 0)
        _entitle(top, _title(("loss", LOSS_COLOUR)))
        names = _title(
            ("positive–positive", POSITIVE_COLOUR), ("positive–negative", NEGATIVE_COLOUR)
        )
        bottom = _plot(view, 1)
        _entitle(bottom, f"separation {names}")
        bottom.setXLink(top)
        top.getAxis("bottom").setStyle(showValues=False)
        bottom.setLabel("bottom", "step", color=_GREY)
        # With points: a step between two gaps has no line.
        return tuple(
            plot.plot(pen=colour, symbol="o", symbolSize=3, symbolPen=colour, symbolBrush=colour)
            for plot, colour in (
                (top, LOSS_COLOUR),
                (bottom, POSITIVE_COLOUR),
                (bottom, NEGATIVE_COLOUR),
            )
        )


class Histogram(_Plots):
    """How many nuclei have which value of a measurement, with limits as handles to be dragged."""

    #: The user has moved the "low" or the "high" limit; None: there is none.
    moved = Signal(str, object)

    def __init__(self) -> None:
        super().__init__("Areas are drawn here once there are labels.", 88)
        self.setToolTip(
            "Number of nuclei by the measurement chosen. Drag the handles: what is below the left\n"
            "one, or above the right one, is no nucleus; of areas half as much counts at the\n"
            "border, where nuclei are cut. At the end of the axis there is no limit."
        )
        #: "low" and "high"; none before the first labels.
        self.handles: dict[str, pg.InfiniteLine] = {}
        self._values: NDArray[Any] = np.empty(0)
        self._unit = ""
        self._limits: dict[str, float | None] = {"low": None, "high": None}
        #: Of the axis: it grows only, else a handle would flee what it let go.
        self._reach: tuple[float, float] | None = None
        self._colours: Callable[[NDArray[Any]], NDArray[Any]] | None = None

    def clear(self) -> None:
        """Another image, another run, or another measurement."""
        self._reach = None
        self._values = np.empty(0)
        self._limits = {"low": None, "high": None}
        self._draw()

    def show_values(self, values: NDArray[Any], unit: str) -> None:
        """Draw the values (n,) of all nuclei; those that are NaN are left out."""
        if unit != self._unit:
            self.clear()
        self._values, self._unit = values[np.isfinite(values)], unit
        if len(values) and not self.handles:
            self._make_plot()
        self._draw()

    def show_limits(self, low: float | None, high: float | None) -> None:
        """Put the handles where the limits are, in the unit shown."""
        if self._limits != {"low": low, "high": high}:
            self._limits = {"low": low, "high": high}
            self._draw()

    def show_colours(self, colours: Callable[[NDArray[Any]], NDArray[Any]] | None) -> None:
        """Draw bars in the colours (n, 4) that nuclei of such values (n,) have; None: in one."""
        self._colours = colours
        self._draw()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """The wheel is the panel's."""
        if event is not None and event.type() == QEvent.Type.Wheel:
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def _make_plot(self) -> None:
        import pyqtgraph as pg

        view = self._make_view("histogram of the nuclei")
        view.viewport().installEventFilter(self)
        for widget in (view, view.viewport()):  # the fields below do the same by keyboard
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        view.ci.layout.setContentsMargins(4, 0, 4, 0)
        self._plot = plot = _plot(view, 0)
        plot.hideAxis("left")
        plot.setMouseEnabled(False, False)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        self._bars = pg.BarGraphItem(x0=[], width=1, height=[], pen=None, brush=POSITIVE_COLOUR)
        plot.addItem(self._bars)
        for name, anchor in (("low", 0), ("high", 1)):
            handle = pg.InfiniteLine(
                movable=True,
                pen={"color": NEGATIVE_COLOUR, "width": 3},
                hoverPen={"color": LOSS_COLOUR, "width": 5},
                label="",
                labelOpts={
                    "position": 0.85,
                    "anchors": [(anchor, 0.5)] * 2,
                    "color": NEGATIVE_COLOUR,
                },
            )
            handle.sigDragged.connect(self._on_dragged)
            plot.addItem(handle)
            self.handles[name] = handle

    def _ends(self) -> tuple[float, float]:
        """Of the axis."""
        least, most = (0.0, 1.0) if self._reach is None else self._reach
        if len(self._values):
            low, high = float(self._values.min()), float(np.percentile(self._values, 99))
            # What is never negative has its whole axis; a margin is room to drag.
            low = 0.0 if 0 <= low < (high or 1) / 2 else low - 0.05 * (high - low)
            high += 0.25 * (high - low) or 1.0
            least, most = (low, high) if self._reach is None else (min(low, least), max(high, most))
        for limit in self._limits.values():
            if limit is not None:
                least = min(least, limit)
                most = most if limit <= most else least + 1.25 * (limit - least)
        return least, most

    def _draw(self) -> None:
        if not self.handles:
            return
        least, most = self._ends()
        if len(self._values):
            self._reach = least, most
        # The last bar is that much and more.
        shown = np.clip(self._values, least, most)
        counts, edges = np.histogram(shown, bins=_BARS, range=(least, most))
        colours = None
        if self._colours is not None:
            colours = [tuple(c) for c in (255 * self._colours(edges[:-1])).astype(int).tolist()]
        self._bars.setOpts(
            x0=edges[:-1],
            width=edges[1] - edges[0],
            height=counts,
            brush=POSITIVE_COLOUR,
            brushes=colours,
        )
        self._plot.setXRange(least, most, padding=0.01)
        self._plot.setYRange(0, max(1, 1.3 * counts.max()), padding=0)
        low, high = self.handles["low"], self.handles["high"]
        for name, handle, end in (("low", low, least), ("high", high, most)):
            limit = self._limits[name]
            handle.setValue(end if limit is None else limit)
            text = "no limit" if limit is None else f"{limit:.3g} {self._unit}".rstrip()
            handle.label.setFormat(text)
        low.setBounds((least, high.value()))
        high.setBounds((low.value(), most))

    def _on_dragged(self, handle: pg.InfiniteLine) -> None:
        least, most = self._ends()
        value: float | None = float(f"{handle.value():.3g}")
        name = "low" if handle is self.handles["low"] else "high"
        at_end = 0.01 * (most - least)
        if (name == "high" and handle.value() > most - at_end) or handle.value() < least + at_end:
            value = None
        self.show_limits(**{**self._limits, name: value})
        self.moved.emit(name, value)


def areas_of(labels: NDArray[Any]) -> NDArray[np.intp]:
    """Areas in pixels of the objects of an array of labels, in the order of their numbers."""
    flat = labels.ravel()
    highest = int(flat.max(initial=0))
    if highest > flat.size:  # a number that somebody painted
        numbers, areas = np.unique(flat, return_counts=True)
        return np.asarray(areas[numbers > 0])
    areas = np.zeros(highest + 1, np.intp)
    for start in range(0, flat.size, 2**20):  # it wants a copy of eight bytes a pixel
        areas += np.bincount(flat[start : start + 2**20], minlength=len(areas))
    return areas[1:][areas[1:] > 0]


def _plot(view: pg.GraphicsLayoutWidget, row: int) -> pg.PlotItem:
    plot = view.addPlot(row=row, col=0)
    for side in ("left", "bottom"):
        axis = plot.getAxis(side)
        axis.setPen(_GREY)
        axis.setTextPen(_GREY)
        axis.setStyle(maxTickLevel=0, tickLength=-4)
        axis.enableAutoSIPrefix(False)
    return plot


def _entitle(plot: pg.PlotItem, title: str) -> None:
    plot.setTitle(title, size="8pt", color=_GREY, justify="left")
    plot.getAxis("left").setWidth(40)


def _title(*parts: tuple[str, str]) -> str:
    """Names in their curves' colours: a legend that hides no curve."""
    return " · ".join(f'<span style="color: {colour}">{name}</span>' for name, colour in parts)

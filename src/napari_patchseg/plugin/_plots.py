"""Plots of the panel: curves of a training, and how large the nuclei are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_patchseg.report import LOSS_COLOUR, NEGATIVE_COLOUR, POSITIVE_COLOUR
from napari_patchseg.words import pluralize

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


class AreaHistogram(_Plots):
    """How large the nuclei are, with the size limits as handles to be dragged.

    Everything said to it and by it is in square pixels; it shows µm² where the size of a pixel is
    known.
    """

    #: The user has moved a limit: the setting's name, and its value, None for no limit.
    moved = Signal(str, object)

    def __init__(self) -> None:
        super().__init__("Areas are drawn here once there are labels.", 88)
        self.setToolTip(
            "Number of nuclei by area. Drag the handles: what is smaller than the left one, or\n"
            "larger than the right one, is no nucleus. At its right end there is no limit."
        )
        #: How many nuclei there are, and their median area.
        self.summary = QLabel("no nuclei yet")
        #: The handles by the name of their setting; none before the first labels.
        self.handles: dict[str, pg.InfiniteLine] = {}
        self._areas: NDArray[Any] = np.empty(0, int)
        self._limits: tuple[float, float | None] = (0, None)
        self._reach = 0.0  # of the axis: it grows only, else a handle would flee what it let go
        self._unit = 1.0  # of the axis, in square pixels

    def clear(self) -> None:
        """Another image, or another run."""
        self._reach = 0.0
        self.show_areas(np.empty(0, int), None)

    def show_areas(self, areas: NDArray[Any], pixel_size: float | None) -> None:
        """Draw the areas (n,) of all nuclei; µm per pixel where that is known."""
        self._areas = areas
        self._unit = 1.0 if pixel_size is None else pixel_size**-2
        if len(areas):
            count = pluralize(len(areas), "nucleus", "nuclei")
            self.summary.setText(f"{count}, median {self._in_words(float(np.median(areas)))}")
        else:
            self.summary.setText("no nuclei yet")
        if len(areas) and not self.handles:
            self._make_plot()
        self._draw()

    def show_limits(self, least: float, most: float | None) -> None:
        """Put the handles where the limits are."""
        if self._limits != (least, most):
            self._limits = least, most
            self._draw()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """The wheel is the panel's."""
        if event is not None and event.type() == QEvent.Type.Wheel:
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    def _in_words(self, area: float) -> str:
        return f"{area:.0f} px²" if self._unit == 1 else f"{area / self._unit:.3g} µm²"

    def _make_plot(self) -> None:
        import pyqtgraph as pg

        view = self._make_view("histogram of areas")
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
        for name, anchor in (("min_area", 0), ("max_area", 1)):
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

    def _draw(self) -> None:
        if not self.handles:
            return
        least, most = self._limits
        usual = float(np.percentile(self._areas, 99)) if len(self._areas) else 0.0
        self._reach = max(self._reach, 1.25 * usual, 1.0)
        if max(least, most or 0) > self._reach:
            self._reach = 1.25 * max(least, most or 0)
        reach = self._reach
        counts, edges = np.histogram(
            np.minimum(self._areas, reach), bins=_BARS, range=(0, reach)
        )  # the last bar is that size and more
        edges /= self._unit
        self._bars.setOpts(x0=edges[:-1], width=edges[1], height=counts)
        self._plot.setXRange(0, edges[-1], padding=0.01)
        self._plot.setYRange(0, max(1, 1.3 * counts.max()), padding=0)
        low, high = self.handles["min_area"], self.handles["max_area"]
        for handle, value in ((low, least), (high, reach if most is None else most)):
            handle.setValue(value / self._unit)
        low.setBounds((0, high.value()))
        high.setBounds((low.value(), edges[-1]))
        low.label.setFormat(self._in_words(least))
        high.label.setFormat("no limit" if most is None else self._in_words(most))

    def _on_dragged(self, handle: pg.InfiniteLine) -> None:
        least, most = self._limits
        value: float | None = float(round(handle.value() * self._unit))
        if handle is self.handles["min_area"]:
            name, least = "min_area", value or 0.0
        else:
            if value is not None and value > 0.99 * self._reach:
                value = None
            name, most = "max_area", value
        self.show_limits(least, most)
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

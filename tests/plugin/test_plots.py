"""The histogram of a measurement: what it counts, and its handles dragged by a real mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QGraphicsView

from napari_patchseg.plugin._editors import Editors
from napari_patchseg.plugin._measurement_panel import MeasurementPanel
from napari_patchseg.plugin._plots import Histogram, areas_of
from napari_patchseg.plugin.layer_source import METADATA_KEY


def test_areas_are_those_of_all_objects() -> None:
    labels = np.zeros((1, 2000, 1100), np.uint16)
    labels[0, :3, :4], labels[0, -5:, -7:] = 9, 2
    assert areas_of(labels).tolist() == [35, 12]
    labels = labels.astype(np.uint32)
    labels[0, 100, 100] = 4e9  # somebody's own
    assert areas_of(labels).tolist() == [35, 12, 1]
    assert areas_of(labels[:, :0]).tolist() == []


def test_sizes_are_said_in_the_unit_that_is_known(qtbot: Any) -> None:
    editors = Editors()
    panel = MeasurementPanel(editors)
    qtbot.addWidget(panel)
    assert panel.summary.text() == "no nuclei yet"
    assert not panel.histogram.handles
    panel.show_areas(np.array([100, 200, 400]), None)
    assert panel.summary.text() == "3 nuclei, median 200 px²"
    editors["min_area"].set(50)
    editors["max_area"].set(300)
    panel.show_limits()
    low, high = panel.histogram.handles.values()
    assert (low.value(), high.value()) == (50, 300)
    panel.show_areas(np.array([200]), 0.5)
    assert panel.summary.text() == "1 nucleus, median 50 µm²"
    assert (low.value(), high.value()) == (12.5, 75)
    panel.show_areas(np.array([200]), 0.5, 1_000_000)
    assert panel.summary.text() == "1 nucleus, median 50 µm², 4 per mm²"
    panel.clear()
    assert panel.summary.text() == "no nuclei yet"


def drag(histogram: Histogram, name: str, to: float) -> None:
    """Take a handle to a value by the left button."""
    (view,) = histogram.findChildren(QGraphicsView)
    viewport = view.viewport()
    handle = histogram.handles[name]
    box = handle.getViewBox()
    middle = sum(box.viewRange()[1]) / 3

    def at(value: float) -> QPointF:
        return QPointF(view.mapFromScene(box.mapViewToScene(QPointF(value, middle))))

    def send(kind: QEvent.Type, place: QPointF, buttons: Qt.MouseButton) -> None:
        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        button = none if kind == QEvent.Type.MouseMove else left
        event = QMouseEvent(
            kind,
            place,
            QPointF(viewport.mapToGlobal(place.toPoint())),
            button,
            buttons,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(viewport, event)
        QTest.qWait(20)  # pyqtgraph leaves out moves that follow at once

    places = [at(value) for value in np.linspace(handle.value(), to, 6)]
    send(QEvent.Type.MouseMove, places[0], Qt.MouseButton.NoButton)
    send(QEvent.Type.MouseButtonPress, places[0], Qt.MouseButton.LeftButton)
    for place in places[1:]:
        send(QEvent.Type.MouseMove, place, Qt.MouseButton.LeftButton)
    send(QEvent.Type.MouseButtonRelease, places[-1], Qt.MouseButton.NoButton)


@pytest.fixture
def segmented(viewer: Any, panel: Any, image: np.ndarray, wait: Callable[..., None]) -> Any:
    """A window with a panel that has made labels; its image has 0.5 µm a pixel."""
    viewer.window._qt_window.resize(1024, 700)
    viewer.window._qt_window.show()
    panel.run.stream_box.setChecked(False)  # live layers take as long as the run
    panel.segment(
        viewer.add_image(image, rgb=True, name="slide", scale=(0.5, 0.5), units=("um", "um"))
    )
    wait(lambda: not panel.session.is_busy and panel.objects.measurements.histogram.handles)
    return panel


def test_dragged_limits_redraw_the_nuclei(segmented: Any, wait: Callable[..., None]) -> None:
    objects = segmented.objects
    histogram, summary = objects.measurements.histogram, objects.measurements.summary
    labels = segmented.session.labels

    def report() -> Any:
        return labels.metadata[METADATA_KEY]["objects"]

    def counted() -> bool:
        count = len(areas_of(labels.data))
        return report()["count"] == count and summary.text().startswith(f"{count} nucle")

    wait(counted)
    assert "µm²" in summary.text()
    automatic = histogram.handles["low"].value()
    assert automatic == pytest.approx(report()["min_area"] / 4, abs=0.5)  # µm², and none of ours
    assert objects.min_area.text().startswith("auto")
    areas = np.sort(areas_of(labels.data))
    low, high = areas[[len(areas) // 3, -3]] / 4
    drag(histogram, "high", high)
    limit = segmented.editors["max_area"].get()
    assert limit == pytest.approx(high * 4, rel=0.1)
    wait(lambda: report()["max_area"] == limit)
    assert areas_of(labels.data).max() <= limit
    wait(counted)
    drag(histogram, "low", low)
    least = segmented.editors["min_area"].get()
    assert least == pytest.approx(low * 4, rel=0.2)
    wait(lambda: report()["min_area"] == least)
    wait(counted)
    assert segmented.editors["max_area"].get() == limit
    assert segmented.settings().changes().items() >= {"min_area": least, "max_area": limit}.items()
    drag(histogram, "high", histogram.handles["high"].bounds()[1] * 1.1)  # to the end
    assert segmented.editors["max_area"].get() is None
    assert objects.max_area.text() == "no limit"
    objects.min_area.setValue(objects.min_area.minimum())  # and by its field
    wait(lambda: histogram.handles["low"].value() == pytest.approx(automatic))


def test_the_count_follows_edits_and_their_undo(
    viewer: Any, segmented: Any, wait: Callable[..., None]
) -> None:
    summary, labels = segmented.objects.measurements.summary, segmented.session.labels
    before = len(areas_of(labels.data))
    wait(lambda: summary.text().startswith(f"{before} nuclei"))
    labels.data_setitem(np.nonzero(labels.data == 1), 0)
    wait(lambda: summary.text().startswith(f"{before - 1} nuclei"))
    labels.undo()
    wait(lambda: summary.text().startswith(f"{before} nuclei"))
    viewer.layers.remove(labels)
    wait(lambda: summary.text() == "no nuclei yet")


def test_the_first_nuclei_are_counted_while_it_learns(
    viewer: Any, panel: Any, image: np.ndarray, long: Any, wait: Callable[..., None]
) -> None:
    panel.show_settings(long.replace(batch_size=48))  # each step takes its time
    panel.segment(viewer.add_image(image, rgb=True, name="slide"))
    wait(lambda: "nuclei, median" in panel.objects.measurements.summary.text())
    assert panel.session.is_busy
    panel.session.stop(labels=False)
    wait(lambda: not panel.session.is_busy)

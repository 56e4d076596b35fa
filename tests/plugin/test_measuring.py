"""Measurements in the window: in the layer, in tables, in colours, and as conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

import napari_patchseg as ps
from napari_patchseg.plugin._colours import colours_of
from napari_patchseg.plugin._features import as_features, table_of
from napari_patchseg.plugin.layer_menu import find_panel

Wait = Callable[[Callable[[], Any]], None]


class Bench:
    """A shown window with the measured nuclei of a field of 0.5 µm a pixel."""

    def __init__(self, viewer: Any, settings: Any, wait: Wait) -> None:
        self.viewer, self.wait = viewer, wait
        self.field = ps.synthetic_field((128, 160), seed=1)[0]
        self.image = viewer.add_image(self.field, name="field", scale=(0.5, 0.5), units="um")
        self.panel = find_panel(viewer)
        self.panel.show_settings(settings)
        self.panel.run.stream_box.setChecked(False)
        self.session, self.measured = self.panel.session, self.panel.measurements
        self.shown = self.panel.objects.measurements
        self.panel.segment(self.image)
        self.rest()

    def rest(self) -> None:
        """Wait until all is measured that there is."""
        self.wait(lambda: not self.session.is_busy and self.session.labels is not None)
        QTest.qWait(150)
        self.wait(lambda: not self.session.is_relabelling and self.is_measured())
        QTest.qWait(50)

    def is_measured(self) -> bool:
        table = self.measured.table
        numbers, areas = np.unique(self.labels[self.labels > 0], return_counts=True)
        return table is not None and np.array_equal(
            table[["Label", "Area px^2"]].to_numpy(), np.stack([numbers, areas], 1)
        )

    @property
    def labels(self) -> Any:
        return self.session.labels.data

    def choose(self, header: str) -> None:
        chooser = self.shown.chooser
        assert chooser.findData(header) >= 0
        chooser.setCurrentIndex(chooser.findData(header))

    def at(self, number: int) -> QPoint:
        """Where a nucleus is on the canvas."""
        places = np.argwhere(self.labels == number)
        row, column = places[np.abs(places - places.mean(0)).sum(1).argmin()]
        canvas = self.viewer.window._qt_viewer.canvas
        transform = canvas.view.transform * canvas.view.scene.transform
        x, y = transform.map([column * 0.5, row * 0.5])[:2]
        return QPoint(round(x), round(y))

    def click(self, number: int) -> None:
        native = self.viewer.window._qt_viewer.canvas.native
        QTest.mouseMove(native, self.at(number))
        QTest.qWait(10)
        QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=self.at(number))
        QTest.mouseMove(native, self.at(number) + QPoint(1, -1))  # no hand is quite still
        QTest.qWait(10)
        QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=self.at(number))
        QTest.qWait(10)

    def circles(self) -> list[Any]:
        return [layer for layer in self.viewer.layers if layer.name.startswith("nucleus ")]


@pytest.fixture
def bench(make_napari_viewer: Any, quick: Any, wait: Wait) -> Bench:
    return Bench(make_napari_viewer(show=True), quick, wait)


def test_the_layer_holds_what_python_measures_and_follows_corrections(bench: Bench) -> None:
    def check() -> None:
        confidence = bench.session.run.shown_nuclei
        expected = ps.measure(bench.labels, bench.field, pixel_size=0.5, confidence=confidence)
        pd.testing.assert_frame_equal(bench.measured.table, expected)
        features = bench.session.labels.features
        for number in expected["Label"]:
            row = expected[expected["Label"] == number].iloc[0]
            shown = features.iloc[number]
            np.testing.assert_array_equal(shown.to_numpy(), row[shown.index].to_numpy())

    check()
    count = len(bench.measured.table)
    place = np.argwhere(bench.labels == 3)[4]
    from napari_patchseg.plugin._object_tools import Tool

    bench.session.hand._on_used(Tool.DELETE, [tuple(place.tolist())])
    bench.rest()
    assert len(bench.measured.table) == count - 1
    check()
    bench.session.hand.undo()
    bench.rest()
    check()


def test_columns_of_others_stay_with_their_nuclei(bench: Bench) -> None:
    layer, before = bench.session.labels, set(bench.measured.table["Label"])
    layer.features = layer.features.assign(grade=[f"g{row}" for row in range(len(layer.features))])
    bench.panel.objects.threshold.setValue(0.6)
    bench.rest()
    kept = [number for number in bench.measured.table["Label"] if number in before]
    assert kept
    assert layer.features["grade"].iloc[kept].tolist() == [f"g{number}" for number in kept]
    assert "Solidity" in layer.features


def test_what_changed_while_it_learnt_is_measured_afterwards(bench: Bench) -> None:
    bench.shown.table_button.click()
    bench.panel.show_settings(bench.panel.settings().replace(max_steps=100_000, batch_size=48))
    bench.panel.train()
    bench.wait(lambda: bench.session.run_state.step > 1)
    bench.session.stop()
    bench.wait(lambda: not bench.session.is_busy)
    bench.panel.make_labels()
    bench.rest()
    assert bench.measured._view.model.rowCount() == len(np.unique(bench.labels)) - 1


def test_a_class_chosen_by_hand_is_the_one_that_is_measured(bench: Bench) -> None:
    before = bench.session.run.shown_nuclei.copy()
    polarity = bench.panel.editors["nucleus_polarity"]
    polarity.set("inverted")
    polarity.changed.emit()
    bench.rest()
    np.testing.assert_allclose(bench.session.run.shown_nuclei, 1 - before, atol=1e-6)
    table = bench.measured.table
    assert len(table)
    assert table["Mean confidence"].mean() > 0.5


def test_a_region_is_measured_where_it_is(bench: Bench, wait: Wait) -> None:
    from napari_patchseg.plugin.layer_source import Region

    bench.viewer.add_shapes([np.array([[10, 20], [10, 70], [60, 70], [60, 20]]) / 1.0])
    region = bench.panel.image.region
    region.setCurrentIndex(region.findData(Region.RECTANGLE))
    bench.panel.image.choose(bench.image)
    bench.panel.segment()
    bench.rest()
    table = bench.measured.table
    for number, y, x in table[["Label", "Centroid Y px", "Centroid X px"]].to_numpy():
        np.testing.assert_allclose(np.argwhere(bench.labels == number).mean(0), (y, x))
    np.testing.assert_allclose(table["Centroid X µm"], table["Centroid X px"] / 2)


def test_a_row_finds_its_nucleus_and_a_nucleus_its_row(bench: Bench) -> None:
    bench.shown.table_button.click()
    table = bench.measured._view
    assert table.model.rowCount() == len(bench.measured.table)
    table.view.sortByColumn(table.model.names.index("Area µm^2"), Qt.SortOrder.DescendingOrder)
    largest = bench.measured.table.sort_values("Area px^2")["Label"].iloc[-1]
    table.view.selectRow(0)
    assert bench.session.labels.selected_label == largest
    assert len(bench.circles()) == 1
    bench.viewer.scene.camera.zoom *= 8  # most of the field is out of sight
    other = int(bench.measured.table["Label"].iloc[0])
    table.view.selectRow(table.model.row_of(other))
    centre = np.asarray(bench.viewer.scene.camera.center)[-2:]
    row = bench.measured.table.iloc[0]
    half = np.asarray(bench.viewer.canvas.size) / bench.viewer.scene.camera.zoom / 2
    assert (abs(centre - [row["Centroid Y µm"], row["Centroid X µm"]]) <= half).all()
    bench.viewer.reset_view()
    QTest.qWait(50)
    bench.click(5)
    assert table.view.currentIndex().row() == table.model.row_of(5)
    assert bench.session.labels.selected_label == 5
    table.view.selectRow(2)
    table.copy()
    lines = QApplication.clipboard().text().splitlines()
    assert len(lines) == len(bench.measured.table) + 1
    assert lines[0].split("\t")[0] == "Label"
    assert float(lines[1].split("\t")[lines[0].split("\t").index("Area µm^2")]) == pytest.approx(
        bench.measured.table["Area µm^2"].max()
    )


def test_naparis_own_table_goes_both_ways(bench: Bench) -> None:
    _, widget = bench.viewer.window.add_plugin_dock_widget("napari", "Features table widget")
    bench.viewer.layers.selection.active = bench.session.labels
    QTest.qWait(100)
    from qtpy.QtWidgets import QTableView

    view = widget.findChildren(QTableView)[0]
    view.selectRow(6)
    QTest.qWait(50)
    assert bench.session.labels.selected_label == 6
    assert len(bench.circles()) == 1
    bench.click(9)
    QTest.qWait(50)
    assert {index.row() for index in view.selectionModel().selectedRows()} == {9}


def test_where_another_image_is_shown_it_is_said_whose_nuclei_these_are(bench: Bench) -> None:
    bench.shown.table_button.click()
    count = len(bench.measured.table)
    assert bench.shown.summary.text().startswith(f"{count} nuclei")
    assert bench.measured._view.count.text() == f"field: {count} nuclei"
    other = bench.viewer.add_image(bench.field[::-1].copy(), name="other")
    bench.viewer.layers.selection.active = other
    assert bench.shown.summary.text().startswith(f"field: {count} nuclei")
    bench.viewer.layers.selection.active = bench.image
    assert bench.shown.summary.text().startswith(f"{count} nuclei")


def test_a_tool_in_use_takes_the_click(bench: Bench) -> None:
    from napari_patchseg.plugin._object_tools import Tool

    bench.session.hand.use(Tool.DELETE)
    before = bench.session.labels.selected_label
    bench.click(4)
    bench.rest()
    assert not (bench.labels == 4).any()
    assert bench.session.labels.selected_label == before


def test_colours_are_those_of_the_bars_and_go_again(bench: Bench) -> None:
    layer = bench.session.labels
    before = layer.colormap
    bench.choose("Haematoxylin OD mean")
    bench.shown.colour_box.setChecked(True)
    table = bench.measured.table.sort_values("Haematoxylin OD mean")
    pale, dark = (int(table["Label"].iloc[end]) for end in (0, -1))
    assert layer.get_color(pale)[1] < layer.get_color(dark)[1]  # from violet to yellow
    assert bench.shown.histogram._bars.opts["brushes"] is not None
    bench.choose("Area µm^2")
    sizes = bench.measured.table.sort_values("Area px^2")["Label"]
    values = bench.measured.table.set_index("Label")["Area µm^2"]
    for number in sizes.iloc[[0, 5, -1]]:
        expected = colours_of(np.array([values[number]]), values.to_numpy())[0]
        np.testing.assert_allclose(layer.get_color(int(number)), expected, atol=0.01)
    grey = layer.get_color(int(sizes.max()) + 3)  # not measured yet
    np.testing.assert_allclose(grey, (0.5, 0.5, 0.5, 1))
    bench.shown.colour_box.setChecked(False)
    assert layer.colormap is before
    bench.shown.colour_box.setChecked(True)
    layer.data = layer.data.astype(np.uint32)
    layer.data_setitem((np.zeros(1, int), np.zeros(1, int)), 70_000)
    bench.rest()
    assert not bench.shown.colour_box.isChecked()  # and a sentence says why
    assert layer.colormap is before
    assert "Colours" in bench.panel.run.notice_label.text()


def test_limits_of_any_measurement_say_what_is_a_nucleus(bench: Bench) -> None:
    before, table = bench.labels.copy(), bench.measured.table
    bench.choose("Solidity")
    limit = float(f"{table['Solidity'].quantile(0.4):.3g}")
    bench.shown.histogram.moved.emit("low", limit)
    bench.rest()
    fit = table["Label"][table["Solidity"] >= limit]
    assert 0 < len(fit) < len(table)
    np.testing.assert_array_equal(bench.labels, np.where(np.isin(before, fit), before, 0))
    assert bench.panel.settings().objects.keep == f"Solidity >= {limit:g}"
    assert bench.shown.histogram.handles["low"].value() == limit
    bench.choose("Area µm^2")
    assert bench.shown.others.isVisibleTo(bench.panel)
    assert "Solidity" in bench.shown.others.text()
    assert f"keep='Solidity >= {limit:g}'" in bench.panel.script()
    bench.shown.others.linkActivated.emit("#")
    bench.rest()
    np.testing.assert_array_equal(bench.labels, before)
    assert not bench.shown.others.isVisibleTo(bench.panel)


def test_a_measurement_that_is_not_there_gets_a_sentence_and_nothing_is_lost(
    bench: Bench, told: list[str]
) -> None:
    before = bench.labels.copy()
    editor = bench.panel.editors["keep"]
    editor.widget.setText("Roundness >= 2")
    editor.widget.editingFinished.emit()
    bench.wait(lambda: any("there is no measurement" in text for text in told))
    np.testing.assert_array_equal(bench.labels, before)


@given(st.sets(st.integers(1, 60), max_size=30), st.booleans())
def test_rows_of_features_are_labels(numbers: set[int], far: bool) -> None:
    known = sorted(numbers | ({10**6} if far else set()))
    table = pd.DataFrame({"Label": np.array(known, int), "Area px^2": np.arange(len(known)) + 1.0})
    features = as_features(table)
    if len(known):
        pd.testing.assert_frame_equal(table_of(features).astype({"Area px^2": float}), table)
    if "index" in features:
        assert far
        assert features["index"].tolist() == known
    else:
        assert len(features) == max(known, default=0) + 1
        values = features["Area px^2"].to_numpy()
        np.testing.assert_array_equal(values[known], table["Area px^2"])
        assert np.isnan(np.delete(values, known)).all()

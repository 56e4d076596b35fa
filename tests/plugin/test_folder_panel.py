"""A folder of images in the panel: real clicks, worker and files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from qtpy.QtCore import QObject, Qt, QUrl, Slot
from qtpy.QtGui import QDesktopServices
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QMessageBox, QPushButton

from napari_patchseg.cli import main
from napari_patchseg.files.labels import read_labels
from napari_patchseg.plugin._folder_panel import FolderPanel
from napari_patchseg.plugin._folder_run import running_folder
from napari_patchseg.plugin.dock_widget import PatchSegWidget
from napari_patchseg.settings import Settings
from napari_patchseg.synthetic import synthetic_field

Wait = Callable[[Callable[[], Any]], None]

#: Of `quick`, in the panel and at the command line.
STEPS = 3


def field(path: Path, seed: int) -> None:
    image = synthetic_field((96, 112), seed=seed)[0]
    tifffile.imwrite(
        path, image, photometric="rgb", resolution=(40000, 40000), resolutionunit="CENTIMETER"
    )


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def click(button: QPushButton) -> None:
    assert button.isEnabled()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


@pytest.fixture
def fields(tmp_path: Path) -> Path:
    """A folder of three fields."""
    folder = tmp_path / "fields"
    folder.mkdir()
    for seed in range(3):
        field(folder / f"{seed}.tif", seed)
    return folder


@pytest.fixture
def results(fields: Path) -> Path:
    """Where results go by themselves."""
    return fields / "nuclei"


@pytest.fixture
def folder(
    viewer: Any, panel: PatchSegWidget, quick: Settings, fields: Path, wait: Wait
) -> Iterator[FolderPanel]:
    """The panel's part for folders, unfolded, with three fields chosen."""
    viewer.window._qt_window.resize(1024, 700)
    viewer.window._qt_window.show()
    panel.show_settings(quick.replace(max_steps=STEPS))
    click(panel.folds.buttons["Folder"])
    folder = panel.folder
    folder.images_field.setFocus()
    QTest.keyClicks(folder.images_field, str(fields))
    QTest.keyClick(folder.images_field, Qt.Key.Key_Return)
    yield folder
    folder.shutdown()
    wait(lambda: running_folder() is None)


def segment(folder: FolderPanel, wait: Wait) -> str:
    """Segment to the end; what is said then."""
    click(folder.start_button)
    wait(lambda: not folder.is_busy)
    return folder.state_label.text()


def rows(folder: FolderPanel) -> list[str]:
    return [folder.list.item(row).text() for row in range(folder.list.count())]


def command_line(fields: Path, results: Path, *options: str) -> None:
    quickly = ["--crop-size=64", "--batch-size=2", f"--max-steps={STEPS}", "--device=cpu"]
    call = ["segment", str(fields), "-o", str(results), "-q", *quickly, "--threads=1", *options]
    assert main(call) == 0


# -- all goes well


def test_what_fails_is_named_and_the_others_are_done(
    viewer: Any,
    folder: FolderPanel,
    fields: Path,
    results: Path,
    wait: Wait,
    told: list[str],
) -> None:
    (fields / "broken.tif").write_bytes((fields / "0.tif").read_bytes()[:3000])
    (fields / "empty.tif").touch()
    said = segment(folder, wait)
    assert said.startswith("3 of 5 images")
    assert "2 failed: broken.tif, empty.tif" in said
    assert any("broken.tif, empty.tif" in sentence for sentence in told)
    counts = [
        len(np.unique(read_labels(results / f"{seed}_nuclei.ome.tif").labels)) - 1
        for seed in range(3)
    ]
    assert f"{sum(counts)} nuclei" in said
    first, *_, broken, empty = rows(folder)
    assert first == f"✓ 0.tif: {counts[0]} nuclei"
    assert broken.startswith("✗ broken.tif")
    assert empty.startswith("✗ empty.tif")
    assert str(fields) not in broken + empty
    assert folder.images_bar.value() == folder.images_bar.maximum() == 5
    names = {path.name for path in results.iterdir()}
    assert {"summary.csv", "report.html", "2_nuclei.csv", "2_nuclei.ome.tif"} <= names
    folder.list.setCurrentRow(3)
    assert not folder.show_button.isEnabled()


def test_before_it_starts_the_images_are_seen(
    panel: PatchSegWidget, folder: FolderPanel, fields: Path, results: Path
) -> None:
    assert rows(folder) == ["0.tif", "1.tif", "2.tif"]
    assert folder.state_label.text() == "3 images."
    assert folder.results_field.text() == str(results)
    for button in (folder.stop_button, folder.show_button, folder.report_button):
        assert not button.isEnabled()
    for one in (folder.start_button, folder.list, folder.report_button):
        assert one.visibleRegion().boundingRect().height() == one.height()  # after scrolling
    for one in panel.findChildren(QPushButton):
        if one.isVisible():
            assert one.width() >= one.fontMetrics().horizontalAdvance(one.text()) + 4, one.text()


def test_folders_are_chosen_in_dialogs(
    folder: FolderPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    field(other / "a.tif", 0)
    answers = [str(other), str(tmp_path), ""]
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: answers.pop(0))
    click(folder.browse_buttons[0])
    assert (rows(folder), folder.results_field.text()) == (["a.tif"], str(other / "nuclei"))
    click(folder.browse_buttons[1])
    click(folder.browse_buttons[1])
    assert folder.results_field.text() == str(tmp_path)
    assert rows(folder) == ["a.tif"]


@pytest.mark.parametrize("train_on", ["each", "first"])
def test_results_are_those_of_the_command_line(
    folder: FolderPanel, fields: Path, results: Path, tmp_path: Path, wait: Wait, train_on: str
) -> None:
    other = tmp_path / "other"
    options = ["--formats", ",".join(folder.format_boxes)]
    options += ["--train-on", "first"] * (train_on == "first")
    command_line(fields, other, *options)
    for box in folder.format_boxes.values():
        if not box.isChecked():
            box.click()
    folder.train_combo.setCurrentIndex(train_on == "first")
    assert segment(folder, wait).startswith("3 of 3 images")
    assert len([path for path in results.iterdir() if "_nuclei." in path.name]) == 18
    assert contents(results) == contents(other)


def test_the_second_time_all_is_done(
    folder: FolderPanel, fields: Path, results: Path, wait: Wait
) -> None:
    segment(folder, wait)
    before = {path: path.stat().st_mtime_ns for path in results.glob("*_nuclei.*")}
    assert len(before) == 6
    said = segment(folder, wait)
    assert "3 done before" in said
    assert all(row.endswith("done before") for row in rows(folder))
    assert {path: path.stat().st_mtime_ns for path in results.glob("*_nuclei.*")} == before
    field(fields / "3.tif", 3)
    said = segment(folder, wait)
    assert said.startswith("4 of 4 images")
    assert "3 done before" in said
    folder.choose(str(fields))
    assert "There are results" in folder.state_label.text()
    assert rows(folder)[-1] == "3.tif"
    QTest.keyClicks(folder.results_field, "-2")
    QTest.keyClick(folder.results_field, Qt.Key.Key_Return)
    assert folder.state_label.text() == "4 images."


def test_the_report_is_opened(
    qtbot: Any, folder: FolderPanel, fields: Path, results: Path, wait: Wait
) -> None:
    class Browser(QObject):
        def __init__(self) -> None:
            super().__init__()
            self.opened: list[str] = []

        @Slot(QUrl)
        def open(self, url: QUrl) -> None:
            self.opened.append(url.toLocalFile())

    segment(folder, wait)
    browser = Browser()
    QDesktopServices.setUrlHandler("file", browser, "open")
    try:
        click(folder.report_button)
        click(folder.results_button)
    finally:
        QDesktopServices.unsetUrlHandler("file")
    assert browser.opened == [str(results / "report.html"), str(results)]


def test_results_are_shown_in_the_viewer(
    viewer: Any, folder: FolderPanel, results: Path, wait: Wait
) -> None:
    segment(folder, wait)
    view = folder.list.viewport()
    place = folder.list.visualItemRect(folder.list.item(1)).center()
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=place)
    QTest.mouseDClick(view, Qt.MouseButton.LeftButton, pos=place)
    wait(lambda: len(viewer.layers) == 2)
    image, labels = viewer.layers
    assert (image.name, labels.name) == ("1", "nuclei · 1")
    np.testing.assert_allclose(image.scale, 0.25)
    np.testing.assert_array_equal(labels.scale, image.scale)
    np.testing.assert_array_equal(labels.data, read_labels(results / "1_nuclei.ome.tif").labels)
    assert labels.contour > 0
    folder.list.setCurrentRow(2)
    click(folder.show_button)
    wait(lambda: len(viewer.layers) == 4)
    assert [layer.visible for layer in viewer.layers] == [False, False, True, True]
    wait(folder.show_button.isEnabled)
    folder.list.setCurrentRow(1)
    click(folder.show_button)
    assert [layer.visible for layer in viewer.layers] == [True, True, False, False]


def test_results_without_a_picture_of_them_show_the_image(
    viewer: Any, folder: FolderPanel, wait: Wait
) -> None:
    folder.format_boxes["ome.tif"].setChecked(False)
    segment(folder, wait)
    folder.list.setCurrentRow(0)
    click(folder.show_button)
    wait(lambda: len(viewer.layers) == 1)


# -- stopped, and other results


def test_stopped_it_goes_on_as_if_undisturbed(
    folder: FolderPanel, fields: Path, results: Path, tmp_path: Path, wait: Wait
) -> None:
    for seed in range(3, 6):
        field(fields / f"{seed}.tif", seed)
    click(folder.start_button)
    wait(lambda: folder.images_bar.value() >= 1)
    assert folder.results_button.isEnabled()
    click(folder.stop_button)
    assert folder.stop_button.text() == "Stopping…"
    assert not folder.stop_button.isEnabled()
    wait(lambda: not folder.is_busy)
    said = folder.state_label.text()
    done = len([row for row in rows(folder) if row.startswith("✓")])
    assert said.startswith(f"Stopped: {done} of 6 images")
    assert 1 <= done < 6
    assert len(list(results.glob("*.ome.tif"))) == done
    assert not (results / "report.html").exists()
    said = segment(folder, wait)
    assert said.startswith("6 of 6 images")
    assert f"{done} done before" in said
    command_line(fields, tmp_path / "whole", "--formats", "ome.tif,csv")
    assert contents(results) == contents(tmp_path / "whole")


def test_stopped_while_it_learns_it_leaves_nothing(
    panel: PatchSegWidget, folder: FolderPanel, results: Path, long: Settings, wait: Wait
) -> None:
    panel.show_settings(long.replace(stop_at_convergence=False))
    folder.train_combo.setCurrentText("the first image")
    click(folder.start_button)
    wait(lambda: folder.image_bar.value() >= 2)
    assert "model of 0.tif" in folder.state_label.text()
    click(folder.stop_button)
    wait(lambda: not folder.is_busy)
    assert folder.state_label.text().startswith("Stopped: 0 of 3 images")
    assert not results.exists()
    assert rows(folder) == ["0.tif", "1.tif", "2.tif"]


def test_results_of_other_settings_stay_until_that_is_asked_for(
    panel: PatchSegWidget,
    folder: FolderPanel,
    results: Path,
    quick: Settings,
    wait: Wait,
    told: list[str],
) -> None:
    segment(folder, wait)
    before = contents(results)
    panel.show_settings(quick.replace(max_steps=STEPS, seed=5))
    assert "other settings" in segment(folder, wait)
    assert "other settings" in told[-1]
    assert contents(results) == before
    assert rows(folder) == ["0.tif", "1.tif", "2.tif"]
    folder.overwrite_box.setChecked(True)
    assert segment(folder, wait).startswith("3 of 3 images")
    assert contents(results) != before
    assert not folder.overwrite_box.isChecked()


def test_a_full_disk_is_said(
    folder: FolderPanel, small_disk: Path, wait: Wait, told: list[str]
) -> None:
    (small_disk / "other").write_bytes(bytes(50 * 1024))
    folder.results_field.setText(str(small_disk / "out"))
    said = segment(folder, wait)
    assert said.startswith("0 of 3 images")
    assert "the disk is full" in said
    assert told[-1] == said
    assert [row[0] for row in rows(folder)] == ["✗", "1", "2"]


def test_of_many_that_fail_some_are_named(folder: FolderPanel, fields: Path, wait: Wait) -> None:
    for number in range(8):
        (fields / f"{number}.tif").write_text("text")
    said = segment(folder, wait)
    assert "8 failed: 0.tif, 1.tif, 2.tif, 3.tif, 4.tif and 3 more." in said
    assert len([row for row in rows(folder) if row.startswith("✗")]) == 8


def test_others_files_stay(folder: FolderPanel, fields: Path, results: Path, wait: Wait) -> None:
    results.mkdir()
    for name in ("summary.csv", "1_nuclei.csv"):
        (results / name).write_text("mine")
        assert "is there already" in segment(folder, wait)
        assert [path.read_text() for path in results.iterdir()] == ["mine"]
        (results / name).unlink()
    field(fields / "1_nuclei.png", 9)  # an image of that name
    folder.results_field.setText(str(fields))
    folder.format_boxes["png"].setChecked(True)
    folder.overwrite_box.setChecked(True)
    before = contents(fields)
    assert "is an image" in segment(folder, wait)
    assert contents(fields) == before


# -- wrong uses


def test_wrong_folders_get_a_sentence(
    folder: FolderPanel, fields: Path, results: Path, tmp_path: Path, wait: Wait, told: list[str]
) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "file").write_text("text")
    for images, where, words in (
        ("", results, "No folder of images"),
        (tmp_path / "gone", results, "cannot be read"),
        (tmp_path / "none", results, "There is no image in folder"),
        (tmp_path / "file", results, "cannot be read"),
        (fields, tmp_path / "file", "is not a folder"),
        (fields, tmp_path / "file" / "deeper", "is not a folder"),
        (fields, tmp_path / ("x" * 300), "cannot be made"),
    ):
        told.clear()
        folder.images_field.setText(str(images))
        folder.results_field.setText(str(where))
        assert words in segment(folder, wait)
        assert any(words in sentence for sentence in told)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fields", "file", "none"]
    assert not results.exists()


def test_what_cannot_be_is_said(
    panel: PatchSegWidget, folder: FolderPanel, fields: Path, quick: Settings, wait: Wait
) -> None:
    folder.train_combo.setCurrentText("no image: the model at hand")
    assert "no model yet" in segment(folder, wait)
    folder.train_combo.setCurrentText("each image")
    (fields / "0.png").write_bytes((fields / "0.tif").read_bytes())
    assert "0.png and 0.tif would both be written to 0_nuclei.ome.tif" in segment(folder, wait)
    (fields / "0.png").unlink()
    for box in folder.format_boxes.values():
        box.setChecked(False)
    assert "No kind of file" in segment(folder, wait)


def test_a_folder_of_results_is_none_of_images(
    folder: FolderPanel, results: Path, wait: Wait
) -> None:
    segment(folder, wait)
    folder.choose(str(results))
    assert "results of PatchSeg alone" in segment(folder, wait)
    assert not (results / "nuclei").exists()


# -- with a model


def test_the_model_at_hand_segments_a_folder(
    viewer: Any,
    panel: PatchSegWidget,
    folder: FolderPanel,
    fields: Path,
    results: Path,
    tmp_path: Path,
    wait: Wait,
) -> None:
    viewer.add_image(tifffile.imread(fields / "0.tif"), rgb=True)

    def train() -> None:
        click(panel.folds.buttons["Training"])
        click(panel.run.train_button)
        wait(lambda: panel.session.is_busy)
        wait(lambda: not panel.session.is_busy)

    train()
    folder.train_combo.setCurrentText("no image: the model at hand")
    assert segment(folder, wait).startswith("3 of 3 images")
    report = json.loads((results / "records" / "0_nuclei.json").read_text())["outcome"]["report"]
    assert report["model_file"] == "model.safetensors"
    assert "3 done before" in segment(folder, wait)
    panel.models.save(str(tmp_path / "liver.safetensors"))
    assert (results / "model.safetensors").read_bytes() == (
        tmp_path / "liver.safetensors"
    ).read_bytes()
    other = tmp_path / "other"
    command_line(
        fields,
        other,
        "--formats=ome.tif,csv",
        "--overwrite",
        f"--model={results / 'model.safetensors'}",
    )
    assert read_labels(other / "0_nuclei.ome.tif").labels.any()
    np.testing.assert_array_equal(
        read_labels(other / "0_nuclei.ome.tif").labels,
        read_labels(results / "0_nuclei.ome.tif").labels,
    )
    panel.show_settings(panel.settings().replace(seed=9))
    click(panel.folds.buttons["Training"])
    train()
    assert "another model" in segment(folder, wait)


# -- one after the other


def test_a_run_waits_for_the_folder(
    viewer: Any,
    panel: PatchSegWidget,
    folder: FolderPanel,
    long: Settings,
    image: np.ndarray,
    wait: Wait,
    told: list[str],
) -> None:
    layer = viewer.add_image(image, rgb=True)
    panel.show_settings(long)
    click(folder.start_button)
    wait(lambda: folder.image_bar.value() >= 1)
    panel.segment(layer)
    assert "'fields' are being segmented" in told[-1]
    assert not panel.session.is_busy
    assert panel.session.run is None
    click(folder.stop_button)
    wait(lambda: not folder.is_busy)
    panel.segment(layer)
    assert panel.session.is_busy


def test_a_folder_waits_for_the_run(
    viewer: Any,
    panel: PatchSegWidget,
    folder: FolderPanel,
    long: Settings,
    quick: Settings,
    image: np.ndarray,
    wait: Wait,
) -> None:
    layer = viewer.add_image(image, rgb=True, name="slide")
    panel.show_settings(long)
    panel.image.choose(layer)
    panel.train()  # Segment nuclei would end where it converges
    wait(lambda: panel.session.run_state.step > 1)
    panel.show_settings(quick.replace(max_steps=STEPS))
    click(folder.start_button)
    assert not folder.is_busy
    box = folder.findChild(QMessageBox, "stop_the_other_run")
    assert "'slide'" in box.text()
    assert "'fields'" in box.text()
    (button,) = (b for b in box.buttons() if b.text().replace("&", "") == "Stop it and start")
    click(button)
    wait(lambda: folder.is_busy)
    wait(lambda: not folder.is_busy)
    assert folder.state_label.text().startswith("3 of 3 images")


@pytest.mark.parametrize("answer", ["End it and close", "Keep the panel"])
def test_the_close_button_asks_before_a_folder_is_left(
    viewer: Any,
    panel: PatchSegWidget,
    folder: FolderPanel,
    long: Settings,
    wait: Wait,
    answer: str,
) -> None:
    panel.show_settings(long)
    click(folder.start_button)
    wait(lambda: folder.image_bar.value() >= 1)
    dock = panel.parentWidget()
    QTest.mouseClick(dock.titleBarWidget().close_button, Qt.MouseButton.LeftButton)
    box = panel.findChild(QMessageBox, "close_the_panel")
    assert "0 of 3 images" in box.text()
    (button,) = (b for b in box.buttons() if b.text().replace("&", "") == answer)
    click(button)
    if answer == "Keep the panel":
        before = folder.image_bar.value()
        wait(lambda: folder.image_bar.value() > before)
        assert folder.is_busy
    else:
        wait(lambda: panel not in viewer.window.dock_widgets.values())
        wait(lambda: running_folder() is None)


def test_it_is_seen_and_stopped_in_the_activity_dock(
    viewer: Any, panel: PatchSegWidget, folder: FolderPanel, long: Settings, wait: Wait
) -> None:
    from napari._qt.widgets.qt_progress_bar import QtLabeledProgressBar

    viewer.window._status_bar._toggle_activity_dock(True)
    panel.show_settings(long)
    click(folder.start_button)

    def lines() -> list[QtLabeledProgressBar]:
        return viewer.window._qt_window.findChildren(QtLabeledProgressBar)

    wait(lambda: any("fields: 0.tif" in line.description_label.text() for line in lines()))
    (line,) = lines()
    click(line.cancel_button)
    wait(lambda: not folder.is_busy)
    wait(lambda: not lines())


CLOSING = """
import sys, napari
from qtpy.QtWidgets import QApplication
from napari_patchseg.plugin.layer_menu import find_panel
viewer = napari.Viewer(show=False)
folder = find_panel(viewer).folder
folder.choose(sys.argv[1])
folder.start()
while folder.image_bar.value() < 1:
    QApplication.processEvents()
window = viewer.window._qt_window
viewer.close()
window.deleteLater()
for _ in range(20):
    QApplication.sendPostedEvents(None, 52)  # of deferred deletion
    QApplication.processEvents()
print("closed")
"""


def test_the_window_may_be_destroyed_meanwhile(
    fresh_python: Callable[..., Any], qapp: Any, fields: Path
) -> None:
    assert "closed" in fresh_python("-c", CLOSING, str(fields)).stdout
    assert not list(fields.rglob("*.part"))


def test_a_closed_window_ends_it(
    viewer: Any, panel: PatchSegWidget, folder: FolderPanel, long: Settings, wait: Wait
) -> None:
    panel.show_settings(long)
    click(folder.start_button)
    wait(lambda: folder.image_bar.value() >= 1)
    viewer.close()
    wait(lambda: running_folder() is None)


def test_what_holds_for_all_images_is_said(panel: PatchSegWidget, folder: FolderPanel) -> None:
    panel.folds.buttons["Folder"].setChecked(True)
    assert not folder.settings_label.isVisibleTo(panel)
    panel.editors["keep"].set("Solidity >= 0.8")
    panel.editors["keep"].changed.emit()
    assert "keep only Solidity >= 0.8" in folder.settings_label.text()
    assert folder.settings_label.isVisibleTo(panel)


def test_a_pixel_size_is_that_of_all_images(folder: FolderPanel, fields: Path, wait: Wait) -> None:
    folder.choose(str(fields))
    folder.results_field.setText("")  # as it says: a folder in it
    folder.pixel_size.setValue(0.5)
    segment(folder, wait)
    table = pd.read_csv(fields / "nuclei" / "summary.csv")
    known = table[table["Error"].isna()]
    assert len(known)
    np.testing.assert_allclose(known["Median area µm^2"], known["Median area px^2"] / 4)
    text = (fields / "nuclei" / "summary.csv").read_text(encoding="utf-8-sig")
    column = text.splitlines()[0].split(",").index("Nuclei")
    assert all("." not in line.split(",")[column] for line in text.splitlines()[1:])


def test_one_model_of_several_images_as_from_the_command_line(
    folder: FolderPanel, fields: Path, results: Path, tmp_path: Path, wait: Wait
) -> None:
    folder.train_combo.setCurrentText("the images chosen below")
    assert "No image to train on is chosen" in segment(folder, wait)
    for row in (0, 2):
        folder.list.item(row).setSelected(True)
    assert "3 of 3 images" in segment(folder, wait)
    other = tmp_path / "other"
    teachers = [f"--train-on={fields / name}" for name in ("0.tif", "2.tif")]
    command_line(fields, other, *teachers, "--formats=ome.tif,csv")
    assert contents(results) == contents(other)

"""Saving by the panel's buttons: nothing is replaced that the user was not asked about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_patchseg.plugin._results_panel import offered_name, with_ending
from napari_patchseg.plugin.dock_widget import PatchSegWidget

OME, PNG = "Labels, OME-TIFF (*.ome.tif *.tif *.tiff)", "Labels, 16-bit PNG (*.png)"


@pytest.fixture
def dialog(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Qt's dialogs with a user who types, picks a filter and answers; all of it is noted."""

    class Dialog:
        typed: Path
        picked = OME
        answer = QMessageBox.StandardButton.No
        starts: list[Path]
        questions: list[str]

        def __init__(self) -> None:
            self.starts, self.questions = [], []

        def save(self, *arguments: Any) -> tuple[str, str]:
            assert QFileDialog.Option.DontConfirmOverwrite in arguments[5]
            assert self.picked in arguments[3].split(";;")
            self.starts.append(Path(arguments[2]))
            return str(self.typed), self.picked

        def question(self, *arguments: Any) -> Any:
            self.questions.append(arguments[2])
            return self.answer

    dialog = Dialog()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", dialog.save)
    monkeypatch.setattr(QMessageBox, "question", dialog.question)
    return dialog


def save(panel: PatchSegWidget) -> None:
    button = panel.labels.save_button
    assert button.isEnabled()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("typed", "picked", "written"),
    [
        ("slide.v2", PNG, "slide.v2.png"),
        ("slide.v2", OME, "slide.v2.ome.tif"),
        ("slide", PNG, "slide.png"),
        ("slide 1.5 µm", OME, "slide 1.5 µm.ome.tif"),
        ("a.TIFF", PNG, "a.TIFF"),
        ("a.PNG", OME, "a.PNG"),
        ("a.jpg", OME, "a.jpg.ome.tif"),
    ],
)
def test_a_name_without_an_ending_gets_one_before_the_question(
    viewer: Any, panel: Any, dialog: Any, tmp_path: Path, typed: str, picked: str, written: str
) -> None:
    viewer.add_labels(np.eye(64, dtype=int), name="nuclei")
    dialog.typed, dialog.picked = tmp_path / typed, picked
    (tmp_path / written).write_bytes(b"old")
    save(panel)
    assert len(dialog.questions) == 1
    assert written in dialog.questions[0]
    assert (tmp_path / written).read_bytes() == b"old"
    dialog.answer = QMessageBox.StandardButton.Yes
    save(panel)
    assert (tmp_path / written).read_bytes() != b"old"
    (tmp_path / written).unlink()
    save(panel)
    assert len(dialog.questions) == 2  # nothing to ask about
    assert names(tmp_path) == [written]


def test_the_dialog_begins_beside_the_image(
    viewer: Any, panel: Any, dialog: Any, tmp_path: Path, image: np.ndarray, wait: Any
) -> None:
    from PIL import Image

    beside, elsewhere = tmp_path / "slides", tmp_path / "elsewhere"
    beside.mkdir()
    elsewhere.mkdir()
    Image.fromarray(image).save(beside / "a.png")
    (layer,) = viewer.open(str(beside / "a.png"), plugin="napari")
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    panel.session.labels.name = 'a/b: c?"<|>\n'
    dialog.typed = elsewhere / "x"
    save(panel)
    assert dialog.starts[-1] == beside / "a_b_ c______"
    viewer.add_labels(np.eye(64, dtype=int), name="mine")  # of no file: where we saved last
    save(panel)
    assert dialog.starts[-1] == elsewhere / "mine"
    assert names(elsewhere) == ["x.ome.tif"]
    dialog.picked, dialog.typed = "PatchSeg models (*.safetensors)", elsewhere / "m"
    QTest.mouseClick(panel.models.save_button, Qt.MouseButton.LeftButton)
    assert dialog.starts[-1].parent == beside


def test_save_says_what_it_saves_and_is_off_without_labels(
    viewer: Any, panel: Any, image: np.ndarray
) -> None:
    labels = panel.labels
    assert not labels.save_button.isEnabled()
    assert "no labels" in labels.saved_label.text()
    viewer.add_image(image, rgb=True, name="slide")
    assert not labels.save_button.isEnabled()
    first = viewer.add_labels(np.eye(64, dtype=int), name="first")
    assert labels.save_button.isEnabled()
    second = viewer.add_labels(np.eye(64, dtype=int), name="second")
    assert "'second'" in labels.save_button.toolTip()
    viewer.layers.selection.active = first
    first.name = "renamed"
    assert "'renamed'" in labels.save_button.toolTip()
    assert "renamed" in labels.saved_label.text()
    first.visible = False
    assert not labels.save_button.isEnabled()
    second.metadata["napari_patchseg"] = {"role": "nuclei"}  # as a run leaves them
    assert not first.visible
    second.visible = False
    second.visible = True
    assert "'second'" in labels.save_button.toolTip()  # what is seen, though not selected
    second.metadata.clear()
    first.visible = True
    viewer.layers.selection.active = viewer.layers["slide"]
    assert not labels.save_button.isEnabled()
    viewer.layers.remove(second)
    viewer.layers.selection.active = first
    assert labels.save_button.isEnabled()
    viewer.layers.remove(first)
    assert not labels.save_button.isEnabled()


def test_models_too(
    viewer: Any,
    panel: Any,
    dialog: Any,
    tmp_path: Path,
    image: np.ndarray,
    wait: Callable[..., None],
    told: list[str],
) -> None:
    panel.segment(viewer.add_image(image, rgb=True))
    wait(lambda: not panel.session.is_busy)
    dialog.picked = "PatchSeg models (*.safetensors)"
    dialog.typed, written = tmp_path / "model.v2", tmp_path / "model.v2.safetensors"
    written.write_bytes(b"old")
    QTest.mouseClick(panel.models.save_button, Qt.MouseButton.LeftButton)
    assert written.name in dialog.questions[0]
    panel.models.save(str(dialog.typed))
    assert "exists already" in told[-1]
    assert written.read_bytes() == b"old"
    dialog.answer = QMessageBox.StandardButton.Yes
    QTest.mouseClick(panel.models.save_button, Qt.MouseButton.LeftButton)
    assert written.read_bytes() != b"old"
    assert names(tmp_path) == [written.name]


def test_names_that_every_system_takes() -> None:
    for name, offered in (
        ("nuclei · TCGA-B0-5711", "nuclei · TCGA-B0-5711"),
        ("a\\b*c\td", "a_b_c_d"),
        ("..", "labels"),
        (" .x. ", "x"),
        ("", "labels"),
        ("con", "_con"),
        ("NUL.v2", "_NUL.v2"),
        ("console", "console"),
    ):
        assert offered_name(name) == offered
    assert len(offered_name("ä" * 300).encode()) <= 180
    assert with_ending("a.Png", (".png",), ".tif") == "a.Png"


def test_training_goes_on_from_the_model_at_hand(
    viewer: Any, panel: PatchSegWidget, image: np.ndarray, wait: Callable[..., None], tmp_path: Path
) -> None:
    layer = viewer.add_image(image, rgb=True, name="slide")
    assert not panel.models.start_box.isEnabled()
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    first = panel.models.model
    panel.models.save(str(tmp_path / "first.safetensors"))
    panel.models.start_box.setChecked(True)
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy and not panel.session.is_relabelling)
    assert panel.session.run.start is first
    assert panel.session.run.result.report.start_steps == first.steps
    script = panel.script()
    assert f"start=load_model({str(tmp_path / 'first.safetensors')!r})" in script
    there: dict[str, Any] = {}
    exec(script.replace("napari.current_viewer()", "viewer"), {"viewer": viewer}, there)
    labels = panel.session.labels
    np.testing.assert_array_equal(there["labels"] > 0, labels.data > 0)


@pytest.mark.parametrize(
    ("typed", "saved"),
    [
        ("nuclei · slide", "nuclei · slide.csv"),  # nothing but the kind was chosen
        ("mine.tif", "mine.tif"),
        ("mine", "mine.csv"),
    ],
)
def test_the_kind_that_is_chosen_counts(
    viewer: Any,
    panel: PatchSegWidget,
    image: np.ndarray,
    wait: Callable[..., None],
    tmp_path: Path,
    dialog: Any,
    typed: str,
    saved: str,
) -> None:
    panel.segment(viewer.add_image(image, rgb=True, name="slide"))
    wait(lambda: not panel.session.is_busy)
    dialog.typed, dialog.picked = tmp_path / typed, "Measurements for Excel and others, CSV (*.csv)"
    save(panel)
    assert names(tmp_path) == [saved]

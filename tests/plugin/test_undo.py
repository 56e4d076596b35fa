"""What there was before a run stays when it comes to nothing, and comes back when it is undone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QPushButton

from napari_patchseg.plugin._object_tools import Tool
from napari_patchseg.plugin._run import Phase, RunState
from napari_patchseg.plugin.layer_source import METADATA_KEY, Region
from napari_patchseg.settings import Settings

Wait = Callable[[Callable[[], Any]], None]


def click(button: QPushButton) -> None:
    assert button.isEnabled()
    QTest.mouseClick(button, Qt.MouseButton.LeftButton)


class Bench:
    """A panel whose image "slide" has labels, and what they are."""

    def __init__(self, viewer: Any, panel: Any, layer: Any, wait: Wait) -> None:
        self.viewer, self.panel, self.layer, self.wait = viewer, panel, layer, wait
        self.session, self.hand = panel.session, panel.session.hand
        self.undo_button = panel.hand.undo_button
        self.segment()
        self.labels = self.session.labels
        self.keep()

    def keep(self) -> None:
        """Note what there is now."""
        self.run, self.before = self.session.run, self.labels.data.copy()
        self.report = dict(self.labels.metadata[METADATA_KEY])
        self.model, self.message = self.panel.models.model, self.session.message
        self.script, self.map = self.panel.script(), self.shown_map()

    def shown_map(self) -> Any:
        return self.viewer.layers["confidence · slide"].data.copy()

    def end(self) -> None:
        self.wait(lambda: not self.session.is_busy and not self.session.is_relabelling)
        QTest.qWait(150)  # what begins a moment later
        self.wait(lambda: not self.session.is_busy and not self.session.is_relabelling)

    def segment(self, **changes: Any) -> None:
        if changes:
            self.panel.show_settings(self.panel.settings().replace(**changes))
        self.panel.image.choose(self.layer)
        click(self.panel.run.segment_button)
        self.end()

    def delete(self, number: int) -> tuple[int, int]:
        """Delete a nucleus with the tool; where it was."""
        places = np.argwhere(self.session.labels.data == number)
        row, column = places[np.abs(places - places.mean(0)).sum(1).argmin()]
        self.hand._on_used(Tool.DELETE, [(int(row), int(column))])
        self.end()
        return int(row), int(column)

    def undo(self, name: str = "segmentation") -> None:
        assert self.undo_button.text() == f"Undo {name}"
        click(self.undo_button)
        self.end()

    def nuclei(self) -> list[Any]:
        return [layer for layer in self.viewer.layers if layer.name.startswith("nuclei")]

    def shown_nuclei(self) -> list[Any]:
        return [layer for layer in self.nuclei() if layer.visible]

    def is_as_before(self) -> None:
        """Labels, report, model and script are those noted, and live."""
        assert self.session.run is self.run
        assert self.session.labels is self.labels
        assert self.labels.visible
        np.testing.assert_array_equal(self.labels.data, self.before)
        assert self.labels.metadata[METADATA_KEY] == self.report
        assert self.panel.models.model is self.model
        assert self.panel.script() == self.script
        np.testing.assert_allclose(self.shown_map(), self.map, atol=1e-6)
        found = (self.labels.data > 0).sum()
        self.panel.objects.threshold.setValue(0.2)
        self.wait(lambda: (self.labels.data > 0).sum() != found)
        self.end()


@pytest.fixture
def bench(viewer: Any, panel: Any, image: np.ndarray, wait: Wait) -> Bench:
    return Bench(viewer, panel, viewer.add_image(image.copy(), rgb=True, name="slide"), wait)


def test_the_first_run_has_nothing_before_it(bench: Bench) -> None:
    assert bench.undo_button.text() == "Undo"
    assert not bench.undo_button.isEnabled()


def test_another_segmentation_is_undone(bench: Bench) -> None:
    bench.segment(seed=1, max_steps=9, threshold=0.7)
    assert bench.session.labels is not bench.labels
    assert bench.panel.models.model is not bench.model
    second = bench.session.labels
    found = second.data.copy()
    assert len(bench.nuclei()) == 2
    bench.undo()
    assert bench.nuclei() == [bench.labels, second]  # once too often shall cost nothing
    assert not second.visible
    np.testing.assert_array_equal(second.data, found)
    assert bench.session.message == bench.message
    assert bench.panel.settings().objects == bench.run.objects
    bench.is_as_before()
    assert not bench.undo_button.isEnabled()
    bench.segment()  # and all goes on
    bench.undo()
    assert bench.session.labels is bench.labels


def test_keys_undo_a_segmentation(bench: Bench) -> None:
    window, canvas = bench.viewer.window, bench.viewer.window._qt_viewer.canvas.native
    window._qt_window.resize(1024, 700)
    window._qt_window.show()
    for key, modifier in (
        (Qt.Key.Key_U, Qt.KeyboardModifier.NoModifier),
        (Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier),
    ):
        bench.segment(seed=1)
        bench.viewer.layers.selection.active = bench.session.labels
        text = bench.undo_button.fontMetrics().horizontalAdvance(bench.undo_button.text())
        assert bench.undo_button.width() >= text + 4
        canvas.setFocus()
        QTest.keyClick(canvas, key, modifier)
        bench.end()
        assert bench.session.labels is bench.labels
    bench.is_as_before()


def test_training_is_undone(bench: Bench) -> None:
    click(bench.panel.run.train_button)
    bench.end()
    assert bench.panel.models.model is not bench.model
    click(bench.panel.labels.make_button)
    bench.end()
    assert bench.session.labels is not bench.labels
    bench.undo("training")
    assert bench.shown_nuclei() == [bench.labels]
    bench.is_as_before()


def test_a_run_that_is_stopped_at_once_leaves_what_was_there(bench: Bench, told: list[str]) -> None:
    bench.panel.show_settings(bench.panel.settings().replace(seed=1))
    click(bench.panel.run.segment_button)
    click(bench.panel.run.stop_button)
    bench.end()
    assert bench.session.state is Phase.STOPPED
    assert told[-1] == "Stopped before there were labels; those before stay."
    assert bench.nuclei() == [bench.labels]
    assert not bench.undo_button.isEnabled()
    bench.is_as_before()


def test_a_run_that_fails_leaves_what_was_there(bench: Bench, told: list[str]) -> None:
    import torch

    device = "mps" if torch.cuda.is_available() else "cuda"
    bench.segment(device=device)
    assert bench.session.state is Phase.FAILED
    assert device in told[-1]
    assert bench.nuclei() == [bench.labels]
    assert not bench.undo_button.isEnabled()
    assert bench.panel.settings().machine.device == device  # to be mended
    bench.is_as_before()


def test_hints_of_a_run_that_fails_are_not_lost(bench: Bench) -> None:
    import torch

    place = bench.delete(3)
    bench.keep()
    device = "mps" if torch.cuda.is_available() else "cuda"
    bench.panel.show_settings(bench.panel.settings().replace(device=device))
    click(bench.panel.run.segment_button)
    bench.hand.clear()
    bench.end()
    assert bench.session.state is Phase.FAILED
    assert bench.labels.data[place] > 0
    bench.undo("clear")
    assert bench.labels.data[place] == 0
    bench.undo("delete")
    assert bench.labels.data[place] == 3


def test_labels_stay_where_a_run_is_stopped_before_it_has_any(
    bench: Bench, quick_paper: Settings
) -> None:
    """What it learnt stays, too, until it is undone."""
    bench.panel.show_settings(quick_paper.replace(max_steps=100_000))
    click(bench.panel.run.segment_button)
    bench.wait(lambda: bench.session.run_state.step > 2 and len(bench.nuclei()) == 2)
    assert not bench.labels.visible

    def stop_again(state: RunState) -> None:  # as soon as it goes on with the labels
        if not state.hold:
            bench.session.stop()

    bench.session.state_changed.connect(stop_again)
    bench.session.stop()
    bench.end()
    bench.session.state_changed.disconnect(stop_again)
    assert bench.session.state is Phase.STOPPED
    assert bench.nuclei() == [bench.labels]
    assert bench.labels.visible
    np.testing.assert_array_equal(bench.labels.data, bench.before)
    learnt = bench.panel.models.model
    assert learnt is not bench.model
    assert learnt.steps > 2
    bench.undo()
    bench.is_as_before()


def test_labels_stay_where_the_image_changes_meanwhile(bench: Bench, long: Settings) -> None:
    bench.panel.show_settings(long)

    def paint_over(_event: object) -> None:
        if len(bench.nuclei()) == 2:  # the run has shown its first ones
            bench.layer.data[:40] = 255

    bench.viewer.layers.events.inserted.connect(paint_over)
    click(bench.panel.run.segment_button)
    bench.end()
    assert "changed" in bench.panel.run.notice_label.text()
    assert bench.nuclei() == [bench.labels]
    assert bench.labels.visible
    np.testing.assert_array_equal(bench.labels.data, bench.before)


def test_a_run_under_way_can_be_taken_back(bench: Bench, quick_paper: Settings) -> None:
    bench.panel.show_settings(quick_paper.replace(max_steps=100_000))
    click(bench.panel.run.segment_button)
    bench.wait(lambda: bench.session.run_state.step > 2 and len(bench.nuclei()) == 2)
    bench.undo()
    assert bench.nuclei() == [bench.labels]
    assert bench.session.message == bench.message
    bench.is_as_before()


def test_another_image_and_back(bench: Bench) -> None:
    slide, other = (
        bench.layer,
        bench.viewer.add_image(np.rot90(bench.layer.data), rgb=True, name="other"),
    )
    bench.layer = other
    bench.segment()
    assert bench.labels.visible
    np.testing.assert_array_equal(bench.labels.data, bench.before)
    bench.undo()
    assert bench.panel.image.layer is slide
    assert bench.shown_nuclei() == [bench.labels]
    bench.is_as_before()


def test_there_is_no_way_back_to_an_image_that_is_gone(bench: Bench) -> None:
    bench.layer, slide = (
        bench.viewer.add_image(np.rot90(bench.layer.data), rgb=True, name="other"),
        bench.layer,
    )
    bench.segment()
    labels, found = bench.session.labels, bench.session.labels.data.copy()
    bench.viewer.layers.remove(slide)
    assert not bench.undo_button.isEnabled()
    bench.hand.undo()
    assert bench.session.labels is labels
    np.testing.assert_array_equal(labels.data, found)


def test_nor_where_it_was_gone_before_the_next_run_began(bench: Bench) -> None:
    image = np.rot90(bench.layer.data)
    bench.viewer.layers.select_all()
    bench.viewer.layers.remove_selected()
    bench.layer = bench.viewer.add_image(image, rgb=True, name="other")
    bench.segment()
    assert bench.session.labels is not None
    assert not bench.undo_button.isEnabled()


def test_a_slider_moved_right_after_an_undo_counts(bench: Bench) -> None:
    bench.segment(seed=1)
    click(bench.undo_button)
    assert bench.session.is_busy  # its map is made anew
    bench.panel.objects.threshold.setValue(0.85)
    bench.end()
    assert bench.session.labels is bench.labels
    assert 0 < (bench.labels.data > 0).sum() < (bench.before > 0).sum()


def test_undo_goes_back_to_a_class_of_more(bench: Bench, quick_paper: Settings) -> None:
    shown = bench.panel.settings()
    bench.panel.show_settings(quick_paper.replace(classes=4, nucleus_class=3))
    bench.segment()
    bench.run = bench.session.run
    bench.panel.show_settings(shown)
    bench.segment()
    bench.undo()
    assert bench.panel.editors.objects.nucleus_class == 3
    assert bench.session.run is bench.run


def test_one_step_of_training_counts(bench: Bench) -> None:
    bench.panel.show_settings(bench.panel.settings().replace(seed=1, max_steps=1))
    click(bench.panel.run.train_button)
    bench.end()
    assert bench.session.run is not bench.run
    assert bench.undo_button.text() == "Undo training"


def test_an_image_that_fails_leaves_the_other_one(bench: Bench) -> None:
    bench.layer = bench.viewer.add_image(
        np.full((96, 96, 3), 255, np.uint8), rgb=True, name="white"
    )
    bench.segment()
    assert bench.session.state is Phase.FAILED
    assert bench.panel.models.model is bench.model
    bench.undo()
    bench.is_as_before()


def test_labels_edited_by_hand_come_back_and_go_nowhere(bench: Bench) -> None:
    bench.labels.paint((60, 60), 99)
    mine = bench.labels.data.copy()
    bench.segment(seed=1)
    second = bench.session.labels
    assert second is not bench.labels
    second.paint((70, 70), 98)
    others = second.data.copy()
    bench.undo()
    assert bench.session.labels is bench.labels
    assert bench.labels.visible
    np.testing.assert_array_equal(bench.labels.data, mine)
    assert not second.visible
    assert second in bench.viewer.layers
    np.testing.assert_array_equal(second.data, others)


def test_labels_that_were_deleted_are_written_anew(bench: Bench) -> None:
    bench.segment(seed=1)
    bench.viewer.layers.remove(bench.labels)
    bench.undo()
    assert bench.shown_nuclei() == [bench.session.labels]
    np.testing.assert_array_equal(bench.session.labels.data, bench.before)


@pytest.mark.parametrize("edited", [False, True])
def test_a_model_on_a_region_is_undone(bench: Bench, edited: bool) -> None:
    """It writes into the labels of the whole image."""
    bench.segment(seed=1)
    bench.labels = bench.session.labels
    bench.keep()
    model = bench.model
    bench.viewer.add_shapes([np.array([[10, 10], [10, 80], [90, 80], [90, 10]])])
    bench.panel.image.region.setCurrentIndex(bench.panel.image.region.findData(Region.RECTANGLE))
    bench.panel.objects.threshold.setValue(0.6)
    bench.end()
    bench.keep()
    bench.panel.image.choose(bench.layer)
    click_model = bench.panel.models.apply_button.click
    bench.panel.objects.threshold.setValue(0.8)
    click_model()
    bench.end()
    assert bench.session.labels is bench.labels
    assert (bench.labels.data != bench.before).any()
    if edited:
        bench.labels.paint((60, 60), 999)
        mine = bench.labels.data.copy()
    bench.undo()
    if edited:
        np.testing.assert_array_equal(bench.labels.data, mine)
        assert not bench.labels.visible
    made = bench.session.labels
    assert (made is bench.labels) != edited
    assert made.visible
    assert bench.panel.models.model is model


def test_corrections_and_runs_are_undone_in_the_order_of_time(bench: Bench) -> None:
    before = bench.before
    first = bench.delete(3)
    corrected = bench.labels.data.copy()
    bench.segment(seed=1)
    assert bench.session.labels.data[first] == 0
    second = bench.delete(int(bench.session.labels.data.max()))
    bench.undo("delete")
    assert bench.session.labels.data[second] > 0
    bench.undo()
    assert bench.session.labels is bench.labels
    np.testing.assert_array_equal(bench.labels.data, corrected)
    bench.undo("delete")
    np.testing.assert_array_equal(bench.labels.data, before)
    assert not bench.undo_button.isEnabled()


def test_one_earlier_run_is_held_without_its_maps(bench: Bench) -> None:
    first = weakref.ref(bench.run)
    bench.segment(seed=1)
    assert first().full is None
    assert first().pixels is None
    bench.run = None
    bench.segment(seed=2)
    gc.collect()
    assert first() is None
    bench.undo()
    assert not bench.undo_button.isEnabled()


def test_a_model_in_a_file_is_that_of_its_run(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    bench.panel.models.save(str(path))
    bench.panel.segment_with_model()
    bench.end()
    bench.labels = bench.session.labels
    bench.keep()
    assert repr(str(path)) in bench.script
    bench.segment(seed=1)
    assert bench.panel.models.path is None
    bench.undo()
    assert bench.panel.models.path == str(path)
    bench.is_as_before()


def test_a_loaded_model_stays_at_hand(bench: Bench, tmp_path: Path) -> None:
    """Until a run has another one."""
    path = tmp_path / "m.safetensors"
    bench.panel.models.save(str(path))
    bench.segment(seed=1)
    bench.panel.models.load(str(path))
    bench.wait(lambda: bench.panel.models.path == str(path))
    loaded = bench.panel.models.model
    bench.panel.objects.threshold.setValue(0.3)
    bench.end()
    assert bench.panel.models.model is loaded

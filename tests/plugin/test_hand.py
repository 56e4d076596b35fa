"""A user corrects by strokes, clicks and keys, and takes it back."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from scipy import ndimage as ndi

import napari_patchseg as ps
from napari_patchseg.corrections import Delete
from napari_patchseg.plugin._object_tools import Tool
from napari_patchseg.plugin.layer_menu import find_panel
from napari_patchseg.plugin.script import script_of


class Mouse:
    """On the canvas of a viewer, in the image's pixels."""

    def __init__(self, viewer):
        self.canvas = viewer.window._qt_viewer.canvas

    def _at(self, place):
        transform = self.canvas.view.transform * self.canvas.view.scene.transform
        x, y = transform.map([place[1], place[0]])[:2]
        return QPoint(round(x), round(y))

    def drag(self, *places):
        native, points = self.canvas.native, [self._at(place) for place in places]
        button, modifier = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mouseMove(native, points[0])
        QTest.qWait(10)
        QTest.mousePress(native, button, modifier, points[0])
        for point in points[1:]:
            QTest.mouseMove(native, point)
            QTest.qWait(10)
        QTest.mouseRelease(native, button, modifier, points[-1])
        QTest.qWait(10)

    def key(self, key, modifier=Qt.KeyboardModifier.NoModifier):
        self.canvas.native.setFocus()
        QTest.keyClick(self.canvas.native, key, modifier)


@pytest.fixture
def shown(make_napari_viewer, qtbot, wait, quick):
    """A shown viewer whose image was segmented, and what a user needs."""

    class Shown:
        pass

    here = Shown()
    here.viewer = make_napari_viewer(show=True)
    here.image = ps.synthetic_field((128, 160), seed=1)[0]
    here.layer = here.viewer.add_image(here.image, name="field")
    here.panel = find_panel(here.viewer)
    here.panel.show_settings(quick)
    here.session = here.panel.session
    here.panel.run.stream_box.setChecked(False)  # live layers take as long as the run
    here.hand = here.session.hand
    here.told = []
    here.session.told.connect(lambda text, _error: here.told.append(text))
    here.mouse = Mouse(here.viewer)

    def segment():
        here.panel.segment(here.layer)
        wait(lambda: not here.session.is_busy and here.session.labels is not None)
        rest()

    def rest():
        QTest.qWait(150)
        wait(lambda: not here.session.is_relabelling)
        QTest.qWait(20)

    def centre(number):
        places = np.argwhere(here.labels() == number)
        middle = np.abs(places - places.mean(0)).sum(1).argmin()
        return tuple(places[middle].tolist())

    here.segment, here.rest, here.centre, here.wait = segment, rest, centre, wait
    here.labels = lambda: here.session.labels.data.copy()
    segment()
    return here


def free_place(labels):
    """The pixel that is farthest from all nuclei and from the border."""
    depth = ndi.distance_transform_edt(np.pad(labels == 0, 1))[1:-1, 1:-1]
    return tuple(int(at) for at in np.unravel_index(depth.argmax(), depth.shape))


def test_a_click_deletes_and_undo_brings_back_the_same(shown):
    before, place = shown.labels(), shown.centre(5)
    shown.hand.use(Tool.DELETE)
    shown.mouse.drag(place)
    assert shown.labels()[place] == 0  # at once
    others = (before > 0) & (before != 5)
    np.testing.assert_array_equal(shown.labels()[others], before[others])
    shown.rest()
    assert shown.labels()[place] == 0
    assert shown.hand.undo_text == "Undo delete"
    shown.hand.undo()
    assert shown.labels()[place] == 5
    shown.rest()
    np.testing.assert_array_equal(shown.labels(), before)
    assert not shown.hand.can_undo


def test_strokes_merge_and_split_and_another_threshold_keeps_it(shown):
    a, b = shown.centre(2), shown.centre(3)
    shown.hand.use(Tool.MERGE)
    shown.mouse.drag(a, tuple(np.mean([a, b], 0)), b)
    assert shown.labels()[a] == shown.labels()[b] > 0
    shown.hand.use(Tool.SPLIT)
    labels = shown.labels()
    whole = set(np.unique(labels)) - {0, *labels[[0, -1]].ravel(), *labels[:, [0, -1]].ravel()}
    far = max(whole, key=lambda number: np.hypot(*np.subtract(shown.centre(number), a)))
    place = shown.centre(far)
    own = np.flatnonzero(shown.labels()[:, place[1]] == far)
    shown.mouse.drag(*[(row, place[1]) for row in range(own.min() - 2, own.max() + 3, 3)])
    assert shown.labels()[a] == shown.labels()[b]
    left, right = (shown.labels()[place[0], place[1] + side] for side in (-4, 4))
    assert left != right
    shown.panel.objects.threshold.setValue(0.4)
    shown.rest()
    assert shown.labels()[a] == shown.labels()[b] > 0
    left, right = (shown.labels()[place[0], place[1] + side] for side in (-4, 4))
    assert left != right


def test_a_click_adds_what_is_missing(shown):
    place = free_place(shown.labels())
    shown.hand.use(Tool.ADD)
    shown.mouse.drag(place)
    assert shown.labels()[place] > 0
    shown.rest()
    assert shown.labels()[place] > 0


def test_a_stroke_is_so_in_map_and_objects_and_ctrl_z_takes_it_back(shown):
    before, place = shown.labels(), free_place(shown.labels())
    shown.panel.run.stream_box.setChecked(True)
    shown.hand.paint(1)
    assert shown.hand.painting == 1
    shown.mouse.drag(place, (place[0] + 3, place[1] + 3))
    shown.rest()
    assert shown.labels()[place] > 0
    confidence = next(one for one in shown.viewer.layers if one.name.startswith("confidence"))
    assert confidence.data[place] > 0.9
    shown.mouse.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    shown.rest()
    np.testing.assert_array_equal(shown.labels(), before)
    assert confidence.data[place] < 0.9


def test_keys_act_where_the_cursor_is_and_ctrl_z_undoes(shown):
    before, place = shown.labels(), shown.centre(5)
    shown.viewer.mouse_over_canvas = True  # Qt tells it only of a real mouse
    shown.mouse.drag(place)  # Qt's test tells napari of no move without a button
    shown.mouse.key(Qt.Key.Key_D)
    assert shown.labels()[place] == 0
    shown.rest()
    shown.viewer.layers.selection.active = shown.session.labels
    shown.mouse.key(Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    shown.rest()
    np.testing.assert_array_equal(shown.labels(), before)
    shown.mouse.key(Qt.Key.Key_H)
    assert shown.hand.painting == 1
    shown.mouse.key(Qt.Key.Key_S)
    assert shown.hand.tool is Tool.SPLIT
    assert shown.hand.painting is None
    shown.mouse.key(Qt.Key.Key_C)
    assert shown.session.labels.contour == 0


def test_napari_lists_the_keys(shown):
    from napari.utils.action_manager import action_manager

    assert action_manager._shortcuts["napari-patchseg:delete_object"] == ["D"]


def test_erasing_a_stroke_takes_its_effect_back(shown):
    before, place = shown.labels(), shown.centre(4)
    shown.hand.paint(2)
    shown.mouse.drag(place, (place[0] + 2, place[1] + 2))
    shown.rest()
    assert shown.labels()[place] == 0
    shown.hand.paint(0)
    layer = shown.session.layers.hints
    layer.brush_size = 40
    shown.mouse.drag(place)
    shown.rest()
    assert not layer.data.any()
    assert (shown.labels() > 0)[before > 0].all()


def test_hints_and_edits_outlive_another_run(shown):
    place, missing = shown.centre(5), free_place(shown.labels())
    shown.hand.use(Tool.DELETE)
    shown.mouse.drag(place)
    shown.hand.paint(1)
    shown.mouse.drag(missing)
    shown.rest()
    shown.segment()
    assert shown.labels()[place] == 0
    assert shown.labels()[missing] > 0


def test_what_was_painted_before_training_counts_at_its_end(shown, wait):
    shown.panel.session.layers.make_hints(np.zeros(shown.labels().shape, np.uint8))
    missing = free_place(shown.labels())
    shown.panel.segment(shown.layer)
    shown.hand.paint(1)
    shown.mouse.drag(missing)
    wait(lambda: not shown.session.is_busy and shown.session.labels is not None)
    shown.rest()
    assert shown.labels()[missing] > 0


def test_a_saved_model_holds_what_hints_taught(shown, tmp_path):
    shown.hand.paint(2)
    shown.mouse.drag(shown.centre(4))
    shown.rest()
    model = shown.panel.models.model
    assert len(model.heads) == 1
    loaded = ps.load_model(ps.save_model(tmp_path / "m.safetensors", model))
    assert loaded.corrections == shown.hand.corrections


def test_report_and_script_tell_of_corrections(shown):
    shown.hand.use(Tool.DELETE)
    shown.mouse.drag(shown.centre(5))
    shown.rest()
    told = shown.session.labels.metadata["napari_patchseg"]
    assert told["corrections"]["edits"][0]["action"] == "delete"
    assert told["objects"]["count"] == len(np.unique(shown.labels())) - 1
    script = script_of(shown.session.run, told)
    names = {}
    exec(script, names)
    np.testing.assert_array_equal(names["labels"] > 0, shown.labels() > 0)


@pytest.mark.parametrize("ask", [lambda hand: hand.paint(1), lambda hand: hand.use(Tool.ADD)])
def test_without_an_image_there_is_a_sentence(make_napari_viewer, ask):
    panel = find_panel(make_napari_viewer())
    told = []
    panel.session.told.connect(lambda text, _error: told.append(text))
    ask(panel.session.hand)
    assert "Segment the image first" in told[0]


def test_misses_get_a_sentence_and_change_nothing(shown):
    before, empty = shown.labels(), free_place(shown.labels())
    for tool, path in (
        (Tool.DELETE, [empty]),
        (Tool.ADD, [shown.centre(5)]),
        (Tool.MERGE, [shown.centre(5), (shown.centre(5)[0] + 1, shown.centre(5)[1] + 6)]),
        (Tool.SPLIT, [empty, (empty[0], empty[1] + 5)]),
    ):
        shown.told.clear()
        shown.hand.use(tool)
        shown.mouse.drag(*path)
        assert len(shown.told) == 1, tool
    np.testing.assert_array_equal(shown.labels(), before)
    assert not shown.hand.can_undo


def test_in_the_3d_view_there_is_a_sentence(shown):
    shown.viewer.dims.ndisplay = 3
    shown.hand.use(Tool.DELETE)
    shown.hand.paint(1)
    assert len(shown.told) == 2
    assert shown.hand.tool is None


def test_other_values_than_hints_say_nothing_and_that_is_said(shown):
    before = shown.labels()
    shown.hand.paint(1)
    shown.session.layers.hints.selected_label = 7
    shown.mouse.drag(free_place(before))
    shown.rest()
    assert any("not nucleus" in text for text in shown.told)
    np.testing.assert_array_equal(shown.labels(), before)


def test_a_deleted_hints_layer_comes_back_with_its_hints(shown):
    place = free_place(shown.labels())
    shown.hand.paint(1)
    shown.mouse.drag(place)
    shown.rest()
    shown.viewer.layers.remove(shown.session.layers.hints)
    shown.rest()
    assert shown.labels()[place] > 0
    shown.hand.paint(1)
    assert shown.session.layers.hints.data[place] == 1


def test_edited_labels_are_the_users(shown):
    """After the brush, tools change them too, but nothing is written over."""
    layer = shown.session.labels
    layer.paint(free_place(layer.data), 90)
    place = shown.centre(5)
    shown.hand.use(Tool.DELETE)
    shown.mouse.drag(place)
    assert layer.data[place] == 0
    shown.panel.objects.threshold.setValue(0.4)
    shown.rest()
    assert 90 in layer.data
    assert layer.data[place] == 0


def test_clear_forgets_all_and_undo_remembers(shown):
    before, place = shown.labels(), shown.centre(5)
    shown.hand.use(Tool.DELETE)
    shown.mouse.drag(place)
    shown.rest()
    shown.hand.clear()
    shown.rest()
    assert not shown.hand.corrections
    np.testing.assert_array_equal(shown.labels() > 0, before > 0)
    shown.hand.undo()
    shown.rest()
    assert shown.labels()[place] == 0


_KILLED = """
import os, signal, sys
import numpy as np, napari
from qtpy.QtTest import QTest
import napari_patchseg as ps
from napari_patchseg.corrections import Corrections, Delete
from napari_patchseg.plugin.layer_menu import find_panel
from napari_patchseg.settings import Settings
QUICK = dict(crop_size=64, batch_size=2, max_steps=2, stop_at_convergence=False, threads=1)
viewer = napari.Viewer()
layer = viewer.add_image(ps.synthetic_field((128, 160), seed=1)[0], name="field")
panel = find_panel(viewer)
panel.show_settings(Settings.create(**QUICK))
panel.segment(layer)
session = panel.session
while session.is_busy or session.labels is None:
    QTest.qWait(20)
session.hand.paint(2)
session.layers.hints.data_setitem((np.array([40, 41]), np.array([50, 50])), 2)
while not session.hand.corrections:
    QTest.qWait(20)
QTest.qWait(1500)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_what_was_corrected_outlives_a_killed_process(make_napari_viewer, wait, quick):
    done = subprocess.run([sys.executable, "-c", _KILLED], env=os.environ, timeout=300, check=False)
    assert done.returncode == -9
    viewer = make_napari_viewer()
    layer = viewer.add_image(ps.synthetic_field((128, 160), seed=1)[0], name="field")
    panel = find_panel(viewer)
    panel.show_settings(quick)
    told = []
    panel.session.told.connect(lambda text, _error: told.append(text))
    panel.segment(layer)
    hand = panel.session.hand
    assert hand.offered is not None
    assert any("Restore" in text for text in told)
    wait(lambda: not panel.session.is_busy and panel.session.labels is not None)
    hand.restore()
    assert hand.corrections.not_nucleus == ((40, 50, 51), (41, 50, 51))
    assert panel.session.layers.hints.data[40, 50] == 2
    wait(lambda: not panel.session.is_relabelling)


def test_corrections_go_to_a_file_and_back(shown, tmp_path):
    corrections = ps.Corrections(
        shape=shown.labels().shape,
        edits=(Delete.of(np.nonzero(shown.labels() == 5)),),
    )
    path = ps.save_corrections(tmp_path / "by hand.json", corrections)
    assert json.loads(path.read_text())["format_version"] == 1
    shown.hand.load(path)
    shown.rest()
    assert not shown.labels()[np.nonzero(corrections.hints == 2)].any()
    shown.hand.save(tmp_path / "again.json")
    assert ps.load_corrections(tmp_path / "again.json") == corrections


def test_taking_the_brush_prepares_the_first_stroke_and_changes_nothing(shown):
    before, message = shown.labels(), shown.session.message
    shown.hand.paint(1)
    assert shown.session.is_relabelling
    shown.rest()
    np.testing.assert_array_equal(shown.labels(), before)
    assert shown.session.message == message
    shown.hand.paint(2)
    place = shown.centre(5)
    shown.mouse.drag(place, (place[0], place[1] + 2))  # while it is looked at whether all is there
    shown.rest()
    assert shown.labels()[place] == 0


def test_a_slider_does_not_wait_for_what_the_first_stroke_needs(shown):
    shown.hand.paint(1)
    QTest.qWait(20)
    assert shown.session.run._ground is None
    shown.panel.objects.threshold.setValue(0.8)
    shown.rest()
    assert shown.session.run._ground is None  # it was given up
    assert shown.session.labels.metadata["napari_patchseg"]["objects"]["threshold"] == 0.8
    place = shown.centre(5)
    shown.hand.paint(2)
    shown.mouse.drag(place, (place[0], place[1] + 2))
    shown.rest()
    assert shown.labels()[place] == 0


def test_a_stroke_that_is_undone_before_its_labels_came_leaves_nothing(shown):
    before = shown.labels()
    shown.hand.paint(2)
    shown.rest()
    place = shown.centre(5)
    shown.mouse.drag(place, (place[0], place[1] + 2))
    shown.wait(lambda: shown.hand.can_undo and shown.session.is_relabelling)
    shown.hand.undo()
    shown.rest()
    np.testing.assert_array_equal(shown.labels(), before)
    assert not shown.panel.models.model.heads


def test_a_run_on_another_image_leaves_labels_that_waited_for_what_hints_teach(shown):
    shown.hand.paint(2)
    shown.mouse.drag(shown.centre(5))
    shown.rest()
    other = shown.viewer.add_image(shown.image[::-1].copy(), name="other")
    shown.panel.segment(shown.layer)
    shown.wait(lambda: not shown.session.is_busy)
    shown.panel.segment(other)  # at once: the labels with hints are not there yet
    shown.wait(lambda: not shown.session.is_busy and shown.session.labels is not None)
    shown.rest()
    kept = [layer for layer in shown.viewer.layers if layer.name.startswith("nuclei · field")]
    assert len(kept) == 2  # of both runs
    assert not any(layer.metadata["napari_patchseg"].get("sketch") for layer in kept)


def test_what_a_model_knows_of_hints_stays_in_labels_made_anew(shown, tmp_path):
    shown.hand.paint(2)
    for number in (3, 5, 7):
        place = shown.centre(number)
        shown.mouse.drag(place, (place[0], place[1] + 2))
    shown.rest()
    path = tmp_path / "taught.safetensors"
    shown.panel.models.save(str(path))
    other = shown.viewer.add_image(ps.synthetic_field((128, 160), seed=4)[0], name="other")
    shown.panel.image.choose(other)
    shown.panel.segment_with_model()
    shown.wait(lambda: not shown.session.is_busy and shown.session.labels is not None)
    shown.rest()
    first = shown.labels()
    np.testing.assert_array_equal(first, ps.segment(other.data, model=ps.load_model(path)))
    threshold = shown.session.labels.metadata["napari_patchseg"]["objects"]["threshold"]
    shown.panel.objects.threshold.setValue(0.9)
    shown.rest()
    shown.panel.objects.threshold.setValue(threshold)
    shown.rest()
    np.testing.assert_array_equal(shown.labels() > 0, first > 0)

"""A user corrects while the network learns: it counts at once, and training just goes on."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from scipy import ndimage as ndi

import napari_patchseg as ps
from napari_patchseg.plugin._object_tools import Tool
from napari_patchseg.plugin._run import Phase
from napari_patchseg.plugin.layer_menu import find_panel


class Learning:
    """A shown viewer with a run that has no end in sight, and what a user does there."""

    def __init__(self, viewer, image, settings, wait):
        self.viewer, self.settings, self.wait = viewer, settings, wait
        self.layer = viewer.add_image(image, name="field")
        self.panel = find_panel(viewer)
        self.panel.show_settings(settings)
        self.session = self.panel.session
        self.hand = self.session.hand
        self.told = []
        self.session.told.connect(lambda text, _error: self.told.append(text))
        self.canvas = viewer.window._qt_viewer.canvas
        self.shown = []  # new labels layers, as they were first
        viewer.layers.events.inserted.connect(self._on_inserted)

    def _on_inserted(self, event):
        if event.value.name.startswith("nuclei"):
            self.shown.append(event.value.data.copy())

    def start(self, *, make_labels=True):
        source = self.panel.image.source(self.layer)
        self.session.start(source, self.settings, make_labels=make_labels)

    def learn(self):
        """Wait for some steps and a map more."""
        run = self.session.run
        steps, before = len(run.history), run.preview
        self.wait(lambda: len(run.history) > steps + 2 and run.preview is not before)

    def end(self):
        self.session.stop()
        self.wait(lambda: not self.session.is_busy and not self.session.is_relabelling)

    def drag(self, *places):
        transform = self.canvas.view.transform * self.canvas.view.scene.transform
        points = [QPoint(*map(round, transform.map([x, y])[:2])) for y, x in places]
        QTest.mouseMove(self.canvas.native, points[0])
        QTest.qWait(10)
        QTest.mousePress(self.canvas.native, Qt.MouseButton.LeftButton, pos=points[0])
        for point in points[1:]:
            QTest.mouseMove(self.canvas.native, point)
            QTest.qWait(10)
        QTest.mouseRelease(self.canvas.native, Qt.MouseButton.LeftButton, pos=points[-1])
        QTest.qWait(10)

    def undo(self):
        self.canvas.native.setFocus()
        QTest.keyClick(self.canvas.native, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)

    def paint(self, value, place):
        self.hand.paint(value)
        self.drag(place, (place[0] + 3, place[1] + 3))

    @property
    def labels(self):
        return self.session.labels.data

    def confidence(self, place):
        """What the live map shows at a pixel of the image."""
        layer = next(one for one in self.viewer.layers if one.name.startswith("confidence"))
        at = np.rint(layer.world_to_data(place)).astype(int)
        return layer.data[tuple(at)]

    def free(self):
        """The pixel that is farthest from all nuclei and from the border."""
        depth = ndi.distance_transform_edt(np.pad(self.labels == 0, 1))[1:-1, 1:-1]
        return tuple(int(at) for at in np.unravel_index(depth.argmax(), depth.shape))

    def nucleus(self):
        """The middle of the largest nucleus."""
        number = np.bincount(self.labels.ravel())[1:].argmax() + 1
        places = np.argwhere(self.labels == number)
        return tuple(places[np.abs(places - places.mean(0)).sum(1).argmin()].tolist())


@pytest.fixture
def learning(make_napari_viewer, wait, long):
    image = ps.synthetic_field((128, 160), seed=1)[0]
    here = Learning(make_napari_viewer(show=True), image, long, wait)
    here.start()
    wait(lambda: here.session.labels is not None and len(here.session.run.history) > 2)
    yield here
    if here.session.is_busy:
        here.session.shutdown()


def test_a_stroke_counts_at_once_and_training_goes_on(learning, wait):
    run, place = learning.session.run, learning.free()
    before = learning.confidence(place)
    learning.paint(1, place)
    wait(lambda: learning.labels[place] > 0 and learning.confidence(place) > 0.9 > before)
    number = learning.labels[place]
    learning.learn()
    assert learning.session.state is Phase.TRAINING
    assert learning.session.run is run
    assert run.trained is None
    assert learning.labels[place] == number
    assert "hints count at once" in learning.panel.run.state_label.text()
    learning.end()
    assert learning.labels[place] > 0
    assert learning.confidence(place) > 0.9
    assert len(run.reached.heads) == 1
    assert "hints" not in learning.session.message
    assert not learning.told


def test_erasing_and_ctrl_z_take_it_back_while_it_learns(learning, wait):
    gone, missing = learning.nucleus(), learning.free()
    learning.paint(2, gone)
    learning.paint(1, missing)
    wait(lambda: learning.labels[gone] == 0 and learning.labels[missing] > 0)
    learning.hand.paint(0)
    learning.session.layers.hints.brush_size = 20
    learning.drag(gone)
    wait(lambda: learning.labels[gone] > 0 and learning.confidence(gone) > 0.5)
    learning.undo()
    wait(lambda: learning.labels[gone] == 0 and learning.confidence(gone) < 0.1)
    learning.hand.undo()
    wait(lambda: learning.labels[missing] == 0)
    learning.hand.undo()
    wait(lambda: learning.labels[gone] > 0)
    assert not learning.hand.corrections
    learning.learn()
    assert learning.labels[gone] > 0
    assert "hints" not in learning.panel.run.state_label.text()


def test_corrected_objects_stay_so_while_it_learns(learning, wait):
    gone, missing = learning.nucleus(), learning.free()
    learning.hand.use(Tool.DELETE)
    learning.drag(gone)
    assert learning.labels[gone] == 0
    learning.hand.use(Tool.ADD)
    learning.drag(missing)
    assert learning.labels[missing] > 0
    learning.learn()
    assert learning.labels[gone] == 0
    assert learning.confidence(gone) < 0.1
    assert learning.labels[missing] > 0
    learning.viewer.layers.selection.active = learning.session.labels
    learning.undo()
    wait(lambda: learning.labels[missing] == 0)
    assert learning.labels[gone] == 0
    learning.undo()
    wait(lambda: learning.labels[gone] > 0)
    assert not learning.session.layers.is_edited
    assert learning.session.is_busy


def test_a_stroke_counts_in_a_pause(learning, wait):
    place = learning.free()
    learning.session.pause()
    wait(lambda: learning.session.state is Phase.PAUSED)
    steps = len(learning.session.run.history)
    learning.paint(1, place)
    wait(lambda: learning.labels[place] > 0)
    learning.undo()
    wait(lambda: learning.labels[place] == 0)
    assert learning.session.state is Phase.PAUSED
    assert len(learning.session.run.history) == steps
    learning.session.resume()
    learning.learn()


def test_hints_of_an_earlier_run_are_in_the_first_labels_of_the_next(learning, wait):
    missing, gone = learning.free(), learning.nucleus()
    learning.paint(1, missing)
    learning.paint(2, gone)
    wait(lambda: learning.labels[missing] > 0 and learning.labels[gone] == 0)
    learning.end()
    count = len(learning.shown)
    learning.start()
    wait(lambda: len(learning.shown) > count)
    assert learning.shown[-1][missing] > 0
    assert learning.shown[-1][gone] == 0
    learning.learn()
    assert learning.labels[missing] > 0


def test_hints_of_a_file_count_while_it_learns(learning, wait, tmp_path):
    place = learning.free()
    hints = np.zeros(learning.labels.shape, np.uint8)
    hints[place[0] - 4 : place[0] + 4, place[1] - 4 : place[1] + 4] = 1
    path = ps.save_corrections(tmp_path / "by hand.json", ps.Corrections.of_hints(hints))
    learning.hand.load(path)
    wait(lambda: learning.labels[place] > 0)
    learning.hand.undo()
    wait(lambda: learning.labels[place] == 0)


def test_a_deleted_or_renamed_hints_layer_changes_nothing(learning, wait):
    place, other = learning.free(), learning.nucleus()
    learning.paint(1, place)
    wait(lambda: learning.labels[place] > 0)
    learning.session.layers.hints.name = "mine"
    learning.paint(2, other)
    wait(lambda: learning.labels[other] == 0)
    assert sum(one.name.startswith("hints") for one in learning.viewer.layers) == 0
    learning.viewer.layers.remove(learning.session.layers.hints)
    learning.learn()
    assert learning.labels[place] > 0
    assert learning.labels[other] == 0
    learning.hand.paint(1)
    assert learning.session.layers.hints.data[other] == 2
    learning.end()
    assert learning.labels[place] > 0


def test_strokes_stay_in_the_3d_view(learning, wait):
    place = learning.free()
    learning.paint(1, place)
    wait(lambda: learning.labels[place] > 0)
    learning.viewer.dims.ndisplay = 3
    learning.drag(learning.nucleus(), (60, 60))  # the brush is still in the hand
    learning.learn()
    assert learning.labels[place] > 0
    learning.hand.paint(2)
    assert "leave 3-D" in learning.told[-1]
    learning.viewer.dims.ndisplay = 2
    learning.learn()
    assert learning.session.state is Phase.TRAINING
    assert learning.labels[place] > 0


def test_without_live_layers_strokes_count_at_the_end(learning, wait):
    place = learning.free()
    learning.panel.run.stream_box.setChecked(False)
    learning.paint(1, place)
    wait(lambda: "hints count at the end" in learning.panel.run.state_label.text())
    learning.end()
    assert learning.labels[place] > 0


def test_training_alone_ends_with_what_hints_taught(make_napari_viewer, wait, long):
    image = ps.synthetic_field((128, 160), seed=1)[0]
    here = Learning(make_napari_viewer(show=True), image, long, wait)
    here.start(make_labels=False)
    wait(lambda: len(here.session.run.history) > 2)
    here.paint(1, (60, 60))
    wait(lambda: here.confidence((60, 60)) > 0.9)
    here.session.make_labels()
    wait(lambda: here.session.labels is not None)
    assert here.labels[60, 60] > 0
    here.paint(2, (30, 30))
    wait(lambda: here.labels[30, 30] == 0 and here.confidence((30, 30)) < 0.1)
    assert here.session.is_busy
    here.viewer.layers.remove(here.session.labels)
    here.end()
    assert here.session.labels is None


def test_strokes_count_in_the_reduced_maps_of_large_images(make_napari_viewer, wait, long):
    image = ps.synthetic_field((640, 640), seed=2)[0]
    here = Learning(make_napari_viewer(show=True), image, long.replace(batch_size=1), wait)
    here.start()
    wait(lambda: here.session.labels is not None)
    assert here.session.run.preview.reduction > 1
    place, gone = here.free(), here.nucleus()
    here.paint(1, place)
    here.paint(2, gone)
    wait(lambda: here.labels[place] > 0 and here.labels[gone] == 0)
    assert here.confidence(place) > 0.9
    assert here.confidence(gone) < 0.1
    here.session.shutdown()


def test_micrometres_of_an_unknown_pixel_size_are_refused_and_the_run_goes_on(learning):
    learning.panel.image.unit.setCurrentText("µm")
    learning.panel.diameter.setValue(3)
    assert "pixel size" in learning.panel.run.notice_label.text()
    learning.learn()
    assert learning.session.state is Phase.TRAINING
    learning.panel.image.pixel_size.setValue(0.25)
    learning.panel.diameter.setValue(3.5)
    learning.learn()
    assert learning.session.run.objects.nucleus_diameter == 3.5
    assert learning.session.state is Phase.TRAINING

"""Take the pictures of docs/tour.md in a real window, walking the way of a user.

    xvfb-run -a -s '-screen 0 1600x1000x24' python tools/make_tour.py docs/images

What a picture is about is done with mouse and keyboard; samples are opened, and layers shown and
hidden, through napari's API. Pictures are reduced to a palette, to be small in the repository.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import napari
    from napari.layers import Labels
    from numpy.typing import NDArray
    from qtpy.QtCore import QPoint
    from qtpy.QtGui import QPixmap
    from qtpy.QtWidgets import QListView, QMainWindow, QWidget

PATIENCE = 300.0  # seconds until something that should come counts as missing
WINDOW = (1280, 880)
COLOURS = 200
OUTLINE = "#ffe600"
# thin, so the palette would lose them
LINES = ("#56b4e9", "#e69f00", "#cc79a7", "#2fd05b", "#d02fc0", OUTLINE)
PANELS = 330  # width of napari's own panels on the left


class Tour:
    """One window, and a hand on its mouse."""

    def __init__(self, folder: Path) -> None:
        import napari
        from qtpy.QtWidgets import QApplication, QMainWindow

        self.folder = folder
        self.viewer: napari.Viewer = napari.Viewer(title="napari")
        app = QApplication.instance()
        assert isinstance(app, QApplication)
        self.app = app
        self.window: QMainWindow = next(
            widget for widget in app.topLevelWidgets() if isinstance(widget, QMainWindow)
        )
        screen = app.primaryScreen()
        assert screen is not None
        self.screen = screen
        # At the bottom of the screen, so that no popup reaches below the picture.
        self.top = screen.geometry().height() - WINDOW[1]
        self.window.setGeometry(0, self.top, *WINDOW)
        self.rest(1)

    # -- waiting and looking

    def rest(self, seconds: float) -> None:
        """Let the window live for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.app.processEvents()
            time.sleep(0.01)

    def wait(self, until: Callable[[], object], what: str) -> None:
        end = time.monotonic() + PATIENCE
        while not until():
            if time.monotonic() > end:
                sys.exit(f"{what} did not come within {PATIENCE:.0f} s")
            self.rest(0.05)

    def shoot(self, name: str, left: int = 0, right: int = WINDOW[0]) -> None:
        """Write what is on the screen: popups and dialogs too."""
        picture: QPixmap = self.screen.grabWindow(0, left, self.top, right - left, WINDOW[1])
        path = self.folder / f"{name}.png"
        save_small(picture, path)
        print(f"{path}: {path.stat().st_size // 1024} kB")

    # -- the hand

    def layer_list(self) -> QListView:
        from qtpy.QtWidgets import QListView

        return next(
            view
            for view in self.window.findChildren(QListView)
            if type(view).__name__ == "QtLayerList"
        )

    def place_of(self, name: str) -> QPoint:
        """Where a layer is in the layer list."""
        view = self.layer_list()
        model = view.model()
        assert model is not None
        for row in range(model.rowCount()):
            index = model.index(row, 0)
            if index.data() == name:
                view.scrollTo(index)
                return view.visualRect(index).center()
        sys.exit(f"no layer {name!r}")

    def click(self, widget: QWidget, place: QPoint | None = None, *, right: bool = False) -> None:
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        button = Qt.MouseButton.RightButton if right else Qt.MouseButton.LeftButton
        place = place or QPoint(*_middle(widget))
        QTest.mouseMove(widget, place)  # a menu ignores a click where the mouse was before
        self.rest(0.1)
        QTest.mouseClick(widget, button, Qt.KeyboardModifier.NoModifier, place)

    def select(self, name: str) -> None:
        self.click(self.layer_list().viewport(), self.place_of(name))
        self.rest(0.3)

    def right_click(self, name: str, entry: str, picture: str | None = None) -> None:
        """Right-click a layer in the list, and an entry of the menu that opens."""
        from qtpy.QtCore import QTimer
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QMenu

        def pick() -> None:  # the menu has an event loop of its own
            menu = self.app.activePopupWidget()
            assert isinstance(menu, QMenu)
            action = next(action for action in menu.actions() if action.text() == entry)
            place = menu.actionGeometry(action).center()
            QTest.mouseMove(menu, place)
            self.rest(0.5)
            if picture is not None:
                self.shoot(picture, right=760)
            self.click(menu, place)

        self.select(name)
        QTimer.singleShot(1000, pick)
        self.click(self.layer_list().viewport(), self.place_of(name), right=True)
        self.rest(0.5)

    def find(self, kind: type[QWidget], text: str) -> QWidget:
        return next(
            widget
            for widget in self.window.findChildren(kind)
            if text in (getattr(widget, "text", str)(), widget.accessibleName())
        )

    def drag(self, slider: QWidget, start: float, end: float) -> None:
        """Drag a slider's handle between shares of its width."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest

        button, no_key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        width, middle = _middle(slider)
        places = [
            QPoint(round(2 * width * (start + (end - start) * step / 10)), middle)
            for step in range(11)
        ]
        QTest.mousePress(slider, button, no_key, places[0])
        for place in places:
            QTest.mouseMove(slider, place)
            self.rest(0.05)
        QTest.mouseRelease(slider, button, no_key, places[-1])

    def stroke(self, places: Sequence[NDArray[np.float64]]) -> None:
        """Press the left button over places of the world, one after the other."""
        from qtpy.QtCore import QPoint, Qt
        from qtpy.QtTest import QTest
        from qtpy.QtWidgets import QWidget

        canvas = next(
            widget
            for widget in self.window.findChildren(QWidget)
            if type(widget).__name__ == "CanvasBackendDesktop"
        )
        camera, size = self.viewer.scene.camera, np.array([canvas.height(), canvas.width()])
        points = []
        for place in places:
            row, column = (np.asarray(place) - camera.center[-2:]) * camera.zoom + size / 2
            points.append(QPoint(round(column), round(row)))
        button, no_key = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        QTest.mousePress(canvas, button, no_key, points[0])
        for point in points:
            QTest.mouseMove(canvas, point)
            self.rest(0.1)
        QTest.mouseRelease(canvas, button, no_key, points[-1])
        self.rest(0.3)

    def fit(self) -> None:
        """Press the house: the canvas has become narrower."""
        from qtpy.QtWidgets import QPushButton

        self.click(
            next(
                button
                for button in self.window.findChildren(QPushButton)
                if button.toolTip().startswith("Reset view")
            )
        )
        self.rest(0.3)


def _middle(widget: QWidget) -> tuple[int, int]:
    return widget.width() // 2, widget.height() // 2


def save_small(picture: QPixmap, path: Path) -> None:
    """Write a picture as PNG with a palette."""
    from PIL import Image

    picture.save(str(path), "PNG")
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    with_lines = Image.new("RGB", (image.width + 50, image.height))
    with_lines.paste(image)
    for row, colour in enumerate(LINES):
        with_lines.paste(colour, (image.width, 50 * row, image.width + 50, 50 * row + 50))
    small = image.quantize(palette=with_lines.quantize(COLOURS), dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def outline(labels: Labels) -> None:
    """Show labels as outlines of one colour that tissue has not."""
    from napari.utils import DirectLabelColormap

    labels.contour = 1
    labels.opacity = 1
    labels.colormap = DirectLabelColormap(color_dict={None: OUTLINE, 0: "transparent"})


def middle_of(labels: Labels, number: int) -> NDArray[np.float64]:
    """Where an object is in the world."""
    middle: NDArray[np.float64] = np.argwhere(labels.data == number).mean(0)
    return middle * labels.scale


def walk(tour: Tour, scratch: Path) -> None:
    from qtpy.QtCore import Qt, QTimer
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import (
        QCheckBox,
        QComboBox,
        QDockWidget,
        QFileDialog,
        QLineEdit,
        QPushButton,
        QTableView,
    )
    from superqt import QDoubleSlider

    viewer = tour.viewer
    layers = viewer.layers

    def is_final(name: str) -> bool:
        return name in layers and "sketch" not in layers[name].metadata["napari_patchseg"]

    viewer.open_sample("napari-patchseg", "synthetic")
    name = "synthetic H&E"
    tour.rest(1)
    tour.select(name)
    tour.right_click(name, "Segment nuclei", "tour-1-right-click")

    patches = f"positive patches · {name}"
    tour.wait(lambda: patches in layers and len(layers[patches].data), "a live layer")
    tour.fit()
    tour.click(tour.find(QPushButton, "Training ▸"))
    tour.rest(1)
    tour.shoot("tour-2-training")
    tour.click(tour.find(QPushButton, "Training ▾"))

    nuclei = f"nuclei · {name}"
    tour.wait(lambda: is_final(nuclei), "the labels")
    tour.rest(2)
    tour.shoot("tour-3-labels")

    outline(layers[nuclei])
    viewer.scene.camera.zoom *= 1.5
    before = layers[nuclei].data.copy()
    tour.drag(tour.find(QDoubleSlider, "threshold"), 0.5, 0.8)
    tour.wait(lambda: (layers[nuclei].data != before).any(), "redrawn labels")
    tour.rest(1.5)
    tour.shoot("tour-4-adjust", left=PANELS)

    labels = layers[nuclei]
    centre = np.array(viewer.scene.camera.center[-2:])
    distances = {
        number: np.hypot(*(middle_of(labels, number) - centre))
        for number in np.unique(labels.data)[1:]
    }
    near = sorted(distances, key=lambda number: distances[number])
    tour.click(tour.find(QPushButton, "delete"))
    tour.stroke([middle_of(labels, near[0])])
    tour.click(tour.find(QPushButton, "not nucleus"))
    stroke = middle_of(labels, near[3]) + labels.scale * np.array([[-6, -6], [6, 6]])
    count = len(np.unique(labels.data))
    tour.stroke(list(stroke))
    tour.wait(lambda: len(np.unique(labels.data)) != count, "corrected labels")
    tour.rest(2)
    tour.shoot("tour-5-correct", left=PANELS)

    tour.click(tour.find(QPushButton, "Table"))
    chooser = tour.find(QComboBox, "measurement")
    assert isinstance(chooser, QComboBox)
    chooser.setCurrentIndex(chooser.findData("Haematoxylin OD mean"))
    layers[nuclei].contour = 2
    tour.click(tour.find(QCheckBox, "colour"))
    tour.click(tour.find(QPushButton, "not nucleus"))  # the brush goes
    tour.fit()
    tour.select(nuclei)
    largest = int(np.bincount(labels.data.ravel())[1:].argmax()) + 1
    tour.stroke([middle_of(labels, largest)])  # a click
    table = tour.find(QTableView, "nuclei, measured")
    assert isinstance(table, QTableView)
    tour.click(table.viewport(), table.visualRect(table.currentIndex()).center())
    tour.rest(1)
    tour.shoot("tour-6-measure")
    tour.click(tour.find(QCheckBox, "colour"))
    for dock in tour.window.findChildren(QDockWidget):
        if dock.isAncestorOf(table):
            dock.close()

    def save() -> None:
        dialog = tour.app.activeModalWidget()
        assert isinstance(dialog, QFileDialog)
        dialog.setDirectory(str(scratch))
        dialog.setSidebarUrls([])
        dialog.resize(720, 420)
        place = dialog.findChild(QComboBox, "lookInCombo")
        assert place is not None
        place.hide()  # a temporary folder's path tells a reader nothing
        tour.rest(1)
        tour.shoot("tour-7-save", left=PANELS - 20, right=1040)
        QTest.keyClick(dialog.findChild(QLineEdit), Qt.Key.Key_Return)

    QTimer.singleShot(1000, save)
    tour.click(tour.find(QPushButton, "Save…"))
    tour.wait(lambda: list(scratch.glob("*.ome.tif")), "the saved file")

    for widget in tour.app.allWidgets():
        if type(widget).__name__ == "NapariQtNotification":
            widget.close()
    auto = tour.find(QDoubleSlider, "threshold").parentWidget().findChildren(QCheckBox)
    tour.click(next(box for box in auto if box.text() == "auto"))
    layers.select_all()
    layers.remove_selected()
    viewer.open_sample("napari-patchseg", "ihc")
    tour.rest(1)
    tour.right_click("IHC", "Segment nuclei")
    tour.fit()
    tour.wait(lambda: is_final("nuclei · IHC"), "the labels of the IHC section")
    outline(layers["nuclei · IHC"])
    viewer.scene.camera.zoom *= 1.5
    tour.rest(2)
    tour.shoot("tour-8-ihc", left=PANELS)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where the pictures go")
    folder: Path = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["XDG_CONFIG_HOME"] = scratch  # nobody's settings, and none left behind
        results = Path(scratch, "results")
        results.mkdir()
        tour = Tour(folder)
        walk(tour, results)
        tour.viewer.close()


if __name__ == "__main__":
    main()

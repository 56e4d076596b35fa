"""A user's first run, with the wheel, from napari's start to the file: one process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

#: What the other process runs. It calls napari and Qt alone, nothing of the plugin.
USER = r"""
import json
import sys
import time

import napari
from qtpy.QtCore import Qt, QTimer
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QListView, QMenu

NAME, TARGET = "synthetic H&E", sys.argv[1]
viewer = napari.Viewer(show=True)
image, *_ = viewer.open_sample("napari-patchseg", "synthetic")
app = QApplication.instance()
seen = {"entries": []}


def until(condition, what, seconds=600):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        QTest.qWait(50)


def click(widget, place, button):
    QTest.mouseMove(widget, place)
    QTest.qWait(100)
    QTest.mouseClick(widget, button, Qt.KeyboardModifier.NoModifier, place)


def layer_list():
    for view in app.allWidgets():
        if isinstance(view, QListView) and type(view).__name__ == "QtLayerList":
            return view


def place_of(name):
    view = layer_list()
    for row in range(view.model().rowCount()):
        index = view.model().index(row, 0)
        if index.data() == name:
            return view.visualRect(index).center()


def pick():  # inside the event loop of the menu
    menu = app.activePopupWidget()
    if not isinstance(menu, QMenu):
        QTimer.singleShot(200, pick)
        return
    shown = [action for action in menu.actions() if action.isVisible() and action.text()]
    seen["entries"] = [action.text() for action in shown]
    chosen = [action for action in shown if action.text() == "Segment nuclei"]
    if chosen:
        place = menu.actionGeometry(chosen[0]).center()
        QTest.mouseMove(menu, place)
        click(menu, place, Qt.MouseButton.LeftButton)
    else:
        menu.close()


def use():
    viewport = layer_list().viewport()
    until(lambda: viewport.isVisible() and place_of(NAME) is not None, "the layer list")
    click(viewport, place_of(NAME), Qt.MouseButton.LeftButton)
    QTest.qWait(300)
    assert set(viewer.layers.selection) == {image}
    QTimer.singleShot(500, pick)
    click(viewport, place_of(NAME), Qt.MouseButton.RightButton)
    assert "Segment nuclei" in seen["entries"], seen["entries"]
    def are_final():
        made = [layer for layer in viewer.layers if layer.name == f"nuclei · {NAME}"]
        return made and "sketch" not in made[0].metadata["napari_patchseg"]

    until(are_final, "the labels")
    labels = viewer.layers[f"nuclei · {NAME}"]
    seen["layers"] = [layer.name for layer in viewer.layers]
    seen["type"] = type(labels).__name__
    seen["count"] = int(labels.data.max())
    seen["shape"] = labels.data.shape
    seen["scale"] = [float(value) for value in labels.scale]
    seen["metadata"] = labels.metadata["napari_patchseg"]
    seen["saved"] = labels.save(TARGET)
    seen["package"] = sys.modules["napari_patchseg"].__file__
    viewer.close()


def run():
    try:
        use()
        print("SEEN " + json.dumps(seen), flush=True)
        app.quit()
    except BaseException:
        import traceback

        traceback.print_exc()
        app.exit(1)


QTimer.singleShot(500, run)
napari.run()
sys.exit(0 if "saved" in seen else 1)
"""


@pytest.fixture
def installed_wheel(built_wheel: Path, tmp_path: Path) -> Path:
    """The folder that the wheel is installed into, without its dependencies: those are here."""
    folder = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps"]
    subprocess.run(
        [*command, "--target", str(folder), str(built_wheel)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    return folder


def test_from_right_click_to_file(installed_wheel: Path, tmp_path: Path) -> None:
    import tifffile

    script, target = tmp_path / "user.py", tmp_path / "nuclei.ome.tif"
    script.write_text(USER, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script), str(target)],
        cwd=tmp_path,
        # before the checkout's own entry, whether that is a path or an import hook
        env={**os.environ, "PYTHONPATH": str(installed_wheel), "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("SEEN "))
    seen = json.loads(line.removeprefix("SEEN "))

    assert Path(seen["package"]).is_relative_to(installed_wheel)
    name = "synthetic H&E"
    assert {name, f"confidence · {name}", f"nuclei · {name}"} <= set(seen["layers"])
    assert {f"positive patches · {name}", f"negative patches · {name}"} <= set(seen["layers"])
    assert seen["type"] == "Labels"
    assert seen["shape"] == [512, 512]
    assert seen["scale"] == [0.25, 0.25]
    assert seen["count"] > 20
    metadata = seen["metadata"]
    assert metadata["settings"]["preset"] == "default"
    assert metadata["seed"] == metadata["settings"]["training"]["seed"] == 0
    assert {"napari-patchseg", "torch", "numpy"} <= set(metadata["versions"])
    assert metadata["steps"] >= 1
    assert metadata["stop_reason"] in ("converged", "step limit")
    assert metadata["objects"]["count"] == seen["count"]

    assert seen["saved"] == [str(target)]
    with tifffile.TiffFile(target) as tiff:
        assert tiff.asarray().max() == seen["count"]
        xml = tiff.ome_metadata
        numerator, denominator = tiff.pages[0].tags["XResolution"].value
    assert xml is not None
    pixels = tifffile.xml2dict(xml)["OME"]["Image"]["Pixels"]
    assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (0.25, "µm")
    assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeYUnit"]) == (0.25, "µm")
    assert round(numerator / denominator) == 40_000  # pixels per cm, for readers without OME

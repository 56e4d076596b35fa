"""The demo, without a window and with one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from math import nan
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageColor

from napari_patchseg.cli._demo import FILES, draw_curves
from napari_patchseg.files.images import read_image
from napari_patchseg.files.labels import read_report
from napari_patchseg.report import LOSS_COLOUR, NEGATIVE_COLOUR, POSITIVE_COLOUR, HistoryRow
from napari_patchseg.settings import FIELDS, Settings

#: The demo, with a look at the window at a moment, after which it ends.
WATCHED = """
import json, os, signal, sys
from qtpy.QtCore import QTimer
import napari
from napari_patchseg.cli import main

def look():
    viewer = napari.current_viewer()
    (dock,) = [w for w in viewer.window.dock_widgets.values()]
    panel = dock if hasattr(dock, "session") else dock.widget()
    session = panel.session
    if not ({moment}):
        return
    timer.stop()
    print([layer.name for layer in viewer.layers], session.state, flush=True)
    if session.labels is not None:
        print(viewer.layers[0].data.shape, int(session.labels.data.max()), session.message)
        report = session.labels.metadata["napari_patchseg"]
        print(json.dumps(report["settings"]), flush=True)
    QTimer.singleShot(1000, lambda: {end})  # later than settings are remembered

run = napari.run
def run_watched():
    global timer
    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(50)
    run()
napari.run = run_watched
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)


def test_without_a_display(cli, headless, quickly):
    done = cli("demo", "--size", "128", *quickly)
    assert done.code == 0, done.err
    assert "No window: " in done.err
    if sys.platform.startswith("linux"):
        assert "No window: there is no display. The results go to patchseg-demo." in done.err
    folder = Path("patchseg-demo")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    for name in FILES:
        assert f"wrote {folder / name}" in done.out
    labels = tifffile.imread(folder / "labels.ome.tif")
    assert labels.shape == (128, 128)
    assert labels.any()
    assert read_image(folder / "labels.ome.tif").pixel_size == pytest.approx(0.25)
    confidence = tifffile.imread(folder / "confidence.tif")
    assert (confidence.shape, confidence.dtype) == ((128, 128), np.float32)
    assert 0 <= confidence.min() < confidence.max() <= 1
    with Image.open(folder / "overlay.png") as overlay:
        assert (overlay.size, overlay.mode) == ((128, 128), "RGB")
    assert drawn(folder / "curves.png")
    report = json.loads((folder / "report.json").read_text())
    assert report["steps"] == 3
    assert report["objects"]["count"] == labels.max()
    assert f"Dice against the true nuclei {report['dice_against_truth']:.2f}" in done.out
    saved = read_report(folder / "labels.ome.tif")
    assert saved is not None
    assert saved["settings"] == report["settings"]


def drawn(path: Path) -> set[tuple[int, ...]]:
    """All colours of a PNG."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return set(map(tuple, np.asarray(image.convert("RGB")).reshape(-1, 3)))


def test_curves(tmp_path):
    path = tmp_path / "curves.png"
    draw_curves(
        path, [HistoryRow(step, 20 / step, 0.01 * step, 0.02 * step) for step in range(1, 30)]
    )
    colours = {ImageColor.getrgb(name) for name in (LOSS_COLOUR, POSITIVE_COLOUR, NEGATIVE_COLOUR)}
    assert colours <= drawn(path)
    draw_curves(path, [HistoryRow(1, nan, nan, 0.1), HistoryRow(2, 1.0, 0.1, nan)])  # with gaps
    assert drawn(path)
    draw_curves(path, ())
    assert ImageColor.getrgb(LOSS_COLOUR) not in drawn(path)
    assert "matplotlib.pyplot" not in sys.modules


def test_earlier_outputs_are_replaced_and_nothing_else(cli, quickly, tmp_path):
    folder = tmp_path / "mine"
    assert cli("demo", "--headless", "--output", folder, "--size", "128", *quickly).code == 0
    (folder / "notes.txt").write_text("mine")
    before = (folder / "report.json").read_text()
    done = cli("demo", "--headless", "--output", folder, "--size", "96", *quickly)
    assert done.code == 0
    assert "No window: as asked." in done.err
    assert (folder / "report.json").read_text() != before
    assert (folder / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["labels.ome.tif", "report.json", "overlay.png"])
def test_files_that_are_not_the_demos_stay(cli, quickly, tmp_path, name):
    (tmp_path / "patchseg-demo").mkdir()
    path = tmp_path / "patchseg-demo" / name
    path.write_text("[1]")
    done = cli("demo", "--headless", "--size", "128", *quickly)
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1].endswith(
        "is not of an earlier demo; choose another folder with --output."
    )
    assert [entry.name for entry in path.parent.iterdir()] == [name]
    assert path.read_text() == "[1]"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--output", ""], "--output is empty; name a folder."),
        (["--output", "file"], "file is a file, not a folder"),
        (["--output", "file/deep"], "file is a file, not a folder"),
        (["--size", "32"], "--size: it should be a number from 64 to 4096, not '32'."),
        (["--size", "big"], "--size: it should be a number from 64 to 4096, not 'big'."),
        (["--max-steps", "0"], "--max-steps: "),
    ],
)
def test_what_cannot_be(cli, quickly, tmp_path, arguments, sentence):
    (tmp_path / "file").touch()
    done = cli("demo", "--headless", *quickly, *arguments)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith(f"napari-patchseg: {sentence}")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_read_only_folder(cli, quickly, read_only):
    done = cli("demo", "--headless", "--output", read_only, *quickly)
    assert (done.code, done.out) == (2, "")
    assert "is read-only; choose another." in done.err


def test_without_matplotlib(tmp_path, quickly):
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from napari_patchseg.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--headless", *quickly],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 2
    assert "napari-patchseg[all]" in done.stderr
    assert not list(tmp_path.iterdir())  # said before the work, not after it


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"DISPLAY": ":987"}, "No window: Qt does not start ("),
        ({"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen"}, "(QT_QPA_PLATFORM=offscreen)"),
        ({"DISPLAY": ":0", "QT_QPA_PLATFORM": "nonsense"}, "No window: Qt does not start ("),
    ],
)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="displays as X has them")
def test_display_that_is_none(tmp_path, quickly, environment, sentence):
    """A display that is gone would end the whole process; the demo goes on without."""
    done = subprocess.run(
        [sys.executable, "-m", "napari_patchseg", "demo", "--size", "96", *quickly],
        cwd=tmp_path,
        env={**os.environ, "WAYLAND_DISPLAY": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert sentence in done.stderr
    assert (tmp_path / "patchseg-demo" / "labels.ome.tif").exists()


@pytest.fixture
def watched(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        pytest.skip("no X server")

    def call(moment: str, end: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        code = WATCHED.replace("{moment}", moment).replace("{end}", end)
        return subprocess.run(
            [sys.executable, "-c", code, "demo", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return call


def test_the_window_ends_with_nuclei(watched, quickly, tmp_path):
    """napari itself, the panel from the manifest, the options in it; no file is written."""
    done = watched(
        "not session.is_busy and session.labels is not None", "viewer.close()",
        "--size", "128", "--preset", "paper", "--seed", "3", "--threshold", "0,45",
        "--output", "folder", *quickly, "--nucleus-diameter", "20", "--set", "split-depth=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "--output is for the demo without a window" in done.stderr
    layers, result, settings = done.stdout.splitlines()
    assert "synthetic H&E" in layers
    assert "nuclei" in layers
    assert re.fullmatch(r"\(128, 128, 3\) [1-9]\d* .* nuclei", result)
    used = Settings.from_dict(json.loads(settings))
    assert used.preset == "paper"
    expected = {"weights": "random", "classes": 4, "crop_size": 96, "max_steps": 3, "seed": 3}
    expected |= {"threshold": 0.45, "nucleus_diameter": 20, "split_depth": 1, "threads": 1}
    assert {name: FIELDS[name].of(used) for name in expected} == expected
    assert not list(tmp_path.iterdir())
    remembered = Path(os.environ["XDG_CONFIG_HOME"], "napari-patchseg", "settings.json")
    assert not remembered.exists()  # the demo's settings are nobody's wishes


@pytest.mark.parametrize(
    ("end", "code"),
    [("viewer.close()", 0), ("os.kill(os.getpid(), signal.SIGINT)", 130)],
)
def test_ending_the_window_ends_the_run(watched, tmp_path, end, code):
    moment = "session.state == 'training'"
    done = watched(moment, end, "--max-steps", "100000", "--preset", "paper")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "synthetic H&E" in done.stdout
    assert "training" in done.stdout
    assert not list(tmp_path.iterdir())


def test_mistakes_open_no_window(watched):
    done = watched("True", "print('window')", "--preset=best", "--size=1", "--seed=x")
    assert (done.returncode, done.stdout) == (2, "")
    said = sorted(done.stderr.splitlines())
    options = ["--preset: ", "--seed: ", "--size: "]
    for line, option in zip(said, options, strict=True):
        assert line.startswith(f"napari-patchseg: {option}")


DISABLED = """
import sys
from napari.settings import get_settings
get_settings().plugins.disabled_plugins = {"napari-patchseg"}
from napari_patchseg.cli import main
sys.exit(main(["demo"]))
"""


def test_a_disabled_plugin_is_said(tmp_path):
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        pytest.skip("no X server")
    done = subprocess.run(
        [sys.executable, "-c", DISABLED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(
        "napari-patchseg: napari does not have the plugin napari-patchseg; enable it"
    )
    assert "Traceback" not in done.stderr

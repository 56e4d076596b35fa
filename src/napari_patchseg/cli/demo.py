"""napari-patchseg demo: the synthetic sample in napari, or its results in a folder."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import platformdirs
from PIL import Image
from scipy.spatial import distance
from skimage.segmentation import mark_boundaries
from skimage.util import img_as_ubyte

from napari_patchseg.errors import PatchSegError, SettingsError
from napari_patchseg.files.atomic import atomic_write
from napari_patchseg.files.curves import require_matplotlib, write_curves_png
from napari_patchseg.files.labels import write_confidence, write_labels
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.pipeline import run
from napari_patchseg.settings import Settings
from napari_patchseg.synthetic import synthetic_field

from .console import Console
from .interrupt import Interrupt
from .mistakes import Mistakes
from .outputs import Outputs, write_json
from .progress import follow, summary
from .values import settings_from

#: The demo's files; the report comes first and marks the folder as the demo's.
FILES = ("report.json", "labels.ome.tif", "confidence.tif", "overlay.png", "curves.png")
#: µm per pixel of the sample.
_PIXEL_SIZE = 0.25
#: Sides in pixels that the sample may have.
_SIDES = (64, 4096)
_PROBE = "from qtpy.QtWidgets import QApplication; QApplication([])"


def demo(args: argparse.Namespace, console: Console, interrupt: Interrupt) -> int:
    """Show the plugin at work.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    PatchSegError
        With a line for each mistake.
    """
    mistakes = Mistakes(args.mistakes)
    settings = settings_from(args, mistakes)
    size = mistakes.of(_side, args.size)
    if args.output is not None and not args.output.strip():
        mistakes.add("--output is empty; name a folder.")
    obstacle = "as asked" if args.headless else no_window()
    if obstacle is None:
        mistakes.end()
        assert settings is not None
        assert size is not None
        if args.output is not None:
            console.note("--output is for the demo without a window; save from the panel here.")
        _window(settings, size)
        return 0
    folder = Path(os.path.expanduser("patchseg-demo" if args.output is None else args.output))
    with Outputs(interrupt, mistakes, overwrite=True) as outputs:
        mistakes.of(require_matplotlib)
        _prepare(folder, outputs, mistakes)
        mistakes.end()
        assert settings is not None
        assert size is not None
        console.note(f"No window: {obstacle}. The results go to {folder}.")
        _headless(folder, settings, size, console, interrupt)
    return 0


def _side(text: str) -> int:
    if not text.isdecimal() or not _SIDES[0] <= int(text) <= _SIDES[1]:
        low, high = _SIDES
        raise SettingsError(f"--size: it should be a number from {low} to {high}, not {text!r}.")
    return int(text)


def no_window() -> str | None:
    """Why no window can be opened here; None if one can."""
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return "there is no display"
    platform = os.environ.get("QT_QPA_PLATFORM", "")
    if platform.startswith(("offscreen", "minimal")):
        return f"Qt is told to show none (QT_QPA_PLATFORM={platform})"
    try:
        platformdirs.user_cache_path("napari")
    except (KeyError, RuntimeError):
        return "napari needs a home folder, and this user has none"
    # Where a library or the display is missing Qt ends the process: let that be another one.
    try:
        probe = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "Qt does not start"
    if probe.returncode == 0:
        return None
    lines = [line for line in probe.stderr.splitlines() if line.strip()] or ["no reason given"]
    reason = lines[-1] if lines[0].startswith("Traceback") else lines[0]
    return f"Qt does not start ({reason.strip().rstrip('.')})"


def _window(settings: Settings, size: int) -> None:
    # By name: this side of the house does not know the plugin, napari does.
    napari = importlib.import_module("napari")
    viewer = napari.Viewer()
    try:
        image, *_ = viewer.open_sample("napari-patchseg", "synthetic", size=size)
    except KeyError as error:
        viewer.close()
        raise PatchSegError(
            "napari does not have the plugin napari-patchseg; enable it in Plugins > "
            "Install/Uninstall Plugins."
        ) from error
    viewer.layers.selection.active = image
    _, panel = viewer.window.add_plugin_dock_widget("napari-patchseg", "PatchSeg")
    panel.show_settings(settings)
    panel.segment(image)
    try:
        napari.run()
    except KeyboardInterrupt:
        viewer.close()  # ends the training
        raise


def _headless(
    folder: Path, settings: Settings, size: int, console: Console, interrupt: Interrupt
) -> None:
    start = time.perf_counter()
    image, truth = synthetic_field((size, size), seed=0, pixel_size=_PIXEL_SIZE)
    pixels = Pixels.from_array(image)
    console.note(f"synthetic sample: {pixels.description}; {_PIXEL_SIZE} µm per pixel")
    events = run(pixels, settings, pixel_size=_PIXEL_SIZE)
    done = follow(events, "synthetic sample", console, interrupt)
    labels = done.labels
    assert labels is not None
    dice = float(1 - distance.dice(truth.ravel() > 0, labels.ravel() > 0))
    made = done.report.took(total=time.perf_counter() - start)
    report = {"demo": True, "dice_against_truth": round(dice, 4), **made.to_dict()}
    pixel_size = (_PIXEL_SIZE, _PIXEL_SIZE)
    files = {name: folder / name for name in FILES}
    write_json(files["report.json"], report, overwrite=True)
    write_labels(
        files["labels.ome.tif"],
        labels,
        pixel_size=pixel_size,
        report=report,
        name="synthetic nuclei",
    )
    if done.confidence is None:
        del files["confidence.tif"]
    else:
        nuclei = done.confidence.nuclei
        write_confidence(files["confidence.tif"], nuclei, pixel_size=pixel_size, report=report)
    outlined = mark_boundaries(image, labels, color=(1, 0.9, 0), mode="inner")
    with atomic_write(files["overlay.png"]) as temporary:
        Image.fromarray(img_as_ubyte(outlined)).save(temporary, format="PNG")
    write_curves_png(files["curves.png"], done.history)
    for text in made.warnings:
        console.warn(text)
    console.result(f"synthetic sample: {summary(made)}; Dice against the true nuclei {dice:.2f}")
    for path in files.values():
        console.result(f"wrote {path}")


def _prepare(folder: Path, outputs: Outputs, mistakes: Mistakes) -> None:
    """Make the folder, and see that what is in it under our names is an earlier demo's."""
    if not outputs.make_folder(folder):
        return
    targets = [folder / name for name in FILES]
    there = [path for path in targets if path.exists() or path.is_symlink()]
    if there and not _is_demo_report(targets[0]):
        mistakes.add(f"{there[0]} is not of an earlier demo; choose another folder with --output.")
        return
    for path in targets:
        outputs.add(path, path.name)


def _is_demo_report(path: Path) -> bool:
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(report, dict) and report.get("demo") is True

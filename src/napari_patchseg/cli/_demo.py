"""napari-patchseg demo: the synthetic sample in napari, or its results in a folder."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import platformdirs
from PIL import Image
from scipy.spatial import distance
from skimage.segmentation import mark_boundaries
from skimage.util import img_as_ubyte

from napari_patchseg.errors import PatchSegError
from napari_patchseg.files.atomic import atomic_write
from napari_patchseg.files.labels import write_confidence, write_labels
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.pipeline import run
from napari_patchseg.report import LOSS_COLOUR, NEGATIVE_COLOUR, POSITIVE_COLOUR, HistoryRow
from napari_patchseg.settings import Settings
from napari_patchseg.synthetic import synthetic_field

from ._arguments import settings_from
from ._console import Console
from ._files import Outputs, write_json
from ._run import follow, summary

#: The demo's files; the report comes first and marks the folder as the demo's.
FILES = ("report.json", "labels.ome.tif", "confidence.tif", "overlay.png", "curves.png")
_PROBE = "from qtpy.QtWidgets import QApplication; QApplication([])"


def demo(args: argparse.Namespace, console: Console) -> int:
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
    settings = settings_from(args, console)
    if not args.size.isdecimal() or not 64 <= int(args.size) <= 4096:
        console.mistake(f"--size: it should be a number from 64 to 4096, not {args.size!r}.")
    if args.output is not None and not args.output.strip():
        console.mistake("--output is empty; name a folder.")
    obstacle = "as asked" if args.headless else no_window()
    if obstacle is None:
        console.check_mistakes()
        assert settings is not None
        if args.output is not None:
            console.note("--output is for the demo without a window; save from the panel here.")
        _window(settings, int(args.size))
        return 0
    folder = Path(os.path.expanduser("patchseg-demo" if args.output is None else args.output))
    with Outputs(console, overwrite=True) as outputs:
        if importlib.util.find_spec("matplotlib") is None:
            console.mistake(
                "matplotlib draws the curves and is not installed; "
                "install it with: pip install 'napari-patchseg[all]'."
            )
        _prepare(folder, outputs, console)
        console.check_mistakes()
        assert settings is not None
        console.note(f"No window: {obstacle}. The results go to {folder}.")
        _headless(folder, settings, int(args.size), console)
    return 0


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


def _headless(folder: Path, settings: Settings, size: int, console: Console) -> None:
    start = time.perf_counter()
    side = 0.25  # of a pixel, in µm
    image, truth = synthetic_field((size, size), seed=0, pixel_size=side)
    pixels = Pixels.from_array(image)
    console.note(f"synthetic sample: {pixels.description}; {side} µm per pixel")
    events = run(pixels, settings, pixel_size=side)
    done = follow(events, "synthetic sample", console)
    labels = done.labels
    assert labels is not None
    dice = float(1 - distance.dice(truth.ravel() > 0, labels.ravel() > 0))
    made = done.report.took(total=time.perf_counter() - start)
    report = {"demo": True, "dice_against_truth": round(dice, 4), **made.to_dict()}
    pixel_size = (side, side)
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
    draw_curves(files["curves.png"], done.history)
    for text in made.warnings:
        console.warn(text)
    console.result(f"synthetic sample: {summary(made)}; Dice against the true nuclei {dice:.2f}")
    for path in files.values():
        console.result(f"wrote {path}")


def draw_curves(path: Path, history: Sequence[HistoryRow]) -> None:
    """Draw the loss, and below it both separations, over the steps; NaN leaves a gap."""
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    steps, losses, positives, negatives = zip(*history, strict=True) if history else ((),) * 4
    above.plot(steps, losses, color=LOSS_COLOUR)
    above.set_ylabel("contrastive loss")
    below.plot(steps, positives, color=POSITIVE_COLOUR, label="positive–positive")
    below.plot(steps, negatives, color=NEGATIVE_COLOUR, label="positive–negative")
    below.set_ylabel("information separation")
    below.set_xlabel("step")
    below.xaxis.get_major_locator().set_params(integer=True)
    below.legend()
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png")


def _prepare(folder: Path, outputs: Outputs, console: Console) -> None:
    """Make the folder, and see that what is in it under our names is an earlier demo's."""
    if not outputs.make_folder(folder):
        return
    targets = [folder / name for name in FILES]
    there = [path for path in targets if path.exists() or path.is_symlink()]
    if there and not _is_demo_report(targets[0]):
        console.mistake(
            f"{there[0]} is not of an earlier demo; choose another folder with --output."
        )
        return
    for path in targets:
        outputs.add(path, path.name)


def _is_demo_report(path: Path) -> bool:
    try:
        return json.loads(path.read_text(encoding="utf-8"))["demo"] is True
    except (OSError, ValueError, TypeError, KeyError):
        return False

"""Section "scale" of the speed benchmark: what grows with the image, and what must not.

    python benchmarks/speed_scale.py [--json F]     this section alone, about four minutes

Images are a synthetic field of 1000x1000 repeated, uint8 RGB, in a memory map that is read by
region; confidence maps are those of the synthetic start on that field, repeated. Everything runs in
a fresh process of its own, whose peak of resident memory counts: pages of the memory map that were
read are part of it. Linux and macOS only.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

SMALL, LARGE = 1_000, 10_000
PACE = (1_000, 2_000, 4_000)
STEPS = 8
GIB = 2**30


# -- in a process of its own


def peak() -> int:
    """Peak of this process' resident memory in bytes."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


def image_of(folder: Path, size: int) -> Any:
    """A square image on disk, read by region."""
    path = folder / f"{size}.npy"
    if not path.exists():
        field = np.load(folder / "field.npy")
        image = np.lib.format.open_memmap(path, "w+", np.uint8, (size, size, 3))
        for row in range(0, size, len(field)):
            for column in range(0, size, len(field)):
                part = image[row : row + len(field), column : column + len(field)]
                part[...] = field[: part.shape[0], : part.shape[1]]
        image.flush()
    return np.load(path, mmap_mode="r")


def map_of(folder: Path, size: int) -> Any:
    """A confidence map (K, size, size) in memory."""
    small = np.load(folder / "confidence.npy")
    times = -(-size // small.shape[1])
    out = np.empty((len(small), size, size), np.float32)
    for row in range(times):
        for column in range(times):
            top, left = row * small.shape[1], column * small.shape[2]
            part = out[:, top : top + small.shape[1], left : left + small.shape[2]]
            part[...] = small[:, : part.shape[1], : part.shape[2]]
    return out


def training(folder: Path, size: int) -> dict[str, Any]:
    """A short training run with previews of the whole image, as the window has it."""
    from napari_patchseg import Settings
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.method.control import Control
    from napari_patchseg.method.events import Step
    from napari_patchseg.pipeline import run

    pixels = Pixels.from_array(image_of(folder, size))
    settings = Settings(max_steps=STEPS, stop_at_convergence=False)
    control = Control(previews=True)
    start, steps, previews = time.perf_counter(), [], 0
    for item in run(pixels, settings, control=control, make_labels=False):
        if isinstance(item, Step):
            previews += item.confidence is not None
            steps.append(item.elapsed)
            if item.model is not None:
                control.cancel()  # the prediction is measured by itself
    # Previews take up to a fifth of the time, so the median step has none.
    step = statistics.median(np.diff([0.0, *steps]).tolist())
    return {
        "peak": peak(),
        "outputs": 0,
        "seconds": time.perf_counter() - start,
        "seconds_a_step": step,
        "previews": previews,
    }


def model_of(settings: Any) -> Any:
    """The synthetic start, untrained."""
    from napari_patchseg.files.pretrained import pretrained_weights
    from napari_patchseg.method.model import Model

    return Model(pretrained_weights("stained"), 3, settings, 0, "step limit")


def prediction(folder: Path, size: int) -> dict[str, Any]:
    """All of an image with the start's weights, and the choice of the class."""
    from napari_patchseg import Settings
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.pipeline import resolve, run
    from napari_patchseg.report import Segmentation

    pixels = Pixels.from_array(image_of(folder, size))
    settings = resolve(Settings())
    *_, result = run(pixels, settings, model=model_of(settings), make_labels=False)
    assert isinstance(result, Segmentation)
    assert result.confidence is not None
    return {
        "peak": peak(),
        "outputs": result.confidence.data.nbytes,
        "seconds": result.report["seconds"]["predicting"],
    }


def instances(folder: Path, size: int) -> dict[str, Any]:
    """Objects of a whole map, the diameter being estimated."""
    from napari_patchseg import Settings
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.method.maps import ConfidenceMap, NucleusClass
    from napari_patchseg.objects import make_labels

    pixels = Pixels.from_array(image_of(folder, size))
    data = map_of(folder, size)
    box = (0, 0, size, size)
    made = ConfidenceMap(0, data, box, 1, NucleusClass(0, False, 1.0), "synthetic")
    start = time.perf_counter()
    labels, objects = make_labels(made, pixels, Settings())
    return {
        "seconds": time.perf_counter() - start,
        "peak": peak(),
        "outputs": data.nbytes + labels.nbytes,
        "count": objects["count"],
    }


def rethresholding(folder: Path, size: int) -> dict[str, Any]:
    """From new settings to labels and map, as the window's worker draws them."""
    from napari_patchseg import Settings
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.method.maps import ConfidenceMap, NucleusClass
    from napari_patchseg.plugin.label_maker import DrawRequest, draw
    from napari_patchseg.plugin.overlays import Canvas
    from napari_patchseg.plugin.worker import ShownClass

    pixels = Pixels.from_array(image_of(folder, size))
    box = (0, 0, size, size)
    made = ConfidenceMap(0, map_of(folder, size), box, 1, NucleusClass(0, False, 1.0), "synthetic")
    canvas = Canvas.of((size, size), box)
    seconds = []
    for threshold in (0.5, 0.4, 0.6, 0.45, 0.55):
        settings = Settings(threshold=threshold)
        request = DrawRequest(
            made, pixels, settings, None, canvas, ShownClass(settings), {}, labels=True
        )
        start = time.perf_counter()
        drawing = draw(request, 24.0)  # the diameter is estimated once an image
        seconds.append(time.perf_counter() - start)
        assert drawing.labels is not None
    return {"seconds": statistics.median(seconds), "worst": max(seconds)}


def prepare(folder: Path, size: int) -> dict[str, Any]:
    """The field, and the map of the start on it."""
    from napari_patchseg import Settings
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.pipeline import resolve, run
    from napari_patchseg.report import Segmentation
    from napari_patchseg.synthetic import synthetic_field

    field, truth = synthetic_field((size, size), seed=3)
    np.save(folder / "field.npy", field)
    settings = resolve(Settings())
    *_, result = run(
        Pixels.from_array(field), settings, model=model_of(settings), make_labels=False
    )
    assert isinstance(result, Segmentation)
    assert result.confidence is not None
    np.save(folder / "confidence.npy", result.confidence.data)
    return {"nuclei": int(truth.max())}


CHILDREN = {
    function.__name__: function
    for function in (prepare, training, prediction, instances, rethresholding)
}


# -- the section


def child(name: str, folder: Path, *numbers: int) -> dict[str, Any]:
    """A function of `CHILDREN` in a fresh process."""
    command = [sys.executable, __file__, "--child", name, str(folder), *map(str, numbers)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    return figures


def measure(_options: argparse.Namespace | None = None) -> dict[str, Any]:
    """Every figure of this section, JSON-ready."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures: dict[str, Any] = {"field": child("prepare", folder, SMALL)}
        for size in (*PACE, LARGE):
            image_of(folder, size)  # here, so that no child is charged for it
        for what in ("training", "prediction", "instances"):
            small, large = (child(what, folder, size) for size in (SMALL, LARGE))
            beyond = [one["peak"] - one["outputs"] for one in (small, large)]
            figures[what] = {"small": small, "large": large, "growth": beyond[1] - beyond[0]}
        for what in ("prediction", "instances"):
            figures[what]["pace"] = {str(size): child(what, folder, size) for size in PACE}
        figures["rethresholding"] = {
            str(size): child("rethresholding", folder, size) for size in (SMALL, 4_000)
        }
    return figures


def report(figures: dict[str, Any]) -> str:
    """The figures as markdown."""
    lines = [
        f"A synthetic field of {SMALL}x{SMALL} with {figures['field']['nuclei']} nuclei, repeated.",
        "",
        f"| memory, {SMALL}² to {LARGE}² | peak growth beyond the output arrays, GiB | at most |",
        "|---|---|---|",
    ]
    for what in ("training", "prediction", "instances"):
        growth = figures[what]["growth"] / GIB
        lines.append(f"| {what} | {growth:.2f} | 1.5 |")
    one, other = figures["training"]["small"], figures["training"]["large"]
    ratio = other["seconds_a_step"] / one["seconds_a_step"]
    training = (
        f"Training: {STEPS} steps with {one['previews']} and {other['previews']} previews; a step "
        f"takes {one['seconds_a_step']:.2f} s and {other['seconds_a_step']:.2f} s, ratio "
        f"{ratio:.2f}; all of it {one['seconds']:.1f} s and {other['seconds']:.1f} s."
    )
    lines += ["", training, "", "| image | prediction, s | to pixels | instances, s | to pixels |"]
    lines[-1] += " re-thresholding, s |"
    lines.append("|---" * 6 + "|")
    for size in (*PACE, LARGE):
        cells = [f"{size}²"]
        for what in ("prediction", "instances"):
            pace = figures[what]["pace"]
            seconds = pace.get(str(size), figures[what]["large"])["seconds"]
            linear = pace[str(PACE[0])]["seconds"] * (size / PACE[0]) ** 2
            cells += [f"{seconds:.2f}", f"{seconds / linear:.2f}"]
        again = figures["rethresholding"].get(str(size))
        cells.append("" if again is None else f"{again['seconds']:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    note = (
        "To pixels: growth of the time over that of the pixels, 1 is linear. Instances estimate "
        "the diameter, re-thresholding knows it."
    )
    return "\n".join([*lines, "", note])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, folder, *numbers = options.child
        print(json.dumps(CHILDREN[name](Path(folder), *map(int, numbers))))
        return
    figures = measure(options)
    print(report(figures))
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

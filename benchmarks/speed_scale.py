"""Section "scale" of `speed.py`: what grows with the image, and what must not.

Images are a synthetic field of 1000x1000 repeated, uint8 RGB, in a memory map that is read by
region. Everything runs in a fresh process of its own, whose peak of resident memory counts: pages
of the memory map that were read are part of it. Linux and macOS only; some six minutes.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import pretrained, segmented, short, table
from napari_patchseg import Pixels, Settings, synthetic_field
from napari_patchseg.method.events import Control, MapMade, Step
from napari_patchseg.pipeline import run

SIDES = (1_000, 2_000, 4_000, 10_000)
STEPS = 8
GIB = 2**30


def measure(_images: Path | None = None) -> dict[str, Any]:
    """Every figure of this section, JSON-ready."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        field, _ = synthetic_field((SIDES[0], SIDES[0]), seed=3)
        for side in SIDES:  # here, so that no child is charged for it
            out = np.lib.format.open_memmap(folder / f"{side}.npy", "w+", np.uint8, (side, side, 3))
            for row in range(0, side, len(field)):
                for column in range(0, side, len(field)):
                    out[row : row + len(field), column : column + len(field)] = field
            out.flush()
        return {
            what: {str(side): child(what, folder, side) for side in sides}
            for what, sides in (("training", (SIDES[0], SIDES[-1])), ("prediction", SIDES))
        }


def report(figures: Mapping[str, Any]) -> dict[str, str]:
    """Tables by name."""
    rows = []
    for side in map(str, SIDES):
        trained, predicted = figures["training"].get(side), figures["prediction"][side]
        memory = ["", ""]
        if side == str(SIDES[-1]):
            memory = [short(_growth(figures[what])) for what in ("training", "prediction")]
        step = f"{trained['step']:.2f}" if trained else ""
        seconds = [short(predicted[phase]) for phase in ("predicting", "labelling")]
        rows.append((side, step, *seconds, *memory))
    columns = ("side, px", "training step, s", "prediction, s", "objects, s")
    columns += ("memory of training, GiB", "memory of prediction and objects, GiB")
    return {"scale": table(columns, rows)}


def _growth(rows: Mapping[str, Mapping[str, float]]) -> float:
    """Of the peak beyond the output arrays, from the smallest to the largest image, in GiB."""
    small, large = (rows[str(side)] for side in (SIDES[0], SIDES[-1]))
    return (large["peak"] - large["outputs"] - small["peak"] + small["outputs"]) / GIB


def child(name: str, folder: Path, side: int) -> dict[str, Any]:
    """`training` or `prediction` in a fresh process."""
    command = [sys.executable, __file__, name, str(folder / f"{side}.npy")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    figures: dict[str, Any] = json.loads(output.splitlines()[-1])
    return figures


# -- in a process of its own


def peak() -> int:
    """Peak of this process' resident memory in bytes."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return usage if sys.platform == "darwin" else usage * 1024


def training(pixels: Pixels) -> dict[str, Any]:
    """A short training run with previews of the whole image, as the window has it."""
    settings = Settings.create(max_steps=STEPS, stop_at_convergence=False)
    control = Control(previews=True)
    seconds, start, maps = [], time.perf_counter(), 0
    for event in run(pixels, settings, control=control, make_labels=False):
        maps += isinstance(event, MapMade)
        if isinstance(event, Step):
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
            if event.step == STEPS:
                control.cancel()  # the prediction is measured by itself
    # Previews take up to a fifth of the time, so the median step has none.
    return {"peak": peak(), "outputs": 0, "step": statistics.median(seconds), "maps": maps}


def prediction(pixels: Pixels) -> dict[str, Any]:
    """All of an image with the pretrained weights, and its objects."""
    result = segmented(pixels, Settings(), pretrained())
    assert result.confidence is not None
    outputs = result.confidence.data.nbytes + result.labels.nbytes
    return {"peak": peak(), "outputs": outputs, **result.report.seconds}


if __name__ == "__main__":
    figures_of = {"training": training, "prediction": prediction}[sys.argv[1]]
    print(json.dumps(figures_of(Pixels.from_array(np.load(sys.argv[2], mmap_mode="r")))))

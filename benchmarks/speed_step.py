"""Section "step" of `speed.py`: a training step and prediction beside the plain formulation."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from common import Image, pretrained, segmented, table
from napari_patchseg import Pixels, Settings, synthetic_field
from napari_patchseg.method.events import Step
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.pipeline import run
from plain_step import PlainNetwork, PlainStep

THREADS, DISCARDED, COUNTED = 2, 3, 7
CROPS, SIDE = 10, 300

Call = Callable[[], float | None]


def measure(_images: Path | None = None) -> dict[str, Any]:
    torch.set_num_threads(THREADS)
    image = synthetic_field((1000, 1000))[0]
    return {
        "step": interleaved(training_steps(image)),
        "prediction": interleaved(predictions(image)),
        "importing": importing(),
    }


def report(figures: Mapping[str, Any]) -> dict[str, str]:
    """Tables by name."""
    rows = []
    for what in ("step", "prediction"):
        plain = figures[what]["plain formulation"]
        for name, seconds in figures[what].items():
            ratio = (
                f"{plain / seconds:.1f}" if "plain" not in name and "default" not in name else ""
            )
            rows.append((f"{what}: {name}", f"{seconds:.2f}", ratio))
    rows.append(("`import napari_patchseg`", f"{figures['importing']:.2f}", ""))
    return {"step": table(("", "s", "times faster than plain"), rows)}


def interleaved(calls: Mapping[str, Call]) -> dict[str, float]:
    """Median seconds of each call, taken in turns, the first rounds discarded.

    A call that returns a number has timed itself.
    """
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(DISCARDED + COUNTED):
        for name, call in calls.items():
            start = time.perf_counter()
            own = call()
            seconds[name].append(time.perf_counter() - start if own is None else own)
    return {name: statistics.median(taken[DISCARDED:]) for name, taken in seconds.items()}


def training_steps(image: Image) -> dict[str, Call]:
    """A step a call: of the plain formulation, of preset "paper" and of the default."""
    calls: dict[str, Call] = {"plain formulation": plain_steps(image)}
    for preset, precision in (("paper", None), ("paper", "float32"), ("default", None)):
        settings = Settings.create(
            preset,
            rescale="1",
            threads=THREADS,
            device="cpu",
            precision=precision,
            stop_at_convergence=False,
            max_steps=DISCARDED + COUNTED + 1,
        )
        calls[f"{preset}, {precision or 'automatic precision'}"] = steps_of(image, settings)
    return calls


def steps_of(image: Image, settings: Settings) -> Call:
    """Run on to the next step's event."""
    events = run(Pixels.from_array(image), settings, make_labels=False)

    def step() -> None:
        next(event for event in events if isinstance(event, Step))

    return step


def plain_steps(image: Image) -> Call:
    pixels = np.moveaxis(image, -1, 0).astype(np.float32) / 255
    random = np.random.default_rng(0)
    plain = PlainStep(ConfidenceNetwork(3, 4).state_dict())
    number = 0

    def crops() -> Iterator[Image]:
        for row, column in random.integers(0, len(image) - SIDE, (CROPS, 2)):
            yield pixels[:, row : row + SIDE, column : column + SIDE]

    def step() -> None:
        nonlocal number
        number += 1
        plain(torch.from_numpy(np.stack(list(crops()))), number)

    return step


def predictions(image: Image) -> dict[str, Call]:
    """Confidences of an image, without rescaling or test-time augmentation."""
    model, pixels = pretrained(), Pixels.from_array(image)
    plain = PlainNetwork(3, 2)
    plain.load_state_dict(dict(model.weights))
    plain.eval()

    def plainly() -> None:
        with torch.inference_mode():
            whole = torch.from_numpy(np.moveaxis(image, -1, 0)[None].astype(np.float32) / 255)
            plain(whole).sigmoid()

    calls: dict[str, Call] = {"plain formulation": plainly}
    for precision in (None, "float32"):
        settings = Settings.create(
            rescale="1",
            test_time_augmentation=1,
            threads=THREADS,
            device="cpu",
            precision=precision,
        )

        def predict(settings: Settings = settings) -> float:
            report = segmented(pixels, settings, model, make_labels=False).report
            return report.seconds["predicting"]

        calls[precision or "automatic precision"] = predict
    return calls


def importing(times: int = 5) -> float:
    """Median seconds of importing the package, in new processes."""
    code = (
        "import json, time; start = time.perf_counter(); import napari_patchseg; "
        "print(json.dumps(time.perf_counter() - start))"
    )
    command = [sys.executable, "-c", code]
    done = [
        subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
        for _ in range(times)
    ]
    return statistics.median(json.loads(one.stdout) for one in done)

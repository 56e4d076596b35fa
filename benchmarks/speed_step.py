"""Section "step" of `speed.py`: a training step, prediction, the choice of machine, importing."""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from napari_patchseg.files.pretrained import pretrained_weights
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method import hardware, trainer
from napari_patchseg.method.control import Control
from napari_patchseg.method.inference import input_scale, predict, prepare
from napari_patchseg.method.network import DILATIONS, WIDTH, ConfidenceNetwork
from napari_patchseg.method.source import PixelSource
from napari_patchseg.settings import Settings
from napari_patchseg.synthetic import synthetic_field
from plain_step import PlainNetwork, PlainStep

THREADS, DISCARDED, COUNTED = 2, 3, 7
TILES = (256, 512, 1024)
LAYOUTS = ("contiguous", "channels_last")

Call = Callable[[], object]


def measure(options: argparse.Namespace) -> dict[str, Any]:  # noqa: ARG001 - no options here
    choice = fresh(MEASURE)  # first: what it costs a process that has just started
    torch.set_num_threads(THREADS)
    source = Pixels.from_array(synthetic_field((1000, 1000))[0]).as_rgb()
    return {
        "choice": choice,
        "step": steps(source, choice),
        "prediction": prediction(source, choice),
        "importing": fresh(IMPORT),
        "discovery": fresh(DISCOVERY),
    }


def report(figures: Mapping[str, Any]) -> str:
    choice, step, found = figures["choice"], figures["step"], figures["prediction"]
    lines = [
        (
            f"Chosen for this machine in {choice['seconds']:.2f} s (a first process): "
            f"{choice['precision']} {choice['memory_format']}; without bfloat16 "
            f"{choice['float32_memory_format']}. "
            f"{THREADS} threads; medians of {COUNTED}, interleaved."
        ),
        "",
        "| training step | s | times faster than plain |",
        "|---|---|---|",
    ]
    plain = step["seconds"]["plain"]
    for name, seconds in step["seconds"].items():
        ratio = f"{plain / seconds:.2f}" if name != "plain" and "default" not in name else ""
        lines.append(f"| {name} | {seconds:.3f} | {ratio} |")
    lines += ["", "| phase of a step, ms | " + " | ".join(step["phases"]) + " |"]
    lines.append("|---" * (1 + len(step["phases"])) + "|")
    for phase in dict.fromkeys(name for row in step["phases"].values() for name in row):
        cells = [f"{1000 * row.get(phase, 0):.0f}" for row in step["phases"].values()]
        lines.append(f"| {phase} | {' | '.join(cells)} |")
    lines += [
        "",
        (
            f"Prediction, 1000x1000: plain {found['plain']:.3f} s, "
            f"chosen {found['chosen']:.3f} s: "
            f"{found['plain'] / found['chosen']:.2f} times faster, "
            f"{1 / found['chosen']:.1f} Mpx/s, "
            f"{found['bare'] / found['chosen']:.0%} of the speed of its bare convolutions "
            f"(in {found['bare_way']})."
        ),
        (
            f"Fastest of the sweep: {found['fastest_way']} {found['fastest']:.3f} s; "
            f"the chosen way takes {found['chosen'] / found['fastest']:.2f} times that."
        ),
        (
            f"Greatest difference between tiles of {min(TILES)} px and one tile: float32 "
            f"{found['difference']['float32']:.1e}, bfloat16 {found['difference']['bfloat16']:.1e}."
        ),
        "",
        "| prediction, s | " + " | ".join(f"tile {tile}" for tile in TILES) + " |",
        "|---" * (1 + len(TILES)) + "|",
    ]
    for way, row in found["sweep"].items():
        lines.append(f"| {way} | {' | '.join(f'{row[str(tile)]:.3f}' for tile in TILES)} |")
    importing, discovery = figures["importing"], figures["discovery"]
    lines += [
        "",
        (
            f"`import napari_patchseg`: {1000 * importing['seconds']:.1f} ms, "
            f"{importing['modules']} modules; "
            f"of torch, Qt, napari: {', '.join(importing['heavy']) or 'none'}."
        ),
        (
            f"Plugin discovery: this plugin's manifest {1000 * discovery['manifest']:.1f} ms, "
            f"all that is installed {1000 * discovery['all']:.0f} ms, after importing npe2 "
            f"({1000 * discovery['npe2']:.0f} ms)."
        ),
    ]
    return "\n".join(lines)


def interleaved(calls: Mapping[str, Call]) -> dict[str, float]:
    """Median seconds of each call, taken in turns, the first rounds discarded."""
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(DISCARDED + COUNTED):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken[DISCARDED:]) for name, taken in seconds.items()}


# -- training


class Steps:
    """Training steps of a preset, one a call, on crops of an image."""

    def __init__(self, source: PixelSource, preset: str, precision: str, layout: str) -> None:
        machine = {"device": "cpu", "precision": precision, "memory_format": layout}
        settings = Settings.create(preset, rescale="1", threads=THREADS, **machine)
        start = pretrained_weights("stained") if settings.training.weights == "synthetic" else None
        self.trainer = trainer.Trainer([source], settings, start)
        self.number = 0

    def __call__(self) -> None:
        self.number += 1
        self.trainer.step(self.number, Control())


class PlainSteps:
    """Those of the plain formulation, on crops drawn in the same way."""

    def __init__(self, like: Steps) -> None:
        self.crops = like.trainer._crops  # noqa: SLF001
        self.step = PlainStep(like.trainer.learner.state_dict())
        self.number = 0

    def __call__(self) -> None:
        self.number += 1
        self.step(torch.from_numpy(self.crops()[0]), self.number)


def steps(source: PixelSource, choice: Mapping[str, str]) -> dict[str, Any]:
    fast, slow = choice["memory_format"], choice["float32_memory_format"]
    paper = Steps(source, "paper", choice["precision"], fast)
    default = Steps(source, "default", choice["precision"], fast)
    compared: dict[str, Call] = {
        "plain": PlainSteps(Steps(source, "paper", "float32", "contiguous")),
        f"paper, {choice['precision']}": paper,
    }
    if choice["precision"] != "float32":
        compared["paper, float32"] = Steps(source, "paper", "float32", slow)
    ours = {f"paper, {choice['precision']}": paper, f"default, {choice['precision']}": default}
    return {
        "seconds": {
            **interleaved(compared),
            **interleaved({f"default, {choice['precision']}": default}),
        },
        "phases": {name: phases(call) for name, call in ours.items()},
    }


def phases(steps: Steps) -> dict[str, float]:
    """Mean seconds of each phase of a step."""
    spent: dict[str, float] = defaultdict(float)
    run = steps.trainer

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return call(*arguments, **named)
            finally:
                spent[name] += time.perf_counter() - start

        return wrapped

    parts = [
        (run, "_crops", "crops"),
        (run.learner, "logits", "forward"),
        (run, "sampler", "sampling"),
        (trainer, "contrast", "contrast"),
        (torch.Tensor, "backward", "backward"),
        (run.optimiser, "step", "optimiser"),
    ]
    if run.start is not None:
        parts.insert(4, (run.teacher, "logits", "forward of the start"))
    with changed([(owner, key, timed(name, getattr(owner, key))) for owner, key, name in parts]):
        start = time.perf_counter()
        for _ in range(COUNTED):
            steps()
        whole = time.perf_counter() - start
    spent["rest"] = whole - sum(spent.values())
    return {name: seconds / COUNTED for name, seconds in spent.items()}


@contextmanager
def changed(attributes: list[tuple[Any, str, Any]]) -> Iterator[None]:
    before = [(owner, key, vars(owner).get(key)) for owner, key, _ in attributes]
    for owner, key, value in attributes:
        setattr(owner, key, value)
    try:
        yield
    finally:
        for owner, key, value in before:
            if value is None:
                delattr(owner, key)
            else:
                setattr(owner, key, value)


# -- prediction


def prediction(source: PixelSource, choice: Mapping[str, str]) -> dict[str, Any]:
    weights = dict(pretrained_weights("stained"))
    plain = PlainNetwork(3, 2)
    plain.load_state_dict(weights)
    plain.eval()
    whole = (0, 0, *source.shape[1:])
    scale = input_scale(source, Settings.create())

    def plainly() -> None:
        with torch.inference_mode():
            image = torch.from_numpy(np.ascontiguousarray(source.read(whole)[None]))
            plain(scale(image)).sigmoid()

    def way(precision: str, layout: str) -> Callable[..., np.ndarray]:
        machine = {"device": "cpu", "precision": precision, "memory_format": layout}
        settings = Settings.create(
            rescale="1", test_time_augmentation=1, threads=THREADS, **machine
        )
        network = ConfidenceNetwork(3, 2)
        network.load_state_dict(weights)
        network = prepare(network.eval(), settings)
        return functools.partial(predict, network, source, settings, scale)

    bfloat16 = hardware.capabilities().endswith("bfloat16")
    precisions = ("float32", "bfloat16") if bfloat16 else ("float32",)
    ways = {(p, layout): way(p, layout) for p in precisions for layout in LAYOUTS}
    calls: dict[str, Call] = {
        "plain": plainly,
        "chosen": ways[choice["precision"], choice["memory_format"]],
    }
    for (precision, layout), call in ways.items():
        for tile in TILES:
            calls[f"{precision} {layout} {tile}"] = functools.partial(call, tile=tile)
        calls[f"bare {precision} {layout}"] = bare(source, precision, layout)
    seconds = interleaved(calls)
    names = [f"{precision} {layout}" for precision, layout in ways]
    fastest = min((f"{n} {tile}" for n in names for tile in TILES), key=seconds.__getitem__)
    bare_way = min(names, key=lambda name: seconds[f"bare {name}"])
    untiled = max(source.shape)
    return {
        "plain": seconds["plain"],
        "chosen": seconds["chosen"],
        "fastest": seconds[fastest],
        "fastest_way": fastest,
        "bare": seconds[f"bare {bare_way}"],
        "bare_way": bare_way,
        "sweep": {n: {str(tile): seconds[f"{n} {tile}"] for tile in TILES} for n in names},
        "difference": {
            precision: float(np.abs(call(tile=min(TILES)) - call(tile=untiled)).max())
            for precision, call in ((p, way(p, "channels_last")) for p in ("float32", "bfloat16"))
        },
    }


def bare(source: PixelSource, precision: str, layout: str) -> Call:
    """The network's convolutions on the same pixels and nothing else: no halo, ELU or sigmoid."""
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    memory = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    channels, height, width = source.shape
    residuals = [(WIDTH, WIDTH, 3, dilation) for dilation in DILATIONS for _ in range(2)]
    shapes = [(channels, WIDTH, 3, 1), *residuals, (WIDTH, 2, 1, 1)]
    kernels = [
        (torch.randn(o, i, side, side).to(dtype).contiguous(memory_format=memory), d)
        for i, o, side, d in shapes
    ]
    maps = {
        count: torch.randn(1, count, height, width).to(dtype).contiguous(memory_format=memory)
        for count in (channels, WIDTH)
    }

    def convolve() -> None:
        with torch.inference_mode():
            for kernel, d in kernels:
                padding = d * (kernel.shape[-1] // 2)
                functional.conv2d(maps[kernel.shape[1]], kernel, padding=padding, dilation=d)

    return convolve


# -- fresh processes

MEASURE = """
from napari_patchseg.method import hardware
start = time.perf_counter()
chosen = hardware.measure("cpu")
seconds = time.perf_counter() - start
slow = hardware.measure("cpu", bfloat16=False)
print(json.dumps({"seconds": seconds, "precision": chosen["precision"],
    "memory_format": chosen["memory_format"], "float32_memory_format": slow["memory_format"]}))
"""
IMPORT = """
before = set(sys.modules)
start = time.perf_counter()
import napari_patchseg
seconds = time.perf_counter() - start
heavy = [n for n in ("torch", "qtpy", "PyQt6", "PySide6", "napari") if n in sys.modules]
print(json.dumps({"seconds": seconds, "modules": len(set(sys.modules) - before), "heavy": heavy}))
"""
DISCOVERY = """
start = time.perf_counter()
import npe2
npe2_seconds = time.perf_counter() - start
start = time.perf_counter()
npe2.PluginManifest.from_distribution("napari-patchseg")
manifest = time.perf_counter() - start
start = time.perf_counter()
npe2.PluginManager().discover()
everything = time.perf_counter() - start
print(json.dumps({"npe2": npe2_seconds, "manifest": manifest, "all": everything}))
"""


def fresh(code: str, times: int = 5) -> dict[str, Any]:
    """What the code prints in new interpreters: the median of its numbers, else the last value."""
    rows = []
    for _ in range(times):
        command = [sys.executable, "-c", f"import json, sys, time\n{code}"]
        done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: statistics.median(row[name] for row in rows) if isinstance(value, float) else value
        for name, value in rows[-1].items()
    }

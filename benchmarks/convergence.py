"""Quality against step beside the two separations, and what the convergence rule makes of them.

    python benchmarks/convergence.py --images DIR --labels DIR [--every 5] [--start 0] [--limit N]
        [--preset default] [--steps 300] [--seed 0] [--json results.json] [--plot curves.png]
    python benchmarks/convergence.py --search --json results.json [--preset default] [--steps 30]

Every image is trained for all the steps, whatever the rule says; at certain steps its labels are
scored. The rule is then asked where it would have stopped, and compared with the best step and with
the best single number of steps for all images (chosen on every other of them, used on the rest).
The second tries many rules on all the kept runs of a preset's start and of so many steps, from
whatever folder and seed, on every other image and on the rest; past the last scored step quality
counts as there.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from numpy.typing import NDArray

import napari_patchseg
from metrics import agreement
from napari_patchseg.files.images import read_image
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.control import Control
from napari_patchseg.method.convergence import ConvergenceRule
from napari_patchseg.method.events import Step
from napari_patchseg.objects import make_labels
from napari_patchseg.pipeline import resolve, run
from quality import code_version

#: Steps at which labels are scored, as far as the run goes.
SCORED = (1, 2, 3, *range(4, 31, 2), *range(35, 61, 5), *range(80, 141, 20), *range(150, 1001, 50))

#: Few enough numbers of steps for a run's best one to be more than chance.
COARSE = (1, 8, 14, 24)

#: Rules that the search tries for a start: every combination.
TRIED: dict[str, dict[str, tuple[float, ...]]] = {
    "synthetic": {
        "patience": (2, 3, 4, 5, 6),
        "growth": (0, 0.01, 0.02, 0.03),
        "smoothing": (0.1, 0.2, 0.3, 0.5),
        "first": (4, 6, 8, 10),
    },
    "random": {
        "patience": (6, 10, 15),
        "drop": (0.03, 0.05, 0.08),
        "smoothing": (0.1, 0.15, 0.2),
        "apart": (0.5, 0.8, 0.9, 1),
        "first": (20, 40),
    },
}


def record(image: Path, labels: Path, preset: str, steps: int, seed: int) -> dict[str, Any]:
    """Scores and separations of one run that nothing stops."""
    pixels = Pixels.from_array(read_image(image).array)
    truth = read_image(labels).array
    settings = resolve(napari_patchseg.Settings.create(preset)).replace(
        max_steps=steps, stop_at_convergence=False, seed=seed
    )
    control = Control()
    control.request_map()
    dice: dict[int, float] = {}
    history: list[tuple[int, float, float]] = []
    for item in run(pixels, settings, control=control, make_labels=False):
        if not isinstance(item, Step):
            continue
        history.append((item.step, item.positive_separation, item.negative_separation))
        if item.confidence is not None:
            found, _ = make_labels(item.confidence, pixels, settings)
            dice[item.step] = agreement(truth, found).dice
        if item.step + 1 in SCORED:
            control.request_map()
    return {"dice": dice, "history": history, "start": settings.training.weights, "steps": steps}


def stop(
    row: dict[str, Any], cap: int, rule: ConvergenceRule | None = None
) -> tuple[int, int, bool]:
    """Where the rule ends the run, whose weights it keeps, and whether the cap came first."""
    rule = replace(rule or ConvergenceRule.for_start(row["start"]))  # without what it has seen
    for step, positive, negative in row["history"][:cap]:
        if rule.update(step, positive, negative):
            return step, rule.peak_step if row["start"] == "random" else step, False
    return cap, cap, True


def dice_at(row: dict[str, Any], step: int) -> float:
    """Dice at a step, between the scored ones by a straight line."""
    scored = sorted((int(key), value) for key, value in row["dice"].items())
    return float(np.interp(step, *zip(*scored, strict=True)))


def report(rows: dict[str, dict[str, Any]], cap: int) -> str:
    """Markdown: a line an image, and the summary."""
    columns = ("image", "best Dice (step)", "at the stop (weights of, step)", "below best")
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    short, at_cap = [], 0
    for name, row in rows.items():
        best_step, best = max(row["dice"].items(), key=lambda item: item[1])
        end, kept, capped = stop(row, cap)
        at_cap += capped
        short.append(best - dice_at(row, kept))
        lines.append(
            f"| {name} | {best:.3f} ({best_step}) | {dice_at(row, kept):.3f} "
            f"({kept}, {end}{' cap' if capped else ''}) | {short[-1]:.3f} |"
        )
    every = list(rows.values())
    odd, even = every[::2], every[1::2]
    counts = [step for step in SCORED if step <= every[0]["steps"]]
    fixed = max(counts, key=lambda step: np.mean([dice_at(row, step) for row in odd]))
    rule_even = [dice_at(row, stop(row, cap)[1]) for row in even]
    fixed_even = [dice_at(row, fixed) for row in even]
    shortfall = f"Below the best step: mean {np.mean(short):.3f}, worst {max(short):.3f}"
    lines += ["", f"{shortfall}; {at_cap} of {len(every)} at the cap of {cap} steps."]
    if even:
        lines.append(
            f"On every other image: the rule {np.mean(rule_even):.4f}, "
            f"{fixed} steps for all (best on the others) {np.mean(fixed_even):.4f}."
        )
    return "\n".join(lines)


def search(runs: Mapping[str, dict[str, Any]], start: str, cap: int) -> str:
    """Markdown: rules for a start and fixed numbers of steps on every other image and on the rest.

    Below it, the rule and the fixed number that are best on a half are compared on the other: on
    either half by position, and on 500 random ones.
    """
    names = sorted(runs)
    images = sorted({_image(name) for name in names})
    place = np.array([images.index(_image(name)) for name in names])

    def by_image(ends: Callable[[dict[str, Any]], int]) -> NDArray[np.float64]:
        scores = np.array([dice_at(runs[name], ends(runs[name])) for name in names])
        return np.bincount(place, scores) / np.bincount(place)

    rules, fixed = {}, {}
    for values in itertools.product(*TRIED[start].values()):
        changes = dict(zip(TRIED[start], values, strict=True))
        rule = replace(ConvergenceRule.for_start(start), **changes)
        name = ", ".join(f"{key} {value}" for key, value in changes.items())
        rules[name] = by_image(lambda row, rule=rule: stop(row, cap, rule)[1])
    for step in SCORED:
        if step <= cap:
            fixed[f"{step} steps for all"] = by_image(lambda _row, step=step: step)
    odd = np.arange(len(images)) % 2 == 0
    lines = ["| rule | odd: Dice | even: Dice |", "|---|---|---|"]
    ordered = sorted({**rules, **fixed}.items(), key=lambda item: -item[1][odd].mean())
    lines += [
        f"| {name} | {dice[odd].mean():.4f} | {dice[~odd].mean():.4f} |" for name, dice in ordered
    ]
    lines.append("")
    for half, here, there in ((odd, "odd", "even"), (~odd, "even", "odd")):
        found = [_best(tried, half) for tried in (rules, fixed)]
        lines.append(
            f"Best on {here}, tried on {there}: "
            + "; ".join(f"{name} {dice[~half].mean():.4f}" for name, dice in found)
        )
    random = np.random.default_rng(0)
    gains = []
    for _ in range(500):
        half = random.permutation(odd)
        gains.append((_best(rules, half)[1] - _best(fixed, half)[1])[~half].mean())
    lines.append(
        f"Best rule less best fixed number of a random half, tried on the other: "
        f"{np.mean(gains):.4f} on average, above 0 in {np.mean(np.array(gains) > 0):.0%} of 500."
    )
    if len(names) > len(images):
        lines.append(_ceiling(runs, images, [step for step in COARSE if step <= cap]))
    return "\n".join(lines)


def _ceiling(
    runs: Mapping[str, dict[str, Any]], images: Sequence[str], steps: Sequence[int]
) -> str:
    """What knowing each image's own number of steps would bring, were it known from other seeds."""
    by_seed: dict[str, dict[str, list[float]]] = {}
    for name, row in runs.items():
        seed = name.partition(" seed ")[2]
        by_seed.setdefault(seed, {})[_image(name)] = [dice_at(row, step) for step in steps]
    images = [image for image in images if all(image in found for found in by_seed.values())]
    dice = np.array([[found[image] for image in images] for found in by_seed.values()])
    own, fixed = [], []
    for left_out in range(len(dice)):
        others = np.delete(dice, left_out, 0).mean(0)
        own.append(dice[left_out, np.arange(len(images)), others.argmax(1)].mean())
        fixed.append(dice[left_out, :, others.mean(0).argmax()].mean())
    return (
        f"Of {', '.join(map(str, steps))} steps the one that is best by the other seeds: "
        f"for each image {np.mean(own):.4f}, for all {np.mean(fixed):.4f}."
    )


def _image(run: str) -> str:
    """Folder and name of a kept run's image; its key begins with code version, preset and steps."""
    return run.split(" ", 3)[3].split(" seed ")[0]


def _best(
    tried: Mapping[str, NDArray[np.float64]], half: NDArray[np.bool_]
) -> tuple[str, NDArray[np.float64]]:
    return max(tried.items(), key=lambda item: item[1][half].mean())


def plot(rows: dict[str, dict[str, Any]], cap: int, path: Path) -> None:
    """Dice above the separations, an image a column."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(rows), 5), layout="constrained")
    axes = figure.subplots(2, len(rows), sharex=True, squeeze=False)
    for column, (name, row) in enumerate(rows.items()):
        scored = sorted((int(key), value) for key, value in row["dice"].items())
        axes[0, column].plot(*zip(*scored, strict=True), "k")
        axes[0, column].set_title(name[:14])
        steps, positive, negative = zip(*row["history"], strict=True)
        axes[1, column].plot(steps, positive, label="positive-positive")
        axes[1, column].plot(steps, negative, label="positive-negative")
        for axis in axes[:, column]:
            axis.axvline(stop(row, cap)[1], color="tab:red")
    axes[0, 0].set_ylabel("Dice")
    axes[1, 0].set_ylabel("separation")
    axes[1, 0].legend()
    figure.savefig(path)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path)
    parser.add_argument("--labels", type=Path, help="<image's stem>.png, uint16")
    parser.add_argument("--search", action="store_true", help="try rules on the kept runs")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--every", type=int, default=5, help="take every Nth image, sorted by name")
    parser.add_argument("--start", type=int, default=0, help="index of the first image taken")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keeps runs; a second call adds what is missing")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args(arguments)
    kept: dict[str, Any] = {}
    if options.json is not None and options.json.exists():
        kept = json.loads(options.json.read_text())
    if options.search:
        settings = napari_patchseg.Settings.create(options.preset)
        wanted = [options.preset, str(options.steps)]
        runs = {name: row for name, row in kept.items() if name.split(" ")[1:3] == wanted}
        count = len({_image(name) for name in runs})
        if count < 2:
            parser.error(f"--json holds {count} images with {' '.join(wanted)} steps; measure more")
        print(
            search(runs, settings.training.weights, min(options.steps, settings.training.max_steps))
        )
        return
    if options.images is None or options.labels is None:
        parser.error("--images and --labels are needed to measure")
    paths = sorted(options.images.iterdir())[options.start :: options.every][: options.limit]
    rows = {}
    for path in paths:
        folder = path.parent.parent.name
        key = f"{code_version()} {options.preset} {options.steps} {folder} {path.stem}"
        if options.seed:
            key += f" seed {options.seed}"
        if key not in kept:
            labels = options.labels / f"{path.stem}.png"
            kept[key] = record(path, labels, options.preset, options.steps, options.seed)
            if options.json is not None:
                options.json.write_text(json.dumps(kept))
        rows[path.stem] = kept[key]
    cap = napari_patchseg.Settings.create(options.preset).max_steps
    print(report(rows, cap))
    if options.plot is not None:
        plot(rows, cap, options.plot)


if __name__ == "__main__":
    main()

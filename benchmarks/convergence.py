"""Quality against step beside the two separations, and where a run stops by itself.

    python benchmarks/convergence.py --images DIR --labels DIR [--every 5] [--start 0] [--limit N]
        [--preset default] [--steps 300] [--seed 0] [--json results.json] [--plot curves.png]
        [--write]

Every image is trained twice: once for all the steps, with labels scored at some of them, and once
as a user would, stopped by convergence or the step limit.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from common import (
    Kept,
    Labels,
    arguments,
    chosen,
    code_version,
    segmented,
    table,
    truth_of,
    write,
)
from metrics import agreement
from napari_patchseg import Pixels, Settings
from napari_patchseg.files.images import read_image
from napari_patchseg.method.events import Control, MapMade, Step
from napari_patchseg.objects import labelling
from napari_patchseg.objects._labelling import finished
from napari_patchseg.pipeline import run

#: Steps at which labels are scored, as far as the run goes.
SCORED = (1, 2, 3, *range(4, 31, 2), *range(35, 61, 5), *range(80, 141, 20), *range(150, 1001, 50))


def curve(pixels: Pixels, truth: Labels, settings: Settings, steps: int) -> dict[str, Any]:
    """Dice at the scored steps, as (step, Dice), and (step, both separations) of all."""
    settings = settings.replace(max_steps=steps, stop_at_convergence=False)
    control = Control()
    dice, separations = [], []
    for event in run(pixels, settings, control=control, make_labels=False):
        if isinstance(event, Step):
            separations.append((event.step, event.positive_separation, event.negative_separation))
            if event.step + 1 in SCORED:
                control.request_map()
        elif isinstance(event, MapMade) and event.confidence.step in SCORED:
            found, _ = finished(labelling(event.confidence, pixels, settings.objects))
            dice.append((event.confidence.step, agreement(truth, found).dice))
    return {"dice": dice, "separations": separations}


def record(pixels: Pixels, truth: Labels, settings: Settings, steps: int) -> dict[str, Any]:
    """Figures of an image."""
    result = segmented(pixels, settings)
    stopped = {
        "at_stop": agreement(truth, result.labels).dice,
        "stop": result.report.steps,
        "reason": result.report.stop_reason,
    }
    return {**curve(pixels, truth, settings, steps), **stopped}


def plot(rows: dict[str, dict[str, Any]], path: Path) -> None:
    """Dice above the separations, an image a column; the stop is a red line."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(rows), 5), layout="constrained")
    axes = figure.subplots(2, len(rows), sharex=True, squeeze=False)
    for (above, below), (name, row) in zip(axes.T, rows.items(), strict=True):
        above.plot(*zip(*row["dice"], strict=True), "k")
        above.set_title(name[:14])
        steps, positive, negative = zip(*row["separations"], strict=True)
        below.plot(steps, positive, label="positive-positive")
        below.plot(steps, negative, label="positive-negative")
        for axis in (above, below):
            axis.axvline(row["stop"], color="tab:red")
    axes[0, 0].set_ylabel("Dice")
    axes[1, 0].set_ylabel("separation")
    axes[1, 0].legend()
    figure.savefig(path)


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], every=5)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keeps runs; a second call adds what is missing")
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    settings = Settings.create(options.preset, seed=options.seed)
    kept, rows, lines, short = Kept(options.json), {}, [], []
    for path in chosen(options):
        key = f"{code_version()} {options.preset} {options.steps} {options.seed} {path.stem}"
        if key not in kept.figures:
            pixels = Pixels.from_array(read_image(path).array)
            kept.keep(key, record(pixels, truth_of(path, options), settings, options.steps))
        row = rows[path.stem] = kept.figures[key]
        step, best = max(row["dice"], key=lambda pair: pair[1])
        short.append(best - row["at_stop"])
        at_stop = f"{row['at_stop']:.3f} ({row['stop']}, {row['reason']})"
        lines.append((path.stem, f"{best:.3f} ({step})", at_stop, f"{short[-1]:.3f}"))
        print(*lines[-1], file=sys.stderr, flush=True)
    lines.append(("mean", "", "", f"{np.mean(short):.3f}"))
    text = table(("image", "best Dice (step)", "Dice at the stop (step)", "below best"), lines)
    print(text)
    if options.plot is not None:
        plot(rows, options.plot)
    if options.write:
        write(f"convergence {options.images.parent.name}", text)


if __name__ == "__main__":
    main()

"""Quality on real slides: every method beside the yardstick, on the same images.

    python benchmarks/quality.py --images DIR --labels DIR [--methods yardstick,step-0,default]
        [--every 3] [--start 0] [--limit N] [--json results.json] [--overlays DIR]

Methods: "yardstick" (haematoxylin or grey, Otsu, watershed), "default" (at its stop), "step-0" (the
start's weights before any training on the image), "paper" (preset "paper", trained on the image),
"paper-dataset" (preset "paper", trained on all the images, the paper's protocol; its
seconds leave the training out), "two-seeds" (not
against the true labels: the default's labels of seed 1 against those of seed 0).

Labels are read here only, to score; nothing that segments sees them. Results are kept per image in
the JSON file, by method and code version: a second call computes only what is missing.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import disk, h_maxima, remove_small_objects
from skimage.segmentation import find_boundaries, watershed

import napari_patchseg
from metrics import agreement
from napari_patchseg.files.images import read_image
from napari_patchseg.files.pretrained import pretrained_weights
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.model import Model
from napari_patchseg.pipeline import resolve, run
from napari_patchseg.report import Segmentation

FIGURES = ("dice", "aji", "pq", "f1", "count_ratio", "seconds")
Labels = NDArray[np.integer]


def yardstick(image: NDArray[np.uint8]) -> Labels:
    """What a user could type instead: haematoxylin (or grey), Otsu, watershed."""
    colour = image[..., :3]
    if np.ptp(colour, axis=-1).max() == 0:
        channel, smallest = colour.mean(-1), 20
    else:
        channel, smallest = rgb2hed(colour)[..., 0], 60
    smooth = ndi.gaussian_filter(channel, 1)
    mask = smooth > threshold_otsu(smooth)
    mask = ndi.binary_closing(ndi.binary_opening(mask, disk(3)), disk(2))
    mask = remove_small_objects(ndi.binary_fill_holes(mask), max_size=smallest)
    distance = ndi.gaussian_filter(ndi.distance_transform_edt(mask), 1)
    seeds = label(h_maxima(distance, 0.75))
    return watershed(-distance, seeds, mask=mask)


Found = tuple[Labels, dict[str, Any]]
Method = Callable[[NDArray[np.uint8]], Found]


def segmented(
    image: NDArray[np.uint8], preset: str, seed: int = 0, model: Model | None = None
) -> Found:
    """Labels with a preset, and their report."""
    settings = napari_patchseg.Settings.create(preset, seed=seed)
    *_, result = run(Pixels.from_array(image), settings, model=model)
    assert isinstance(result, Segmentation)
    return result.labels, result.report


def untrained(image: NDArray[np.uint8]) -> Found:
    """What the start's weights find by themselves."""
    settings = resolve(napari_patchseg.Settings.create("default"))
    weights = pretrained_weights(Pixels.from_array(image).kind)
    return segmented(image, "default", model=Model(weights, 3, settings, 0, "stopped"))


def of_all(paths: Sequence[Path]) -> Method:
    """Preset "paper", trained on all the images of the folder."""
    images = [Pixels.from_array(read_image(path).array) for path in paths]
    settings = napari_patchseg.Settings.create("paper")
    *_, result = run(images, settings, make_labels=False)
    assert isinstance(result, Segmentation)
    if result.model is None:
        sys.exit("Nothing to train on in these images.")
    return lambda image: segmented(image, "paper", model=result.model)


#: From all the folder's images to what segments one of them.
METHODS: dict[str, Callable[[Sequence[Path]], Method]] = {
    "yardstick": lambda _: lambda image: (yardstick(image), {}),
    "step-0": lambda _: untrained,
    "default": lambda _: lambda image: segmented(image, "default"),
    "two-seeds": lambda _: lambda image: segmented(image, "default", seed=1),
    "paper": lambda _: lambda image: segmented(image, "paper"),
    "paper-dataset": of_all,
}


def score(
    name: str, method: Method, image_path: Path, label_path: Path, overlays: Path | None
) -> dict[str, Any]:
    """Figures of one method on one image."""
    image = read_image(image_path).array
    truth = read_image(label_path).array
    if name == "two-seeds":
        truth, _ = segmented(image, "default")
    start = time.perf_counter()
    found, report = method(image)
    seconds = time.perf_counter() - start
    row = {"seconds": round(seconds, 2), **asdict(agreement(truth, found))}
    for key in ("steps", "stop_reason", "warnings"):
        if key in report:
            row[key] = report[key]
    if overlays is not None:
        _overlay(image, truth, found, overlays / f"{image_path.stem}-{name}.png")
    return row


def _overlay(image: NDArray[np.uint8], truth: Labels, found: Labels, path: Path) -> None:
    import imageio.v3 as iio

    out = image[..., :3].copy()
    out[find_boundaries(found)] = (220, 40, 40)
    out[find_boundaries(truth)] = (40, 80, 255)
    out[find_boundaries(found) & find_boundaries(truth)] = (0, 200, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    iio.imwrite(path, out)


def code_version() -> str:
    """A hash over the package's sources: results of other code are not mixed in."""
    root = Path(napari_patchseg.__file__).parent
    digest = hashlib.sha256()
    for part in ("method", "image", "objects.py", "nucleus_size.py", "pipeline.py", "files"):
        path = root / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.suffix in (".py", ".safetensors"):
                digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over images."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def table(results: dict[str, dict[str, dict[str, Any]]]) -> str:
    """Markdown, a row a method; "odd, even": AJI of the images in those positions by name."""
    columns = (
        "method", "images", "Dice (95 %)", "worst Dice", "AJI (95 %)", "PQ", "F1",
        "objects / true", "AJI odd, even", "steps", "s",
    )  # fmt: skip
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for method, rows in results.items():
        means = {name: np.array([row[name] for row in rows.values()], float) for name in FIGURES}
        odd = np.array([row["position"] % 2 == 1 for row in rows.values()])
        halves = [means["aji"][half].mean() if half.any() else np.nan for half in (odd, ~odd)]
        steps = [row["steps"] for row in rows.values() if "steps" in row]
        spans = {
            name: "({:.3f} to {:.3f})".format(*interval(means[name])) for name in ("dice", "aji")
        }
        lines.append(
            f"| {method} | {len(rows)} | {means['dice'].mean():.3f} {spans['dice']} "
            f"| {means['dice'].min():.3f} | {means['aji'].mean():.3f} {spans['aji']} "
            f"| {means['pq'].mean():.3f} | {means['f1'].mean():.3f} "
            f"| {np.nanmean(means['count_ratio']):.2f} | {halves[0]:.3f}, {halves[1]:.3f} "
            f"| {f'{np.mean(steps):.0f}' if steps else ''} | {means['seconds'].mean():.1f} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True, help="<image's stem>.png, uint16")
    parser.add_argument("--methods", default="yardstick,step-0,default")
    parser.add_argument("--every", type=int, default=1, help="take every Nth image, sorted by name")
    parser.add_argument("--start", type=int, default=0, help="index of the first image taken")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--overlays", type=Path)
    options = parser.parse_args(arguments)

    every = sorted(options.images.iterdir())
    paths = every[options.start :: options.every][: options.limit]
    kept: dict[str, Any] = {}
    if options.json is not None and options.json.exists():
        kept = json.loads(options.json.read_text())
    version = code_version()
    results: dict[str, dict[str, dict[str, Any]]] = {}
    for method in options.methods.split(","):
        stored = kept.setdefault(
            "yardstick" if method == "yardstick" else f"{method}@{version}", {}
        )
        results[method] = {}
        prepared: Method | None = None
        for path in paths:
            key = f"{path.parent.parent.name}/{path.name}"
            if key not in stored or options.overlays is not None:
                prepared = prepared or METHODS[method](every)
                truth = options.labels / f"{path.stem}.png"
                row = score(method, prepared, path, truth, options.overlays)
                stored[key] = row
                if options.json is not None:
                    options.json.write_text(json.dumps(kept, indent=1))
            results[method][key] = {**stored[key], "position": every.index(path) + 1}
            row = stored[key]
            print(
                f"{method} {path.stem}: Dice {row['dice']:.3f}, AJI {row['aji']:.3f}, "
                f"{row['seconds']:.0f} s",
                file=sys.stderr,
                flush=True,
            )
    print(table(results))


if __name__ == "__main__":
    main()

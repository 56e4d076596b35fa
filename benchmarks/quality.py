"""Quality on real images: every method beside the yardstick, on the same images.

    python benchmarks/quality.py --images DIR --labels DIR [--methods yardstick,step-0,default]
        [--every 3] [--start 0] [--limit N] [--json results.json] [--overlays DIR] [--write]

Methods: "yardstick" (haematoxylin or grey, Otsu, watershed), "default" (at its stop), "step-0" (the
pretrained weights before any training on the image), "paper" (preset "paper", trained on the
image), "paper-dataset" (preset "paper", trained on all the images, as in the paper; its seconds
leave the training out), "two-seeds" (not against the true labels: the default's labels of seed 1
against those of seed 0).

Labels are read here only, to score; nothing that segments sees them. Results are kept per image in
the JSON file, by method and code version: a second call computes only what is missing.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage as ndi
from skimage.color import rgb2hed
from skimage.filters import threshold_otsu
from skimage.measure import label
from skimage.morphology import disk, h_maxima, remove_small_objects
from skimage.segmentation import find_boundaries, watershed

from common import (
    Image,
    Kept,
    Labels,
    arguments,
    chosen,
    code_version,
    pretrained,
    segmented,
    short,
    table,
    truth_of,
    write,
)
from metrics import agreement
from napari_patchseg import Pixels, Settings
from napari_patchseg.files.images import read_image
from napari_patchseg.report import Report

#: Labels, and the report of what is no yardstick.
Found = tuple[Labels, Report | None]
Method = Callable[[Image], Found]


def yardstick(image: Image) -> Labels:
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


def of_preset(preset: str, seed: int = 0) -> Method:
    """Trained on the image."""

    def method(image: Image) -> Found:
        result = segmented(image, Settings.create(preset, seed=seed))
        return result.labels, result.report

    return method


def untrained(image: Image) -> Found:
    """What the pretrained weights find by themselves."""
    pixels = Pixels.from_array(image)
    result = segmented(pixels, Settings.create(), pretrained(pixels.modality))
    return result.labels, result.report


def of_all(paths: Sequence[Path]) -> Method:
    """Preset "paper", trained on all the images of the folder."""
    images = [Pixels.from_array(read_image(path).array) for path in paths]
    settings = Settings.create("paper")
    model = segmented(images, settings, make_labels=False).model

    def method(image: Image) -> Found:
        result = segmented(image, settings, model)
        return result.labels, result.report

    return method


#: From all the folder's images to what segments one of them.
METHODS: dict[str, Callable[[Sequence[Path]], Method]] = {
    "yardstick": lambda _: lambda image: (yardstick(image), None),
    "step-0": lambda _: untrained,
    "default": lambda _: of_preset("default"),
    "two-seeds": lambda _: of_preset("default", seed=1),
    "paper": lambda _: of_preset("paper"),
    "paper-dataset": of_all,
}


def score(method: Method, image: Image, truth: Labels, overlay: Path | None) -> dict[str, Any]:
    """Figures of one method on one image."""
    start = time.perf_counter()
    found, report = method(image)
    row = {"seconds": time.perf_counter() - start, **asdict(agreement(truth, found))}
    if report is not None:
        row |= {"steps": report.steps, "stop_reason": report.stop_reason}
    if overlay is not None:
        _draw(image, truth, found, overlay)
    return row


def _draw(image: Image, truth: Labels, found: Labels, path: Path) -> None:
    """Borders: true ones blue, found ones red, both green."""
    out = image[..., :3].copy()
    out[find_boundaries(found)] = (220, 40, 40)
    out[find_boundaries(truth)] = (40, 80, 255)
    out[find_boundaries(found) & find_boundaries(truth)] = (0, 200, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(out).save(path)


def interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over images."""
    draws = np.random.default_rng(0).choice(values, (2000, len(values))).mean(1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def summary(method: str, rows: Sequence[Mapping[str, Any]]) -> list[object]:
    """A row of the table."""

    def of(name: str) -> NDArray[np.float64]:
        return np.array([row[name] for row in rows if name in row], float)

    dice, steps = of("dice"), of("steps")
    low, high = interval(dice)
    return [
        method,
        len(rows),
        f"{dice.mean():.3f} ({low:.3f} to {high:.3f})",
        f"{dice.min():.3f}",
        f"{of('aji').mean():.3f}",
        f"{of('pq').mean():.3f}",
        f"{np.nanmean(of('count_ratio')):.2f}",
        f"{steps.mean():.0f}" if len(steps) else "",
        short(of("seconds").mean()),
    ]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--methods", default="yardstick,step-0,default")
    parser.add_argument("--json", type=Path, help="keeps results")
    parser.add_argument("--overlays", type=Path, help="a folder for pictures of the borders")
    options = parser.parse_args()
    paths, kept = chosen(options), Kept(options.json)
    lines = []
    for method in options.methods.split(","):
        name = method if method == "yardstick" else f"{method}@{code_version()}"
        stored = kept.figures.get(name, {})
        prepared: Method | None = None
        for path in paths:
            key = f"{options.images.parent.name}/{path.name}"
            if key not in stored or options.overlays is not None:
                prepared = prepared or METHODS[method](paths)
                image, truth = read_image(path).array, truth_of(path, options)
                if method == "two-seeds":
                    truth, _ = of_preset("default")(image)
                overlay = options.overlays and options.overlays / f"{path.stem}-{method}.png"
                stored[key] = score(prepared, image, truth, overlay)
                kept.keep(name, stored)
            row = stored[key]
            print(
                f"{method} {path.stem}: Dice {row['dice']:.3f}, AJI {row['aji']:.3f}, "
                f"PQ {row['pq']:.3f}, {row['seconds']:.0f} s",
                file=sys.stderr,
                flush=True,
            )
        rows = [stored[f"{options.images.parent.name}/{path.name}"] for path in paths]
        lines.append(summary(method, rows))
    columns = ("method", "images", "Dice (95 %)", "worst Dice", "AJI", "PQ", "objects / true")
    text = table((*columns, "steps", "s"), lines)
    print(text)
    if options.write:
        paper = " paper" if "paper" in options.methods else ""
        write(f"quality {options.images.parent.name}{paper}", text)


if __name__ == "__main__":
    main()

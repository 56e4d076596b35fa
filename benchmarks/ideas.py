"""What each idea brings: one thing about the default changed at a time, on the same images.

    python benchmarks/ideas.py --images DIR --labels DIR [--every 6] [--start 0] [--limit N]
        [--ideas "threshold 0.4" ...] [--json results.json]

Prints, for the default, mean Dice and AJI, and for every idea the difference from it. Every sixth
image, from the first on, lies in an odd position of the order by name: settings are chosen on
these. Results are kept in the JSON file by code version; a second call computes what is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.transform import rescale, resize
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

from metrics import agreement
from napari_patchseg.files.images import read_image
from napari_patchseg.files.pretrained import pretrained_weights
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.inference import autocast
from napari_patchseg.method.model import Model
from napari_patchseg.method.settings import Settings
from napari_patchseg.method.snapshot import ConfidenceMap
from napari_patchseg.method.trainer import Trainer
from napari_patchseg.objects import make_labels
from napari_patchseg.pipeline import run
from napari_patchseg.results import Segmentation
from quality import code_version

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Idea:
    """One thing that is done otherwise.

    Attributes
    ----------
    training : dict
        Settings that need a run of their own.
    objects : dict
        Settings of the way from the map to objects.
    constants : dict
        Constants (or classes) of both, by "module.NAME" within the package.
    maps : callable, optional
        From image, the default's result and its settings to another map (K, H, W).
    """

    training: Mapping[str, Any] = field(default_factory=dict)
    objects: Mapping[str, Any] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    maps: Callable[[Image, Segmentation, Settings], NDArray[np.float32]] | None = None


def segmented(image: Image, settings: Settings, model: Model | None = None) -> Segmentation:
    """The result of a run, without labels."""
    *_, result = run(Pixels.from_array(image), settings, model=model, make_labels=False)
    assert isinstance(result, Segmentation)
    return result


def _data(result: Segmentation) -> NDArray[np.float32]:
    assert result.confidence is not None
    return result.confidence.data


def of_the_start(image: Image, _result: Segmentation, settings: Settings) -> NDArray[np.float32]:
    """What the start's weights see."""
    weights = pretrained_weights(Pixels.from_array(image).kind)
    return _data(segmented(image, settings, Model(weights, 3, settings, 0, "stopped")))


def start_and_trained(image: Image, result: Segmentation, settings: Settings) -> NDArray[Any]:
    """Mean of the maps before and after training."""
    return (of_the_start(image, result, settings) + _data(result)) / 2


def two_seeds(image: Image, result: Segmentation, settings: Settings) -> NDArray[Any]:
    """Mean of two runs' maps."""
    other = segmented(image, settings.replace(seed=settings.seed + 1))
    return (_data(result) + _data(other)) / 2


def turned(image: Image, result: Segmentation, settings: Settings) -> NDArray[Any]:
    """Mean over the four right-angle turns of the image."""
    total = _data(result).copy()
    for turns in (1, 2, 3):
        seen = _data(segmented(np.rot90(image, turns), settings, result.model))
        total += np.rot90(seen, -turns, (1, 2))
    return total / 4


def three_sizes(image: Image, result: Segmentation, settings: Settings) -> NDArray[Any]:
    """Mean over the image at 0.77, 1 and 1.3 times its size."""
    total = _data(result).copy()
    for factor in (0.77, 1.3):
        axis = 2 if image.ndim == 3 else None
        sized = rescale(image, factor, channel_axis=axis, preserve_range=True)
        seen = _data(segmented(sized.round().astype(np.uint8), settings, result.model))
        total += resize(seen, total.shape, order=1)
    return total / 3


def local_contrast(image: Image, result: Segmentation, settings: Settings) -> NDArray[Any]:
    """The prior against half-way between nuclei and surroundings, added to logits at outlines."""
    pixels = Pixels.from_array(image)
    _, objects = make_labels(result.confidence, pixels, settings)
    data = _data(result).copy()
    nuclei = data[0] > objects["threshold"]
    prior = pixels.prior()

    def mean(where: NDArray[np.bool_]) -> NDArray[np.float32]:
        share = ndi.gaussian_filter(where.astype(np.float32), objects["diameter"])
        total = ndi.gaussian_filter(where * prior, objects["diameter"])
        return total / np.maximum(share, 1e-6)

    inside = mean(ndi.binary_erosion(nuclei))
    around = mean(~ndi.binary_dilation(nuclei, iterations=2))
    contrast = ndi.gaussian_filter(prior, 1) - (inside + around) / 2
    contrast = np.clip(4 * contrast / np.maximum(inside - around, 1e-3), -2, 2)
    band = ndi.binary_dilation(nuclei, iterations=4) & ~ndi.binary_erosion(nuclei, iterations=4)
    odds = np.clip(data[0], 1e-4, 1 - 1e-4)
    logits = np.log(odds / (1 - odds)) + 0.7 * contrast * band
    data[0] = 1 / (1 + np.exp(-logits))
    return data


class HeldToViews(Trainer):
    """Agrees with what the start sees in three views: the crop, and it at 5/6 and 2/3, turned."""

    def _seen_by_start(self, inputs: Tensor, number: int) -> Tensor:
        height, width = inputs.shape[2:]
        total = torch.zeros(())
        with torch.no_grad(), autocast(self.settings):
            for extra, size in enumerate((1, 5 / 6, 2 / 3)):
                turns = (number + extra) % 4
                turned = torch.rot90(inputs, turns, (2, 3))
                if size != 1:
                    to = (round(height * size), round(width * size))
                    turned = interpolate(turned, to, mode="bilinear", antialias=True)
                seen = self.teacher.logits(turned, magnification=self.magnification).float()
                if size != 1:
                    seen = interpolate(seen, (height, width), mode="bilinear")
                total = total + torch.rot90(seen, -turns, (2, 3))
        return (total / 3).sigmoid()


class HeldThroughChanges(Trainer):
    """Sees crops of other colour, brightness, sharpness and noise, the start the plain ones."""

    def restart(self, seed: int) -> None:
        super().restart(seed)
        plain, draws = self.learner.logits, torch.Generator().manual_seed(1)

        def between(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(shape, generator=draws)

        def logits(inputs: Tensor, **options: Any) -> Tensor:
            count, channels = inputs.shape[:2]
            made = inputs * between(0.75, 1.25, count, channels, 1, 1)
            made = made + between(-0.1, 0.1, count, channels, 1, 1)
            smooth = avg_pool2d(pad(made, (1, 1, 1, 1), mode="reflect"), 3, 1)
            made = made + between(-1, 1, count, 1, 1, 1) * (smooth - made)
            noise = torch.randn(inputs.shape, generator=draws)
            return plain(made + between(0, 0.05, count, 1, 1, 1) * noise, **options)

        self.learner.logits = logits


def _fixed(steps: int) -> dict[str, Any]:
    return {"max_steps": steps, "stop_at_convergence": False}


IDEAS = {
    "no training on the image": Idea(maps=of_the_start),
    "mean of the maps before and after training": Idea(maps=start_and_trained),
    "mean of two seeds' maps": Idea(maps=two_seeds),
    "four turns averaged at prediction": Idea(maps=turned),
    "three sizes averaged at prediction": Idea(maps=three_sizes),
    "contrast alone, not anchored to the start": Idea(training={"anchor": 0.0}),
    "anchor 5 instead of 20": Idea(training={"anchor": 5.0}),
    "anchor 80": Idea(training={"anchor": 80.0}),
    "the last step's weights, no running mean": Idea(training={"averaging": 0.0}),
    "learning rate 3e-4 instead of 2e-3": Idea(training={"learning_rate": 3e-4}),
    "8 crops a step instead of 3": Idea(training={"batch_size": 8}),
    "60 steps, whatever the rule": Idea(training={"stop_at_convergence": False}),
    "held to three views of the start, 12 steps": Idea(
        training=_fixed(12), constants={"method.training.Trainer": HeldToViews}
    ),
    "held through changes of the crops, 48 steps": Idea(
        training=_fixed(48), constants={"method.training.Trainer": HeldThroughChanges}
    ),
    "local contrast added at outlines": Idea(maps=local_contrast),
    "patches of 30 px every 12 px": Idea(training={"patch_size": 30, "stride": 12}),
    "similarity cross-entropy": Idea(training={"similarity": "cross-entropy"}),
    "stain prior beside the confidence, 0.5": Idea(objects={"prior_weight": 0.5}),
    "threshold 0.4": Idea(objects={"threshold": 0.4}),
    "threshold 0.6": Idea(objects={"threshold": 0.6}),
    "touching nuclei not split": Idea(objects={"split": "none"}),
    "split by distance, without the cores": Idea(
        objects={"split_depth": 0.06}, constants={"objects.core": lambda _confidence: None}
    ),
    "objects need no sure core": Idea(constants={"image.instances.SURER": -50.0}),
    "closing by a quarter of the diameter": Idea(constants={"image.instances.CLOSING": 6 / 24}),
    "no opening": Idea(constants={"image.instances.OPENING": 0.0}),
}


@contextmanager
def changed(constants: Mapping[str, Any]) -> Iterator[None]:
    """The package with other constants."""
    kept = []
    for name, value in constants.items():
        module = import_module(f"napari_patchseg.{name.rsplit('.', 1)[0]}")
        kept.append((module, name.rsplit(".", 1)[1], getattr(module, name.rsplit(".", 1)[1])))
        setattr(*kept[-1][:2], value)
    try:
        yield
    finally:
        for module, attribute, value in kept:
            setattr(module, attribute, value)


class Bench:
    """One image and its true labels; the default is run once."""

    def __init__(self, image: Path, labels: Path) -> None:
        self.image = read_image(image).array
        self.truth = read_image(labels).array
        self.pixels = Pixels.from_array(self.image)
        self.plain = segmented(self.image, Settings.create())
        # At the same magnification whatever an idea does to the image.
        self.settings = Settings.from_dict(self.plain.report["settings"])

    def score(self, idea: Idea) -> tuple[float, float]:
        """Dice and AJI."""
        with changed(idea.constants):
            return self._score(idea)

    def _score(self, idea: Idea) -> tuple[float, float]:
        settings = self.settings.replace(**idea.training)
        result = segmented(self.image, settings) if idea.training else self.plain
        made = result.confidence
        if made is None:
            return 0.0, 0.0
        if idea.maps is not None:
            made = replace(made, data=idea.maps(self.image, result, settings).astype(np.float32))
        assert isinstance(made, ConfidenceMap)
        labels, _ = make_labels(made, self.pixels, settings.replace(**idea.objects))
        found = agreement(self.truth, labels)
        return found.dice, found.aji


def table(scores: dict[str, dict[str, tuple[float, float]]]) -> str:
    """Markdown: the default's means, and every idea's difference; worst is the image most hurt."""
    plain = np.array(list(scores["default"].values()))
    lines = [
        "| idea | Dice | AJI | worst Dice |",
        "|---|---|---|---|",
        f"| default, {len(plain)} images | {plain[:, 0].mean():.3f} | {plain[:, 1].mean():.3f} | |",
    ]
    for name, rows in scores.items():
        if name != "default":
            difference = np.array(list(rows.values())) - plain
            dice, aji = difference.mean(0)
            lines.append(f"| {name} | {dice:+.3f} | {aji:+.3f} | {difference[:, 0].min():+.3f} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True, help="<image's stem>.png, uint16")
    parser.add_argument("--ideas", nargs="+", choices=IDEAS, default=list(IDEAS), metavar="IDEA")
    parser.add_argument("--every", type=int, default=6, help="take every Nth image, sorted by name")
    parser.add_argument("--start", type=int, default=0, help="index of the first image taken")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--json", type=Path, help="keeps results")
    options = parser.parse_args(arguments)
    chosen = {name: IDEAS[name] for name in options.ideas}
    paths = sorted(options.images.iterdir())[options.start :: options.every][: options.limit]
    kept: dict[str, Any] = {}
    if options.json is not None and options.json.exists():
        kept = json.loads(options.json.read_text())
    results = kept.setdefault(code_version(), {})
    scores: dict[str, dict[str, tuple[float, float]]] = {}
    for path in paths:
        key = f"{path.parent.parent.name}/{path.stem}"
        bench = Bench(path, options.labels / f"{path.stem}.png")
        for name, idea in {"default": Idea(), **chosen}.items():
            stored = results.setdefault(name, {})
            if key not in stored:
                stored[key] = bench.score(idea)
                if options.json is not None:
                    options.json.write_text(json.dumps(kept, indent=1))
            scores.setdefault(name, {})[key] = stored[key]
        print(f"{path.stem} done", file=sys.stderr, flush=True)
    print(table(scores))


if __name__ == "__main__":
    main()

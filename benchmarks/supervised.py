"""How far a network of this size gets when it is taught with labels: what limits the default.

    python benchmarks/supervised.py DIR [DIR ...] [--steps 700] [--weights taught.safetensors]

Each DIR holds images/ and labels/. The stained start goes on learning, now from the true labels of
the images in odd positions (by name) of all folders together, as tools/pretrain.py teaches from
generated masks. Then the images in even positions are segmented with it and with the start as it
is, neither trained on the image. The taught network gets the threshold and the sureness of cores
that serve it best on these very images, an advantage that the start does not have. Nothing of it is
shipped.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import numpy as np
import pretrain
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from scipy import ndimage as ndi

import napari_patchseg
from metrics import agreement
from napari_patchseg.files.images import read_image
from napari_patchseg.files.pretrained import pretrained_weights
from napari_patchseg.image import instances
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.inference import to_channels_last
from napari_patchseg.method.model import Model
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.objects import make_labels
from napari_patchseg.pipeline import resolve, run
from napari_patchseg.results import Segmentation

#: Magnifications that an image is taught at, sides of the pieces, thresholds, sureness of cores.
ZOOMS, SIDE = (1.0, 4 / 3), 320
THRESHOLDS, SURER = (0.3, 0.4, 0.5), (0.0, 1.1, 2.2)
Image = NDArray[np.uint8]
Labels = NDArray[np.integer]


def pairs(folder: Path, first: int) -> Iterator[tuple[Image, Labels]]:
    """Every other image with its labels."""
    for path in sorted((folder / "images").iterdir())[first::2]:
        labels = read_image(folder / "labels" / f"{path.stem}.png").array
        yield read_image(path).array[..., :3], labels


def pieces(image: Image, labels: Labels) -> Iterator[pretrain.Example]:
    """What `pretrain.teach` takes: pieces whose stain and focus vary from batch to batch."""
    for zoom in ZOOMS:
        large = ndi.zoom(image.astype(np.float32), (zoom, zoom, 1), order=1).clip(0, 255)
        owner = ndi.zoom(labels, zoom, order=0)
        for row, column in itertools.product(
            *(range(0, side - SIDE + 1, SIDE) for side in owner.shape)
        ):
            window = np.s_[row : row + SIDE, column : column + SIDE]
            maps = np.stack([owner[window] > 0, pretrain.core(owner[window])])
            yield seen(large[window].astype(np.uint8), maps.astype(np.float32))


def seen(field: Image, maps: NDArray[np.float32]) -> pretrain.Example:
    """A piece as `pretrain.teach` takes it."""
    return lambda random: pretrain.stack(pretrain.stain(field, random), maps)


def taught(folders: Sequence[Path], steps: int) -> dict[str, torch.Tensor]:
    """Weights that have seen true labels."""
    torch.manual_seed(0)
    # Not in bfloat16, which takes ten times as long where the processor does not have it.
    pretrain.logits_of = lambda network, images: network.logits(images[0])
    network = ConfidenceNetwork(3, 2)
    network.load_state_dict(dict(pretrained_weights("stained")))
    network = to_channels_last(network)
    examples = [piece for folder in folders for pair in pairs(folder, 0) for piece in pieces(*pair)]
    random = np.random.default_rng(0)
    last = steps * 2 // 7
    for phase in (
        pretrain.Phase("labelled slides", 0, len(examples), steps - last, 5e-3),
        pretrain.Phase("labelled slides", 0, len(examples), last, 3e-3, averaged=True),
    ):
        pretrain.teach(network, examples, random, phase)
    return network.state_dict()


def scores(
    folder: Path, weights: Mapping[str, torch.Tensor], ways: Sequence[tuple[float, float]]
) -> list[NDArray[np.float64]]:
    """Mean Dice, AJI and PQ on the images in even positions, by threshold and sureness."""
    settings = resolve(napari_patchseg.Settings.create("default"))
    rows = []
    for image, truth in pairs(folder, 1):
        pixels = Pixels.from_array(image)
        model = Model(weights, 3, settings, 0, "stopped")
        *_, result = run(pixels, settings, model=model, make_labels=False)
        assert isinstance(result, Segmentation)
        assert result.confidence is not None
        found = []
        for threshold, surer in ways:
            instances.SURER = surer
            labels, _ = make_labels(
                result.confidence, pixels, settings.replace(threshold=threshold)
            )
            one = agreement(truth, labels)
            found.append((one.dice, one.aji, one.pq))
        rows.append(found)
    return list(np.mean(rows, axis=0))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--weights", type=Path, help="taught weights: read if there, else written")
    options = parser.parse_args(arguments)
    if options.weights is not None and options.weights.exists():
        weights = load_file(options.weights)
    else:
        weights = taught(options.folders, options.steps)
        if options.weights is not None:
            save_file({k: v.contiguous() for k, v in weights.items()}, options.weights)
    usual = instances.SURER
    ways = list(itertools.product(THRESHOLDS, SURER))
    print(
        "| images in even positions | Dice | AJI | PQ | threshold, sureness |",
        "|---|---|---|---|---|",
        sep="\n",
    )
    for folder in options.folders:
        own = scores(folder, pretrained_weights("stained"), [(0.5, usual)])[0]
        of_taught = scores(folder, weights, ways)
        best = int(np.argmax([row[1] for row in of_taught]))
        for name, row, way in (
            ("start", own, (0.5, usual)),
            ("taught with labels", of_taught[best], ways[best]),
        ):
            figures = " | ".join(f"{value:.3f}" for value in row)
            print(f"| {folder.name}: {name} | {figures} | {way[0]}, {way[1]} |", flush=True)


if __name__ == "__main__":
    main()

"""Make the weights that training starts from: synthetic images, generated masks, no human label.

    cd src/napari_patchseg/files
    python ../../../tools/pretrain.py stained pretrained-stained.safetensors
    python ../../../tools/pretrain.py fluorescence pretrained-fluorescence.safetensors

Teaches the confidence network two maps, nucleus and the nucleus's interior. "stained": fields of
synthetic H&E, first those of the sample image, then tissue of every kind; their stains, focus,
light, noise and compression vary. "fluorescence": cultures that are lit anew each time.
Deterministic for one machine and thread count; minutes on two cores.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as PillowImage
from safetensors.torch import save_file
from scipy import ndimage as ndi
from skimage.segmentation import find_boundaries

from napari_patchseg import __version__
from napari_patchseg.image.pixels import even_tones
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.synthetic import Culture, Tissue, culture, expose, synthetic_field

CROP, CROPS, CROPS_PER_FIELD, FIRST_SEED = 200, 8, 2, 1000
Image = NDArray[np.float32]
#: One more picture of a field, and its two maps, as (5, H, W).
Example = Callable[[np.random.Generator], Image]


def interior(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The inner part of each nucleus: further from its border than 0.45 of the furthest pixel."""
    inside = (labels > 0) & ~find_boundaries(labels, mode="inner")
    depth = ndi.distance_transform_edt(inside)
    deepest = np.asarray(ndi.maximum(depth, labels, np.arange(labels.max() + 1)))
    return np.asarray((depth > 0.45 * deepest[labels]) & (labels > 0))


def stretch(image: Image) -> Image:
    """What `InputScale.of_image` does, on one field (H, W, 3); outliers are clipped."""
    low, high = np.percentile(image[::3, ::3].reshape(-1, 3), [0.5, 99.5], axis=0)
    low, high = low.astype(np.float32), high.astype(np.float32)
    scaled = ((image - low) / np.maximum(high - low, 0.02)).clip(-0.2, 1.2)
    return np.asarray((scaled - 0.5) * 4, np.float32)


def stack(image: Image, maps: Image) -> Image:
    """Scaled image and maps, (5, H, W)."""
    return np.concatenate([stretch(image).transpose(2, 0, 1), maps])


# -- stained sections


def stained_field(index: int, side: int, *, every_kind: bool) -> Example:
    """A field of its own nucleus diameter (10 to 46 px), density (0 to 0.55) and tissue."""
    random = np.random.default_rng([FIRST_SEED, index])
    diameter = float(np.exp(random.normal(np.log(21), 0.4)).clip(10, 46))
    field, labels = synthetic_field(
        (side, side),
        FIRST_SEED + index,
        nucleus_diameter=diameter,
        density=float(random.uniform(0, 0.55)),
        tissue=Tissue.drawn(random) if every_kind else None,
    )
    maps = np.stack([labels > 0, interior(labels)]).astype(np.float32)
    return lambda random: stack(stain(field, random), maps)


def stain(field: NDArray[np.uint8], random: np.random.Generator) -> Image:
    """Another stain, focus, light, noise and compression of the same field: (H, W, 3) in [0, 1]."""
    density = -np.log((field.astype(np.float32) / 255).clip(1 / 255, 1))
    mixing = np.eye(3) + random.normal(0, 0.12, (3, 3))
    strength = np.exp(random.uniform(np.log(0.45), np.log(1.8)))
    density = (density @ mixing.astype(np.float32)).clip(0) * strength
    density += np.abs(random.normal(0, 0.05, 3)).astype(np.float32)
    image = np.exp(-density)
    focus = random.random()
    if focus < 0.5:
        image = ndi.gaussian_filter(image, (*[random.uniform(0.3, 1.6)] * 2, 0))
    elif focus < 0.7:  # as scanners sharpen
        soft = ndi.gaussian_filter(image, (*[random.uniform(0.7, 1.5)] * 2, 0))
        image = image + random.uniform(0.3, 1.2) * (image - soft)
    if random.random() < 0.06:
        image = np.repeat(image.mean(-1, keepdims=True), 3, -1)
    noise = random.uniform(0, 0.03) * random.random()
    image = (image + random.normal(0, noise, image.shape)).clip(0, 1)
    if random.random() < 0.35:
        image = compressed(image, int(random.integers(35, 92)))
    return np.asarray(image, np.float32)


def compressed(image: NDArray[np.floating], quality: int) -> Image:
    """The image after JPEG compression."""
    file = io.BytesIO()
    PillowImage.fromarray((255 * image).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(PillowImage.open(file), np.float32) / 255


# -- fluorescence


def fluorescent_field(index: int, side: int) -> Example:
    """A culture of its own nucleus diameter (10 to 46 px) and density (0.02 to 0.6)."""
    random = np.random.default_rng([FIRST_SEED, index])
    diameter = float(np.exp(random.uniform(np.log(10), np.log(46))))
    density = float(
        random.uniform(0.02, 0.2) if random.random() < 0.5 else random.uniform(0.2, 0.6)
    )
    grown = culture((side, side), index, nucleus_diameter=diameter, density=density)
    maps = np.stack([grown.labels > 0, interior(grown.labels)]).astype(np.float32)
    return lambda random: stack(light(grown, random), maps)


def light(grown: Culture, random: np.random.Generator) -> Image:
    """A picture of a culture as `RGBPixels` shows it: (H, W, 3) in [0, 1], dark on light."""
    image = expose(grown, random).astype(np.float32) / 255
    low, high = np.percentile(image, [0.5, 99.5])
    return np.repeat(1 - even_tones(image, low, high)[..., None], 3, -1)


# -- teaching


def batch(
    fields: Sequence[Example], random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled crops (N, 3, S, S) and their two maps (N, 2, S, S)."""
    crops = []
    for _ in range(CROPS // CROPS_PER_FIELD):
        example = fields[random.integers(len(fields))](random)
        side = example.shape[-1]
        for _ in range(CROPS_PER_FIELD):
            turned = np.rot90(example, random.integers(4), (1, 2))
            turned = turned[:, ::-1] if random.random() < 0.5 else turned
            row, column = random.integers(0, side - CROP + 1, 2)
            crops.append(turned[:, row : row + CROP, column : column + CROP])
    tensor = torch.from_numpy(np.stack(crops))
    images = tensor[:, :3].contiguous(memory_format=torch.channels_last)
    return images, tensor[:, 3:]


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and soft Dice."""
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    found = logits.sigmoid()
    overlap = 2 * (found * target).sum((2, 3)) + 1
    return cross_entropy + (1 - overlap / ((found + target).sum((2, 3)) + 1)).mean()


@dataclass(frozen=True)
class Phase:
    """A part of the teaching.

    Attributes
    ----------
    fields : str
        "plain", "of every kind" or "cultures".
    first, count : int
        Which fields.
    steps : int
        Of AdamW.
    rate : float
        Highest learning rate: of a one-cycle schedule, or where the weights are averaged reached
        in 30 steps and kept.
    averaged : bool
        Whether the mean of the weights after each step, from the 51st on, is the result. On real
        slides it does better than the last weights: it fits the synthetic ones less closely.
    seed : int or None
        Of the random numbers from here on; None goes on with those of the phase before.
    """

    fields: str
    first: int
    count: int
    steps: int
    rate: float
    averaged: bool = False
    seed: int | None = None


def teach(
    network: ConfidenceNetwork, fields: Sequence[Example], random: np.random.Generator, phase: Phase
) -> None:
    """Train on random pictures of the fields."""
    start = time.perf_counter()
    optimiser = torch.optim.AdamW(network.parameters(), lr=phase.rate, weight_decay=1e-2)
    schedule: torch.optim.lr_scheduler.LRScheduler
    if phase.averaged:
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda done: min(1, (done + 1) / 30)
        )
    else:
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, phase.rate, total_steps=phase.steps, pct_start=0.2
        )
    mean = torch.optim.swa_utils.AveragedModel(network)
    losses = []
    for step in range(1, phase.steps + 1):
        images = batch(fields, random)
        loss = loss_of(logits_of(network, images), images[1])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if phase.averaged and step > 50:
            mean.update_parameters(network)
        if step % 50 == 0:
            seconds = time.perf_counter() - start
            print(
                f"{step}/{phase.steps} loss {np.mean(losses[-50:]):.3f}, {seconds:.0f} s",
                flush=True,
            )
    if phase.averaged:
        network.load_state_dict(mean.module.state_dict())
        take_statistics(network, [batch(fields, random) for _ in range(30)])


def logits_of(
    network: ConfidenceNetwork, images: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """Both maps before the sigmoid, computed in bfloat16."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return network.logits(images[0]).float()


def take_statistics(
    network: ConfidenceNetwork, batches: Sequence[tuple[torch.Tensor, torch.Tensor]]
) -> None:
    """Batch normalisation's statistics for weights that no batch has been through."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # a plain mean
    network.train()
    with torch.no_grad():
        for images in batches:
            logits_of(network, images)


#: What each start is taught, one after the other.
RECIPES = {
    "stained": (
        Phase("plain", 0, 400, 600, 8e-3),
        Phase("of every kind", 0, 600, 1200, 5e-3),
        Phase("of every kind", 3000, 200, 300, 4e-3, averaged=True, seed=5),
    ),
    "fluorescence": (
        Phase("cultures", 0, 300, 600, 8e-3),
        Phase("cultures", 3000, 150, 200, 4e-3, averaged=True, seed=5),
    ),
}


def painted(phase: Phase) -> list[Example]:
    """Fields of a phase."""
    indices = range(phase.first, phase.first + phase.count)
    if phase.fields == "cultures":
        return [fluorescent_field(index, 256) for index in indices]
    every_kind = phase.fields == "of every kind"
    return [stained_field(index, 320, every_kind=every_kind) for index in indices]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=RECIPES)
    parser.add_argument("output", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(options.seed)
    random = np.random.default_rng(options.seed)
    network = ConfidenceNetwork(3, 2).to(memory_format=torch.channels_last)
    for phase in RECIPES[options.kind]:
        if phase.seed is not None:
            random = np.random.default_rng(phase.seed)
        teach(network, painted(phase), random, phase)
    save(network.state_dict(), options.kind, options.seed, options.output)


def save(weights: Mapping[str, torch.Tensor], kind: str, seed: int, path: Path) -> None:
    """Write weights with where they come from."""
    phases = [asdict(phase) for phase in RECIPES[kind]]
    metadata = {
        "format": "napari-patchseg pretrained weights",
        "format_version": "1",
        "made_by": f"tools/pretrain.py of napari-patchseg {__version__}",
        "learnt_from": "synthetic images with generated masks; no human label, no real slide",
        "kind": kind,
        "recipe": json.dumps({"seed": seed, "phases": phases}),
        "licence": "BSD-3-Clause",
    }
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path, metadata)


if __name__ == "__main__":
    main()

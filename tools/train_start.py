"""Make the weights that training starts from: synthetic images, generated masks, no human label.

    python tools/train_start.py src/napari_patchseg/files/start.safetensors

Paints fields of synthetic H&E, varies their stains, focus, light and noise, turns some into grey or
fluorescence images, and teaches the confidence network two maps: nucleus, and the nucleus's core.
Deterministic for one machine and thread count; about ten minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy import ndimage as ndi
from skimage.segmentation import find_boundaries

from napari_patchseg import __version__
from napari_patchseg.image.synthetic import synthetic_field
from napari_patchseg.method.network import ConfidenceNetwork

FIELD, CROP, CROPS_PER_FIELD, FIRST_SEED = 320, 200, 2, 1000
Image = NDArray[np.float32]


def core(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The inner part of each nucleus: further from its border than 0.45 of the furthest pixel."""
    inside = (labels > 0) & ~find_boundaries(labels, mode="inner")
    depth = ndi.distance_transform_edt(inside)
    deepest = np.asarray(ndi.maximum(depth, labels, np.arange(labels.max() + 1)))
    return np.asarray((depth > 0.45 * deepest[labels]) & (labels > 0))


def paint(index: int) -> tuple[NDArray[np.uint8], NDArray[np.integer]]:
    """A field of its own nucleus diameter (11 to 42 px) and density (0 to 0.5)."""
    seed = FIRST_SEED + index
    random = np.random.default_rng(seed)
    diameter = float(np.exp(random.uniform(np.log(11), np.log(42))))
    density = float(random.uniform(0, 0.5))
    return synthetic_field((FIELD, FIELD), seed, nucleus_diameter=diameter, density=density)


def vary(field: NDArray[np.uint8], nuclei: NDArray[np.bool_], random: np.random.Generator) -> Image:
    """Another stain, focus, light and noise of the same field: (H, W, 3) in [0, 1]."""
    density = -np.log((field.astype(np.float32) / 255).clip(1 / 255, 1))
    mixing = np.eye(3) + random.normal(0, 0.12, (3, 3))
    strength = np.exp(random.uniform(np.log(0.45), np.log(1.8)))
    density = (density @ mixing.astype(np.float32)).clip(0) * strength
    density += np.abs(random.normal(0, 0.05, 3)).astype(np.float32)
    image = np.exp(-density)
    if random.random() < 0.5:
        sigma = random.uniform(0.3, 1.6)
        image = ndi.gaussian_filter(image, (sigma, sigma, 0))
    kind = random.random()
    if kind < 0.12:
        image = np.repeat(image.mean(-1, keepdims=True), 3, -1)
    image = image + random.normal(0, random.uniform(0, 0.03), image.shape)
    if kind > 0.88:
        light = fluorescence((1 - image.mean(-1)).clip(0, 1), nuclei, random)
        image = np.repeat(1 - light[..., None], 3, -1)
    return np.asarray(image.clip(0, 1), np.float32)


def fluorescence(
    texture: Image, nuclei: NDArray[np.bool_], random: np.random.Generator
) -> NDArray[np.floating]:
    """The field's nuclei as a fluorescence microscope shows them, about [0, 1], bright on dark."""
    uneven = ndi.gaussian_filter(random.normal(0, 1, nuclei.shape), 12)
    light = nuclei * (0.35 + texture) * np.exp(uneven * random.uniform(0, 8))
    light = light + random.uniform(0, 0.15) * texture  # autofluorescence
    if random.random() < 0.4:  # what is out of focus
        strength = random.uniform(0, 0.5)
        haze = ndi.gaussian_filter(random.normal(0, 1, nuclei.shape).clip(0), 18)
        light = light + 14 * strength * haze
    light = ndi.gaussian_filter(light, random.uniform(0.5, 1.6))
    light = light + random.normal(0, random.uniform(0, 0.04), light.shape)
    return np.asarray(light / np.percentile(light, 99.8))


def stretch(image: Image) -> Image:
    """What `InputScale.of_image` does, on one field; outliers are clipped."""
    low, high = np.percentile(image[::3, ::3].reshape(-1, 3), [0.5, 99.5], axis=0)
    low, high = low.astype(np.float32), high.astype(np.float32)
    scaled = ((image - low) / np.maximum(high - low, 0.02)).clip(-0.2, 1.2)
    return np.asarray((scaled - 0.5) * 4, np.float32)


def batch(
    fields: list[tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]],
    random: np.random.Generator,
    crops: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scaled crops (N, 3, S, S) and their two maps (N, 2, S, S)."""
    stacks = []
    for _ in range(crops // CROPS_PER_FIELD):
        field, nuclei, cores = fields[random.integers(len(fields))]
        pixels = stretch(vary(field, nuclei, random)).transpose(2, 0, 1)
        stack = np.concatenate([pixels, np.stack([nuclei, cores]).astype(np.float32)])
        for _ in range(CROPS_PER_FIELD):
            turned = np.rot90(stack, random.integers(4), (1, 2))
            turned = turned[:, ::-1] if random.random() < 0.5 else turned
            row, column = random.integers(0, FIELD - CROP + 1, 2)
            stacks.append(turned[:, row : row + CROP, column : column + CROP])
    tensor = torch.from_numpy(np.stack(stacks))
    return tensor[:, :3], tensor[:, 3:]


def loss_of(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross-entropy and soft Dice."""
    cross_entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, target)
    found = logits.sigmoid()
    overlap = 2 * (found * target).sum((2, 3)) + 1
    return cross_entropy + (1 - overlap / ((found + target).sum((2, 3)) + 1)).mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--fields", type=int, default=400)
    parser.add_argument("--crops", type=int, default=8)
    parser.add_argument("--rate", type=float, default=8e-3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(options.seed)
    random = np.random.default_rng(options.seed)
    start = time.perf_counter()
    painted = [paint(index) for index in range(options.fields)]
    fields = [(image, labels > 0, core(labels)) for image, labels in painted]
    network = ConfidenceNetwork(3, 2)
    optimiser = torch.optim.AdamW(network.parameters(), lr=options.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.rate, total_steps=options.steps, pct_start=0.2
    )
    for step in range(1, options.steps + 1):
        inputs, target = batch(fields, random, options.crops)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network.logits(inputs)
        loss = loss_of(logits.float(), target)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 50 == 0:
            seconds = time.perf_counter() - start
            print(f"{step}/{options.steps} loss {loss.item():.3f}, {seconds:.0f} s")
    recipe = {key: value for key, value in vars(options).items() if key != "output"}
    metadata = {
        "format": "napari-patchseg start",
        "format_version": "1",
        "made_by": f"tools/train_start.py of napari-patchseg {__version__}",
        "learnt_from": "synthetic images with generated masks; no human label, no real slide",
        "recipe": json.dumps(recipe),
        "licence": "BSD-3-Clause",
    }
    weights = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(weights, options.output, metadata=metadata)


if __name__ == "__main__":
    main()

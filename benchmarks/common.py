"""What the benchmarks share: images with labels, kept figures, and the tables of the docs."""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import shlex
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from numpy.typing import NDArray

import napari_patchseg
from napari_patchseg.files.images import read_image
from napari_patchseg.files.models import pretrained_weights
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.network import Model
from napari_patchseg.modality import STAINED, Modality
from napari_patchseg.pipeline import run
from napari_patchseg.report import Finished, Segmentation

DOCS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
Image = NDArray[Any]
Labels = NDArray[np.integer]


# -- images with labels


def arguments(description: str, every: int = 1) -> argparse.ArgumentParser:
    """A parser with what all benchmarks on labelled images take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True, help="<image's stem>.png, uint16")
    parser.add_argument("--every", type=int, default=every, help="take every Nth, sorted by name")
    parser.add_argument("--start", type=int, default=0, help="index of the first image taken")
    parser.add_argument("--limit", type=int, help="take so many at most")
    parser.add_argument("--write", action="store_true", help=f"put the table into {DOCS.name}")
    return parser


def chosen(options: argparse.Namespace) -> list[Path]:
    """The images that the options take."""
    return sorted(options.images.iterdir())[options.start :: options.every][: options.limit]


def truth_of(image: Path, options: argparse.Namespace) -> Labels:
    """True labels of an image, (H, W)."""
    return read_image(options.labels / f"{image.stem}.png").array


# -- segmenting


def segmented(
    image: Image | Pixels | Sequence[Pixels],
    settings: napari_patchseg.Settings,
    model: Model | None = None,
    make_labels: bool = True,
) -> Segmentation:
    """The result of a run."""
    pixels = Pixels.from_array(image) if isinstance(image, np.ndarray) else image
    *_, end = run(pixels, settings, model=model, make_labels=make_labels)
    assert isinstance(end, Finished)
    return end.result


def pretrained(modality: Modality = STAINED) -> Model:
    """The pretrained weights for a kind of image as a model, before any training."""
    return Model(pretrained_weights(modality), 3, napari_patchseg.Settings(), 0, "step limit")


# -- kept figures


class Kept:
    """Figures in a JSON file, so that a second call computes what is missing; or in none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.figures: dict[str, Any] = {}
        if path is not None and path.exists():
            self.figures = json.loads(path.read_text())

    def keep(self, name: str, value: Any) -> None:
        self.figures[name] = value
        if self._path is not None:
            self._path.write_text(json.dumps(self.figures, indent=1))


@functools.cache
def code_version() -> str:
    """A hash over what results depend on: those of other code are not mixed in."""
    root = Path(napari_patchseg.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*")):
        if path.suffix in (".py", ".safetensors") and path.relative_to(root).parts[0] not in (
            "plugin",
            "cli",
        ):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


# -- tables


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Markdown."""
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    lines += [f"| {' | '.join(map(str, row))} |" for row in rows]
    return "\n".join(lines)


def short(value: float) -> str:
    """With a tenth below 10."""
    return f"{value:.1f}" if abs(value) < 9.95 else f"{value:.0f}"


def write(name: str, text: str, docs: Path = DOCS) -> None:
    """Put a table into the docs, with date, machine, versions and command: between its markers.

    Where there are none yet, it comes to the end.
    """
    begin, end = f"<!-- begin {name} -->", "<!-- end -->"
    block = f"{begin}\n{conditions()}\n\n{command()}\n\n{text}\n{end}"
    before = docs.read_text(encoding="utf-8")
    after, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: block, before, flags=re.DOTALL
    )
    docs.write_text(after if count else f"{before}\n{block}\n", encoding="utf-8")


def conditions() -> str:
    """When, where and with what this runs."""
    packages = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "napari-patchseg")
    )
    return f"{date.today()}, {processor()}, {os.cpu_count()} cores; {packages}"


def processor() -> str:
    """Name of the processor."""
    try:
        names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:  # not Linux
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def command() -> str:
    """What was typed, as markdown; paths without the folders that only this machine has."""
    words = ["python", f"benchmarks/{Path(sys.argv[0]).name}", *_typed()]
    lines = textwrap.wrap(shlex.join(words), 90, break_on_hyphens=False, subsequent_indent="    ")
    return "\n".join(f"    {line}" for line in " \\\n".join(lines).splitlines())


def _typed() -> Iterator[str]:
    words = iter(sys.argv[1:])
    for word in words:
        if word == "--json":
            next(words)
        elif word != "--write":
            yield "/".join(Path(word).parts[-2:]) if Path(word).exists() else word

"""The command line's arguments."""

from __future__ import annotations

import argparse
import json
import math
import re
from pathlib import Path
from typing import Any, NoReturn

from napari_patchseg import __version__

from .console import PROGRAM

DEVICES = ("auto", "cpu", "cuda", "mps")
_LENGTH = re.compile(r"\s*([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(px|[uµμ]m)?\s*", re.IGNORECASE)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{PROGRAM}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """Parse into a namespace whose ``command`` is the module and function that do the work."""
    top = _Parser(
        prog=PROGRAM,
        description="Label the nuclei of microscope images, learnt from each image without labels.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")
    _add_segment(commands)
    _add_train(commands)
    _add_demo(commands)
    return top


def _add_segment(commands: Any) -> None:
    segment = commands.add_parser(
        "segment",
        help="label the nuclei of images",
        description="Train on each image, or use a model, and write its labels as OME-TIFF.",
        allow_abbrev=False,
    )
    _add_images(segment)
    segment.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="labels file (.ome.tif, .tif, or .png for 16-bit PNG), or the folder for them; "
        "without it: IMAGE_nuclei.ome.tif beside each image",
    )
    segment.add_argument(
        "--model", type=Path, metavar="M", help="use this model (see train) instead of training"
    )
    segment.add_argument(
        "--diameter",
        type=length,
        metavar="D",
        help="expected nucleus diameter: 8um, 24px, or a bare number, which is µm where the file "
        "states its pixel size, else px; without it: estimated from the image",
    )
    segment.add_argument(
        "--pixel-size",
        type=_above_zero,
        metavar="UM",
        help="µm per pixel, instead of what the file says",
    )
    segment.add_argument(
        "--threshold",
        type=float,
        metavar="T",
        help="confidence between 0 and 1 from which a pixel is nucleus; without it: 0.5, 0.4 for "
        "fluorescence, or Otsu's with preset paper",
    )
    _add_settings(segment)
    _add_files(segment)
    segment.set_defaults(command=("segment", "segment"))


def _add_train(commands: Any) -> None:
    train = commands.add_parser(
        "train",
        help="train one model on images",
        description="Train one model on all the images, to be used by segment --model.",
        allow_abbrev=False,
    )
    _add_images(train)
    train.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="MODEL",
        help="model file to write, such as liver.safetensors",
    )
    _add_settings(train)
    _add_files(train)
    train.set_defaults(command=("train", "train"))


def _add_demo(commands: Any) -> None:
    demo = commands.add_parser(
        "demo",
        help="see it work on a synthetic sample",
        description="Open napari with a synthetic sample and train on it. Without a display, do "
        "the same work and write labels, confidence, overlay, curves and a report.",
        allow_abbrev=False,
    )
    demo.add_argument("--headless", action="store_true", help="open no window")
    headless = demo.add_argument_group("without a window")
    headless.add_argument(
        "--output",
        type=Path,
        default=Path("patchseg-demo"),
        metavar="DIR",
        help="folder for the results (default: %(default)s)",
    )
    headless.add_argument(
        "--size",
        type=int,
        default=512,
        metavar="PX",
        help="side of the sample (default: %(default)s)",
    )
    _add_settings(headless)
    demo.set_defaults(command=("demo", "demo"))


def _add_images(command: Any) -> None:
    command.add_argument(
        "images", nargs="+", type=Path, metavar="IMAGE", help="TIFF, PNG, JPEG and others"
    )


def _add_settings(command: Any) -> None:
    command.add_argument("--preset", default="default", metavar="P", help="default or paper")
    command.add_argument("--seed", type=int, metavar="N", help="of every random draw (default: 0)")
    command.add_argument(
        "--device", choices=DEVICES, help="where to compute (default: auto, the fastest)"
    )
    command.add_argument(
        "--max-steps",
        type=int,
        metavar="N",
        help="end training after this many steps at the latest",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        type=_assignment,
        metavar="NAME=VALUE",
        help="any other setting, such as similarity=cross-entropy; may be repeated",
    )


def _add_files(command: Any) -> None:
    command.add_argument(
        "--report",
        type=Path,
        metavar="R.json",
        help="write steps, stop reason, separations, seconds, objects, settings and versions",
    )
    command.add_argument("--overwrite", action="store_true", help="replace files that exist")
    command.add_argument(
        "-q", "--quiet", action="store_true", help="say only results, warnings and errors"
    )


def length(text: str) -> tuple[float, str | None]:
    """A length above 0, and "px", "µm" or, where no unit is given, None."""
    match = _LENGTH.fullmatch(text)
    if match is None or not 0 < float(match[1]) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no length; write for example 8um or 24px")
    unit = (match[2] or "").lower()
    return float(match[1]), {"": None, "px": "px"}.get(unit, "µm")


def _above_zero(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return value


def _assignment(text: str) -> tuple[str, Any]:
    """A setting's name and value: JSON where it is some, else text."""
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value.strip()

"""The command line's arguments, as texts: what they stand for is seen later, all at once."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from napari_patchseg import __version__
from napari_patchseg.settings import AUTOMATIC, FIELDS, SettingField, Settings

from .console import PROGRAM

#: Settings that change labels alone. The others of nuclei tell how large a network sees the image,
#: and which class a model takes for them.
OF_LABELS = ("prior_weight", "threshold", "min_area", "split", "split_depth")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage before it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        # "-5um" is a value that is wrong, not an option that is unknown.
        self._negative_number_matcher = re.compile(r"-[.,]?\d|-inf|-nan", re.IGNORECASE)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{PROGRAM}: {message}; see {self.prog} --help\n")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Parse into a namespace of texts.

    Its ``command`` is the module and function that do the work, its ``mistakes`` are sentences
    about arguments that have no place.

    Raises
    ------
    SystemExit
        For ``--help``, ``--version``, no arguments, and what leaves nothing to go on with.
    """
    top, commands = _parsers()
    if not argv:
        top.print_help()
        top.exit()
    if argv[0] not in commands:
        if argv[0].startswith("-"):
            top.parse_args(argv[:1])
        top.exit(2, f"{PROGRAM}: {_no_command(argv[0], list(commands))}\n")
    parser = commands[argv[0]]
    rest = list(argv[1:])
    # Options and images in any order; what follows "--" is images, also where Python forgets it.
    end = rest.index("--") if "--" in rest else len(rest)
    args, unknown = parser.parse_known_intermixed_args(rest[:end])
    if "images" in args:
        args.images = [*(args.images or []), *rest[end + 1 :]]
    else:
        unknown += rest[end:]
    args.mistakes = _unknown(unknown, parser)
    return args


def option(name: str) -> str:
    """A setting's option: "--max-steps" of "max_steps"."""
    return f"--{name.replace('_', '-')}"


def _no_command(text: str, commands: Sequence[str]) -> str:
    words = f"{text!r} is no command; choose {', '.join(commands[:-1])} or {commands[-1]}"
    close = get_close_matches(text, commands, 1)
    if close:
        return f"{words}; did you mean {close[0]}?"
    if Path(text).suffix:
        return f"{words}, such as {PROGRAM} segment {text}"
    return f"{words}; see {PROGRAM} --help"


def _unknown(texts: Sequence[str], parser: argparse.ArgumentParser) -> list[str]:
    sentences = []
    after_option = False
    for text in texts:
        if text.startswith("-"):
            name = text.split("=")[0]
            close = get_close_matches(name, parser._option_string_actions, 1)  # noqa: SLF001
            hint = f"did you mean {close[0]}?" if close else f"see {parser.prog} --help"
            sentences.append(f"There is no option {name}; {hint}")
        elif not after_option:
            sentences.append(f"{text!r} has no place here; see {parser.prog} --help")
        after_option = text.startswith("-")
    return sentences


def _parsers() -> tuple[_Parser, dict[str, _Parser]]:
    top = _Parser(
        prog=PROGRAM,
        description="Label the nuclei of microscope images, learnt from each image without labels.",
    )
    top.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", title="commands")
    return top, {
        "segment": _add_segment(commands),
        "train": _add_train(commands),
        "demo": _add_demo(commands),
    }


def _add_segment(commands: Any) -> _Parser:
    segment: _Parser = commands.add_parser(
        "segment",
        usage="%(prog)s [options] IMAGE [IMAGE ...]",
        help="label the nuclei of images",
        description="Train on each image, or use a model, and write its labels as OME-TIFF.",
    )
    _add_images(segment)
    segment.add_argument(
        "-o",
        "--output",
        metavar="OUT",
        help="labels file (.ome.tif, .tif, or .png for 16-bit PNG), or the folder for them, which "
        "is made if need be; without it: IMAGE_nuclei.ome.tif beside each image",
    )
    segment.add_argument(
        "--model", metavar="M", help="use this model (see train) instead of training"
    )
    segment.add_argument(
        "--diameter",
        metavar="D",
        help="expected nucleus diameter: 8um, 24px, or a bare number, which is µm where the file "
        "states its pixel size, else px; without it: estimated from the image",
    )
    segment.add_argument(
        "--pixel-size", metavar="UM", help="µm per pixel, instead of what the file says"
    )
    _add_files(segment)
    _add_settings(segment)
    segment.set_defaults(command=("segment", "segment"))
    return segment


def _add_train(commands: Any) -> _Parser:
    train: _Parser = commands.add_parser(
        "train",
        usage="%(prog)s [options] -o MODEL IMAGE [IMAGE ...]",
        help="train one model on images",
        description="Train one model on all the images, to be used by segment --model.",
    )
    _add_images(train)
    train.add_argument(
        "-o", "--output", metavar="MODEL", help="model file to write, such as liver.safetensors"
    )
    _add_files(train)
    _add_settings(train, without=OF_LABELS)
    train.set_defaults(command=("train", "train"))
    return train


def _add_demo(commands: Any) -> _Parser:
    demo: _Parser = commands.add_parser(
        "demo",
        usage="%(prog)s [options]",
        help="see it work on a synthetic sample",
        description="Open napari with a synthetic sample and segment its nuclei. Without a "
        "display, do the same work and write labels, confidence, overlay, curves and a report.",
    )
    demo.add_argument("--headless", action="store_true", help="open no window")
    demo.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        help="folder for the results where there is no window (default: patchseg-demo)",
    )
    demo.add_argument(
        "--size", default="512", metavar="PX", help="side of the sample (default: %(default)s)"
    )
    _add_settings(demo)
    demo.set_defaults(command=("demo", "demo"), quiet=False)
    return demo


def _add_images(command: _Parser) -> None:
    # Not "+": that there are some is seen with everything else.
    command.add_argument("images", nargs="*", metavar="IMAGE", help="TIFF, PNG, JPEG and others")


def _add_files(command: _Parser) -> None:
    command.add_argument(
        "--report",
        metavar="R.json",
        help="write steps, stop reason, separations, seconds, objects, settings and versions",
    )
    command.add_argument("--overwrite", action="store_true", help="replace files that exist")
    command.add_argument(
        "-q", "--quiet", action="store_true", help="say only results, warnings and errors"
    )


def _add_settings(command: _Parser, without: Sequence[str] = ()) -> None:
    """An option for each setting but some, in the settings' own words."""
    general = command.add_argument_group("settings")
    general.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another way to give any setting, such as seed=3; may be repeated",
    )
    groups = {"": general}
    for name, field in FIELDS.items():
        if name in without:
            continue
        if field.group not in groups:
            about = Settings.model_fields[field.group].annotation.__doc__
            groups[field.group] = command.add_argument_group(f"settings: {field.group}", about)
        groups[field.group].add_argument(
            option(name), metavar=_values(field), help=_described(field).replace("%", "%%")
        )


def _values(field: SettingField) -> str:
    """What may be given, in a word."""
    if field.choices:
        return "|".join([*field.choices, *([AUTOMATIC] if field.info.default is None else [])])
    return field.unit.upper() or {bool: "true|false", int: "N", float: "X"}[field.kind]


def _described(field: SettingField) -> str:
    default = AUTOMATIC if field.info.default is None else str(field.info.default)
    if field.kind is bool:
        default = default.lower()
    elif field.unit and default != AUTOMATIC:
        default += f" {field.unit}"
    return f"{field.info.description} (default: {default})"

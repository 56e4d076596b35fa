"""The command line's arguments: texts first, and what they stand for later, all at once."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from napari_patchseg import __version__
from napari_patchseg.errors import SettingsError
from napari_patchseg.settings import AUTOMATIC, FIELDS, SettingField, Settings

from ._console import PROGRAM, Console

#: What can be written, by the ends of names; without loading what writes it.
FORMATS = "ome.tif, png, ome.zarr, geojson, csv, zip"
#: Settings that change labels alone. The others of nuclei tell how large a network sees the image,
#: and which class a model takes for them.
OF_LABELS = ("prior_weight", "threshold", "min_area", "max_area", "split", "split_depth", "keep")
# Point and comma both are the decimal sign.
_LENGTH = re.compile(r"\s*([0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)\s*(px|[uµμ]m)?\s*", re.IGNORECASE)


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

    Its ``command`` is the name of what is to be done, its ``mistakes`` are sentences about
    arguments that have no place.

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
    args.command, args.mistakes = argv[0], _unknown(unknown, parser)
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
    segment = commands.add_parser(
        "segment",
        usage="%(prog)s [options] IMAGE|FOLDER [IMAGE|FOLDER ...]",
        help="label the nuclei of images",
        description="Train on each image, or use a model, and write its nuclei. Of several images "
        "the folder OUT also takes a table, summary.csv, and a page to read, report.html.",
    )
    segment.add_argument(
        "-o",
        "--output",
        action="append",
        metavar="OUT",
        help=f"file to write, which its end says the kind of ({FORMATS}), may be repeated; or the "
        "folder for all results, made if need be; without it: IMAGE_nuclei.ome.tif beside each "
        "image",
    )
    segment.add_argument(
        "--formats",
        metavar="F,F",
        help="what is written for each image, where OUT is a folder or not given (default: "
        "ome.tif): labels as ome.tif, png or ome.zarr, objects as geojson (QuPath) or zip (ImageJ "
        "ROIs), measurements as csv",
    )
    segment.add_argument(
        "--resume",
        action="store_true",
        help="go on in the folder OUT: what was done there with the same images, settings, model "
        "and version is not done again",
    )
    segment.add_argument(
        "--model", metavar="M", help="use this model (see train) instead of training"
    )
    segment.add_argument(
        "--train-on",
        action="append",
        metavar="IMAGE|first",
        help="train once, on this image, folder or pattern, or on the first of the images, and use "
        "that for all; its model is kept in the folder OUT; may be repeated",
    )
    segment.add_argument(
        "--hints",
        metavar="H.png",
        help="what you painted on the one image, PNG or TIFF of its size: 1 nucleus, 2 not "
        "nucleus, 0 nothing",
    )
    segment.add_argument(
        "--corrections",
        metavar="C.json",
        help="corrections of the one image's objects, and hints, as the panel saves them",
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
    train = commands.add_parser(
        "train",
        usage="%(prog)s [options] -o MODEL IMAGE|FOLDER [IMAGE|FOLDER ...]",
        help="train one model on images",
        description="Train one model on all the images, to be used by segment --model.",
    )
    train.add_argument(
        "-o", "--output", metavar="MODEL", help="model file to write, such as liver.safetensors"
    )
    for command in (segment, train):
        command.add_argument(
            "--start",
            metavar="M",
            help="begin training with this model, not with the weights of the preset",
        )
        # Not "+": that there are some is seen with everything else.
        command.add_argument(
            "images",
            nargs="*",
            metavar="IMAGE",
            help="TIFF, PNG, JPEG and others; all of a folder, or that match a pattern",
        )
        command.add_argument(
            "--report",
            metavar="R.json",
            help="write steps, stop reason, separations, seconds, objects, settings and versions",
        )
        command.add_argument("--overwrite", action="store_true", help="replace files that exist")
        command.add_argument(
            "-q", "--quiet", action="store_true", help="say only results, warnings and errors"
        )
    demo = commands.add_parser(
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
    demo.set_defaults(quiet=False)
    for command in (segment, train, demo):
        _add_settings(command, without=OF_LABELS if command is train else ())
    return top, commands.choices


def _add_settings(command: _Parser, without: Sequence[str]) -> None:
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
        return "|".join([*field.choices, *([AUTOMATIC] if field.may_be_none else [])])
    words = {bool: "true|false", int: "N", float: "X", str: "CONDITIONS"}
    return field.unit.upper() or words[field.kind]


def _described(field: SettingField) -> str:
    default = AUTOMATIC if field.may_be_none else str(field.info.default) or "none"
    if field.kind is bool:
        default = default.lower()
    elif field.unit and default != AUTOMATIC:
        default += f" {field.unit}"
    return f"{field.info.description} (default: {default})"


# -- what the texts stand for


def settings_from(args: argparse.Namespace, console: Console) -> Settings | None:
    """The settings asked for; None, and mistakes under the names that were typed, if they are none.

    An option of its own, such as ``--seed 3``, goes before ``--set seed=4``.
    """
    from napari_patchseg.method.hardware import resolve_machine  # and torch

    typed = given(args, console)
    values: dict[str, Any] = {name: value for name, (_, value) in typed.items()}
    try:
        settings = Settings.create(str(values.pop("preset", "default")), **values)
    except SettingsError as error:
        wrong = [f"{typed[name][0]}: {what}" for name, what in error.wrong.items()]
        console.mistakes += [*wrong, *error.sentences]
        return None
    console.attempt(resolve_machine, settings.machine)  # whether the device is there
    return settings


def given(args: argparse.Namespace, console: Console) -> dict[str, tuple[str, object]]:
    """Settings by name: how each is typed, and its value."""
    found: dict[str, tuple[str, object]] = {}
    for text in args.set:
        name, sign, value = text.partition("=")
        name = name.strip().replace("-", "_")
        if sign and name:
            found[name] = f"--set {name}", _value(name, value)
        else:
            console.mistake(f"--set: {text!r} is not NAME=VALUE; write for example --set seed=3.")
    for name in FIELDS:
        text = getattr(args, name, None)  # not every command has them all
        if text is not None:
            found[name] = option(name), _value(name, text)
    diameter = getattr(args, "diameter", None)
    if diameter is not None and (size := console.attempt(length, diameter)):
        found["nucleus_diameter"] = "--diameter", size[0]
        if size[1] is not None:
            found["diameter_unit"] = "--diameter", size[1]
    return found


def _value(name: str, text: str) -> str | None:
    """A setting's value as its field takes it."""
    text = text.strip()
    if text in ("None", "null"):
        return None
    if name in FIELDS and FIELDS[name].kind is float and text.count(",") == 1 and "." not in text:
        return text.replace(",", ".")
    return text


def length(text: str) -> tuple[float, str | None]:
    """A length above 0, and "px", "µm" or, where no unit is given, None.

    Raises
    ------
    SettingsError
        If it is none.
    """
    match = _LENGTH.fullmatch(text)
    number = math.nan if match is None else float(match[1].replace(",", "."))
    if match is None or not 0 < number < math.inf:
        raise SettingsError(f"--diameter: {text!r} is no length; write for example 8um or 24px.")
    unit = (match[2] or "").lower()
    return number, {"": None, "px": "px"}.get(unit, "µm")


def pixel_size(text: str) -> float:
    """µm per pixel, with or without the unit; raises `SettingsError`."""
    try:
        number, unit = length(text)
    except SettingsError:
        unit = "px"
    if unit == "px":
        raise SettingsError(
            f"--pixel-size: {text!r} is no number of µm above 0; write for example 0.25."
        )
    return number

"""What the command line's texts stand for: settings and lengths."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from napari_patchseg.errors import SettingsError
from napari_patchseg.method.hardware import resolve_machine
from napari_patchseg.settings import FIELDS, Settings

from .arguments import option
from .mistakes import Mistakes

# Point and comma both are the decimal sign.
_LENGTH = re.compile(r"\s*([0-9]+(?:[.,][0-9]*)?|[.,][0-9]+)\s*(px|[uµμ]m)?\s*", re.IGNORECASE)


def settings_from(
    args: argparse.Namespace,
    mistakes: Mistakes,
    instead: Mapping[str, tuple[str, object]] = MappingProxyType({}),
) -> Settings | None:
    """The settings asked for, None where they are mistaken.

    Parameters
    ----------
    args : Namespace
        An option of its own, such as ``--seed 3``, goes before ``--set seed=4``.
    mistakes : Mistakes
        Takes what is wrong, under the name that was typed.
    instead : mapping of str to (str, object)
        Settings that come from other options: how these are typed, and the values.
    """
    for text in args.set:
        if not _assignment(text):
            mistakes.add(f"--set: {text!r} is not NAME=VALUE; write for example --set seed=3.")
    given = {**given_in(args), **instead}
    values: dict[str, Any] = {name: value for name, (_, value) in given.items()}
    try:
        settings = Settings.create(str(values.pop("preset", "default")), **values)
    except SettingsError as error:
        for name, what in error.wrong.items():
            mistakes.add(f"{given[name][0]}: {what}")
        for sentence in error.sentences:
            mistakes.add(sentence)
        return None
    mistakes.of(resolve_machine, settings.machine)  # whether the device is there
    return settings


def given_in(args: argparse.Namespace) -> dict[str, tuple[str, object]]:
    """Settings by name: how each is typed, and its value."""
    given: dict[str, tuple[str, object]] = {}
    for name, value in filter(None, map(_assignment, args.set)):
        given[name] = f"--set {name}", _value(name, value)
    for name in FIELDS:
        text = getattr(args, name, None)  # not every command has them all
        if text is not None:
            given[name] = option(name), _value(name, text)
    return given


def _assignment(text: str) -> tuple[str, str] | None:
    """Name and value of NAME=VALUE."""
    name, sign, value = text.partition("=")
    name = name.strip().replace("-", "_")
    return (name, value) if sign and name else None


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

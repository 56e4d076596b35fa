"""What the command line's texts stand for: lengths, and values of settings."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from napari_patchseg.errors import SettingsError
from napari_patchseg.settings import FIELDS

_NUMBER = r"[0-9]+(?:[.,][0-9]*)?|[.,][0-9]+"
_LENGTH = re.compile(rf"\s*({_NUMBER})\s*(px|[uµμ]m)?\s*", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?(?:[0-9]+,[0-9]*|,[0-9]+)(?:e[+-]?[0-9]+)?", re.IGNORECASE)


def length(text: str) -> tuple[float, str | None]:
    """A length above 0, and "px", "µm" or, where no unit is given, None.

    Point and comma both are the decimal sign, here and in `setting`.

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
    match = _LENGTH.fullmatch(text)
    number = math.nan if match is None else float(match[1].replace(",", "."))
    if match is None or (match[2] or "").lower() == "px" or not 0 < number < math.inf:
        raise SettingsError(
            f"--pixel-size: {text!r} is no number of µm above 0; write for example 0.25."
        )
    return number


def assignment(text: str) -> tuple[str, Any]:
    """A setting's name and value, of NAME=VALUE; raises `SettingsError`."""
    name, sign, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not sign or not name:
        raise SettingsError(f"--set: {text!r} is not NAME=VALUE; write for example --set seed=3.")
    return name, setting(name, value)


def setting(name: str, text: str) -> Any:
    """A setting's value: JSON where the text is some, else a number or a word."""
    text = text.strip()
    kinds = str(FIELDS[name].info.annotation) if name in FIELDS else ""
    if "float" in kinds and _COMMA.fullmatch(text):
        return float(text.replace(",", "."))
    if text == "None" and "None" in kinds:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text

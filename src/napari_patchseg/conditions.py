"""Conditions on measurements, as people write them: "Solidity >= 0.8 and Area µm^2 <= 200"."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

_CLAUSE = re.compile(r"(?P<measurement>[^<>=]*[^<>=\s])\s*(?P<sign>>=|<=)\s*(?P<limit>\S+)")
_AND = re.compile(r"\s+and\s+", re.IGNORECASE)
#: However people type what stands in the headers.
_WRITTEN = {"²": "^2", "\N{GREEK SMALL LETTER MU}m": "µm", "≥": ">=", "≤": "<="}


class Condition(NamedTuple):
    """What a measurement must be.

    Attributes
    ----------
    measurement : str
        The header of its column.
    sign : str
        ">=" or "<=".
    limit : float
        In the unit of the header.
    """

    measurement: str
    sign: str
    limit: float


def conditions_of(text: str) -> tuple[Condition, ...]:
    """The conditions that a text has; none in an empty one.

    Raises
    ------
    ValueError
        If it is no such text.
    """
    for typed, meant in _WRITTEN.items():
        text = text.replace(typed, meant)
    found = []
    for clause in _AND.split(text.strip()) if text.strip() else ():
        match = _CLAUSE.fullmatch(clause)
        limit = math.nan if match is None else _number(match["limit"])
        if match is None or not math.isfinite(limit):
            raise ValueError(
                'conditions such as "Solidity >= 0.8 and Area px^2 <= 900", with >= or <=, '
                "a number, and the word and between them"
            )
        name = " ".join(match["measurement"].split())
        found.append(Condition(name[0].upper() + name[1:], match["sign"], limit))
    return tuple(found)


def in_words(conditions: Iterable[Condition]) -> str:
    """The text that has these conditions."""
    return " and ".join(f"{name} {sign} {limit:.15g}" for name, sign, limit in conditions)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan

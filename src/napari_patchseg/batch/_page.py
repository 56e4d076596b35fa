"""The report: one page that holds all it shows, without scripts, to be read and printed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from napari_patchseg.report import versions
from napari_patchseg.settings import AUTOMATIC, FIELDS, Settings
from napari_patchseg.words import pluralize

from ._records import Outcome

if TYPE_CHECKING:
    from jinja2 import Environment

#: Width and height of a histogram's bars, in units of its picture.
_WIDTH, _HEIGHT = 300, 80
#: Most ticks of an axis that do not stand too close.
_TICKS = 8


class Bar(NamedTuple):
    """A bar of a histogram, in units of its picture."""

    x: float
    y: float
    width: float
    height: float


class Axis:
    """Areas along the width of a histogram, in the logarithm: the same for all images.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Of all images. In µm² where all of them have a pixel size, else in px².
    """

    def __init__(self, outcomes: Sequence[Outcome]) -> None:
        self.in_micrometres = all(outcome.pixel_area for outcome in outcomes)
        self.unit = "µm²" if self.in_micrometres else "px²"
        ends = [
            end + self._shift(outcome)
            for outcome in outcomes
            if outcome.areas.counts
            for end in (outcome.areas.first, outcome.areas.first + len(outcome.areas.counts))
        ]
        self.low, self.high = (min(ends), max(ends)) if ends else (0.0, 1.0)

    def _shift(self, outcome: Outcome) -> float:
        """Bins between an area in pixels and the same in the axis's unit."""
        return 3 * math.log2(outcome.pixel_area) if self.in_micrometres else 0.0

    def _place(self, place: float) -> float:
        return _WIDTH * (place - self.low) / (self.high - self.low)

    def bars(self, outcome: Outcome) -> Iterator[Bar]:
        """The histogram of an image."""
        width = _WIDTH / (self.high - self.low)
        most = max(outcome.areas.counts, default=1)
        for number, count in enumerate(outcome.areas.counts, outcome.areas.first):
            height = _HEIGHT * count / most
            x = self._place(number + self._shift(outcome))
            yield Bar(round(x, 2), round(_HEIGHT - height, 2), round(width, 2), round(height, 2))

    def ticks(self) -> list[tuple[float, str]]:
        """Places and numbers: 1, 2 and 5 times powers of ten, or the powers alone."""
        low, high = 2 ** (self.low / 3), 2 ** (self.high / 3)
        tens = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1, 2, 5), (1,)):
            values = [step * 10.0**ten for ten in tens for step in steps]
            values = [value for value in values if low <= value <= high]
            if len(values) <= _TICKS:
                break
        return [(round(self._place(3 * math.log2(value)), 2), f"{value:g}") for value in values]


def page(outcomes: Sequence[tuple[str, Outcome | str]], settings: Settings) -> str:
    """The report as HTML.

    Parameters
    ----------
    outcomes : sequence of tuple
        Name of each image, and what came of it, or a sentence why nothing did.
    settings : Settings
        As they were asked for.
    """
    done = [(name, outcome) for name, outcome in outcomes if isinstance(outcome, Outcome)]
    count = sum(int(outcome.values["Nuclei"]) for _, outcome in done)
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=f"{pluralize(count, 'nucleus', 'nuclei')} in {pluralize(len(done), 'image')}",
            done=done,
            failed=[(name, text) for name, text in outcomes if isinstance(text, str)],
            axis=Axis([outcome for _, outcome in done]),
            settings=_settings(settings),
            versions=versions(),
            size=(_WIDTH, _HEIGHT),
        )
    )


def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("napari_patchseg", "batch"),
        autoescape=True,  # a name may hold anything
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    return environment


def _number(value: float | None, digits: int = 3) -> str:
    """With so many digits that count, and thin spaces between thousands; a dash for None."""
    if value is None:
        return "–"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{decimals}f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _settings(settings: Settings) -> Mapping[str, str]:
    """Every setting's value, by its name in words."""
    return {field.label: _value(field.of(settings), field.unit) for field in FIELDS.values()}


def _value(value: Any, unit: str) -> str:
    if value is None:
        return AUTOMATIC
    text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
    return f"{text} {unit}".strip()

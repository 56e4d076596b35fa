"""A run followed to its end: a bar on a terminal, lines in a log, and a line about the result."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from tqdm import tqdm

from napari_patchseg.method.events import Step
from napari_patchseg.report import Finished, Progress, Report, Segmentation
from napari_patchseg.words import pluralize, time_left

from .console import Console
from .interrupt import Interrupt

if TYPE_CHECKING:
    from napari_patchseg.report import Event

#: Seconds between two lines of progress in a log.
_LINE_INTERVAL = 10.0
# The end is what a narrow terminal cuts off.
_BAR = "{percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} {desc}"


def follow(
    events: Iterable[Event],
    name: str,
    console: Console,
    interrupt: Interrupt,
    words: Mapping[str, str] = MappingProxyType({}),
) -> Segmentation:
    """Follow a run to its end.

    Parameters
    ----------
    events : iterable of Event
        Of `pipeline.run`.
    name : str
        Of what is made.
    console, interrupt : Console, Interrupt
        Shown to, and asked.
    words : mapping of str to str
        For phases, by their names, that this command has other words for.
    """
    result: Segmentation | None = None
    said, due = "", 0.0
    with tqdm(
        total=1,
        file=sys.stderr,
        disable=not console.has_bar,
        leave=False,
        dynamic_ncols=True,
        bar_format=_BAR,
    ) as bar:
        for event in events:
            interrupt.check()
            left = ""
            if isinstance(event, Step):
                text = "training" if event.state == "separating" else event.message
                done, total = event.step, event.max_steps
                if event.remaining:
                    left = time_left(event.remaining, may_end_sooner=event.may_end_sooner)
            elif isinstance(event, Progress):
                text = words.get(event.phase, event.message)
                done, total = event.done, event.total
            else:
                if isinstance(event, Finished):
                    result = event.result
                continue
            if not bar.disable:
                bar.n, bar.total = done, total
                bar.set_description_str(", ".join(filter(None, (text, left))) + f" · {name}")
            elif text != said or time.monotonic() > due:
                said, due = text, time.monotonic() + _LINE_INTERVAL
                count = f"{done} of {total}" if total > 1 else ""
                console.note(f"{name}: " + ", ".join(filter(None, (text, count, left))))
    assert result is not None
    return result


def summary(report: Report) -> str:
    """Objects, steps, why they ended, and seconds, in a line."""
    parts = []
    if report.objects is not None:
        parts.append(pluralize(report.objects.count, "nucleus", "nuclei"))
        if report.objects.diameter is not None:
            parts[-1] += f" of about {report.objects.diameter:.0f} px"
    steps = f"{pluralize(report.steps, 'step')} ({report.stop_reason})"
    of_model = report.steps and "training" not in report.seconds
    parts.append(f"model of {steps}" if of_model else steps)
    parts.append(f"{report.seconds['total']:.1f} s")
    return ", ".join(parts)

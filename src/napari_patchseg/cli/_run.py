"""What every command does: read an image, follow a run to its end, and say what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tqdm import tqdm

from napari_patchseg.batch import open_image
from napari_patchseg.files.images import ImageFile
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.events import Step
from napari_patchseg.report import Finished, Progress, Report, Segmentation
from napari_patchseg.settings import Settings
from napari_patchseg.words import pluralize, time_left

from ._console import Console

if TYPE_CHECKING:
    from napari_patchseg.report import Event

# The end is what a narrow terminal cuts off.
_BAR = "{percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} {desc}"


def read(path: Path, settings: Settings, console: Console) -> tuple[ImageFile, Pixels]:
    """Read an image, and say how it is understood.

    Parameters
    ----------
    path, settings, console : Path, Settings, Console
        The file, how it may be understood, and who is told.

    Raises
    ------
    FileError, ImageError
        If it is no image that can be segmented.
    """
    file, pixels = open_image(path, settings)
    say_understood(path, file, pixels, settings, console)
    return file, pixels


def say_understood(
    path: Path, file: ImageFile, pixels: Pixels, settings: Settings, console: Console
) -> None:
    """Say how an image is understood."""
    otherwise = " (otherwise: --image-kind)" if settings.image_kind is None else ""
    console.note(f"{path}: {pixels.description}{otherwise}; {scale_of(file)}")


def scale_of(file: ImageFile) -> str:
    """An image's pixel size in words."""
    if file.pixel_size is None:
        return "its pixel size is unknown"
    return f"{file.pixel_size:.4g} µm per pixel"


class Bar:
    """How far a run is: a bar on a terminal, lines in a log. Use it in a ``with`` block.

    Parameters
    ----------
    console : Console
        Shown to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said, self._due = "", 0.0
        self._bar = tqdm(
            total=1,
            file=sys.stderr,
            disable=console.quiet or None,  # None: where it is no terminal
            leave=False,
            dynamic_ncols=True,
            bar_format=_BAR,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def clear(self) -> None:
        """Make place for something to be said."""
        if not self._bar.disable:
            self._bar.clear()

    def show(
        self, event: Event, name: str, predicting: str | None = None, remaining: float | None = None
    ) -> None:
        """Show what goes on.

        Parameters
        ----------
        event : Event
            Of `pipeline.run`.
        name : str
            Of what is made.
        predicting : str or None
            What this command calls that.
        remaining : float or None
            Seconds until all is done, where more than this is made.
        """
        left = ""
        if isinstance(event, Step):
            text = "training" if event.state == "separating" else event.message
            done, total = event.step, event.max_steps
            if event.remaining:
                left = time_left(event.remaining, may_end_sooner=event.may_end_sooner)
        elif isinstance(event, Progress):
            text = event.message
            if predicting and event.phase == "predicting":
                text = predicting
            done, total = event.done, event.total
        else:
            return
        of_all = ""
        if remaining is not None:
            of_all = f"all images {time_left(remaining, may_end_sooner=False)}"
        if not self._bar.disable:
            self._bar.n, self._bar.total = done, total
            said = ", ".join(filter(None, (text, left, of_all)))
            self._bar.set_description_str(f"{said} · {name}")
        elif text != self._said or time.monotonic() > self._due:
            self._said, self._due = text, time.monotonic() + 10  # seconds between lines in a log
            count = f"{done} of {total}" if total > 1 else ""
            self._console.note(f"{name}: " + ", ".join(filter(None, (text, count, left, of_all))))


def follow(
    events: Iterable[Event],
    name: str,
    console: Console,
    predicting: str | None = None,
) -> Segmentation:
    """Follow a run to its end; parameters are those of `Bar`."""
    result: Segmentation | None = None
    with Bar(console) as bar:
        for event in events:
            console.check()
            bar.show(event, name, predicting)
            if isinstance(event, Finished):
                result = event.result
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
    of_model = report.steps and report.seconds and "training" not in report.seconds
    parts.append(f"model of {steps}" if of_model else steps)
    parts.append(f"{report.seconds['total']:.1f} s" if report.seconds else "done before")
    return ", ".join(parts)

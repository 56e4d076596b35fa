"""What every command does: read an image, follow a run to its end, and say what came of it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from napari_patchseg.errors import FileError, ImageError, PatchSegError
from napari_patchseg.files.images import ImageFile, read_image
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


def read(
    path: Path, settings: Settings, console: Console, pixel_size: float | None = None
) -> tuple[ImageFile, Pixels]:
    """Read an image, and say how it is understood.

    Parameters
    ----------
    path, settings, console : Path, Settings, Console
        The file, how it may be understood, and who is told.
    pixel_size : float or None
        µm, instead of what the file says.

    Raises
    ------
    FileError, ImageError
        If it is no image that can be segmented.
    """
    file = read_image(path)
    if pixel_size is not None:
        file = replace(file, pixel_size_yx=(pixel_size, pixel_size))
    try:
        pixels = Pixels.from_array(
            file.array, rgb=file.rgb, channel_axis=file.channel_axis, image_kind=settings.image_kind
        )
    except MemoryError as error:
        raise ImageError("The image does not fit into memory; crop it first.") from error
    otherwise = " (otherwise: --image-kind)" if settings.image_kind is None else ""
    console.note(f"{path}: {pixels.description}{otherwise}; {scale_of(file)}")
    return file, pixels


def scale_of(file: ImageFile) -> str:
    """An image's pixel size in words."""
    if file.pixel_size is None:
        return "its pixel size is unknown"
    return f"{file.pixel_size:.4g} µm per pixel"


def about(path: Path, error: PatchSegError) -> str:
    """An error's sentence, with the image it is about."""
    return str(error) if isinstance(error, FileError) else f"{path}: {error}"  # it names its file


def follow(
    events: Iterable[Event],
    name: str,
    console: Console,
    predicting: str | None = None,
) -> Segmentation:
    """Follow a run to its end: a bar on a terminal, lines in a log.

    Parameters
    ----------
    events : iterable of Event
        Of `pipeline.run`.
    name : str
        Of what is made.
    console : Console
        Shown to, and asked.
    predicting : str or None
        What this command calls that.
    """
    result: Segmentation | None = None
    said, due = "", 0.0
    with tqdm(
        total=1,
        file=sys.stderr,
        disable=console.quiet or None,  # None: where it is no terminal
        leave=False,
        dynamic_ncols=True,
        bar_format=_BAR,
    ) as bar:
        for event in events:
            console.check()
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
                if isinstance(event, Finished):
                    result = event.result
                continue
            if not bar.disable:
                bar.n, bar.total = done, total
                bar.set_description_str(", ".join(filter(None, (text, left))) + f" · {name}")
            elif text != said or time.monotonic() > due:
                said, due = text, time.monotonic() + 10  # seconds between two lines in a log
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

"""What the commands share: settings, images, and a run followed to its end."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from napari_patchseg.errors import FileError, ImageError, PatchSegError
from napari_patchseg.files.images import ImageFile, read_image
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.hardware import resolve_machine
from napari_patchseg.pipeline import run
from napari_patchseg.report import Finished, Report, Segmentation
from napari_patchseg.settings import Settings
from napari_patchseg.words import pluralize

from .arguments import SETTINGS
from .console import Console
from .interrupt import Interrupt
from .mistakes import Mistakes
from .outputs import is_folder
from .values import assignment, setting

_WORDS = ("preset", "device", "image_kind")


def settings_from(args: argparse.Namespace, mistakes: Mistakes) -> Settings | None:
    """The settings asked for, None where they are mistaken.

    An option of its own, such as ``--seed 3``, goes before ``--set seed=4``.
    """
    given = [mistakes.of(assignment, text) for text in args.set]
    changes = dict(pair for pair in given if pair is not None)
    for name in ("preset", *SETTINGS):
        text = getattr(args, name, None)
        if text is not None:
            changes[name] = text if name in _WORDS else setting(name, text)
    settings = mistakes.of(Settings.create, str(changes.pop("preset", "default")), **changes)
    if settings is not None:
        mistakes.of(resolve_machine, settings.machine)  # whether the device is there
    return settings


def file_of(text: str | None, option: str, mistakes: Mistakes) -> Path | None:
    """The file that an option names, if it was given."""
    if text is None:
        return None
    if not text.strip():
        mistakes.add(f"{option} is empty; name a file.")
        return None
    if is_folder(text):
        mistakes.add(f"{option}: {text} is a folder; give a file name.")
        return None
    return Path(os.path.expanduser(text))


def read_pixels(path: Path, settings: Settings) -> tuple[ImageFile, Pixels]:
    """Read an image; raises `FileError` and `ImageError`."""
    file = read_image(path)
    try:
        pixels = Pixels.from_array(
            file.array, rgb=file.rgb, channel_axis=file.channel_axis, image_kind=settings.image_kind
        )
    except MemoryError as error:
        raise ImageError("The image does not fit into memory; crop it first.") from error
    return file, pixels


def understood(pixels: Pixels) -> str:
    """How an image is understood, and how to have it otherwise."""
    if pixels.image_kind is not None:
        return pixels.description
    return f"{pixels.description} (otherwise: --image-kind)"


def sentence(path: Path, error: PatchSegError) -> str:
    """An error's sentence, with the image it is about."""
    return str(error) if isinstance(error, FileError) else f"{path}: {error}"  # it names its file


def follow(
    console: Console,
    interrupt: Interrupt,
    name: str,
    pixels: Pixels | Sequence[Pixels],
    settings: Settings,
    words: Mapping[str, str] | None = None,
    **options: Any,
) -> Segmentation:
    """Run the pipeline to its end.

    Parameters
    ----------
    console, interrupt : Console, Interrupt
        Shown to, and asked.
    name : str
        Of what is made.
    pixels, settings, **options
        See `pipeline.run`.
    words : mapping of str to str, optional
        For phases, by their names, that this command has other words for.
    """
    done: Segmentation | None = None
    for item in console.follow(run(pixels, settings, **options), name, words or {}):
        interrupt.check()
        if isinstance(item, Finished):
            done = item.result
    assert done is not None
    return done


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

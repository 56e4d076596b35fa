"""What the commands share: settings, images, and a run followed to its end."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_patchseg.errors import FileError, ImageError, PatchSegError
from napari_patchseg.files.images import ImageFile, read_image
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.settings import Settings
from napari_patchseg.pipeline import resolve, run
from napari_patchseg.results import Segmentation
from napari_patchseg.words import counted

from .console import Console
from .interrupt import Interrupt


def settings_from(args: argparse.Namespace) -> Settings:
    """The settings asked for, nothing left "auto" about the machine.

    Raises
    ------
    SettingsError, DeviceError
        If one is unknown, out of range or not to be had here.
    """
    changes = dict(args.set)
    for name in ("seed", "device", "max_steps", "threshold"):
        value = getattr(args, name, None)
        if value is not None:
            changes[name] = value
    changes.pop("preset", None)  # Settings.create takes it by itself
    return resolve(Settings.create(dict(args.set).get("preset", args.preset), **changes))


def check_image(path: Path) -> None:
    """Raise `FileError` where there is no such file, without reading one that is there."""
    if not path.is_file():
        read_image(path)


def read_pixels(path: Path) -> tuple[ImageFile, Pixels]:
    """Read an image; raises `FileError` and `ImageError`."""
    file = read_image(path)
    try:
        pixels = Pixels.from_array(file.array, rgb=file.rgb, channel_axis=file.channel_axis)
    except MemoryError as error:
        raise ImageError("The image does not fit into memory; crop it first.") from error
    return file, pixels


def sentence(path: Path, error: PatchSegError) -> str:
    """An error's sentence, with the image it is about."""
    return str(error) if isinstance(error, FileError) else f"{path}: {error}"  # it names its file


def follow(
    console: Console,
    interrupt: Interrupt,
    name: str,
    pixels: Pixels | Sequence[Pixels],
    settings: Settings,
    **options: Any,
) -> Segmentation:
    """Run the pipeline to its end; options are those of `pipeline.run`."""
    done: Segmentation | None = None
    for item in console.follow(run(pixels, settings, **options), name):
        interrupt.check()
        if isinstance(item, Segmentation):
            done = item
    assert done is not None
    return done


def summary(report: dict[str, Any]) -> str:
    """Objects, steps, why they ended, and seconds, in a line."""
    parts = []
    if "count" in report["objects"]:
        parts.append(counted(report["objects"]["count"], "nucleus", "nuclei"))
    if "diameter" in report["objects"]:
        parts[-1] += f" of about {report['objects']['diameter']:.0f} px"
    parts.append(f"{counted(report['steps'], 'step')} ({report['stop_reason']})")
    parts.append(f"{report['seconds']['total']:.1f} s")
    return ", ".join(parts)

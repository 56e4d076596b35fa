"""napari-patchseg segment: images in, labels out."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_patchseg.errors import ImageError, PatchSegError
from napari_patchseg.files.labels import write_labels
from napari_patchseg.files.models import load_model
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.model import Model
from napari_patchseg.settings import Settings
from napari_patchseg.words import layer_name

from .common import file_of, follow, read_pixels, sentence, settings_from, summary, understood
from .console import Console
from .inputs import image_files
from .interrupt import Interrupt
from .mistakes import Mistakes
from .outputs import Outputs, is_folder, labels_files, write_json
from .values import length, pixel_size


def segment(args: argparse.Namespace, console: Console, interrupt: Interrupt) -> int:
    """Segment every image; one that cannot be read does not stop the others.

    Whatever is wrong with the call itself is said before any work is done.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    PatchSegError
        With a line for each mistake.
    """
    mistakes = Mistakes(args.mistakes)
    images = image_files(args.images, mistakes, console)
    settings = settings_from(args, mistakes)
    diameter = None if args.diameter is None else mistakes.of(length, args.diameter)
    if settings is not None and diameter is not None:
        mistakes.of(settings.replace, nucleus_diameter=diameter[0])
    size = None if args.pixel_size is None else mistakes.of(pixel_size, args.pixel_size)
    model_file = file_of(args.model, "--model", mistakes)
    model = None if model_file is None else mistakes.of(load_model, model_file)
    report_file = file_of(args.report, "--report", mistakes)
    inputs = images if model_file is None else [*images, model_file]
    several = len(args.images) > 1 or len(images) > 1
    with Outputs(interrupt, mistakes, inputs=inputs, overwrite=args.overwrite) as outputs:
        targets = mistakes.of(labels_files, images, args.output, several=several) or []
        in_folder = args.output is not None and (several or is_folder(args.output))
        if targets and in_folder and not outputs.make_folder(targets[0].parent):
            targets = []
        for image, target in zip(images, targets, strict=False):
            outputs.add(target, str(image))
        if report_file is not None:
            outputs.add(report_file, "the report")
        mistakes.end()
        assert settings is not None
        if model is not None and args.max_steps is not None:
            console.note("Nothing is trained with --model: --max-steps is not used.")
        asked = _Asked(
            settings=settings,
            diameter=diameter,
            pixel_size=size,
            model=model,
            model_file=model_file,
            report_file=report_file,
            overwrite=args.overwrite,
        )
        return _Run(asked, console, interrupt).all(images, targets)


@dataclass(frozen=True)
class _Asked:
    """What the options say."""

    settings: Settings
    diameter: tuple[float, str | None] | None
    pixel_size: float | None
    model: Model | None
    model_file: Path | None
    report_file: Path | None
    overwrite: bool


class _Run:
    """One call of the command."""

    def __init__(self, asked: _Asked, console: Console, interrupt: Interrupt) -> None:
        self.asked = asked
        self.console = console
        self.interrupt = interrupt
        self._entries: list[dict[str, Any]] = []

    def all(self, images: Sequence[Path], targets: Sequence[Path]) -> int:
        """One after the other. Returns the exit code."""
        for number, (path, target) in enumerate(zip(images, targets, strict=True), 1):
            place = f" ({number} of {len(images)})" if len(images) > 1 else ""
            try:
                entry = self.one(path, target, f"{path.name}{place}")
            except PatchSegError as error:
                self.interrupt.check()
                entry = {"image_file": str(path), "error": sentence(path, error)}
                self.console.error(entry["error"])
            self._entries.append(entry)
            self._write_report(len(images))  # after each: the next may take hours
        return 2 if any("error" in entry for entry in self._entries) else 0

    def _write_report(self, count: int) -> None:
        path, entries = self.asked.report_file, self._entries
        if path is None or (count == 1 and "error" in entries[0]):
            return
        overwrite = self.asked.overwrite or len(entries) > 1  # it is ours now
        write_json(path, entries if count > 1 else entries[0], overwrite=overwrite)

    def one(self, path: Path, target: Path, name: str) -> dict[str, Any]:
        """Segment an image, shown under a name, and write its labels. Returns its report."""
        console, model, overwrite = self.console, self.asked.model, self.asked.overwrite
        start = time.perf_counter()
        image = _Image.read(path, self.asked)
        reading = time.perf_counter() - start
        console.note(f"{path}: {understood(image.pixels)}; {image.scale}")
        settings = self._with_diameter(image)
        done = follow(
            console,
            self.interrupt,
            name,
            image.pixels,
            settings,
            model=model,
            pixel_size=image.pixel_size,
        )
        assert done.labels is not None
        report = done.report.took(reading=reading)
        if report.image is not None:
            report = report.replace(image=report.image.model_copy(update={"file": path.name}))
        if self.asked.model_file is not None:
            report = report.replace(model_file=self.asked.model_file.name)
        writing = time.perf_counter()
        write_labels(
            target,
            done.labels,
            pixel_size=image.pixel_size_yx,
            report=report.to_dict(),
            name=layer_name("nuclei", image.name),
            overwrite=overwrite,
        )
        end = time.perf_counter()
        report = report.took(writing=end - writing, total=end - start)
        for text in report.warnings:
            console.warn(f"{path}: {text}")
        console.result(f"{path}: {summary(report)} -> {target}")
        return {"image_file": str(path), "labels_file": str(target), **report.to_dict()}

    def _with_diameter(self, image: _Image) -> Settings:
        settings, diameter = self.asked.settings, self.asked.diameter
        if diameter is None:
            return settings
        number, unit = diameter
        if unit is None:
            unit = "px" if image.pixel_size is None else "µm"
            self.console.note(f"{image.path}: diameter {number:g} taken as {unit}; {image.scale}")
        elif unit == "µm" and image.pixel_size is None:
            raise ImageError(
                "A diameter in µm needs the pixel size, which the file does not say; add "
                "--pixel-size, or give the diameter in px."
            )
        return settings.replace(nucleus_diameter=number, diameter_unit=unit)


@dataclass(frozen=True)
class _Image:
    path: Path
    name: str
    pixels: Pixels
    pixel_size: float | None  # µm
    pixel_size_yx: tuple[float, float] | None

    @classmethod
    def read(cls, path: Path, asked: _Asked) -> _Image:
        pixel_size = asked.pixel_size
        file, pixels = read_pixels(path, asked.settings)
        if pixel_size is None:
            return cls(path, file.name, pixels, file.pixel_size, file.pixel_size_yx)
        return cls(path, file.name, pixels, pixel_size, (pixel_size, pixel_size))

    @property
    def scale(self) -> str:
        if self.pixel_size is None:
            return "its pixel size is unknown"
        return f"{self.pixel_size:.4g} µm per pixel"

"""napari-patchseg segment: images in, labels out."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_patchseg.errors import FileError, PatchSegError
from napari_patchseg.files.labels import write_labels_ome_tiff, write_labels_png
from napari_patchseg.files.models import load_model
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.model import Model
from napari_patchseg.method.settings import Settings

from .common import check_image, follow, read_pixels, sentence, settings_from, summary
from .console import Console
from .interrupt import Interrupt
from .outputs import labels_files, prepare, write_json


def segment(args: argparse.Namespace, console: Console, interrupt: Interrupt) -> int:
    """Segment every image; one that fails does not stop the others. Returns the exit code."""
    targets = labels_files(args.images, args.output)
    inputs = args.images if args.model is None else [*args.images, args.model]
    if args.report is not None:
        prepare(args.report, interrupt, overwrite=args.overwrite, inputs=[*inputs, *targets])
    run = _Run(args, console, interrupt)
    for index, target in enumerate(targets):
        try:
            check_image(args.images[index])
            if target in targets[:index]:
                raise FileError(f"{target} would be written twice; write into separate folders.")
            prepare(target, interrupt, overwrite=args.overwrite, inputs=inputs)
        except PatchSegError as error:
            run.failed(index, error)
    if len(run.failures) < len(targets):
        settings = settings_from(args)
        model = None if args.model is None else load_model(args.model)
        for index, target in enumerate(targets):
            if index in run.failures:
                continue
            try:
                run.reports[index] = run.one(args.images[index], target, settings, model)
            except PatchSegError as error:
                run.failed(index, error)
            run.write_report()  # after each: the next may take hours
    run.write_report()
    return 2 if run.failures else 0


class _Run:
    """One call of the command: its images, by their place in the command line."""

    def __init__(self, args: argparse.Namespace, console: Console, interrupt: Interrupt) -> None:
        self.args = args
        self.console = console
        self.interrupt = interrupt
        self.reports: dict[int, dict[str, Any]] = {}
        self.failures: dict[int, dict[str, Any]] = {}
        self._overwrite: bool = args.overwrite

    def failed(self, index: int, error: PatchSegError) -> None:
        self.interrupt.check()
        image = self.args.images[index]
        text = sentence(image, error)
        self.console.error(text)
        self.failures[index] = {"image_file": str(image), "error": text}

    def write_report(self) -> None:
        several = len(self.args.images) > 1
        if self.args.report is None or not (several or self.reports):
            return
        entries = [entry for _, entry in sorted({**self.reports, **self.failures}.items())]
        write_json(self.args.report, entries if several else entries[0], overwrite=self._overwrite)
        self._overwrite = True  # it is ours now

    def one(
        self, path: Path, target: Path, settings: Settings, model: Model | None
    ) -> dict[str, Any]:
        console, overwrite = self.console, self.args.overwrite
        start = time.perf_counter()
        image = _Image.read(path, self.args.pixel_size)
        reading = time.perf_counter() - start
        console.note(f"{path}: {image.pixels.description}; {image.scale}")
        settings = self._with_diameter(settings, image)
        done = follow(
            console,
            self.interrupt,
            path.name,
            image.pixels,
            settings,
            model=model,
            pixel_size=image.pixel_size,
        )
        assert done.labels is not None
        report = done.report
        report["image"]["file"] = path.name  # no folders: labels are passed on
        report["seconds"]["reading"] = round(reading, 3)
        if model is not None:
            report["model_file"] = self.args.model.name
        writing = time.perf_counter()
        if target.suffix.lower() == ".png":
            write_labels_png(target, done.labels, provenance=report, overwrite=overwrite)
        else:
            write_labels_ome_tiff(
                target,
                done.labels,
                pixel_size=image.pixel_size_yx,
                provenance=report,
                name=f"{image.name} nuclei",
                overwrite=overwrite,
            )
        end = time.perf_counter()
        report["seconds"] |= {"writing": round(end - writing, 3), "total": round(end - start, 3)}
        for text in done.warnings:
            console.warn(f"{path}: {text}")
        console.result(f"{path}: {summary(report)} -> {target}")
        return {"image_file": str(path), "labels_file": str(target), **report}

    def _with_diameter(self, settings: Settings, image: _Image) -> Settings:
        if self.args.diameter is None:
            return settings
        number, unit = self.args.diameter
        if unit is None:
            unit = "px" if image.pixel_size is None else "µm"
            self.console.note(f"{image.path}: diameter {number:g} taken as {unit}; {image.scale}")
        return settings.replace(nucleus_diameter=number, diameter_unit=unit)


@dataclass(frozen=True)
class _Image:
    path: Path
    name: str
    pixels: Pixels
    pixel_size: float | None  # µm
    pixel_size_yx: tuple[float, float] | None

    @classmethod
    def read(cls, path: Path, pixel_size: float | None) -> _Image:
        file, pixels = read_pixels(path)
        if pixel_size is None:
            return cls(path, file.name, pixels, file.pixel_size, file.pixel_size_yx)
        return cls(path, file.name, pixels, pixel_size, (pixel_size, pixel_size))

    @property
    def scale(self) -> str:
        if self.pixel_size is None:
            return "its pixel size is unknown"
        return f"{self.pixel_size:.4g} µm per pixel"

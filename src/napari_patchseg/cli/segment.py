"""napari-patchseg segment: images in, labels out."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_patchseg.errors import PatchSegError
from napari_patchseg.files.labels import write_labels
from napari_patchseg.files.models import load_model
from napari_patchseg.method.network import Model
from napari_patchseg.pipeline import run
from napari_patchseg.settings import LengthUnit, Settings
from napari_patchseg.words import layer_name

from .console import Console
from .inputs import about, image_files, read, scale_of
from .interrupt import Interrupt
from .mistakes import Mistakes
from .outputs import Outputs, file_of, is_folder, labels_files, write_json
from .progress import follow, summary
from .values import given_in, length, pixel_size, settings_from


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
    diameter = None if args.diameter is None else mistakes.of(length, args.diameter)
    instead: dict[str, tuple[str, object]] = {}
    if diameter is not None:
        instead = {"nucleus_diameter": ("--diameter", diameter[0])}
        if diameter[1] is not None:
            instead["diameter_unit"] = ("--diameter", diameter[1])
    settings = settings_from(args, mistakes, instead)
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
        is_bare = diameter is not None and "diameter_unit" not in {*given_in(args), *instead}
        call = _Call(settings, is_bare, size, model, model_file, args.overwrite, console, interrupt)
        entries: list[dict[str, Any]] = []
        for number, (path, target) in enumerate(zip(images, targets, strict=True), 1):
            place = f" ({number} of {len(images)})" if len(images) > 1 else ""
            try:
                entries.append(call.one(path, target, f"{path.name}{place}"))
            except PatchSegError as error:
                interrupt.check()
                entries.append({"image_file": str(path), "error": about(path, error)})
                console.error(entries[-1]["error"])
            if report_file is not None and (len(images) > 1 or "error" not in entries[0]):
                content = entries if len(images) > 1 else entries[0]
                # After each, for the next may take hours; from the second on the file is ours.
                write_json(report_file, content, overwrite=args.overwrite or number > 1)
    return 2 if any("error" in entry for entry in entries) else 0


@dataclass(frozen=True)
class _Call:
    """What holds for every image of a call.

    Attributes
    ----------
    diameter_is_bare : bool
        Whether the nucleus diameter was given without a unit.
    pixel_size : float or None
        µm, instead of what the files say.
    """

    settings: Settings
    diameter_is_bare: bool
    pixel_size: float | None
    model: Model | None
    model_file: Path | None
    overwrite: bool
    console: Console
    interrupt: Interrupt

    def one(self, path: Path, target: Path, name: str) -> dict[str, Any]:
        """Segment an image, shown under a name, and write its labels. Returns its report."""
        start = time.perf_counter()
        file, pixels = read(path, self.settings, self.console, self.pixel_size)
        reading = time.perf_counter() - start
        settings = self.settings
        if self.diameter_is_bare:
            unit: LengthUnit = "px" if file.pixel_size is None else "µm"
            settings = settings.replace(diameter_unit=unit)
            number = settings.objects.nucleus_diameter
            self.console.note(f"{path}: diameter {number:g} taken as {unit}; {scale_of(file)}")
        events = run(pixels, settings, model=self.model, pixel_size=file.pixel_size)
        done = follow(events, name, self.console, self.interrupt)
        assert done.labels is not None
        assert done.report.image is not None
        image = done.report.image.model_copy(update={"file": path.name})
        model_file = None if self.model_file is None else self.model_file.name
        report = done.report.replace(image=image, model_file=model_file).took(reading=reading)
        writing = time.perf_counter()
        write_labels(
            target,
            done.labels,
            pixel_size=file.pixel_size_yx,
            report=report.to_dict(),
            name=layer_name("nuclei", file.name),
            overwrite=self.overwrite,
        )
        end = time.perf_counter()
        report = report.took(writing=end - writing, total=end - start)
        for text in report.warnings:
            self.console.warn(f"{path}: {text}")
        self.console.result(f"{path}: {summary(report)} -> {target}")
        return {"image_file": str(path), "labels_file": str(target), **report.to_dict()}

"""napari-patchseg segment: images in, labels out."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from napari_patchseg.corrections import Corrections
from napari_patchseg.errors import ImageError, PatchSegError
from napari_patchseg.files.corrections import load_corrections
from napari_patchseg.files.images import read_image
from napari_patchseg.files.labels import write_labels
from napari_patchseg.files.models import load_model
from napari_patchseg.method.network import Model
from napari_patchseg.pipeline import run
from napari_patchseg.settings import LengthUnit, Settings
from napari_patchseg.words import layer_name

from ._arguments import given, pixel_size, settings_from
from ._console import Console
from ._files import Outputs, file_of, image_files, is_folder, labels_files, write_json
from ._run import about, follow, read, scale_of, summary


def segment(args: argparse.Namespace, console: Console) -> int:
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
    images = image_files(args.images, console)
    settings = settings_from(args, console)
    if args.pixel_size is not None:
        args.pixel_size = console.attempt(pixel_size, args.pixel_size)
    model_file = file_of(args.model, "--model", console)
    model = None if model_file is None else console.attempt(load_model, model_file)
    report_file = file_of(args.report, "--report", console)
    hints_file = file_of(args.hints, "--hints", console)
    corrections_file = file_of(args.corrections, "--corrections", console)
    corrections = console.attempt(_corrections, hints_file, corrections_file)
    if len(images) > 1 and (hints_file or corrections_file):
        console.mistake("Hints and corrections are of one image; give that image alone.")
    read_too = (model_file, hints_file, corrections_file)
    inputs = [*images, *(file for file in read_too if file is not None)]
    several = len(args.images) > 1 or len(images) > 1
    entries: list[dict[str, Any]] = []
    with Outputs(console, inputs=inputs, overwrite=args.overwrite) as outputs:
        targets = console.attempt(labels_files, images, args.output, several=several) or []
        in_folder = args.output is not None and (several or is_folder(args.output))
        if targets and in_folder and not outputs.make_folder(targets[0].parent):
            targets = []
        for image, target in zip(images, targets, strict=False):
            outputs.add(target, str(image))
        outputs.add(report_file, "the report")
        console.check_mistakes()
        assert settings is not None
        if model is not None and args.max_steps is not None:
            console.note("Nothing is trained with --model: --max-steps is not used.")
        for number, (path, target) in enumerate(zip(images, targets, strict=True), 1):
            place = f" ({number} of {len(images)})" if len(images) > 1 else ""
            try:
                entries.append(
                    _one(
                        path,
                        target,
                        f"{path.name}{place}",
                        settings,
                        model,
                        corrections,
                        args,
                        console,
                    )
                )
            except PatchSegError as error:
                console.check()
                entries.append({"image_file": str(path), "error": about(path, error)})
                console.error(entries[-1]["error"])
            if report_file is not None and (len(images) > 1 or "error" not in entries[0]):
                content = entries if len(images) > 1 else entries[0]
                # After each, for the next may take hours; from the second on the file is ours.
                write_json(report_file, content, overwrite=args.overwrite or number > 1)
    return 2 if any("error" in entry for entry in entries) else 0


def _corrections(hints: Path | None, corrections: Path | None) -> Corrections | None:
    """What two files hold, as one; what is painted in the first counts."""
    made = None if corrections is None else load_corrections(corrections)
    if hints is None:
        return made
    painted = read_image(hints).array
    try:
        return Corrections.of_hints(painted, () if made is None else made.edits)
    except ImageError as error:
        raise ImageError(f"{hints}: {error}") from error


def _one(
    path: Path,
    target: Path,
    name: str,
    settings: Settings,
    model: Model | None,
    corrections: Corrections | None,
    args: argparse.Namespace,
    console: Console,
) -> dict[str, Any]:
    """Segment an image, shown under a name, and write its labels. Returns its report."""
    start = time.perf_counter()
    file, pixels = read(path, settings, console, args.pixel_size)
    reading = time.perf_counter() - start
    if args.diameter is not None and "diameter_unit" not in given(args, console):
        unit: LengthUnit = "px" if file.pixel_size is None else "µm"
        settings = settings.replace(diameter_unit=unit)
        number = settings.objects.nucleus_diameter
        console.note(f"{path}: diameter {number:g} taken as {unit}; {scale_of(file)}")
    events = run(pixels, settings, model=model, pixel_size=file.pixel_size, corrections=corrections)
    done = follow(events, name, console)
    assert done.labels is not None
    assert done.report.image is not None
    image = done.report.image.model_copy(update={"file": path.name})
    model_file = None if args.model is None else Path(args.model).name
    report = done.report.replace(image=image, model_file=model_file).took(reading=reading)
    writing = time.perf_counter()
    write_labels(
        target,
        done.labels,
        pixel_size=file.pixel_size_yx,
        report=report.to_dict(),
        name=layer_name("nuclei", file.name),
        overwrite=args.overwrite,
    )
    end = time.perf_counter()
    report = report.took(writing=end - writing, total=end - start)
    for text in report.warnings:
        console.warn(f"{path}: {text}")
    console.result(f"{path}: {summary(report)} -> {target}")
    return {"image_file": str(path), "labels_file": str(target), **report.to_dict()}

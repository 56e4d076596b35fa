"""napari-patchseg train: images in, one model out (the paper's data-set mode)."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from napari_patchseg.errors import ImageError, PatchSegError
from napari_patchseg.files.models import save_model
from napari_patchseg.report import Report
from napari_patchseg.settings import Settings
from napari_patchseg.words import pluralize

from .common import file_of, follow, read_pixels, sentence, settings_from, summary, understood
from .console import Console
from .inputs import IMAGES, image_files
from .interrupt import Interrupt
from .mistakes import Mistakes
from .outputs import Outputs, write_json


def train(args: argparse.Namespace, console: Console, interrupt: Interrupt) -> int:
    """Train on all the images together.

    Returns
    -------
    int
        The exit code.

    Raises
    ------
    PatchSegError
        With a line for each mistake; before any work is done if it is in the call itself.
    """
    mistakes = Mistakes(args.mistakes)
    images = image_files(args.images, mistakes, console)
    settings = settings_from(args, mistakes)
    target = file_of(args.output, "--output", mistakes)
    if args.output is None:
        mistakes.add("No model file is named; add -o with one, such as -o liver.safetensors.")
    elif target is not None and target.suffix.lower() in IMAGES:
        mistakes.add(f"{target} is an image's name; train writes a model: end it in .safetensors.")
        target = None
    report_file = file_of(args.report, "--report", mistakes)
    with Outputs(interrupt, mistakes, inputs=images, overwrite=args.overwrite) as outputs:
        if target is not None:
            outputs.add(target, "the model")
        if report_file is not None:
            outputs.add(report_file, "the report")
        mistakes.end()
    assert settings is not None
    assert target is not None
    report = _train(images, target, settings, args.overwrite, console, interrupt)
    if report_file is not None:
        files = [str(path) for path in images]
        content = {"image_files": files, **report.to_dict(), "model_file": str(target)}
        write_json(report_file, content, overwrite=args.overwrite)
    console.result(f"{pluralize(len(images), 'image')}: {summary(report)} -> {target}")
    return 0


def _train(
    files: Sequence[Path],
    target: Path,
    settings: Settings,
    overwrite: bool,
    console: Console,
    interrupt: Interrupt,
) -> Report:
    """Write the model; returns the report."""
    start = time.perf_counter()
    images, sizes, said = [], [], set()
    mistakes = Mistakes()
    for path in files:
        try:
            file, pixels = read_pixels(path, settings)
        except PatchSegError as error:
            mistakes.add(sentence(path, error))
            continue
        console.note(f"{path}: {understood(pixels)}")
        for text in pixels.warnings:
            console.warn(f"{path}: {text}")
        images.append(pixels)
        sizes.append(file.pixel_size)
        said.update(pixels.warnings)
    mistakes.end()
    reading = time.perf_counter() - start
    done = follow(
        console,
        interrupt,
        target.name,
        images,
        settings,
        # What is predicted there only tells which of the model's maps is nuclei.
        words={"predicting": f"trying the model on {files[0].name}"},
        make_labels=False,
        pixel_size=sizes[0],
    )
    if done.model is None:
        raise ImageError(f"{target} was not written: nothing could be separated in what was given.")
    for text in done.report.warnings:
        if text not in said:
            console.warn(text)
    writing = time.perf_counter()
    save_model(target, done.model, overwrite=overwrite)
    end = time.perf_counter()
    report = done.report.replace(model_file=target.name)
    return report.took(reading=reading, writing=end - writing, total=end - start)

"""napari-patchseg train: images in, one model out (the paper's data-set mode)."""

from __future__ import annotations

import argparse
import time

from napari_patchseg.batch import IMAGES, about
from napari_patchseg.errors import ImageError, PatchSegError
from napari_patchseg.files.models import load_model, save_model
from napari_patchseg.pipeline import run
from napari_patchseg.words import pluralize

from ._arguments import settings_from
from ._console import Console
from ._files import Outputs, file_of, image_files, write_json
from ._run import follow, read, summary


def train(args: argparse.Namespace, console: Console) -> int:
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
    images = image_files(args.images, console)
    settings = settings_from(args, console)
    target = file_of(args.output, "--output", console)
    if args.output is None:
        console.mistake("No model file is named; add -o with one, such as -o liver.safetensors.")
    elif target is not None and target.suffix.lower() in IMAGES:
        console.mistake(
            f"{target} is an image's name; train writes a model: end it in .safetensors."
        )
        target = None
    start_file = file_of(args.start, "--start", console)
    start = None if start_file is None else console.attempt(load_model, start_file)
    report_file = file_of(args.report, "--report", console)
    inputs = [*images, *([] if start_file is None else [start_file])]
    with Outputs(console, inputs=inputs, overwrite=args.overwrite) as outputs:
        outputs.add(target, "the model")
        outputs.add(report_file, "the report")
    console.check_mistakes()
    assert settings is not None
    assert target is not None

    began = time.perf_counter()
    read_images = []
    for path in images:
        try:
            read_images.append(read(path, settings, console))
        except PatchSegError as error:
            console.mistake(about(path, error))
            continue
        for text in read_images[-1][1].warnings:
            console.warn(f"{path}: {text}")
    console.check_mistakes()
    reading = time.perf_counter() - began
    pixels = [image for _, image in read_images]
    size = read_images[0][0].pixel_size
    events = run(pixels, settings, start=start, make_labels=False, pixel_size=size)
    # What is predicted there only tells which of the model's maps is nuclei.
    done = follow(events, target.name, console, f"trying the model on {images[0].name}")
    if done.model is None:
        raise ImageError(f"{target} was not written: nothing could be separated in what was given.")
    said = {text for image in pixels for text in image.warnings}
    for text in done.report.warnings:
        if text not in said:
            console.warn(text)
    writing = time.perf_counter()
    save_model(target, done.model, overwrite=args.overwrite)
    end = time.perf_counter()
    report = done.report.replace(model_file=target.name)
    report = report.took(reading=reading, writing=end - writing, total=end - began)
    if report_file is not None:
        files = [str(path) for path in images]
        content = {"image_files": files, **report.to_dict(), "model_file": str(target)}
        write_json(report_file, content, overwrite=args.overwrite)
    console.result(f"{pluralize(len(images), 'image')}: {summary(report)} -> {target}")
    return 0

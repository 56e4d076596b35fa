"""napari-patchseg train: images in, one model out (the paper's data-set mode)."""

from __future__ import annotations

import argparse
import time

from napari_patchseg.errors import ImageError, PatchSegError
from napari_patchseg.files.models import save_model
from napari_patchseg.words import counted

from .common import check_image, follow, read_pixels, sentence, settings_from, summary
from .console import Console
from .interrupt import Interrupt
from .outputs import prepare, write_json


def train(args: argparse.Namespace, console: Console, interrupt: Interrupt) -> int:
    """Train on all the images together. Returns the exit code."""
    prepare(args.output, interrupt, overwrite=args.overwrite, inputs=args.images)
    if args.report is not None:
        inputs = [*args.images, args.output]
        prepare(args.report, interrupt, overwrite=args.overwrite, inputs=inputs)
    for path in args.images:
        check_image(path)
    settings = settings_from(args)
    start = time.perf_counter()
    images, sizes, said = [], [], set()
    for path in args.images:
        try:
            file, pixels = read_pixels(path)
        except PatchSegError as error:
            raise type(error)(sentence(path, error)) from error
        console.note(f"{path}: {pixels.description}")
        for text in pixels.warnings:
            console.warn(f"{path}: {text}")
        images.append(pixels)
        sizes.append(file.pixel_size)
        said.update(pixels.warnings)
    reading = time.perf_counter() - start
    done = follow(
        console,
        interrupt,
        args.output.name,
        images,
        settings,
        make_labels=False,
        pixel_size=sizes[0],
    )
    if done.model is None:
        raise ImageError(
            f"{args.output} was not written: nothing could be separated in what was given."
        )
    for text in done.warnings:
        if text not in said:
            console.warn(text)
    writing = time.perf_counter()
    save_model(args.output, done.model, overwrite=args.overwrite)
    end = time.perf_counter()
    report = {
        "image_files": [str(path) for path in args.images],
        "model_file": str(args.output),
        **done.report,
    }
    report["seconds"] |= {
        "reading": round(reading, 3),
        "writing": round(end - writing, 3),
        "total": round(end - start, 3),
    }
    if args.report is not None:
        write_json(args.report, report, overwrite=args.overwrite)
    count = len(images)
    console.result(f"{counted(count, 'image')}: {summary(report)} -> {args.output}")
    return 0

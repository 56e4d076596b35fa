"""napari-patchseg segment: images in, nuclei out."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari_patchseg.batch import (
    MODEL,
    PAGE,
    SUMMARY,
    Done,
    Failed,
    Halted,
    Job,
    ModelMade,
    Opened,
    Plan,
    Records,
    SummedUp,
    Working,
    segment_images,
)
from napari_patchseg.corrections import Corrections
from napari_patchseg.errors import ImageError
from napari_patchseg.files.corrections import load_corrections
from napari_patchseg.files.images import read_image
from napari_patchseg.files.models import load_model
from napari_patchseg.words import pluralize

from ._arguments import given, pixel_size, settings_from
from ._console import Console
from ._files import (
    Outputs,
    file_of,
    formats_from,
    image_files,
    is_pattern,
    is_report,
    results,
    write_json,
)
from ._run import Bar, say_understood, scale_of, summary

#: Instead of an image to train on.
_FIRST = "first"


def segment(args: argparse.Namespace, console: Console) -> int:
    """Segment every image; one that cannot be read does not stop the others.

    Whatever is wrong with the call itself is said before any work is done.

    Returns
    -------
    int
        The exit code: 1 if an image has no results.

    Raises
    ------
    PatchSegError
        With a line for each mistake.
    """
    images = image_files(args.images, console)
    settings = settings_from(args, console)
    size = None if args.pixel_size is None else console.attempt(pixel_size, args.pixel_size)
    model_file = file_of(args.model, "--model", console)
    if model_file is not None:
        console.attempt(load_model, model_file)
    start_file = file_of(args.start, "--start", console)
    if start_file is not None:
        console.attempt(load_model, start_file)
    report_file = file_of(args.report, "--report", console)
    hints_file = file_of(args.hints, "--hints", console)
    corrections_file = file_of(args.corrections, "--corrections", console)
    corrections = console.attempt(_corrections, hints_file, corrections_file)
    if len(images) > 1 and (hints_file or corrections_file):
        console.mistake("Hints and corrections are of one image; give that image alone.")
    train_on = _train_on(args.train_on or [], images, console)
    if train_on and model_file:
        console.mistake("With --model nothing is trained; leave --train-on out, or --model.")
    if start_file and model_file:
        console.mistake("With --model nothing is trained; leave --start out, or --model.")
    read_too = (model_file, start_file, hints_file, corrections_file)
    inputs = [*images, *train_on, *(file for file in read_too if file is not None)]
    with Outputs(console, inputs=inputs, overwrite=args.overwrite) as outputs:
        jobs, folder = _results(args, images, console)
        if jobs and folder and not outputs.make_folder(folder):
            jobs = []
        if not _sums_up(args, images):
            folder = None
        records = Records(folder) if folder and args.resume else None
        for job in jobs:
            begun = records is not None and records.of(job.name) is not None
            for target in job.targets:
                outputs.add(target, str(job.image), may_exist=begun)
        if folder:
            begun = records is not None and records.folder.is_dir()
            for name in (SUMMARY, PAGE, *((MODEL,) if train_on else ())):
                outputs.add(folder / name, f"the folder's {name}", may_exist=begun)
        goes_on = args.resume and report_file is not None and is_report(report_file)
        outputs.add(report_file, "the report", may_exist=goes_on)
        console.check_mistakes()
        assert settings is not None
        if model_file is not None and args.max_steps is not None:
            console.note("Nothing is trained with --model: --max-steps is not used.")
        bare = args.diameter is not None and "diameter_unit" not in given(args, console)
        plan = Plan(settings, size, bare, model_file, start_file, train_on, corrections)
        return _follow(jobs, plan, folder, report_file, args, console)


def _train_on(texts: Sequence[str], images: Sequence[Path], console: Console) -> list[Path]:
    """The images that one model is trained on; empty where each image has its own."""
    named = [text for text in texts if text != _FIRST]
    found = image_files(named, console) if named else []
    if len(named) < len(texts) and images and images[0] not in found:
        found.insert(0, images[0])
    return found


def _results(
    args: argparse.Namespace, images: Sequence[Path], console: Console
) -> tuple[list[Job], Path | None]:
    """Each image with its results' files, and the folder of them all, if there is one."""
    formats = console.attempt(formats_from, args.formats)
    outputs = args.output or []
    several = len(args.images) > 1 or len(images) > 1
    found = console.attempt(
        results, images, outputs, formats or (), several=several, of_all=_sums_up(args, images)
    )
    if found is None:
        return [], None
    if found[1] is None:
        if args.formats is not None and outputs:
            console.mistake("--formats is for a folder; the names after -o say what they are.")
        for option, is_given in (("--resume", args.resume), ("--train-on", args.train_on)):
            if is_given:
                console.mistake(f"{option} needs a folder for all results; add -o with one.")
    return found


def _sums_up(args: argparse.Namespace, images: Sequence[Path]) -> bool:
    """Whether a folder of results has records, a summary and a report: not of one named image."""
    one = len(args.images) == len(images) == 1 and not os.path.isdir(args.images[0])
    return not one or is_pattern(args.images[0]) or args.resume or bool(args.train_on)


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


def _follow(
    jobs: Sequence[Job],
    plan: Plan,
    folder: Path | None,
    report_file: Path | None,
    args: argparse.Namespace,
    console: Console,
) -> int:
    """Do the work, and say what comes of it. Returns the exit code."""
    entries: list[dict[str, Any]] = []
    failed = False

    def name_of(number: int, path: Path) -> str:
        return f"{path.name} ({number} of {len(jobs)})" if number and len(jobs) > 1 else path.name

    with Bar(console) as bar:
        for event in segment_images(
            jobs, plan, folder=folder, resume=args.resume, overwrite=args.overwrite
        ):
            console.check()
            if isinstance(event, Working):
                remaining = event.remaining if len(jobs) > 1 else None
                bar.show(event.event, name_of(event.number, event.path), remaining=remaining)
                continue
            bar.clear()
            if isinstance(event, Opened):
                say_understood(event.path, event.file, event.pixels, plan.settings, console)
                if plan.unit_of_file:
                    chosen = event.settings.objects
                    console.note(
                        f"{event.path}: diameter {chosen.nucleus_diameter:g} taken as "
                        f"{chosen.diameter_unit}; {scale_of(event.file)}"
                    )
            elif isinstance(event, ModelMade):
                told = summary(event.report) if event.report else "trained before"
                console.result(f"{pluralize(len(plan.train_on), 'image')}: {told} -> {event.path}")
            elif isinstance(event, Done):
                entries.append(_said(event, console))
            elif isinstance(event, Failed):
                console.error(event.sentence)
                failed = True
                if event.number:
                    entries.append({"image_file": str(event.path), "error": event.sentence})
            elif isinstance(event, Halted):
                console.error(
                    f"Stopped, with {pluralize(event.left, 'image')} not begun; "
                    "put that right, and go on with --resume."
                )
            elif isinstance(event, SummedUp):
                console.result(f"{_all(entries)} -> {', '.join(map(str, event.files))}")
            if report_file is None or not isinstance(event, Done | Failed) or not event.number:
                continue
            if len(jobs) > 1 or isinstance(event, Done):
                content = entries if len(jobs) > 1 else entries[0]
                # After each, for the next may take hours; from the second on the file is ours.
                again = args.overwrite or args.resume or event.number > 1
                write_json(report_file, content, overwrite=again)
    return int(failed)


def _said(event: Done, console: Console) -> dict[str, Any]:
    """What came of an image: said, and as an entry of the report."""
    report = event.outcome.report.replace(seconds=event.seconds)
    for text in report.warnings:
        console.warn(f"{event.path}: {text}")
    targets = [str(target) for target in event.job.targets]
    more = f" and {len(targets) - 3} more" if len(targets) > 3 else ""
    console.result(f"{event.path}: {summary(report)} -> {', '.join(targets[:3])}{more}")
    return {
        "image_file": str(event.path),
        "labels_file": targets[0],
        "files": targets,
        **report.to_dict(),
    }


def _all(entries: Sequence[dict[str, Any]]) -> str:
    """What came of all images, in words."""
    done = [entry for entry in entries if "error" not in entry]
    count = sum(entry["objects"]["count"] for entry in done)
    failed = len(entries) - len(done)
    nuclei = pluralize(count, "nucleus", "nuclei")
    words = f"{nuclei} in {pluralize(len(done), 'image')}"
    return f"{words}, {failed} without a result" if failed else words

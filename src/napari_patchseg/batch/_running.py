"""Images in, results out, one image after the other."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from napari_patchseg.corrections import Corrections
from napari_patchseg.errors import FileError, ImageError, PatchSegError
from napari_patchseg.files.atomic import remove_leftovers
from napari_patchseg.files.images import ImageFile, read_image
from napari_patchseg.files.models import load_model, save_model
from napari_patchseg.files.results import check_target, format_of, save
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.events import Control, Step
from napari_patchseg.method.network import Model
from napari_patchseg.objects import measure
from napari_patchseg.pipeline import NOTHING_SEPARATED, run
from napari_patchseg.report import Finished, Report, Segmentation, versions
from napari_patchseg.settings import Settings

from ._records import Outcome, Record, Records, digest_of, digest_of_file
from ._summary import MODEL, outcome_of, sum_up

if TYPE_CHECKING:
    from napari_patchseg.report import Event


@dataclass(frozen=True)
class Job:
    """An image, and the files that are made of it."""

    image: Path
    targets: tuple[Path, ...]

    @property
    def name(self) -> str:
        """That of its record."""
        return self.targets[0].name.split("_nuclei.")[0] + "_nuclei"


@dataclass(frozen=True)
class Plan:
    """What is done with every image.

    Attributes
    ----------
    settings : Settings
        As the user wished.
    pixel_size : float or None
        µm, instead of what the files say.
    unit_of_file : bool
        The expected diameter is in µm where a file states its pixel size, else in pixels.
    model : Path or None
        Model file to use instead of training.
    start : Path or None
        Model file that training begins with.
    train_on : sequence of Path
        Images that one model is trained on, to be used for all.
    corrections : Corrections or None
        Of the one image.
    """

    settings: Settings
    pixel_size: float | None = None
    unit_of_file: bool = False
    model: Path | None = None
    start: Path | None = None
    train_on: Sequence[Path] = ()
    corrections: Corrections | None = None

    def digest(self) -> str:
        """Of everything but the image that a result depends on."""
        return digest_of(
            {
                **vars(self),
                "settings": self.settings.to_dict(),
                "model": self.model and digest_of_file(self.model),
                "start": self.start and digest_of_file(self.start),
                "train_on": [digest_of_file(path) for path in self.train_on],
                "versions": versions(),
            }
        )


# -- events


@dataclass(frozen=True)
class _Of:
    """Of an image, by its number from 1; 0 is what is done for all."""

    number: int
    path: Path


@dataclass(frozen=True)
class Opened(_Of):
    """An image was read; its settings are those of the plan, in its own unit."""

    file: ImageFile
    pixels: Pixels
    settings: Settings


@dataclass(frozen=True)
class Working(_Of):
    """A run goes on; seconds until all images are done, where that can be told."""

    event: Event
    remaining: float | None


@dataclass(frozen=True)
class ModelMade(_Of):
    """The one model is there; a report where it was trained now."""

    report: Report | None


@dataclass(frozen=True)
class Done(_Of):
    """An image's results are there; seconds by phase, empty where it was done before."""

    job: Job
    outcome: Outcome
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed(_Of):
    """An image has no results, or all have no summary; a sentence why, which names the file."""

    sentence: str


@dataclass(frozen=True)
class Halted:
    """Results cannot be written at present: so many images were not begun."""

    left: int


@dataclass(frozen=True)
class SummedUp:
    """All is done; what was written about it."""

    files: tuple[Path, ...]


BatchEvent = Opened | Working | ModelMade | Done | Failed | Halted | SummedUp


# -- the work


def open_image(
    path: Path, settings: Settings, pixel_size: float | None = None
) -> tuple[ImageFile, Pixels]:
    """Read an image and understand it.

    Parameters
    ----------
    path, settings : Path, Settings
        The file, and how it may be understood.
    pixel_size : float or None
        µm, instead of what the file says.

    Raises
    ------
    FileError, ImageError
        If it is no image that can be segmented.
    """
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        # a pipe may never begin to speak
        raise FileError(f"{path} is not an ordinary file; save the image as a file first.")
    file = read_image(path)
    if pixel_size is not None:
        file = replace(file, pixel_size_yx=(pixel_size, pixel_size))
    try:
        pixels = Pixels.from_array(
            file.array, rgb=file.rgb, channel_axis=file.channel_axis, image_kind=settings.image_kind
        )
    except MemoryError as error:
        raise ImageError("The image does not fit into memory; crop it first.") from error
    return file, pixels


def segment_images(
    jobs: Sequence[Job],
    plan: Plan,
    *,
    folder: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    control: Control | None = None,
) -> Iterator[BatchEvent]:
    """Segment images one after the other; one that cannot be does not stop the others.

    Parameters
    ----------
    jobs : sequence of Job
        The images, and where their results go.
    plan : Plan
        What is done with each.
    folder : Path or None
        The folder of all results, which takes records, a summary and a report as well; None: there
        is none.
    resume : bool
        Leave out what the folder's records say was done with the same image and the same plan.
        Results that are there are left as they are.
    overwrite : bool
        Whether results of other images or plans may be replaced.
    control : Control or None
        The host's wishes.

    Yields
    ------
    BatchEvent
        Ends with `SummedUp`, if there is a folder.

    Raises
    ------
    PatchSegError
        Where nothing can be done at all: no model, no place to write to.
    """
    yield from _Batch(jobs, plan, folder, resume, overwrite, control or Control()).events()


class _Batch:
    def __init__(
        self,
        jobs: Sequence[Job],
        plan: Plan,
        folder: Path | None,
        resume: bool,
        overwrite: bool,
        control: Control,
    ) -> None:
        self.jobs, self.plan, self.folder = jobs, plan, folder
        self.resume, self.overwrite, self.control = resume, overwrite, control
        self.records = None if folder is None else Records(folder)
        self.how = "" if folder is None else plan.digest()
        self.to_do = [not self._seems_done(job) for job in jobs]
        self.took: list[float] = []  # seconds for each image that was done now

    def events(self) -> Iterator[BatchEvent]:
        if self.records is not None and self.resume:
            self._check_plan()
            for place in {self.records.folder, *(t.parent for t in self._targets())}:
                remove_leftovers(place)
        self.model = None if self.plan.model is None else load_model(self.plan.model)
        self.start = None if self.plan.start is None else load_model(self.plan.start)
        if self.plan.train_on:
            self.model = yield from self._train()
        outcomes: list[tuple[Path, Outcome | str]] = []
        for number, job in enumerate(self.jobs, 1):
            start = time.perf_counter()
            try:
                outcome = self._done_before(job)
                seconds: Mapping[str, float] = {}
                if outcome is None:
                    made = yield from self._segment(number, job)
                    if made is None:
                        return
                    outcome, seconds = made
                    self.took.append(time.perf_counter() - start)
                yield Done(number, job.image, job, outcome, seconds)
                outcomes.append((job.image, outcome))
            except (PatchSegError, MemoryError) as error:
                sentence = about(job.image, error)
                yield Failed(number, job.image, sentence)
                outcomes.append((job.image, _without_folders(sentence, job)))
                if isinstance(error.__cause__, OSError) and self.writing:
                    # The disk is full, or gone: nor could what is learnt next be kept.
                    if left := len(self.jobs) - number:
                        yield Halted(left)
                    return
        if self.folder is not None:
            try:
                yield SummedUp(sum_up(self.folder, outcomes, self.plan.settings))
            except PatchSegError as error:
                yield Failed(0, self.folder, str(error))

    def _targets(self) -> Iterator[Path]:
        for job in self.jobs:
            yield from job.targets

    def _check_plan(self) -> None:
        """Raise a `FileError` where results of another plan would be replaced unasked."""
        assert self.records is not None
        if self.overwrite:
            return
        for name, targets in [
            (MODEL, (self._model_file,)),
            *((j.name, j.targets) for j in self.jobs),
        ]:
            record = self.records.of(name)
            if record is not None and record.how != self.how and any(map(os.path.lexists, targets)):
                raise FileError(
                    f"{self.folder} holds results of other settings, another model or another "
                    "version; overwrite them, or choose another folder."
                )

    @property
    def _model_file(self) -> Path:
        assert self.folder is not None
        return self.folder / MODEL

    def _train(self) -> Generator[BatchEvent, None, Model]:
        """One model for all images, kept in the folder."""
        assert self.records is not None
        path = self._model_file
        record = self.records.of(MODEL) if self.resume else None
        begun = Record(how=self.how, image="")
        if path.is_file() and record == Record(how=self.how, image=digest_of_file(path)):
            yield ModelMade(0, path, None)
            return load_model(path)
        may_replace = self.overwrite or record == begun
        check_target(path, overwrite=may_replace)
        start = time.perf_counter()
        images = []
        for image in self.plan.train_on:
            try:
                file, pixels = open_image(image, self.plan.settings, self.plan.pixel_size)
            except PatchSegError as error:
                raise ImageError(about(image, error)) from error
            images.append((file, pixels))
            yield Opened(0, image, file, pixels, self._settings(file))
        first = images[0][0]
        events = run(
            [pixels for _, pixels in images],
            self._settings(first),
            start=self.start,
            make_labels=False,
            pixel_size=first.pixel_size_yx,
            control=self.control,
        )
        done = yield from self._follow(0, path, events)
        if done.model is None:
            raise ImageError(NOTHING_SEPARATED)
        self.records.keep(MODEL, begun)
        save_model(path, done.model, overwrite=may_replace)
        self.records.keep(MODEL, begun.model_copy(update={"image": digest_of_file(path)}))
        yield ModelMade(0, path, done.report.took(total=time.perf_counter() - start))
        return load_model(path)  # as it is when the work is resumed

    def _seems_done(self, job: Job) -> bool:
        """Whether an image need not be done, unless its file changed: for the time that is left."""
        record = self.records.of(job.name) if self.records and self.resume else None
        return record is not None and record.outcome is not None and record.how == self.how

    def _done_before(self, job: Job) -> Outcome | None:
        """What came of an image whose results are there."""
        self.writing = False
        record = self.records.of(job.name) if self.records and self.resume else None
        if record is None:
            return None
        digest = digest_of_file(job.image)
        if record.how != self.how or not digest:  # reading says what keeps it from being read
            return None
        if record.image != digest:
            there = [target.name for target in job.targets if os.path.lexists(target)]
            if there and not self.overwrite:
                raise FileError(
                    f"{job.image} has changed since {there[0]} was made; "
                    "overwrite that, or choose another folder."
                )
            return None
        is_whole = all(
            target.name in record.files and os.path.lexists(target) for target in job.targets
        )
        return record.outcome if is_whole else None

    def _segment(
        self, number: int, job: Job
    ) -> Generator[BatchEvent, None, tuple[Outcome, Mapping[str, float]] | None]:
        """What came of an image, and seconds; None where the host asked for the end."""
        start = time.perf_counter()
        known = self._known(job)  # before it is read: should it change meanwhile, it is done again
        self._check_targets(job, known)
        file, pixels = open_image(job.image, self.plan.settings, self.plan.pixel_size)
        settings = self._settings(file)
        reading = time.perf_counter() - start
        yield Opened(number, job.image, file, pixels, settings)
        events = run(
            pixels,
            settings,
            model=self.model,
            start=self.start if self.model is None else None,
            pixel_size=file.pixel_size_yx,
            corrections=self.plan.corrections,
            control=self.control,
        )
        done = yield from self._follow(number, job.image, events)
        if done.labels is None:
            return None
        writing = time.perf_counter()
        outcome = self._write(job, known, file, pixels, done)
        end = time.perf_counter()
        report = done.report.took(reading=reading, writing=end - writing, total=end - start)
        return outcome, report.seconds

    def _settings(self, file: ImageFile) -> Settings:
        if not self.plan.unit_of_file:
            return self.plan.settings
        return self.plan.settings.replace(diameter_unit="px" if file.pixel_size is None else "µm")

    def _follow(
        self, number: int, path: Path, events: Iterator[Event]
    ) -> Generator[BatchEvent, None, Segmentation]:
        start = time.perf_counter()
        result: Segmentation | None = None
        own: float | None = None  # seconds that this image takes yet
        for event in events:
            spent = time.perf_counter() - start
            if isinstance(event, Step):
                own = event.remaining
            if self.took and (own is None or not isinstance(event, Step)):
                own = max(0.0, _mean(self.took) - spent)
            after = sum(self.to_do[number:])
            remaining = None
            if number and own is not None:
                each = _mean(self.took) if self.took else spent + own
                remaining = own + after * each
            yield Working(number, path, event, remaining)
            if isinstance(event, Finished):
                result = event.result
        assert result is not None
        return result

    def _known(self, job: Job) -> Record:
        """The record of this image and plan; where there is none, one without results."""
        image = digest_of_file(job.image)
        record = self.records.of(job.name) if self.records and self.resume else None
        if record is None or (record.how, record.image) != (self.how, image):
            return Record(how=self.how, image=image)
        return record

    def _check_targets(self, job: Job, known: Record) -> None:
        """Raise the `FileError` that writing would end in."""
        for target in job.targets:
            check_target(target, overwrite=self.overwrite or target.name in known.files)

    def _write(
        self, job: Job, known: Record, file: ImageFile, pixels: Pixels, done: Segmentation
    ) -> Outcome:
        labels = done.labels
        assert labels is not None
        assert done.report.image is not None
        image = done.report.image.model_copy(update={"file": job.image.name})
        used = self.plan.model or self.plan.start
        model_file = used.name if used else None
        report = done.report.replace(
            image=image,
            model_file=MODEL if self.plan.train_on else model_file,
            seconds={},  # the same labels are the same file
        )
        self.writing = True
        self._check_targets(job, known)
        names = tuple(target.name for target in job.targets)
        files = tuple(dict.fromkeys((*known.files, *names)))
        record = Record(how=known.how, image=known.image, files=files)
        if self.records is not None:
            self.records.keep(job.name, record)
        table = None
        if self.records is not None or any(format_of(one).measured for one in job.targets):
            table = measure(
                labels,
                pixels,
                pixel_size=file.pixel_size_yx,
                confidence=None if done.confidence is None else done.confidence.nuclei,
            )
        for target in job.targets:
            is_ours = target.name in known.files
            if is_ours and known.outcome is not None and os.path.lexists(target):
                continue  # it would come out the same
            save(
                target,
                labels,
                measurements=table,
                pixel_size=file.pixel_size_yx,
                report=report.to_dict(),
                name=file.name,
                overwrite=self.overwrite or is_ours,
            )
        outcome = outcome_of(report, names, file, pixels, labels, table)
        if self.records is not None:
            self.records.keep(job.name, record.model_copy(update={"outcome": outcome}))
        return outcome


def about(path: Path, error: PatchSegError | MemoryError) -> str:
    """An error's sentence, with the image it is about."""
    if isinstance(error, MemoryError):
        return f"{path}: The computer ran out of memory; segment a part of the image instead."
    return str(error) if isinstance(error, FileError) else f"{path}: {error}"  # it names its file


def _without_folders(sentence: str, job: Job) -> str:
    """A sentence for files that are passed on: with names, without the user's folders."""
    for path in (job.image, *job.targets):
        for folder in (os.path.realpath(path.parent), str(path.parent)):
            sentence = sentence.replace(os.path.join(folder, ""), "")
    return sentence


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)

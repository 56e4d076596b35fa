"""A folder of images, segmented in a worker: what the panel asks for, and what it is told."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_patchseg.errors import FileError, PatchSegError
from napari_patchseg.method.events import Control, Step
from napari_patchseg.report import Progress
from napari_patchseg.settings import Settings

from ._run import in_words
from .napari_workarounds import start_task

if TYPE_CHECKING:
    from napari_patchseg.batch import Job, Working
    from napari_patchseg.method.network import Model

LOG = logging.getLogger(__name__)

#: Least seconds between two things that are told of one image: each is drawn.
_MOVED_S = 0.2

#: Those under way in this process; each worker takes its own out.
_RUNNING: set[FolderRun] = set()


def running_folder() -> FolderRun | None:
    """The folder that is being segmented in this process."""
    return next(iter(_RUNNING), None)


def check_no_folder() -> None:
    """Raise `PatchSegError` while a folder is being segmented: it has the processor."""
    running = running_folder()
    if running is not None:
        raise PatchSegError(
            f"The images in '{running.wish.images.name}' are being segmented; wait for the end, "
            "or stop that under Folder."
        )


@dataclass(frozen=True)
class Wish:
    """What the user wants of a folder.

    Attributes
    ----------
    images, results : Path
        The folders; that of the results is made if need be.
    ends : tuple of str
        Of the results' names, such as "ome.tif".
    settings : Settings
        For every image.
    train_on_first : bool
        Whether all are segmented with what the first one teaches.
    train_on : tuple of str
        Names of the images that teach one model for all.
    model : Model or None
        Segment with this model, without training.
    model_file : Path or None
        The file it is in; None: it is kept beside the results.
    overwrite : bool
        Whether other results may be replaced.
    pixel_size : float or None
        µm, instead of what the files say.
    """

    images: Path
    results: Path
    ends: tuple[str, ...]
    settings: Settings
    train_on_first: bool = False
    train_on: tuple[str, ...] = ()
    model: Model | None = None
    model_file: Path | None = None
    overwrite: bool = False
    pixel_size: float | None = None


# -- what is told, besides the events of `batch`


@dataclass(frozen=True)
class Listed:
    """The images were found, each with its results' files."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Moved:
    """Where the run is: at an image by its number from 1, 0 for the one model of all.

    Attributes
    ----------
    text : str
        What is done, in words.
    done, total : int
        Units of that.
    remaining : float or None
        Seconds until all images are done.
    """

    number: int
    text: str
    done: int
    total: int
    remaining: float | None


@dataclass(frozen=True)
class Ended:
    """The last that is told; an error where nothing could be done."""

    error: PatchSegError | None = None


class FolderRun(QObject):
    """A folder's segmentation; its worker tells the window's thread of what it does.

    Parameters
    ----------
    wish : Wish
        What the user wants.
    """

    #: One of the above or of `batch`'s events; the last one is `Ended`.
    told = Signal(object)

    def __init__(self, wish: Wish) -> None:
        super().__init__()
        self.wish = wish
        self.control = Control()

    def begin(self) -> None:
        """Start the worker; raises `PatchSegError` while another folder is at work."""
        check_no_folder()
        _RUNNING.add(self)
        name = f"PatchSeg: segment nuclei in folder {self.wish.images.name}"
        start_task(name, _work, self, cancel=self.cancel)

    def cancel(self) -> None:
        """Give up the image under way; those before it are kept."""
        self.control.cancel()

    @property
    def is_stopping(self) -> bool:
        """Whether the end was asked for."""
        return self.control.cancelled

    def tell(self, event: object) -> None:
        """From the worker's thread; the receiver's thread takes it."""
        with contextlib.suppress(RuntimeError):  # Qt's half is gone: the application has quit
            self.told.emit(event)


def _work(run: FolderRun) -> None:
    """What the worker does. Raises nothing."""
    error: PatchSegError | None = None
    try:
        _follow(run)
    except PatchSegError as told:
        LOG.info("The folder ended with an error.", exc_info=True)
        error = told
    except MemoryError as met:
        error = in_words(met, "Not enough memory")
    except Exception as met:
        LOG.exception("The folder failed.")
        error = in_words(met, "The folder failed")
    finally:
        _RUNNING.discard(run)
    run.tell(Ended(error))


def _follow(run: FolderRun) -> None:
    from napari_patchseg.batch import (
        Opened,
        Plan,
        Working,
        images_in,
        is_result,
        job_of,
        segment_images,
    )

    wish = run.wish
    images = [path for path in images_in(wish.images) if not is_result(path)]
    if not images:
        raise FileError(
            f"{wish.images} holds results of PatchSeg alone; choose the folder of the images."
        )
    jobs = tuple(job_of(image, wish.results, wish.ends) for image in images)
    run.tell(Listed(jobs))
    with _folder(wish.results):
        _check(jobs, wish)
        plan = Plan(
            wish.settings,
            wish.pixel_size,
            model=None if wish.model is None else _kept(wish.model, wish),
            train_on=images[:1]
            if wish.train_on_first
            else [image for image in images if image.name in wish.train_on],
        )
        due = 0.0
        for event in segment_images(
            jobs,
            plan,
            folder=wish.results,
            resume=True,
            overwrite=wish.overwrite,
            control=run.control,
        ):
            if isinstance(event, Working):
                moved = _moved(event)
                if moved is not None and (
                    moved.done == moved.total or time.monotonic() > due
                ):  # the last of a phase tells how that ended
                    run.tell(moved)
                    due = time.monotonic() + _MOVED_S
            elif not isinstance(event, Opened):  # that holds the image
                run.tell(event)
            if run.control.cancelled:
                return


def _moved(event: Working) -> Moved | None:
    one = event.event
    if isinstance(one, Step):
        return Moved(event.number, one.message, one.step, one.max_steps, event.remaining)
    if isinstance(one, Progress):
        return Moved(event.number, one.message, one.done, one.total, event.remaining)
    return None


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """Make the folder of the results; one that stays empty does not stay."""
    places = (path, *path.parents)
    made = [place for place in places if not os.path.exists(place)]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise FileError(f"{path} is not a folder; choose another one for the results.") from error
    except OSError as error:
        raise FileError(f"Folder {path} cannot be made: {error.strerror}.") from error
    try:
        yield
    finally:
        for place in made:
            with contextlib.suppress(OSError):  # there is something in it, as it should be
                place.rmdir()


def _check(jobs: tuple[Job, ...], wish: Wish) -> None:
    """Raise a `FileError` where something would be lost that is not ours."""
    from napari_patchseg.batch import MODEL, PAGE, SUMMARY, Records

    records = Records(wish.results)
    own = [SUMMARY, PAGE] + [MODEL] * bool(wish.train_on_first or wish.train_on)
    what = {} if records.folder.is_dir() else {wish.results / name: True for name in own}
    images = {os.path.normcase(os.path.realpath(job.image)) for job in jobs}
    taken: dict[str, Path] = {}
    for job in jobs:
        begun = records.of(job.name) is not None
        for target in job.targets:
            key = os.path.normcase(target)
            if key in taken:
                raise FileError(
                    f"{taken[key].name} and {job.image.name} would both be written to "
                    f"{target.name}; rename one of them."
                )
            if os.path.normcase(os.path.realpath(target)) in images:
                raise FileError(f"{target} is an image; choose another folder for the results.")
            taken[key] = job.image
            what[target] = not begun
    strangers = [path for path, is_new in what.items() if is_new and os.path.lexists(path)]
    if strangers and not wish.overwrite:
        raise FileError(
            f"{strangers[0]} is there already, from elsewhere; choose another folder for the "
            "results, or tick overwrite."
        )


def _kept(model: Model, wish: Wish) -> Path:
    """The model's file; without one, it is kept beside the results."""
    from napari_patchseg.batch import MODEL
    from napari_patchseg.files.models import save_model

    if wish.model_file is not None:
        return wish.model_file
    path = wish.results / MODEL
    with tempfile.TemporaryDirectory() as folder:
        content = save_model(Path(folder, MODEL), model).read_bytes()
    if not path.is_file() or path.read_bytes() != content:  # else it is of the run before
        try:
            save_model(path, model, overwrite=wish.overwrite)
        except FileError as error:
            if not path.exists():
                raise
            raise FileError(
                f"{path} is another model; choose another folder for the results, or tick "
                "overwrite."
            ) from error
    return path

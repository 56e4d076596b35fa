"""Labels and display made anew from a map, off the window's thread; the newest wish wins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from superqt.utils import create_worker, qdebounced

from napari_patchseg.errors import PatchSegError
from napari_patchseg.method.maps import ConfidenceMap
from napari_patchseg.report import Labels, ObjectsReport
from napari_patchseg.settings import DEFAULT_DIAMETER, Objects, Settings

from ._display import Canvas, DisplayMap, display_map
from ._run import as_chosen, in_words

if TYPE_CHECKING:
    from napari_patchseg.image.pixels import Pixels

LOG = logging.getLogger(__name__)

#: Milliseconds without a new wish after which work begins: a dragged slider asks often.
_PATIENCE_MS = 80


@dataclass(frozen=True)
class Job:
    """What to make.

    Attributes
    ----------
    confidence : ConfidenceMap
        The map to make it of; a full one where labels are wanted.
    pixels : Pixels
        The region it is of.
    settings : Settings
        That the map was made with.
    objects : Objects
        What counts as a nucleus now.
    pixel_size : float or None
        µm per pixel.
    canvas : Canvas
        Where the map is shown.
    labels : bool
        Whether labels are wanted.
    before : ndarray or None
        (h, w), the region's labels so far: nuclei that stay keep their numbers.
    differs : callable
        Whether the labels to be renewed are no longer what was written.
    """

    confidence: ConfidenceMap
    pixels: Pixels
    settings: Settings
    objects: Objects
    pixel_size: float | None
    canvas: Canvas
    labels: bool
    before: NDArray[np.integer] | None = None
    differs: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Outline:
    """Where labels are going to be: `border` is (ceil(h / r), ceil(w / r)) bool of the region."""

    border: NDArray[np.bool_]
    reduction: int


@dataclass(frozen=True)
class Relabelled:
    """The answer: a map with the class chosen, and labels (h, w) of the region where wanted.

    `is_edited`: the labels so far were changed by somebody else.
    """

    job: Job
    confidence: ConfidenceMap
    display: DisplayMap
    labels: Labels | None = None
    objects: ObjectsReport | None = None
    is_edited: bool = False


class Relabeller:
    """Does one job at a time; one that comes meanwhile ends the one under way at its next step."""

    outlined = Signal(Outline)
    done = Signal(Relabelled)
    failed = Signal(PatchSegError)

    def __init__(self) -> None:
        self._wanted: Job | None = None
        self._worker: Any = None
        #: Estimated diameters in pixels by a map's step and class: it takes longer than labelling.
        self._diameters: dict[tuple[int, int, bool], float] = {}
        self._begin_soon = qdebounced(self._begin, timeout=_PATIENCE_MS)

    @property
    def is_busy(self) -> bool:
        """Whether a job is waiting or under way."""
        return self._wanted is not None or self._worker is not None

    def ask(self, job: Job) -> None:
        """Do this as soon as possible, instead of what was asked for before."""
        self._wanted = job
        if self._worker is None:
            self._begin_soon()
        else:
            self._worker.quit()

    def drop(self) -> None:
        """Nobody waits for anything any more."""
        self._wanted = None
        if self._worker is not None:
            self._worker.quit()

    def forget(self) -> None:
        """Drop everything: another run's maps come."""
        self.drop()
        self._diameters = {}

    def know(self, confidence: ConfidenceMap, diameter: float) -> None:
        """A map's diameter in pixels was estimated elsewhere."""
        self._diameters[_key(confidence)] = diameter

    def _begin(self) -> None:
        if self._worker is not None or self._wanted is None:
            return
        job, self._wanted = self._wanted, None
        # superqt's, not napari's: that would keep every job, with its map, in its list of tasks.
        worker: Any = create_worker(_relabel, job, self._diameters, _start_thread=False)
        worker.yielded.connect(self._on_yielded)
        worker.returned.connect(self._on_returned)
        worker.finished.connect(self._on_finished)
        self._worker = worker
        worker.start()

    def _on_yielded(self, what: object) -> None:
        if isinstance(what, Outline) and self._wanted is None:
            self.outlined.emit(what)

    def _on_returned(self, answer: Relabelled | PatchSegError) -> None:
        if self._worker is None or self._worker.abort_requested:
            return
        if isinstance(answer, Relabelled):
            self.done.emit(answer)
        else:
            self.failed.emit(answer)

    def _on_finished(self) -> None:
        self._worker = None
        if self._wanted is not None:
            self._begin_soon()


def _key(confidence: ConfidenceMap) -> tuple[int, int, bool]:
    return confidence.step, confidence.nucleus.index, confidence.nucleus.inverted


def _relabel(
    job: Job, diameters: dict[tuple[int, int, bool], float]
) -> Generator[object, None, Relabelled | PatchSegError]:
    """Do a job, step by step; what it raises it returns, since superqt swallows some of that."""
    from napari_patchseg.objects import keep_numbers, labelling, outline

    try:
        made = as_chosen(job.confidence, job.pixels, job.settings, job.objects)
        display = display_map(made, job.canvas)
        if not job.labels:
            return Relabelled(job, made, display)
        key = _key(made)
        objects = job.objects
        if objects.nucleus_diameter is None and key in diameters:
            known = {"nucleus_diameter": diameters[key], "diameter_unit": "px"}
            objects = objects.model_copy(update=known)
        if job.before is not None:
            diameter = objects.diameter_in_pixels(job.pixel_size) or DEFAULT_DIAMETER
            yield Outline(*outline(made, job.pixels, objects, diameter))
        labels, found = yield from labelling(made, job.pixels, objects, pixel_size=job.pixel_size)
        if found.diameter is not None and job.objects.nucleus_diameter is None:
            diameters[key] = found.diameter
        if job.before is not None:
            labels = keep_numbers(labels, job.before)
        return Relabelled(job, made, display, labels, found, job.differs())
    except PatchSegError as error:
        return error
    except Exception as error:
        LOG.exception("Labels could not be made.")
        return in_words(error, "Labels could not be made")

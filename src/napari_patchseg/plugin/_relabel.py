"""Labels and display made anew from a map, off the window's thread; the newest wish wins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from superqt.utils import create_worker, qdebounced

from napari_patchseg.corrections import NUCLEUS, Corrections
from napari_patchseg.errors import PatchSegError
from napari_patchseg.method.events import Cancelled, Control
from napari_patchseg.method.maps import ConfidenceMap
from napari_patchseg.report import Labels, ObjectsReport
from napari_patchseg.settings import DEFAULT_DIAMETER, Objects

from ._display import display_map
from ._run import Run, as_chosen, in_words

LOG = logging.getLogger(__name__)

#: Milliseconds without a new wish after which work begins: a dragged slider asks often.
_PATIENCE_MS = 80


@dataclass(frozen=True)
class Job:
    """What to make.

    Attributes
    ----------
    run : Run
        The map's.
    confidence : ConfidenceMap
        The map to make it of; a full one where labels are wanted.
    objects : Objects
        What counts as a nucleus now.
    labels : bool
        Whether labels are wanted.
    before : ndarray or None
        (h, w), the region's labels so far: nuclei that stay keep their numbers.
    corrections : Corrections
        The user's; edits of objects are not applied yet.
    """

    run: Run
    confidence: ConfidenceMap
    objects: Objects
    labels: bool
    before: NDArray[np.integer] | None
    corrections: Corrections


@dataclass(frozen=True)
class Outline:
    """Where labels are going to be: `border` is (ceil(h / r), ceil(w / r)) bool of the region."""

    border: NDArray[np.bool_]
    reduction: int


@dataclass(frozen=True)
class Relabelled:
    """A map with the class chosen, as it is shown; labels (h, w) of the region where wanted.

    What hints make of the map comes first alone, and without it afterwards.
    """

    chosen: ConfidenceMap
    shown: NDArray[np.float32] | None
    labels: Labels | None = None
    objects: ObjectsReport | None = None
    is_hinted: bool = False


class Relabeller:
    """Does one job at a time; one that comes meanwhile ends the one under way at its next step."""

    #: A hinted map, an `Outline` and a `Relabelled`, or a `PatchSegError`.
    answered = Signal(object)

    def __init__(self) -> None:
        self._wanted: Job | None = None
        self._worker: Any = None
        self._control = Control()
        self._begin_soon = qdebounced(self._begin, timeout=_PATIENCE_MS)

    @property
    def is_busy(self) -> bool:
        """Whether a job is waiting or under way."""
        return self._wanted is not None or self._worker is not None

    def ask(self, job: Job | None) -> None:
        """Do this as soon as possible, or nothing, instead of what was asked for before."""
        self._wanted = job
        if self._worker is not None:
            self._worker.quit()
            if job is None or not job.corrections.teaches:  # else it needs just that
                self._control.cancel()
        elif job is not None:
            self._begin_soon()

    def get_ready_for_hints(self, run: Run, confidence: ConfidenceMap) -> None:
        """Look at the image as hints are learnt by, unless there is something else to do."""
        if not self.is_busy:
            self._control = Control()
            self._start(_get_ready, run, confidence, self._control)

    def _begin(self) -> None:
        if self._worker is not None or self._wanted is None:
            return
        job, self._wanted = self._wanted, None
        self._start(_relabel, job)

    def _start(self, work: Callable[..., Any], *args: object) -> None:
        # superqt's, not napari's: that would keep every job, with its map, in its list of tasks.
        worker: Any = create_worker(work, *args, _start_thread=False)
        worker.yielded.connect(self._on_yielded)
        worker.returned.connect(self._on_answer)
        worker.finished.connect(self._on_finished)
        self._worker = worker
        worker.start()

    def _on_yielded(self, what: object) -> None:
        if isinstance(what, Outline | Relabelled | PatchSegError):
            self._on_answer(what)

    def _on_answer(self, answer: Outline | Relabelled | PatchSegError | None) -> None:
        if answer is not None and self._worker is not None and not self._worker.abort_requested:
            self.answered.emit(answer)

    def _on_finished(self) -> None:
        self._worker = None
        if self._wanted is not None:
            self._begin_soon()


def _get_ready(
    run: Run, confidence: ConfidenceMap, control: Control
) -> Generator[object, None, None]:
    """What the first stroke needs, so that it need not wait for that."""
    yield None
    try:
        assert run.pixels is not None
        chosen = as_chosen(confidence, run.pixels, run.settings, run.objects)
        run.ground_of(chosen, control)
    except Cancelled:
        return
    except PatchSegError as error:
        yield error
    except Exception as error:
        LOG.exception("Hints could not be prepared.")
        yield in_words(error, "Hints could not be prepared")


def _relabel(job: Job) -> Generator[object, None, Relabelled | None]:
    """Do a job, step by step; errors it yields, since superqt raises what is returned, too."""
    from napari_patchseg.objects import keep_numbers, labelling, outline

    run, pixel_size = job.run, job.run.source.pixel_size
    try:
        assert run.pixels is not None
        chosen = as_chosen(job.confidence, run.pixels, run.settings, job.objects)
        hinted = run.with_hints(chosen, job.corrections)
        shown: NDArray[np.float32] | None = display_map(hinted or chosen, run.canvas)
        if not job.labels:
            return Relabelled(chosen, shown, is_hinted=hinted is not None)
        if hinted is not None:
            yield Relabelled(chosen, shown, is_hinted=True)
            shown = None
        objects = run.with_diameter(chosen, job.objects)
        if job.before is not None:
            diameter = objects.diameter_in_pixels(pixel_size) or DEFAULT_DIAMETER
            yield Outline(*outline(hinted or chosen, run.pixels, objects, diameter))
        labels, found = yield from labelling(
            chosen,
            run.pixels,
            objects,
            pixel_size=pixel_size,
            sizes=run.sizes,
            hinted=hinted,
            painted=job.corrections.hints == NUCLEUS,
        )
        run.note_diameter(chosen, job.objects, found)
        if job.before is not None:
            labels = keep_numbers(labels, job.before)
        return Relabelled(chosen, shown, labels, found, hinted is not None)
    except PatchSegError as error:
        yield error
    except Exception as error:
        LOG.exception("Labels could not be made.")
        yield in_words(error, "Labels could not be made")
    return None

"""Labels and maps drawn anew from the last confidence map, off the GUI's thread."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import create_worker

from napari_patchseg.errors import PatchSegError
from napari_patchseg.method.maps import ConfidenceMap
from napari_patchseg.settings import Settings

from .overlays import Canvas, ShownMap, show_map
from .worker import ShownClass, sentence, shown_choice

if TYPE_CHECKING:
    from napari_patchseg.image.pixels import Pixels

LOG = logging.getLogger(__name__)
_T = TypeVar("_T")

#: A slider that is dragged asks often: milliseconds to wait for the next wish.
_PATIENCE_MS = 80
#: What labels made here say of themselves; the rest is the run's.
_OWN = {"settings", "versions", "seed", "steps", "nucleus_class", "objects"}
#: Expected diameter of a nucleus in pixels for an outline where none is known yet.
_DIAMETER = 24.0


@dataclass(frozen=True)
class DrawRequest:
    """What to draw.

    Attributes
    ----------
    confidence : ConfidenceMap
        The map to draw from.
    pixels : Pixels
        The region it is of.
    settings : Settings
        The run's, with the user's present wishes about objects.
    pixel_size : float or None
        µm per pixel.
    canvas : Canvas
        Where the map is shown.
    chosen : ShownClass
        Which class is nuclei.
    report : dict
        Provenance of the map.
    labels : bool
        Whether labels are wanted; they need a whole map.
    new : bool
        Whether labels were asked for by name, rather than redrawn after a slider.
    number : int
        Counts the requests.
    """

    confidence: ConfidenceMap
    pixels: Pixels
    settings: Settings
    pixel_size: float | None
    canvas: Canvas
    chosen: ShownClass
    report: dict[str, Any]
    labels: bool
    new: bool = False
    number: int = 0


@dataclass(frozen=True)
class Drawing:
    """The answer: a map, and labels (h, w) of the region with their report where wanted."""

    request: DrawRequest
    shown: ShownMap | None = None
    labels: NDArray | None = None
    report: dict[str, Any] | None = None
    error: PatchSegError | None = None


@dataclass(frozen=True)
class Outline:
    """What shows where labels are going to be while they are drawn.

    `border` is (ceil(h / r), ceil(w / r)) bool of the region, r the `reduction`.
    """

    request: DrawRequest
    border: NDArray[np.bool_]
    reduction: int


class LabelMaker(QObject):
    """Draws one request at a time; the newest wins.

    One that comes meanwhile makes the one under way give up after its present stage. Outlines are
    drawn beside it, so that they need not wait for labels.

    Parameters
    ----------
    shown : callable
        Asked for the labels (h, w) of the region that are shown, whose numbers new ones keep.
    parent : QObject or None
        Qt's owner.
    """

    drawn = Signal(object)  # Drawing
    outlined = Signal(object)  # Outline

    def __init__(
        self,
        shown: Callable[[], NDArray | None] = lambda: None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._shown = shown
        self._waiting: DrawRequest | None = None
        self._under_way: DrawRequest | None = None
        self._abandoned = threading.Event()
        self._to_outline: DrawRequest | None = None
        self._outlining = False
        self._diameter: tuple[weakref.ref[ConfidenceMap], object, float] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PATIENCE_MS)
        self._timer.timeout.connect(self._next)

    @property
    def is_busy(self) -> bool:
        """Whether a request is waiting or being drawn."""
        return self._under_way is not None or self._waiting is not None

    def ask(self, request: DrawRequest) -> None:
        """Draw this as soon as possible, instead of what was asked for before."""
        for older in (self._under_way, self._waiting):
            if older is not None and not (older is self._under_way and self._abandoned.is_set()):
                request = _both(older, request)
        self._waiting = request
        if request.labels and not request.new:
            self._to_outline = request
            self._outline_next()
        if self._under_way is None:
            self._timer.start()
        else:
            self._abandoned.set()

    def clear(self) -> None:
        """Forget all requests."""
        self._waiting = self._to_outline = None
        self._abandoned.set()

    def _next(self) -> None:
        if self._under_way is not None or self._waiting is None:
            return
        request, self._waiting = self._waiting, None
        self._under_way, self._abandoned = request, threading.Event()
        # A worker of superqt: napari would keep every request, with its maps, in its task list.
        worker = create_worker(
            draw,
            request,
            self._diameter_of(request),
            self._shown() if request.labels else None,
            abandoned=self._abandoned.is_set,
            _start_thread=False,
        )
        worker.returned.connect(self._on_drawn)
        worker.finished.connect(self._on_finished)  # type: ignore[arg-type] # carries nothing
        worker.start()

    def know(self, confidence: ConfidenceMap, settings: Settings, diameter: float) -> None:
        """Take over a map's estimated nucleus diameter in pixels, to estimate it but once."""
        self._diameter = weakref.ref(confidence), shown_choice(settings), diameter

    def _diameter_of(self, request: DrawRequest) -> float | None:
        if self._diameter is None:
            return None
        confidence, choice, diameter = self._diameter
        same = confidence() is request.confidence and choice == shown_choice(request.settings)
        return diameter if same else None

    def _on_drawn(self, drawing: Drawing | None) -> None:
        if drawing is None or self._abandoned.is_set():
            return
        request, report = drawing.request, drawing.report
        if report is not None and request.settings.objects.nucleus_diameter is None:
            diameter = float(report["objects"]["diameter"])
            self.know(request.confidence, request.settings, diameter)
        self.drawn.emit(drawing)

    def _on_finished(self) -> None:
        self._under_way = None
        if self._waiting is not None:
            self._timer.start()

    def _outline_next(self) -> None:
        if self._outlining or self._to_outline is None:
            return
        request, self._to_outline = self._to_outline, None
        self._outlining = True
        worker = create_worker(
            draw_outline, request, self._diameter_of(request), _start_thread=False
        )
        worker.returned.connect(self._on_outlined)
        worker.finished.connect(self._on_outline_finished)  # type: ignore[arg-type]
        worker.start()

    def _on_outlined(self, outline: Outline | None) -> None:
        if outline is not None:
            self.outlined.emit(outline)

    def _on_outline_finished(self) -> None:
        self._outlining = False
        self._outline_next()


def _both(older: DrawRequest, request: DrawRequest) -> DrawRequest:
    """The newer wishes; labels that the older one was to make are not forgotten."""
    if older.labels and not request.labels:  # the older one's map is whole
        request = replace(request, labels=True, confidence=older.confidence, report=older.report)
    return replace(request, new=request.new or older.new)


def draw(
    request: DrawRequest,
    diameter: float | None = None,
    before: NDArray | None = None,
    *,
    abandoned: Callable[[], bool] = lambda: False,
) -> Drawing | None:
    """Draw a request; for any thread but the GUI's.

    Parameters
    ----------
    request : DrawRequest
        What to draw.
    diameter : float or None
        The image's estimated nucleus diameter in pixels where it is known already: estimating
        takes longer than labelling.
    before : ndarray or None
        (h, w), the labels shown so far: nuclei that stay keep their numbers.
    abandoned : callable
        Asked after every stage: whether nobody waits for the answer any more. It is None then.
    """
    try:
        return _draw(request, diameter, before, abandoned)
    except PatchSegError as error:
        return Drawing(request, error=error)
    except Exception as error:
        LOG.exception("Labels could not be made.")
        return Drawing(request, error=sentence(error, "Labels could not be made"))


def _draw(
    request: DrawRequest,
    diameter: float | None,
    before: NDArray | None,
    abandoned: Callable[[], bool],
) -> Drawing | None:
    from napari_patchseg.image.content import expected_diameter
    from napari_patchseg.image.numbering import keep_numbers
    from napari_patchseg.objects import labelling
    from napari_patchseg.report import NucleusReport, Report, versions

    made = request.confidence
    made = replace(made, nucleus=request.chosen.of(made, request.pixels))
    shown = show_map(made, request.canvas)
    if not request.labels:
        return Drawing(request, shown)
    settings = request.settings
    if settings.objects.nucleus_diameter is None:
        if diameter is None and not abandoned():
            diameter = expected_diameter(made.nuclei)
        settings = settings.replace(nucleus_diameter=diameter, diameter_unit="px")
    steps = labelling(made, request.pixels, settings.objects, pixel_size=request.pixel_size)
    found = _unless(abandoned, steps)
    if found is None:
        return None
    labels, objects = found
    if before is not None:
        labels = keep_numbers(labels, before)
    report = {
        **request.report,
        **Report(
            settings=request.settings,
            versions=versions(),
            steps=made.step,
            stop_reason="",
            nucleus_class=NucleusReport.of(made.nucleus),
            objects=objects,
        ).model_dump(
            mode="json",
            include=_OWN,
        ),
    }
    return Drawing(request, shown, labels, report)


def _unless(abandoned: Callable[[], bool], steps: Generator[object, None, _T]) -> _T | None:
    """What a generator returns, or None where it is abandoned before."""
    while not abandoned():
        try:
            next(steps)
        except StopIteration as end:
            result: _T = end.value
            return result
    return None


def draw_outline(request: DrawRequest, diameter: float | None = None) -> Outline | None:
    """Outline what is going to be labelled; for any thread but the GUI's.

    Parameters
    ----------
    request, diameter
        See `draw`.
    """
    from napari_patchseg.objects import outline

    try:
        made = request.confidence
        made = replace(made, nucleus=request.chosen.of(made, request.pixels))
        known = request.settings.objects.diameter_in_pixels(request.pixel_size) or diameter
        border, reduction = outline(
            made, request.pixels, request.settings.objects, known or _DIAMETER
        )
        return Outline(request, border, reduction)
    except Exception:  # the labels tell the user, if they fail as well
        LOG.info("No outline.", exc_info=True)
        return None

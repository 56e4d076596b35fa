"""Labels and maps drawn anew from the last confidence map, off the GUI's thread."""

from __future__ import annotations

import logging
import weakref
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal
from superqt.utils import create_worker

from napari_patchseg.errors import PatchSegError
from napari_patchseg.method.settings import Settings
from napari_patchseg.method.snapshot import ConfidenceMap

from .overlays import Canvas, ShownMap, show_map
from .worker import ShownClass, sentence

if TYPE_CHECKING:
    from napari_patchseg.image.pixels import Pixels

LOG = logging.getLogger(__name__)

#: A slider that is dragged asks often: milliseconds to wait for the next wish.
_PATIENCE_MS = 80


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


class LabelMaker(QObject):
    """Draws one request at a time; of those that come meanwhile the newest wins."""

    drawn = Signal(object)  # Drawing

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._waiting: DrawRequest | None = None
        self._busy = False
        self._diameter: tuple[weakref.ref[Pixels], float] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(_PATIENCE_MS)
        self._timer.timeout.connect(self._next)

    @property
    def is_busy(self) -> bool:
        """Whether a request is waiting or being drawn."""
        return self._busy or self._waiting is not None

    def ask(self, request: DrawRequest) -> None:
        """Draw this as soon as possible; replaces a request that is still waiting."""
        if self._waiting is not None:  # labels asked for by name are not forgotten
            request = replace(
                request,
                new=request.new or self._waiting.new,
                labels=request.labels or self._waiting.labels,
            )
        self._waiting = request
        if not self._busy:
            self._timer.start()

    def clear(self) -> None:
        """Forget a request that is still waiting."""
        self._waiting = None

    def _next(self) -> None:
        if self._busy or self._waiting is None:
            return
        request, self._waiting = self._waiting, None
        known = self._diameter
        diameter = known[1] if known is not None and known[0]() is request.pixels else None
        self._busy = True
        # A worker of superqt: napari would keep every request, with its maps, in its task list.
        worker = create_worker(draw, request, diameter, _start_thread=False)
        worker.returned.connect(self._on_drawn)
        worker.finished.connect(self._on_finished)  # type: ignore[arg-type] # carries nothing
        worker.start()

    def _on_drawn(self, drawing: Drawing) -> None:
        request, report = drawing.request, drawing.report
        if report is not None and request.settings.nucleus_diameter is None:
            self._diameter = weakref.ref(request.pixels), float(report["objects"]["diameter"])
        self.drawn.emit(drawing)

    def _on_finished(self) -> None:
        self._busy = False
        if self._waiting is not None:
            self._timer.start()


def draw(request: DrawRequest, diameter: float | None = None) -> Drawing:
    """Draw a request; for any thread but the GUI's.

    Parameters
    ----------
    request : DrawRequest
        What to draw.
    diameter : float or None
        The image's estimated nucleus diameter in pixels where it is known already: estimating
        takes longer than labelling.
    """
    try:
        return _draw(request, diameter)
    except PatchSegError as error:
        return Drawing(request, error=error)
    except Exception as error:
        LOG.exception("Labels could not be made.")
        return Drawing(request, error=sentence(error, "Labels could not be made"))


def _draw(request: DrawRequest, diameter: float | None) -> Drawing:
    from napari_patchseg.objects import make_labels
    from napari_patchseg.provenance import nucleus_class, provenance

    made = request.confidence
    made = replace(made, nucleus=request.chosen.of(made, request.pixels))
    shown = show_map(made, request.canvas)
    if not request.labels:
        return Drawing(request, shown)
    settings = request.settings
    if settings.nucleus_diameter is None and diameter is not None:
        settings = settings.replace(nucleus_diameter=diameter, diameter_unit="px")
    labels, objects = make_labels(made, request.pixels, settings, pixel_size=request.pixel_size)
    report = {
        **request.report,
        **provenance(request.settings),
        "nucleus_class": nucleus_class(made.nucleus),
        "steps": made.step,
        "objects": objects,
    }
    return Drawing(request, shown, labels, report)

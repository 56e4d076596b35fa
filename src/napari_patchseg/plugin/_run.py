"""A run: what it is asked for, the thread that follows the pipeline, and what has come of it."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal

from napari_patchseg.errors import PatchSegError, TrainingError, reason_of
from napari_patchseg.method.events import MapMade, Step, Trained
from napari_patchseg.method.maps import ConfidenceMap, SampledPatches
from napari_patchseg.report import (
    Finished,
    HistoryRow,
    NucleusReport,
    ObjectsReport,
    Report,
    Segmentation,
    Started,
    versions,
)
from napari_patchseg.settings import Objects, Resolved, Settings

from ._display import Canvas, DisplayMap, display_map
from ._inbox import Inbox
from ._run_state import Phase
from .layer_source import LayerSource
from .preload import import_tables

if TYPE_CHECKING:
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.method.network import Model
    from napari_patchseg.report import Event as PipelineEvent


LOG = logging.getLogger(__name__)


# -- events: the pipeline's, its maps as `Mapped`, and these


@dataclass(frozen=True)
class Opened:
    """The region was read."""

    pixels: Pixels


@dataclass(frozen=True)
class Mapped:
    """A confidence map, and how the canvas shows it.

    `is_full`: it covers the whole region as the settings say, as labels need it.
    """

    confidence: ConfidenceMap
    display: DisplayMap
    is_full: bool


@dataclass(frozen=True)
class Paused:
    """The worker waits."""


@dataclass(frozen=True)
class Failed:
    """The run has ended with an error."""

    error: PatchSegError


if TYPE_CHECKING:
    Event = PipelineEvent | Opened | Mapped | Paused | Failed


class Outbox(QObject):
    """Carries events to the window's thread; maps never queue up there.

    A preview that the window has not taken yet gives way to the next one.
    """

    #: A map, a pause or the end has come.
    arrived = Signal()
    #: What can wait for others has come, such as a step.
    moved = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._events: deque[Event] = deque()

    def put(self, event: Event) -> None:
        """Add an event; from any thread."""
        with self._lock:
            if isinstance(event, Mapped):
                for older in list(self._events):
                    if isinstance(older, Mapped) and not older.is_full:
                        self._events.remove(older)
            self._events.append(event)
        is_news = isinstance(event, Mapped | Paused | Failed | Finished)
        with contextlib.suppress(RuntimeError):  # Qt's half is gone: the application has quit
            (self.arrived if is_news else self.moved).emit()

    def pop(self) -> Event | None:
        """Take the oldest event; None where there is none."""
        with self._lock:
            return self._events.popleft() if self._events else None


@dataclass
class Run:
    """A run, during it and afterwards; the session owns it, and it alone writes it.

    Attributes
    ----------
    source, canvas : LayerSource, Canvas
        The image, and where layers go.
    settings : Settings
        What the present worker was started with, automatic choices included.
    model : Model or None
        Weights to use instead of training.
    make_labels : bool
        Whether it ends with labels.
    inbox, outbox : Inbox, Outbox
        The ways to the worker and back; the inbox is the present worker's.
    pixels : Pixels or None
        The region, once it was read.
    resolved : Resolved or None
        Every choice, once it was made.
    history : list of HistoryRow
        Of all steps.
    patches : SampledPatches or None
        The last step's.
    preview, full : ConfidenceMap or None
        The newest map, and the newest full one.
    trained : Model or None
        The weights reached, or used.
    result : Segmentation or None
        What the pipeline ended with.
    error : PatchSegError or None
        What it failed with.
    stopped_in : Phase or None
        What it did when the user stopped it.
    because : str or None
        Why it was ended, where it was not the user who asked.
    outcome : tuple or None
        Phase and words that training, or the use of a model, ended with.
    """

    source: LayerSource
    canvas: Canvas
    settings: Settings
    model: Model | None = None
    make_labels: bool = False
    outbox: Outbox = field(default_factory=Outbox)
    inbox: Inbox = field(init=False)
    pixels: Pixels | None = None
    resolved: Resolved | None = None
    history: list[HistoryRow] = field(default_factory=list)
    patches: SampledPatches | None = None
    preview: ConfidenceMap | None = None
    full: ConfidenceMap | None = None
    trained: Model | None = None
    result: Segmentation | None = None
    error: PatchSegError | None = None
    stopped_in: Phase | None = None
    because: str | None = None
    outcome: tuple[Phase, str] | None = None

    def __post_init__(self) -> None:
        self.open_inbox(self.settings.objects, previews=False)

    def open_inbox(self, objects: Objects, *, previews: bool) -> None:
        """For a worker that is about to start: the earlier one's may be cancelled."""
        put = self.outbox.put
        self.inbox = Inbox(objects, previews=previews, on_pause=lambda: put(Paused()))

    @property
    def objects(self) -> Objects:
        """What counts as a nucleus, as the user now says."""
        return self.inbox.objects

    @property
    def wished(self) -> Settings:
        """The settings with all choices that are made, and with the user's present wishes."""
        settings = self.settings if self.resolved is None else self.resolved.settings
        return settings.replace(**self.objects.model_dump())

    def take(self, event: Event) -> None:
        """Enter what came."""
        match event:
            case Opened(pixels):
                self.pixels = pixels
            case Started(resolved):
                self.resolved = resolved
            case Step():
                self.history.append(HistoryRow.of(event))
                self.patches = event.patches
            case Mapped(confidence, _, is_full):
                self.preview = confidence
                self.full = confidence if is_full else self.full
            case Trained(model):
                self.trained = model
            case Finished(result):
                self.result = result
                self.trained = result.model or self.trained
            case Failed(error):
                self.error = error

    @property
    def full_of_trained(self) -> ConfidenceMap | None:
        """The full map of the weights reached, if it was made."""
        if self.full is None or (self.trained and self.full.step != self.trained.steps):
            return None
        return self.full

    def report(self, confidence: ConfidenceMap, objects: ObjectsReport) -> Report:
        """Where labels come from that are made of a map now."""
        base = Report(
            settings=self.wished,
            versions=versions(),
            stop_reason="none: labels were made during training",
        )
        if self.result is not None:
            base = self.result.report.replace(settings=self.wished)
        return base.replace(
            steps=confidence.step,
            nucleus_class=NucleusReport.of(confidence.nucleus),
            objects=objects,
        )


def work(run: Run, model: Model | None, make_labels: bool) -> None:
    """What a run's worker does: it follows the pipeline. Raises nothing: errors are events too.

    Everything that may take long or import torch happens here, never in the window's thread.

    Parameters
    ----------
    run : Run
        Its inbox is asked, its outbox filled.
    model : Model or None
        Weights to use instead of training.
    make_labels : bool
        Whether to end with labels.
    """
    put = run.outbox.put
    try:
        for event in _events(run, model, make_labels):
            put(event)
    except PatchSegError as error:
        LOG.info("The run ended with an error.", exc_info=True)
        put(Failed(error))
    except MemoryError as error:
        put(Failed(in_words(error, "Not enough memory, segment a smaller region")))
    except (ImportError, OSError) as error:
        LOG.exception("The run could not start.")
        put(Failed(in_words(error, "The run could not load what it needs")))
    except Exception as error:
        LOG.exception("The run failed.")
        put(Failed(in_words(error, "Training failed")))


def _events(run: Run, model: Model | None, make_labels: bool) -> Iterator[Event]:
    inbox, pixels = run.inbox, run.pixels
    if pixels is None:
        pixels = run.source.open(run.settings.image_kind)  # needs no torch, whose import goes on
        yield Opened(pixels)
    from napari_patchseg import pipeline

    def mapped(made: ConfidenceMap) -> Mapped:
        is_full = made.is_exact and made.reduction == 1 and made.box == (0, 0, *pixels.shape[1:])
        if is_full:
            inbox.map_made()
        chosen = as_chosen(made, pixels, run.settings, inbox.objects)
        return Mapped(made, display_map(chosen, run.canvas), is_full)

    last = None
    events = pipeline.run(
        pixels,
        run.settings,
        control=inbox,
        model=model,
        make_labels=make_labels,
        pixel_size=run.source.pixel_size,
    )
    for event in events:
        if isinstance(event, Step):
            import_tables()
        if isinstance(event, MapMade):
            last = event.confidence
            inbox.map_sent()
            yield mapped(last)
            inbox.wait_until_shown()
            continue
        if isinstance(event, Finished):
            confidence = event.result.confidence
            if confidence is not None and confidence is not last:
                yield mapped(confidence)
        yield event


def as_chosen(
    made: ConfidenceMap, pixels: Pixels, settings: Settings, objects: Objects
) -> ConfidenceMap:
    """A map with the class that the user has chosen since its run began with `settings`."""
    before = settings.objects
    if (objects.nucleus_class, objects.nucleus_polarity) == (
        before.nucleus_class,
        before.nucleus_polarity,
    ):
        return made
    from napari_patchseg.objects import ClassChooser

    choose = ClassChooser(pixels, objects)
    return replace(made, nucleus=choose(made.data, made.channels, made.box, made.reduction))


def in_words(error: BaseException, what: str) -> TrainingError:
    """A user's sentence for an error that nobody foresaw; the error stays its cause."""
    told = TrainingError(f"{what}: {reason_of(error)}.")
    told.__cause__ = error
    return told

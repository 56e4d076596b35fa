"""A run: where it is, the ways to its worker and back, the worker, and what has come of it."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from napari_patchseg.corrections import Corrections
from napari_patchseg.errors import PatchSegError, TrainingError, reason_of
from napari_patchseg.geometry import Box
from napari_patchseg.method.events import Control, MapMade, Step, Trained
from napari_patchseg.method.maps import ConfidenceMap, SampledPatches
from napari_patchseg.report import (
    Finished,
    HistoryRow,
    Labels,
    NucleusReport,
    ObjectsReport,
    Report,
    Segmentation,
    Started,
    versions,
)
from napari_patchseg.settings import Objects, Resolved, Settings
from napari_patchseg.words import pluralize, time_left

from ._display import Canvas, display_map
from .layer_source import LayerSource
from .preload import import_tables
from .writer import pixel_size as size_of_layer

if TYPE_CHECKING:
    from napari_patchseg.hinting import Ground, Place
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.method.network import Model
    from napari_patchseg.report import Event as PipelineEvent


LOG = logging.getLogger(__name__)


class Phase(StrEnum):
    """What a session is doing."""

    IDLE = "idle"
    STARTING = "starting"
    TRAINING = "training"
    PREDICTING = "predicting"
    LABELLING = "labelling"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    CONVERGED = "converged"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


#: What a worker does, as the pipeline says.
_WORK = frozenset({Phase.STARTING, Phase.TRAINING, Phase.PREDICTING, Phase.LABELLING})
#: What the user has asked for meanwhile, and what is said then.
_HOLDS = {
    Phase.PAUSING: "pausing…",
    Phase.PAUSED: "paused",
    Phase.STOPPING: "stopping…",
}


@dataclass(frozen=True)
class RunState:
    """Where a run is, or how it ended.

    Attributes
    ----------
    work : Phase
        What the worker does, or what came of it.
    message : str
        The same in words.
    hold : Phase or None
        PAUSING, PAUSED or STOPPING, beside the work, as the worker's inbox has it.
    step, max_steps : int
        Training steps done, and the most there can be; 0 before the first.
    done, total : int
        Units of work outside of training; 0 in training.
    remaining : float or None
        Estimated seconds to the step limit.
    may_end_sooner : bool
        Whether `remaining` is an upper bound.
    nuclei : int or None
        How many the last labels have.
    hints : str
        What becomes of the user's hints, in words; empty without any.
    """

    work: Phase = Phase.IDLE
    message: str = "ready"
    hold: Phase | None = None
    step: int = 0
    max_steps: int = 0
    done: int = 0
    total: int = 0
    remaining: float | None = None
    may_end_sooner: bool = True
    nuclei: int | None = None
    hints: str = ""

    @property
    def phase(self) -> Phase:
        """The one to show."""
        return self.hold or self.work

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self.work in _WORK

    @property
    def waits(self) -> bool:
        """Whether the user has asked for a pause."""
        return self.hold in (Phase.PAUSING, Phase.PAUSED)

    @property
    def can_pause(self) -> bool:
        """Whether a pause makes sense."""
        return self.phase in (Phase.TRAINING, Phase.PREDICTING)

    @property
    def text(self) -> str:
        """For the user: the phase, how many nuclei there are, and what hints do."""
        words = [_HOLDS[self.hold] if self.hold else self.message]
        if self.work is not Phase.FAILED:
            if self.nuclei is not None:
                words.append(pluralize(self.nuclei, "nucleus", "nuclei"))
            words.append(self.hints)
        return " · ".join(filter(None, words))

    @property
    def time_left(self) -> str:
        """How long training will take yet, in words; empty where nobody knows."""
        if self.phase is not Phase.TRAINING or self.remaining is None:
            return ""
        return time_left(self.remaining, may_end_sooner=self.may_end_sooner)


# -- events: the pipeline's, its maps as `Mapped`, and these


@dataclass(frozen=True)
class Opened:
    """The region was read."""

    pixels: Pixels


@dataclass(frozen=True)
class Mapped:
    """A confidence map, the same with the class that the user has chosen, and what is to be shown.

    `is_full`: it covers the whole region as the settings say, as labels need it. `labels` of a
    preview are (h, w) of the region, as coarse as it is; None where none are to be seen.
    """

    confidence: ConfidenceMap
    chosen: ConfidenceMap
    shown: NDArray[np.float32]
    is_full: bool
    labels: Labels | None = None


@dataclass(frozen=True)
class Paused:
    """The worker waits."""


@dataclass(frozen=True)
class Failed:
    """The run has ended with an error."""

    error: PatchSegError


if TYPE_CHECKING:
    Event = PipelineEvent | Opened | Mapped | Paused | Failed


#: Most seconds that a worker waits for the window to show a map.
_PATIENCE = 0.25


class Inbox(Control):
    """What the window asks of a run's worker: the newest value of each wish.

    Parameters
    ----------
    objects : Objects
        What counts as a nucleus when the worker begins.
    previews : bool
        Whether maps are wanted during training.
    on_pause : callable
        Called by the worker when it begins to wait.
    corrections : Corrections or None
        What the user has corrected when the worker begins.
    """

    def __init__(
        self,
        objects: Objects,
        *,
        previews: bool,
        on_pause: Callable[[], object],
        corrections: Corrections | None = None,
    ) -> None:
        super().__init__(previews=previews)
        #: What counts as a nucleus now: frozen, and replaced as a whole.
        self.objects = objects
        #: What the user has corrected by now, the same way.
        self.corrections = corrections
        #: Called by the worker soon after that has changed, also while it waits.
        self.on_corrected: Callable[[], object] = lambda: None
        self._on_pause = on_pause
        self._pause: Phase | None = None
        self._changed = threading.Condition()
        self._corrected = threading.Event()
        self._shown = threading.Event()

    @property
    def hold(self) -> Phase | None:
        """PAUSING, PAUSED or STOPPING, whichever was asked for or has come of it."""
        return Phase.STOPPING if self.cancelled else self._pause

    def pause(self) -> None:
        """Ask the worker to wait, within the step under way."""
        self._pause = Phase.PAUSING

    def resume(self) -> None:
        """Let the worker go on."""
        with self._changed:
            self._pause = None
            self._changed.notify()

    def cancel(self) -> None:
        """Ask for the end, of a paused worker too."""
        super().cancel()
        self._wake()

    def request_map(self) -> None:
        """Ask for a map of the whole image; a paused worker goes on until it is made."""
        super().request_map()
        self._wake()

    def correct(self, corrections: Corrections) -> None:
        """Take over what the user has corrected."""
        self.corrections = corrections
        self._corrected.set()
        self._wake()

    def map_shown(self) -> None:
        """A map has been drawn."""
        self._shown.set()

    def wait_until_shown(self) -> None:
        """Called by the worker after a map: what it takes to draw counts as a preview's time.

        Drawing and training at once take each other's processor, and both the longer.
        """
        self._shown.clear()
        self._shown.wait(_PATIENCE)

    def wait_while_paused(self) -> None:
        """Called by the worker between two pieces of work."""
        while True:
            if self._corrected.is_set() and not self.cancelled:
                self._corrected.clear()  # first: there may be the next one meanwhile
                self.on_corrected()
            with self._changed:
                if not self._waits():
                    return
                self._pause = Phase.PAUSED
                self._on_pause()
                self._changed.wait_for(lambda: not self._waits() or self._corrected.is_set())

    def _waits(self) -> bool:
        return self._pause is not None and not self.map_wanted and not self.cancelled

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify()


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
    start : Model or None
        Weights that training begins with.
    make_labels : bool
        Whether the worker ends with labels, unless it is stopped.
    continues : bool
        Whether it was stopped while it learnt, and labels of the weights reached are to follow.
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
    because : str or None
        Why it was ended, where it was not the user who asked.
    outcome : tuple or None
        Phase and words that training, or the use of a model, ended with.
    base : ndarray or None
        (h, w), the region's labels before any edit of objects.
    smallest : float
        Square pixels of the smallest object in them.
    report_of_labels : Report or None
        Where they come from.
    hinted : ConfidenceMap or None
        The newest full map with hints.
    taught : Model or None
        The weights reached, with what hints taught.
    is_sketched : bool
        Whether labels of previews were shown.
    """

    source: LayerSource
    canvas: Canvas
    settings: Settings
    model: Model | None = None
    start: Model | None = None
    make_labels: bool = False
    continues: bool = False
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
    because: str | None = None
    outcome: tuple[Phase, str] | None = None
    base: Labels | None = None
    smallest: float = 0.0
    report_of_labels: Report | None = None
    hinted: ConfidenceMap | None = None
    taught: Model | None = None
    is_sketched: bool = False

    def __post_init__(self) -> None:
        #: Estimated diameters in pixels, by a map's step and class.
        self._diameters: dict[tuple[int, int, bool], float] = {}
        #: What hints are laid on, of one of these maps.
        self._ground: tuple[tuple[int, int, bool], Ground] | None = None
        #: Where strokes count while it learns, and diameters estimated then, by class.
        self._place: Place | None = None
        self._rough: dict[tuple[int, bool], float] = {}
        self.inbox = self._new_inbox(self.settings.objects)

    def begin(self, *, previews: bool, make_labels: bool) -> None:
        """Get ready for a worker: an earlier one's inbox may be cancelled."""
        self.settings, self.make_labels = self.wished, make_labels
        self.continues, self.error = False, None
        now = self.inbox.corrections
        self.inbox = self._new_inbox(self.objects, previews=previews, corrections=now)

    def _new_inbox(
        self,
        objects: Objects,
        *,
        previews: bool = False,
        corrections: Corrections | None = None,
    ) -> Inbox:
        put = self.outbox.put
        return Inbox(
            objects,
            previews=previews,
            on_pause=lambda: put(Paused()),
            corrections=corrections,
        )

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
            case Mapped(confidence, is_full=is_full):
                self.preview = confidence
                self.full = confidence if is_full else self.full
            case Trained(model):
                self.trained = model
            case Finished(result):
                is_anew = self.result is not None and not self.make_labels  # its map was made anew
                if self.result is not None and is_anew:
                    result = replace(self.result, confidence=result.confidence)
                self.result = result
                self.trained = result.model or self.trained
                if self.found_nothing:
                    self.full = None
                elif result.confidence is not None and not is_anew:
                    self.note_diameter(
                        result.confidence, self.settings.objects, result.report.objects
                    )
            case Failed(error):
                self.error = error

    def forget_features(self) -> None:
        """Free what hints are laid on."""
        self._ground = self._place = None

    def forget_maps(self) -> None:
        """Keep what is small, labels, report and weights: maps can be made anew."""
        self.pixels = self.preview = self.full = self.hinted = None
        self.forget_features()
        if self.result is not None:
            self.result = replace(self.result, confidence=None, labels=None)

    @property
    def came_to_something(self) -> bool:
        """Whether it has labels, or has learnt."""
        if self.base is not None:
            return True
        if self.trained is None or self.model is not None:
            return False
        # Stopped before it learnt it has made one step.
        return len(self.history) > 1 or self.trained.stop_reason == "step limit"

    @property
    def found_nothing(self) -> bool:
        """Whether nothing separated: there are no nuclei then, whatever a map looks like."""
        return self.result is not None and self.result.report.stop_reason == "nothing separated"

    def note_diameter(
        self, made: ConfidenceMap, wished: Objects, found: ObjectsReport | None
    ) -> None:
        """Keep what a map's diameter was estimated to be: that takes longer than its labels."""
        if found is not None and found.diameter is not None and wished.nucleus_diameter is None:
            self._diameters[_step_and_class(made)] = found.diameter

    def with_diameter(self, made: ConfidenceMap, wished: Objects) -> Objects:
        """What is wished, with a map's diameter where that was estimated before."""
        known = self._diameters.get(_step_and_class(made))
        if known is None or wished.nucleus_diameter is not None:
            return wished
        return wished.model_copy(update={"nucleus_diameter": known, "diameter_unit": "px"})

    @property
    def sizes(self) -> tuple[float, float] | None:
        """µm per pixel along rows and columns: the layer's, or what the user entered."""
        size, layer, plane = self.source.pixel_size, self.source.layer, self.source.plane
        if size is None or layer is None:
            return None if size is None else (size, size)
        meta = {"scale": layer.scale, "units": layer.units, "affine": layer.affine.affine_matrix}
        both = size_of_layer(meta, (plane.rows, plane.columns))
        if both is None or not math.isclose(math.prod(both), size**2, rel_tol=1e-6):
            return size, size
        return both[0], both[1]

    @property
    def reached(self) -> Model | None:
        """The weights reached, with what hints taught if they did."""
        return self.taught or self.trained

    @property
    def shown_nuclei(self) -> NDArray[np.float32] | None:
        """Confidence in nuclei (h, w) of the newest full map, hints included; else of a preview."""
        newest = self.hinted or self.full or self.preview
        if newest is None or self.pixels is None:
            return None
        if newest is not self.hinted:
            newest = as_chosen(newest, self.pixels, self.settings, self.objects)
        height, width = self.pixels.shape[1:]
        if newest.box != (0, 0, height, width):
            return None
        step = newest.reduction
        if step == 1:
            return newest.nuclei
        return newest.nuclei.repeat(step, 0).repeat(step, 1)[:height, :width]

    def rough_diameter(self, made: ConfidenceMap) -> float:
        """Expected diameter in pixels while it learns; where nobody gave one, of the first map."""
        given = self.objects.diameter_in_pixels(self.source.pixel_size)
        if given is not None:
            return given
        nucleus = made.nucleus.index, made.nucleus.inverted
        if nucleus not in self._rough:
            from napari_patchseg.objects import expected_diameter

            self._rough[nucleus] = expected_diameter(made.nuclei) * made.reduction
        return self._rough[nucleus]

    def painted(
        self, chosen: ConfidenceMap, pixels: Pixels, corrections: Corrections | None
    ) -> ConfidenceMap | None:
        """A map, as coarse as it is, with hints at their own place alone; None without any.

        To be called in a worker's thread.
        """
        if not corrections or not (hints := corrections.hints).any():
            return None
        from napari_patchseg.hinting import Place

        diameter, place = self.rough_diameter(chosen), self._place
        if place is None or not place.fits(chosen, diameter):
            self._place = place = Place.of(pixels, chosen, diameter)
        return place.painted(chosen, hints)

    def with_hints(self, chosen: ConfidenceMap, corrections: Corrections) -> ConfidenceMap | None:
        """A map with hints; None without any.

        In the full map of the weights reached they teach their like, in others they count at their
        own place. To be called in a worker's thread, see `ground_of`.
        """
        hints = corrections.hints
        if self.pixels is None or self.resolved is None:
            return None
        is_exact = chosen.is_exact and chosen.reduction == 1
        if self.trained is None or chosen.step != self.trained.steps or not is_exact:
            self.taught = None
            hinted = self.painted(chosen, self.pixels, corrections)
            self.hinted = hinted if is_exact else None
            return hinted
        if not hints.any():
            self.hinted, self.taught = None, None
            return None
        settings = self.wished
        self.hinted, head = self.ground_of(chosen).hinted(
            hints, learns=settings.objects.learn_from_hints, seed=settings.training.seed
        )
        heads = self.trained.heads if head is None else (*self.trained.heads, head)
        self.taught = replace(self.trained, heads=heads, corrections=corrections)
        return self.hinted

    def ground_of(self, chosen: ConfidenceMap, control: Control | None = None) -> Ground:
        """What hints are laid on, of a full map of the weights reached.

        The first time it takes a pass of the network, which a control can end: to be called in a
        worker's thread.
        """
        from napari_patchseg.hinting import Ground

        assert self.trained is not None
        assert self.pixels is not None
        assert self.resolved is not None
        key = _step_and_class(chosen)
        if self._ground is None or self._ground[0] != key:
            # What the model knew from other images is in the map already.
            model = replace(self.trained, heads=())
            objects = self.with_diameter(chosen, self.objects)
            diameter = objects.diameter_in_pixels(self.source.pixel_size)
            ground = Ground.of(
                self.pixels, model, self.resolved, chosen, diameter=diameter, control=control
            )
            self._ground = key, ground
        return self._ground[1]

    def newest_at(self, row: int, column: int) -> ConfidenceMap | None:
        """The newest map that covers a pixel of the region."""
        for made in (self.preview, self.full):
            if made is not None:
                row0, column0, row1, column1 = made.box
                if row0 <= row < row1 and column0 <= column < column1:
                    return made
        return None

    @property
    def full_of_trained(self) -> ConfidenceMap | None:
        """The full map of the weights reached, if it was made."""
        if self.full is None or (self.trained and self.full.step != self.trained.steps):
            return None
        return self.full

    def report(
        self,
        confidence: ConfidenceMap,
        objects: ObjectsReport,
        corrections: Corrections | None = None,
    ) -> Report:
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
            corrections=corrections or None,
        )


def _step_and_class(made: ConfidenceMap) -> tuple[int, int, bool]:
    return made.step, made.nucleus.index, made.nucleus.inverted


def work(run: Run) -> None:
    """What a run's worker does: it follows the pipeline. Raises nothing: errors are events too.

    Everything that may take long or import torch happens here, never in the window's thread.

    Parameters
    ----------
    run : Run
        Its inbox is asked, its outbox filled. Weights that it has are used instead of training.
    """
    put = run.outbox.put
    try:
        for event in _events(run):
            put(event)
    except PatchSegError as error:
        LOG.info("The run ended with an error.", exc_info=True)
        put(Failed(error))
    except MemoryError as error:
        put(Failed(in_words(error, "Not enough memory, segment a smaller region")))
    except Exception as error:
        LOG.exception("The run failed.")
        put(Failed(in_words(error, "The run failed")))


def _events(run: Run) -> Iterator[Event]:
    inbox, pixels = run.inbox, run.pixels
    if pixels is None:
        pixels = run.source.open(run.settings.image_kind)  # needs no torch, whose import goes on
        yield Opened(pixels)
    from napari_patchseg import pipeline

    live = _Live(run, pixels)
    inbox.on_corrected = live.renew
    events = pipeline.run(
        pixels,
        run.settings,
        control=inbox,
        model=run.trained or run.model,
        start=None if run.trained else run.start,
        make_labels=run.make_labels,
        pixel_size=run.sizes,
    )
    try:
        for event in events:
            if isinstance(event, Step):
                import_tables()
            if isinstance(event, MapMade):
                yield live.mapped(event.confidence, sketch=True)
                inbox.wait_until_shown()
                continue
            if isinstance(event, Finished):
                confidence = event.result.confidence
                if confidence is not None and confidence is not live.last:
                    yield live.mapped(confidence, sketch=False)
            yield event
    finally:
        inbox.on_corrected = lambda: None  # it holds the image and its map


class _Live:
    """What is shown of maps: what is painted is so in them, and in the labels while a run learns.

    Labels that stay keep their numbers; the last ones have those that every other door gives.
    """

    def __init__(self, run: Run, pixels: Pixels) -> None:
        self._run, self._pixels = run, pixels
        self._labels: Labels | None = None
        #: The newest map, with which the run may go on after it was stopped.
        self.last = run.preview

    def mapped(self, made: ConfidenceMap, *, sketch: bool) -> Mapped:
        """A new map, with labels where they are wanted."""
        self.last = made
        is_full = made.is_exact and made.reduction == 1 and made.box == self._whole
        if is_full:
            self._run.inbox.map_made()
        return self._shown(made, is_full=is_full, sketch=sketch)

    def renew(self) -> None:
        """Show the newest map once more, since there are other corrections."""
        run = self._run
        if self.last is not None and run.inbox.previews:
            run.outbox.put(self._shown(self.last, is_full=False, sketch=True))

    @property
    def _whole(self) -> Box:
        return (0, 0, *self._pixels.shape[1:])

    def _shown(self, made: ConfidenceMap, *, is_full: bool, sketch: bool) -> Mapped:
        run, pixels = self._run, self._pixels
        chosen = as_chosen(made, pixels, run.settings, run.inbox.objects)
        hinted = run.painted(chosen, pixels, run.inbox.corrections)
        labels = self._sketch(chosen, hinted) if sketch else None
        return Mapped(made, chosen, display_map(hinted or chosen, run.canvas), is_full, labels)

    def _sketch(self, chosen: ConfidenceMap, hinted: ConfidenceMap | None) -> Labels | None:
        """Labels of a map of the whole region, where they are wanted and seen."""
        from napari_patchseg.objects import keep_numbers, sketch

        run = self._run
        if not run.make_labels or not run.inbox.previews or chosen.box != self._whole:
            return None
        diameter = run.rough_diameter(chosen)
        labels = sketch(chosen, self._pixels, run.objects, diameter, hinted=hinted)
        self._labels = labels if self._labels is None else keep_numbers(labels, self._labels)
        return self._labels


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

"""The thread that a run lives in, and what the window may ask of it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_patchseg.errors import PatchSegError, TrainingError
from napari_patchseg.method.control import Control
from napari_patchseg.method.maps import ConfidenceMap, NucleusClass
from napari_patchseg.settings import Settings

from .layer_source import LayerSource
from .mailbox import Mailbox
from .overlays import Canvas, show_map
from .preload import import_tables, preload

if TYPE_CHECKING:
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.method.model import Model

LOG = logging.getLogger(__name__)

#: Of the worker and torch's threads; 0 is the window's, 19 the most.
_NICENESS = 10
#: Seconds between two looks of a paused worker at whether it should go on.
_PAUSE_POLL = 0.02


class RunControl(Control):
    """What the window may ask of a run: besides `Control`'s wishes, to pause.

    The method asks `cancelled` within and after every step and before every tile, so that is where
    a pause waits.
    """

    def __init__(self, *, previews: bool) -> None:
        super().__init__(previews=previews)
        self.abort_requested: Callable[[], bool] = lambda: False
        self.on_pause: Callable[[bool], None] = lambda _paused: None
        self._paused = threading.Event()
        self._one_map = threading.Event()
        self._worker: int | None = None

    def pause(self) -> None:
        """Ask the worker to wait after the pass or tile under way."""
        self._paused.set()

    def resume(self) -> None:
        """Let the worker go on."""
        self._paused.clear()

    @property
    def pause_wanted(self) -> bool:
        """Whether the worker was asked to wait."""
        return self._paused.is_set()

    def request_map(self) -> None:
        """Ask for a whole map; a paused run takes one more step for it."""
        super().request_map()
        self._one_map.set()

    def map_made(self) -> None:
        """A whole map has come: a paused run waits again."""
        self._one_map.clear()

    def enter(self) -> None:
        """Called by the worker's thread: it alone may wait."""
        self._worker = threading.get_ident()

    @property
    def cancelled(self) -> bool:
        """Whether the end was asked for, by the window or by napari; waits while paused."""
        if threading.get_ident() == self._worker:
            self._wait_while_paused()
        return self._is_cancelled()

    def _is_cancelled(self) -> bool:
        return super().cancelled or self.abort_requested()

    def _waits(self) -> bool:
        return self._paused.is_set() and not self._one_map.is_set() and not self._is_cancelled()

    def _wait_while_paused(self) -> None:
        if not self._waits():
            return
        self.on_pause(True)
        while self._waits():
            time.sleep(_PAUSE_POLL)
        self.on_pause(False)


@dataclass(frozen=True)
class RunRequest:
    """All that a run needs to know.

    Attributes
    ----------
    source : LayerSource
        The image.
    canvas : Canvas
        Where its maps are shown.
    settings : Settings
        As the user chose them, "auto" included.
    model : Model or None
        Use these weights instead of training.
    make_labels : bool
        Whether the run ends with labels.
    """

    source: LayerSource
    canvas: Canvas
    settings: Settings
    model: Model | None = None
    make_labels: bool = False


class ShownClass:
    """The user's choice of what is nuclei; written by the window, read by the worker.

    Parameters
    ----------
    settings : Settings
        Of the run; `nucleus_class` and `nucleus_polarity` count.
    """

    def __init__(self, settings: Settings) -> None:
        self._of_run = settings
        self.settings = settings

    @property
    def was_changed(self) -> bool:
        """Whether any wish about objects came after the run began."""
        return self.settings.objects != self._of_run.objects

    def of(self, made: ConfidenceMap, pixels: Pixels) -> NucleusClass:
        """The class to show of a map; not for the GUI's thread."""
        settings = self.settings
        if shown_choice(settings) == shown_choice(self._of_run):
            return made.nucleus
        from napari_patchseg.objects import ClassChooser

        choose = ClassChooser(pixels, settings.objects)
        return choose(made.data, made.channels, made.box, made.reduction)


def shown_choice(settings: Settings) -> tuple[int | None, str | None]:
    """What a user may say about the class that is nuclei."""
    return settings.objects.nucleus_class, settings.objects.nucleus_polarity


class RunTask:
    """The function of a run's worker. Raises nothing: errors go by mail.

    Everything that may take long or import torch happens here, never on the GUI's thread. napari
    shows a task by its ``str``, and keeps it until it quits: hence `clear`.
    """

    def __init__(
        self, request: RunRequest, control: RunControl, mailbox: Mailbox, chosen: ShownClass
    ) -> None:
        self._name = f"PatchSeg: segment nuclei in {request.source.name}"
        self._needs = (request, control, mailbox, chosen)

    def __str__(self) -> str:
        return self._name

    def clear(self) -> None:
        """Let go of image, weights and maps."""
        self._needs = ()  # type: ignore[assignment]

    def __call__(self) -> None:
        """Do it, in a thread of its own: threads of the pool that calls serve others afterwards."""
        thread = threading.Thread(target=self._do, name=self._name)
        thread.start()
        thread.join()

    def _do(self) -> None:
        if not self._needs:  # abandoned before it began
            return
        request, control, mailbox, chosen = self._needs
        control.enter()
        control.on_pause = lambda paused: mailbox.post(paused=paused)
        try:
            _work(request, control, mailbox, chosen)
        except PatchSegError as error:
            LOG.info("The run ended with an error.", exc_info=True)
            mailbox.post(error=error)
        except MemoryError as error:
            mailbox.post(error=sentence(error, "Not enough memory, segment a smaller region"))
        except (ImportError, OSError) as error:
            LOG.exception("The run could not start.")
            mailbox.post(error=sentence(error, "The run could not load what it needs"))
        except Exception as error:
            LOG.exception("The run failed.")
            mailbox.post(error=sentence(error, "Training failed"))


def _give_way() -> None:
    """Let the window have the processor first.

    Only Linux knows priorities of single threads, and only root could raise this one's again.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def sentence(error: BaseException, what: str) -> TrainingError:
    """A user's sentence for an error that nobody foresaw; the error stays its cause."""
    first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    told = TrainingError(f"{what}: {first}.")
    told.__cause__ = error
    return told


def _work(request: RunRequest, control: RunControl, mailbox: Mailbox, chosen: ShownClass) -> None:
    _give_way()  # torch's threads, which do not exist yet, take over what this one has
    imports = preload()
    imports.hurry()
    pixels = request.source.open(
        request.settings.image_kind
    )  # needs no torch: its import goes on meanwhile
    imports.join()
    from napari_patchseg import pipeline
    from napari_patchseg.method.events import MapMade, Step, Trained
    from napari_patchseg.method.hardware import resolve_machine
    from napari_patchseg.report import Finished, HistoryRow, Progress, Started

    mailbox.post(pixels=pixels)
    # a graphics card takes little from the window
    on_cpu = resolve_machine(request.settings.machine).device == "cpu"
    items = pipeline.run(
        pixels,
        request.settings,
        control=control,
        model=request.model,
        make_labels=request.make_labels,
        pixel_size=request.source.pixel_size,
    )
    with contextlib.closing(items):  # type: ignore[type-var] # a generator, as Iterator hides
        for item in items:
            if isinstance(item, Step):
                import_tables()  # done already, but for a run that followed the panel at once
                mailbox.post(
                    point=HistoryRow(
                        item.step, item.loss, item.positive_separation, item.negative_separation
                    ),
                    snapshot=item,
                    progress=None,  # of an earlier phase
                    patches=item.patches,
                )
            elif isinstance(item, MapMade):
                mailbox.post(**_map_news(item.confidence, pixels, request, control, chosen))
                if on_cpu:
                    mailbox.wait_until_drawn(control)
            elif isinstance(item, Trained):
                mailbox.post(trained=item)
            elif isinstance(item, Progress):
                mailbox.post(progress=item)
            elif isinstance(item, Started):
                mailbox.post(settings=item.resolved.settings)
            elif isinstance(item, Finished):
                confidence = item.result.confidence
                news = _map_news(confidence, pixels, request, control, chosen)
                mailbox.post(result=item.result, **news)


def _map_news(
    made: ConfidenceMap | None,
    pixels: Pixels,
    request: RunRequest,
    control: RunControl,
    chosen: ShownClass,
) -> dict[str, Any]:
    if made is None:
        return {}
    news = {"made": made, "shown": show_map(made, request.canvas, chosen.of(made, pixels))}
    if is_whole(made, request.source):
        news["whole"] = made
        control.map_made()
    return news


def is_whole(made: ConfidenceMap, source: LayerSource) -> bool:
    """Whether a map covers the whole region as the settings say, as labels need it."""
    row0, column0, row1, column1 = source.box
    covers = made.reduction == 1 and made.box == (0, 0, row1 - row0, column1 - column0)
    return covers and made.is_exact

"""One run in its thread, and the record of what came of it."""

from __future__ import annotations

import atexit
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QElapsedTimer, QObject, QThreadPool, QTimer, Signal

from napari_patchseg.method.maps import ConfidenceMap, SampledPatches
from napari_patchseg.report import HistoryRow
from napari_patchseg.settings import Settings

from .layer_source import LayerSource
from .mailbox import Mail, Mailbox
from .overlays import Canvas
from .worker import RunControl, RunRequest, RunTask, ShownClass

if TYPE_CHECKING:
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.method.events import Step
    from napari_patchseg.method.model import Model
    from napari_patchseg.report import Progress, Segmentation

#: Least milliseconds between two looks into the letter-box: text, bars and curves move twice a
#: second. With each move Qt composes the whole window anew, which software OpenGL makes dear.
_TICK_MS = 500
#: Milliseconds to the next try where the last mail is still being shown.
_AGAIN_MS = 100
#: Milliseconds after layers were written: Qt has mostly begun to draw them by then, so that a timer
#: that was to go off then goes off when they have been drawn.
_DRAWN_MS = 15
#: Milliseconds for which Python's exit waits for a worker that is told to end; it is done by then.
_EXIT_MS = 2000


@atexit.register
def _wait_for_workers() -> None:
    """Before Qt goes: what a worker says at its end would else abort the process."""
    if (pool := QThreadPool.globalInstance()) is not None:
        pool.waitForDone(_EXIT_MS)


@dataclass
class RunRecord:
    """What is known of a run, during it and afterwards.

    Attributes
    ----------
    source, canvas : LayerSource, Canvas
        The image, and where layers go.
    settings : Settings
        Resolved as soon as the worker has done that.
    chosen : ShownClass
        Which class is shown.
    pixels : Pixels or None
        The region, once it was read.
    progress : Progress or None
        Of the phase under way, where it is not training.
    last : Step or None
        The last step's.
    patches : SampledPatches or None
        The last step's windows; a step that was given up has none.
    history : list
        (step, loss, positive separation, negative separation) of all steps.
    made, whole : ConfidenceMap or None
        The newest map, and the newest of the whole region at full size.
    result : Segmentation or None
        What the pipeline ended with.
    model : Model or None
        The weights reached, or used.
    is_stale, has_failed : bool
        Whether the image changed since; whether it ended with an error.
    """

    source: LayerSource
    canvas: Canvas
    settings: Settings
    chosen: ShownClass
    pixels: Pixels | None = None
    progress: Progress | None = None
    last: Step | None = None
    patches: SampledPatches | None = None
    history: list[HistoryRow] = field(default_factory=list)
    made: ConfidenceMap | None = None
    whole: ConfidenceMap | None = None
    result: Segmentation | None = None
    model: Model | None = None
    is_stale: bool = False
    has_failed: bool = False

    def take(self, mail: Mail) -> None:
        """Enter what came."""
        self.history.extend(mail.points)
        if mail.settings is not None:  # keep the wishes about objects that came meanwhile
            self.settings = mail.settings.model_copy(update={"objects": self.settings.objects})
        self.pixels = mail.pixels or self.pixels
        if mail.progress is not None or mail.snapshot is not None or mail.made is not None:
            self.progress = mail.progress
        self.last = mail.snapshot or self.last
        self.patches = mail.patches or self.patches
        self.made = mail.made or self.made
        self.whole = mail.whole or self.whole
        if mail.trained is not None:
            self.model = mail.trained.model
        if mail.result is not None:
            self.result = mail.result
            self.model = mail.result.model or self.model

    @property
    def whole_of_model(self) -> ConfidenceMap | None:
        """The whole map of the weights reached, if it was made."""
        whole = self.whole
        if whole is None or (self.model is not None and whole.step != self.model.steps):
            return None
        return whole

    @property
    def report(self) -> dict[str, Any]:
        """Provenance of labels made now."""
        if self.result is not None:
            return self.result.report.to_dict()
        return {"stop_reason": "none: labels were made during training"}


class ActiveRun(QObject):
    """A run under way.

    Parameters
    ----------
    request : RunRequest
        What to do.
    chosen : ShownClass
        Which class to show.
    previews : bool
        Whether maps are wanted during training.
    parent : QObject or None
        Qt's owner.
    """

    #: Something came; the argument is a `Mail`.
    news = Signal(object)
    #: The worker has ended; everything that came has been handed over.
    ended = Signal()

    def __init__(
        self,
        request: RunRequest,
        chosen: ShownClass,
        *,
        previews: bool,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.request = request
        self.control = RunControl(previews=previews)
        self.cancelled = False
        self._handing_over = False
        self._finished = False
        self._mailbox = Mailbox()
        self._mailbox.arrived.connect(self._on_arrived)
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._since = QElapsedTimer()  # the last look
        self._since.start()
        self._timer.timeout.connect(self._hand_over)
        self._worker = self._make_worker(chosen)

    def _make_worker(self, chosen: ShownClass) -> Any:
        from napari.qt.threading import create_worker

        # A function, not a generator: napari's generator workers swallow every RuntimeError (which
        # all of torch's are), do not run `finally`, and queue every yield.
        self._task = RunTask(self.request, self.control, self._mailbox, chosen)
        worker = create_worker(self._task, _start_thread=False)
        # napari quits its workers when the window closes.
        self.control.abort_requested = lambda: worker.abort_requested
        worker.finished.connect(self._on_finished)
        return worker

    def start(self) -> None:
        """Start the thread."""
        self._worker.start()

    def cancel(self) -> None:
        """Ask for the end."""
        self.cancelled = True
        self.control.cancel()

    def abandon(self) -> None:
        """Ask for the end, and wait neither for that nor for any news."""
        self.cancel()
        self._timer.stop()
        self._worker = None
        self._task.clear()

    def go_on(self, step: int) -> None:
        """All of a step's map is in the layers: the worker may go on when that has been drawn."""
        mailbox = self._mailbox
        QTimer.singleShot(_DRAWN_MS, lambda: mailbox.mark_drawn(step))

    def _on_arrived(self) -> None:
        if self._mailbox.is_urgent:
            self._timer.start(0)
        elif not self._timer.isActive():
            self._timer.start(max(0, _TICK_MS - self._since.elapsed()))

    def _hand_over(self) -> None:
        if self._handing_over:  # napari's progress bars process events: not done with the last mail
            self._timer.start(_AGAIN_MS)
            return
        self._handing_over = True
        self._since.restart()
        try:
            while True:
                finished = self._finished
                self.news.emit(self._mailbox.take())
                if finished == self._finished:
                    break  # else the worker ended meanwhile, and left its last mail
        finally:
            self._handing_over = False
        if finished:
            self._end()

    def _on_finished(self) -> None:
        self._finished = True
        if not self._handing_over:
            self._timer.stop()
            self._hand_over()

    def _end(self) -> None:
        if self._worker is not None:
            self._worker = None
            self._task.clear()
            self.ended.emit()

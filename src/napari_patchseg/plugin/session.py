"""One training session: the states of its run, and what one can ask of it.

The session knows the viewer's layers, but no widget.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from qtpy.QtCore import QObject, Signal

from napari_patchseg.errors import PatchSegError
from napari_patchseg.settings import Settings
from napari_patchseg.words import pluralize, time_left

from .activity import Activity
from .layer_source import LayerSource, unwrap
from .mailbox import Mail
from .overlays import Canvas
from .presenter import Presenter
from .run import ActiveRun, RunRecord
from .source_watch import SourceWatch
from .states import CAN_PAUSE, PHASES, RunState, final_state
from .worker import RunRequest, ShownClass

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_patchseg.method.model import Model


class TrainingSession(QObject):
    """Runs the pipeline in a thread and shows in the viewer what it does.

    Only the GUI's thread may call this. One run at a time in a process.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are.
    parent : QObject or None
        Qt's owner.
    """

    #: `state` or `message` changed.
    state_changed = Signal()
    #: Step, time left or curves changed.
    progressed = Signal()
    #: A map, labels or a model came or went.
    results_changed = Signal()
    #: A sentence for the user, and whether it is an error.
    told = Signal(str, bool)
    #: The run is over, whichever way.
    ended = Signal()

    #: The session that ran last in this process.
    _latest: ClassVar[weakref.ref[TrainingSession] | None] = None

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = unwrap(viewer)
        self._run: ActiveRun | None = None
        self._watch: SourceWatch | None = None
        self._activity: Activity | None = None
        self._error: PatchSegError | None = None
        self._labels_wanted = False
        #: The run under way makes the labels that a stopped one left out.
        self._completes = False
        #: What Stop found: whether labels were to come, and whether there were weights for them.
        self._cut_short: bool | None = None
        self._nuclei: int | None = None
        self._ended_because: str | None = None
        self._state, self._message = RunState.IDLE, "ready"
        self._final = (RunState.IDLE, "ready")
        #: What is known of the last run; None before the first.
        self.record: RunRecord | None = None
        self.presenter = Presenter(self._viewer, self)
        self.presenter.told.connect(self.told)
        self.presenter.labelled.connect(self._on_labelled)
        self.presenter.map_written.connect(self._on_map_written)

    # -- what there is to see

    @property
    def state(self) -> RunState:
        """What the session is doing."""
        return self._state

    @property
    def message(self) -> str:
        """The state in words, with the number of nuclei where labels were made."""
        if self._nuclei is None or self._state is RunState.FAILED:
            return self._message
        return f"{self._message} · {pluralize(self._nuclei, 'nucleus', 'nuclei')}"

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self._run is not None

    @classmethod
    def running(cls) -> TrainingSession | None:
        """The session that is busy in this process, in whichever window."""
        session = None if cls._latest is None else cls._latest()
        return session if session is not None and session.is_busy else None

    @property
    def labels(self) -> Labels | None:
        """The labels layer that the last run made, if it is still there."""
        live = self.presenter.live
        return None if live is None else live.last_labels

    @property
    def can_label(self) -> bool:
        """Whether labels can be made: at once, or after the step under way."""
        record = self.record
        if record is None or not self.presenter.has_image or self._state is RunState.STOPPING:
            return False
        return self.is_busy or (record.result is not None and not record.is_stale)

    @property
    def time_left(self) -> str:
        """How long training will take yet, in words; empty where nobody knows."""
        last = None if self._run is None or self.record is None else self.record.last
        if last is None or last.remaining is None:
            return ""
        return time_left(last.remaining, may_end_sooner=last.may_end_sooner)

    # -- what one can ask for

    def start(
        self,
        source: LayerSource,
        settings: Settings,
        *,
        model: Model | None = None,
        make_labels: bool = False,
    ) -> None:
        """Begin a run.

        Parameters
        ----------
        source : LayerSource
            The image; the run stays bound to it.
        settings : Settings
            "auto" included.
        model : Model or None
            Segment with these weights, without training.
        make_labels : bool
            Add a labels layer at the end.

        Raises
        ------
        PatchSegError
            If a run is under way in this process, or the layer is gone.
        """
        if TrainingSession.running() is not None:
            raise PatchSegError("A run is under way; stop it first.")
        if source.layer is None:
            raise PatchSegError("The image layer is gone; choose another one.")
        canvas = Canvas.of(source.shape, source.box)
        self.record = RunRecord(source, canvas, settings, ShownClass(settings), model=model)
        self.presenter.begin(self.record)
        self._labels_wanted = self._completes = False
        self._nuclei = None
        self._launch(RunRequest(source, canvas, settings, model, make_labels))
        self.results_changed.emit()
        self.progressed.emit()

    def pause(self) -> None:
        """Let the worker wait, within the step under way."""
        if self._run is not None and self._state in CAN_PAUSE:
            self._run.control.pause()
            self._set_state(RunState.PAUSING, "pausing…")

    def resume(self) -> None:
        """Let a paused worker go on."""
        if self._run is not None and self._state in (RunState.PAUSED, RunState.PAUSING):
            self._run.control.resume()
            last = None if self.record is None else self.record.last
            self._set_state(RunState.TRAINING, "going on" if last is None else last.message)

    def stop(self, because: str | None = None, *, labels: bool = True) -> None:
        """Give up the step under way; the weights before it and the last map are kept.

        A run that was to end with labels still does, with those of the weights reached; stopped
        once more, or when it no longer learns, it ends without.

        Parameters
        ----------
        because : str or None
            A sentence for the user where it was not them who asked.
        labels : bool
            Whether such labels are wanted.
        """
        if self._run is None or self._run.cancelled:
            return
        self._cut_short = None
        if labels and because is None and self._run.request.make_labels:
            # It learns from the first map on, and the step under way may still be pluralize.
            record = self.record
            learning = record is not None and record.progress is None and record.made is not None
            self._cut_short = learning and not self._completes
        self._ended_because = because
        self._run.cancel()
        self._set_state(RunState.STOPPING, "stopping…")

    @property
    def streaming(self) -> bool:
        """Whether the live layers are written to."""
        return self.presenter.streaming

    @streaming.setter
    def streaming(self, on: bool) -> None:
        self.presenter.streaming = on
        if self._run is not None:
            self._run.control.previews = on

    def make_labels(self, wishes: Mapping[str, Any] | None = None) -> None:
        """Add or renew labels: from the last map, or from a new one while training goes on.

        Parameters
        ----------
        wishes : mapping or None
            Settings about objects that the user has now.

        Raises
        ------
        SettingsError
            If the run cannot fulfil them.
        """
        record = self.record
        if record is None or not self.can_label:
            self.told.emit("There is nothing to label yet; train on the image first.", True)
            return
        self.presenter.take_objects(wishes or {}, redraw=False)
        if self._run is not None:
            self._labels_wanted = True
            self._run.control.request_map()
        elif record.whole_of_model is not None:
            self.presenter.draw(record.whole_of_model, labels=True, new=True)
        elif record.model is not None:
            self._labels_wanted = True
            self._launch(RunRequest(record.source, record.canvas, record.settings, record.model))
        else:
            self.presenter.write_nothing(record.report)

    def shutdown(self) -> None:
        """The panel or the viewer goes away: end the run, and wait for nobody."""
        self.presenter.clear()
        run, self._run = self._run, None
        if run is not None:
            run.abandon()
        self._let_go()

    # -- the run

    def _launch(self, request: RunRequest) -> None:
        assert self.record is not None
        self._error = self._ended_because = self._cut_short = None
        previews = self.streaming and request.model is None
        self._run = ActiveRun(request, self.record.chosen, previews=previews, parent=self)
        self._run.news.connect(self._on_news)
        self._run.ended.connect(self._on_ended)
        TrainingSession._latest = weakref.ref(self)
        self._watch = SourceWatch(self._viewer, request.source, self.stop)
        self.presenter.guard(lambda: self._open_activity(request.source.name))
        if self._run is None:  # napari processes events meanwhile: the panel was closed
            self._let_go()
            return
        self._set_state(RunState.STARTING, "reading the image")
        self._run.start()

    def _open_activity(self, name: str) -> None:
        self._activity = Activity(name, self.stop)

    def _on_news(self, mail: Mail) -> None:
        record = self.record
        if record is None or self._run is None:
            return
        record.take(mail)
        self._error = mail.error or self._error
        self._enter_state(mail)
        if self._ended_because is None:
            self.presenter.guard(lambda: self.presenter.show(mail))
        if mail.whole is not None and self._labels_wanted:
            self._labels_wanted = False
            self.presenter.draw(mail.whole, labels=True, new=True)
        self.progressed.emit()
        if mail.made is not None or mail.result is not None:
            self.results_changed.emit()
        self.presenter.guard(lambda: self._report_activity(mail))

    def _enter_state(self, mail: Mail) -> None:
        if mail.paused and self._state is RunState.PAUSING:
            self._set_state(RunState.PAUSED, "paused")
        if self._state in (RunState.STOPPING, RunState.PAUSING, RunState.PAUSED):
            return
        if mail.progress is not None:
            state = PHASES.get(mail.progress.phase, self._state)
            self._set_state(state, mail.progress.message)
        elif mail.snapshot is not None:
            self._set_state(RunState.TRAINING, mail.snapshot.message)

    def _on_map_written(self, step: int) -> None:
        if self._run is not None:
            self._run.go_on(step)

    def _report_activity(self, mail: Mail) -> None:
        if self._activity is None:
            return
        if mail.progress is not None:
            self._activity.update(mail.progress.done, mail.progress.total, self._message)
        elif mail.snapshot is not None:
            self._activity.update(mail.snapshot.step, mail.snapshot.max_steps, self._message)

    def _on_ended(self) -> None:
        run, self._run = self._run, None
        if run is None:  # it was shut down
            return
        # Whatever one of these meets in the viewer, the next ones follow: a run always ends.
        guard = self.presenter.guard
        guard(self._look_once_more)
        self._let_go()
        if self._ended_because is None:
            guard(self.presenter.finish)
        else:  # what is still to be drawn may not fit the image any more
            guard(self.presenter.drop)
        run.deleteLater()
        guard(lambda: self._finish(run.request))
        self.results_changed.emit()
        self.progressed.emit()
        if self._run is None:  # else it goes on with what is still missing
            self.ended.emit()

    def _look_once_more(self) -> None:
        if self._watch is not None and self._error is None and self._ended_because is None:
            self._watch.tell = self._note_end
            self._watch.check()  # changes in place may have come without an event

    def _let_go(self) -> None:
        watch, self._watch = self._watch, None
        activity, self._activity = self._activity, None
        if watch is not None:
            self.presenter.guard(watch.close)
        if activity is not None:
            self.presenter.guard(activity.close)

    def _note_end(self, sentence: str) -> None:
        self._ended_because = sentence

    def _finish(self, request: RunRequest) -> None:
        """State, sentences and labels that a run ends with."""
        record = self.record
        assert record is not None
        wanted, self._labels_wanted = self._labels_wanted, False
        completes, self._completes = self._completes, False
        result = record.result
        record.has_failed = self._error is not None
        if self._error is not None:
            # The notification goes away after a while: why stays to be read.
            self._set_state(RunState.FAILED, f"failed. {self._error}")
            self.told.emit(str(self._error), True)
            return
        if self._ended_because is not None or result is None:
            self._set_state(RunState.STOPPED, "stopped")
            if self._ended_because is not None:
                record.is_stale = True
                self.told.emit(self._ended_because, False)
            elif self._cut_short is not None:
                self.told.emit("Stopped before anything was learnt, so there are no labels.", False)
            return
        follows = request.model is not None and not request.make_labels
        if follows:  # a prediction for labels after a stop
            self._set_state(*self._final)
            return
        if not completes:
            self._final = final_state(result.report, trained=request.model is None)
        self._set_state(*self._final)
        for warning in result.report.warnings:
            self.told.emit(warning, False)
        if result.labels is not None:
            self._write_result()
        elif wanted and result.report.stop_reason == "nothing separated":
            self.presenter.write_nothing(result.report.to_dict())
        elif self._cut_short and record.model is not None and record.model.steps > 0:
            self._completes = True
            self._launch(
                RunRequest(record.source, record.canvas, record.settings, record.model, True)
            )
        elif wanted:  # stopped before the map was made
            self.make_labels()
        elif self._cut_short is not None:
            self.told.emit("Stopped before there were labels; Make labels makes them.", False)

    def _write_result(self) -> None:
        record = self.record
        assert record is not None
        assert record.result is not None
        assert record.result.labels is not None
        if record.whole is not None and record.chosen.was_changed:
            # the user moved a control while the run went on
            self.presenter.draw(record.whole, labels=True, new=True)
        else:
            self.presenter.write_result(record.result.labels, record.result.report.to_dict())

    def _on_labelled(self, report: dict[str, object]) -> None:
        objects = report.get("objects")
        self._nuclei = int(objects.get("count", 0)) if isinstance(objects, dict) else 0
        if not self.is_busy:
            self._set_state(*self._final)
        self.state_changed.emit()
        self.results_changed.emit()

    def _set_state(self, state: RunState, message: str) -> None:
        if (state, message) != (self._state, self._message):
            self._state, self._message = state, message
            self.state_changed.emit()

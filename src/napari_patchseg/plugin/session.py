"""A panel's session: the run under way, what it shows in the viewer, and what one can ask of it.

The session knows the viewer's layers, but no widget.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QTimer
from superqt.utils import QSignalThrottler, qdebounced, qthrottled

from napari_patchseg.errors import PatchSegError, reason_of
from napari_patchseg.method.events import Step
from napari_patchseg.report import Finished, ObjectsReport, Progress, Report, Started
from napari_patchseg.settings import Objects, Settings
from napari_patchseg.words import pluralize

from ._activity import Activity
from ._display import Canvas, DisplayMap, display_patches
from ._layers import RunLayers, View
from ._relabel import Job, Outline, Relabelled, Relabeller
from ._run import Failed, Mapped, Paused, Run, work
from ._run_state import Phase, RunState
from ._source_watch import SourceWatch
from .layer_source import METADATA_KEY, LayerSource, pixel_size_of, unwrap
from .napari_workarounds import start_task

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_patchseg.method.maps import ConfidenceMap, NucleusClass
    from napari_patchseg.method.network import Model
    from napari_patchseg.report import Labels as LabelArray

    from ._run import Event

LOG = logging.getLogger(__name__)

#: Least milliseconds between two looks at steps and progress: text, bars and curves move as often,
#: and with each move Qt composes the whole window anew.
_MOVED_MS = 500
#: Least milliseconds between two drawings of a run's patches: sixty shapes cost more than a map.
_PATCHES_MS = 2000
#: Milliseconds after which a hidden outline's layer is removed: napari takes a fifth of a second to
#: remove one, and a tenth to make the next.
_TIDY_MS = 1500

#: Every session of this process: one run at a time, in whichever window.
_SESSIONS: weakref.WeakSet[TrainingSession] = weakref.WeakSet()


def running_session() -> TrainingSession | None:
    """The session that is busy in this process."""
    return next((session for session in _SESSIONS if session.is_busy), None)


class TrainingSession:
    """Runs the pipeline in a thread and shows in the viewer what it does.

    Only the window's thread may call this.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are.
    """

    #: The run has moved, ended or made labels.
    state_changed = Signal(RunState)
    #: Labels were written, with this report.
    labelled = Signal(Report)
    #: A sentence for the user, and whether it is an error.
    told = Signal(str, bool)

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = unwrap(viewer)
        #: The last run; None before the first.
        self.run: Run | None = None
        self.layers = RunLayers(self._viewer)
        self._state = self._announced = RunState()
        self._streaming = True
        self._labels_wanted = False
        self._is_labelled_from_full = False  # a full map came since, and labels are being made
        self._is_draining = False
        self._shown: NucleusClass | None = None  # the class in the map's layer
        self._is_excused = False  # it was said that the viewer did not show everything
        self._told_of: weakref.WeakSet[Labels] = weakref.WeakSet()  # edited labels that stay
        self._watch: SourceWatch | None = None
        self._activity: Activity | None = None
        self._throttler = QSignalThrottler()
        self._throttler.setTimeout(_MOVED_MS)
        self._throttler.triggered.connect(self._drain)
        self._show_patches_soon = qthrottled(self._show_patches, timeout=_PATCHES_MS)
        self._remove_outline_later = qdebounced(self._remove_outline, timeout=_TIDY_MS)
        self._relabeller = Relabeller()
        self._relabeller.outlined.connect(self._on_outlined)
        self._relabeller.done.connect(self._on_relabelled)
        self._relabeller.failed.connect(self._on_relabel_failed)
        _SESSIONS.add(self)

    # -- what there is to see

    @property
    def run_state(self) -> RunState:
        """Where the run is."""
        return self._state

    @property
    def state(self) -> Phase:
        """What the session is doing."""
        return self._state.phase

    @property
    def message(self) -> str:
        """The state in words, with the number of nuclei where labels were made."""
        return self._state.text

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self._state.is_busy

    @property
    def is_relabelling(self) -> bool:
        """Whether labels are being made anew, beside a run or after it."""
        return self._relabeller.is_busy

    @property
    def labels(self) -> Labels | None:
        """The labels layer that the last run made, if it is still there."""
        return self.layers.last_labels

    @property
    def has_image(self) -> bool:
        """Whether the run's image is still in the viewer."""
        return self.run is not None and self.run.source.layer in self._viewer.layers

    @property
    def can_label(self) -> bool:
        """Whether labels can be made: at once, or after the step under way."""
        run = self.run
        if run is None or not self.has_image or self._state.hold is Phase.STOPPING:
            return False
        return self.is_busy or (run.result is not None and run.because is None)

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
            Automatic choices included.
        model : Model or None
            Segment with these weights, without training.
        make_labels : bool
            Add a labels layer at the end.

        Raises
        ------
        PatchSegError
            If a run is under way in this process, or the layer is gone.
        """
        if running_session() is not None:
            raise PatchSegError("A run is under way; stop it first.")
        image = source.layer
        if image is None:
            raise PatchSegError("The image layer is gone; choose another one.")
        self._forget()
        run = Run(source, Canvas.of(source.shape, source.box), settings, model, make_labels)
        run.outbox.arrived.connect(self._drain)
        run.outbox.moved.connect(self._throttler.throttle)
        self.run, self._shown = run, None
        self._labels_wanted = self._is_excused = False
        # A model that is used on a part of the image is used to mend that part.
        part = model is not None and not source.is_whole
        self._guard(lambda: self.layers.begin(image, run.canvas, source.plane, keeps_around=part))
        self._guard(lambda: self.layers.show(View.LIVE if model is None else None))
        self._launch(run, model, make_labels=make_labels)

    def pause(self) -> None:
        """Let the worker wait, within the step under way."""
        if self.run is not None and self._state.can_pause:
            self.run.inbox.pause()
            self._set(hold=Phase.PAUSING)

    def resume(self) -> None:
        """Let a paused worker go on."""
        if self.run is not None and self._state.waits:
            self.run.inbox.resume()
            self._set(hold=None)

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
        run = self.run
        if run is None or not self.is_busy or run.inbox.cancelled:
            return
        run.because = because
        run.stopped_in = self._state.work
        run.make_labels = run.make_labels and labels and because is None
        run.inbox.cancel()
        self._set(hold=Phase.STOPPING)

    @property
    def streaming(self) -> bool:
        """Whether the live layers are written to."""
        return self._streaming

    @streaming.setter
    def streaming(self, on: bool) -> None:
        self._streaming = on
        if self.run is not None:
            self.run.inbox.previews = on

    def make_labels(self, objects: Objects | None = None) -> None:
        """Add or renew labels: from the last map, or from a new one while training goes on.

        Parameters
        ----------
        objects : Objects or None
            What the user now says about nuclei.

        Raises
        ------
        SettingsError
            If the run cannot fulfil that.
        """
        run = self.run
        if run is None or not self.can_label:
            self.told.emit("There is nothing to label yet; train on the image first.", True)
            return
        if objects is not None:
            self._take_objects(run, objects)
        self._labels_wanted, self._is_labelled_from_full = True, False
        if self.is_busy:
            run.inbox.request_map()
        elif run.full_of_trained is not None:
            self._relabel(run, run.full_of_trained)
        elif run.trained is not None:
            self._launch(run, run.trained, make_labels=True)
        else:
            self._write_nothing(run)

    def set_objects(self, objects: Objects) -> None:
        """Take over what the user says about nuclei, and make the last labels of this run anew.

        Raises
        ------
        SettingsError
            If the run cannot fulfil it.
        """
        run = self.run
        if run is None or not self._take_objects(run, objects):
            return
        layers = self.layers
        if run.full is not None and (self._labels_wanted or layers.unedited_labels is not None):
            self._relabel(run, run.full)
            return
        self._tell_of_edits(run)
        if run.preview is not None:
            self._relabel(run, run.preview, labels=False)

    def _tell_of_edits(self, run: Run) -> None:
        """Say, once for a layer, why it does not follow the controls."""
        edited = self.layers.last_labels
        if run.full is not None and run.because is None and edited not in (None, *self._told_of):
            self._told_of.add(edited)
            self.told.emit("Edited labels stay; Make labels adds a new layer.", False)

    def set_pixel_size(self, pixel_size: float | None) -> None:
        """Take over µm per pixel of the run's image, for what is made and saved from now on."""
        if self.run is None:
            return
        self.run.source = replace(self.run.source, pixel_size=pixel_size)
        if (labels := self.labels) is not None:
            labels.metadata[METADATA_KEY] = self._with_size(labels.metadata[METADATA_KEY])

    def choose_view(self, view: View) -> None:
        """Show the nuclei or the live layers, since the user wants to see just these."""
        self._guard(lambda: self.layers.show(view, asked=True))

    def shutdown(self) -> None:
        """The panel or the viewer goes away: end the run, and wait for nobody."""
        run, self.run = self.run, None
        if run is not None:
            run.inbox.cancel()
        # to be told to nobody: the widgets may have gone
        self._state = self._announced = replace(self._state, work=Phase.STOPPED, hold=None)
        self._forget()
        self._let_go()
        self.layers.close()
        _SESSIONS.discard(self)

    # -- the run

    def _launch(self, run: Run, model: Model | None, *, make_labels: bool) -> None:
        run.settings = run.wished
        run.open_inbox(run.objects, previews=self._streaming and model is None)
        run.make_labels, run.stopped_in = make_labels, None
        nuclei = self._state.nuclei if run.outcome else None
        self._set(RunState(Phase.STARTING, "reading the image", nuclei=nuclei))
        name = run.source.name
        self._watch = SourceWatch(self._viewer, run.source, self.stop)
        self._guard(lambda: self._open_activity(name))
        start_task(
            f"PatchSeg: segment nuclei in {name}",
            work,
            *(run, model, make_labels),
            cancel=run.inbox.cancel,
        )

    def _open_activity(self, name: str) -> None:
        self._activity = Activity(name, self.stop)

    def _let_go(self) -> None:
        watch, self._watch = self._watch, None
        activity, self._activity = self._activity, None
        for thing in (watch, activity):
            if thing is not None:
                self._guard(thing.close)

    def _forget(self) -> None:
        """What is still to be shown of a run shall not be."""
        self._relabeller.forget()
        self._show_patches_soon.cancel()
        self._remove_outline()

    def _drain(self) -> None:
        """Take what has come."""
        run = self.run
        if self._is_draining or run is None or not self.is_busy:  # writing may process events
            return
        self._is_draining = True
        try:
            while self.is_busy and (event := run.outbox.pop()) is not None:
                run.take(event)
                self._take(run, event)
        finally:
            self._is_draining = False
        self._announce()

    def _take(self, run: Run, event: Event) -> None:
        match event:
            case Progress(phase, done, total, message):
                self._set(work=Phase(phase), message=message, done=done, total=total)
            case Step():
                self._set(
                    work=Phase.TRAINING,
                    message=event.message,
                    step=event.step,
                    max_steps=event.max_steps,
                    done=0,
                    total=0,
                    remaining=event.remaining,
                    may_end_sooner=event.may_end_sooner,
                )
                QTimer.singleShot(0, self._show_patches_soon)  # in a turn of their own
            case Started() if run.model is None and run.outcome is None:
                self._set(work=Phase.TRAINING, message="learning")
            case Mapped():
                if run.because is None and self._streaming:
                    self._show_map(event.display)
                QTimer.singleShot(0, run.inbox.map_shown)  # when Qt has drawn what was written
                if event.is_full and self._labels_wanted and not self._is_labelled_from_full:
                    self._is_labelled_from_full = True  # the next map would only begin it anew
                    self._relabel(run, event.confidence)
            case Paused() if self._state.hold is Phase.PAUSING:
                self._set(hold=Phase.PAUSED)
                self._show_patches_soon.flush()
            case Failed() | Finished():
                self._end(run)

    def _end(self, run: Run) -> None:
        """Whatever one of these meets in the viewer, the next ones follow: a run always ends."""
        if self._watch is not None and run.because is None and run.error is None:
            self._guard(self._watch.check)
        self._let_go()
        self._throttler.cancel()
        self._set(hold=None, remaining=None, done=0, total=0)
        if run.error is not None or run.because is not None:
            self._labels_wanted = False  # there will be none
        if run.error is not None:
            # The notification goes away after a while: why stays to be read.
            self._set(work=Phase.FAILED, message=f"failed. {run.error}")
            self.told.emit(str(run.error), True)
        elif run.because is not None or run.result is None:
            self._set(work=Phase.STOPPED, message="stopped")
            if run.because is not None:
                self.told.emit(run.because, False)
        else:
            self._finish(run, run.result.report)
        self._show_patches_soon.cancel()

    def _finish(self, run: Run, report: Report) -> None:
        """State, sentences and labels that a run ends with."""
        assert run.result is not None
        wanted, continues = self._labels_wanted, run.outcome is not None
        if not continues:
            run.outcome = _outcome(report, trained=run.model is None)
            for warning in report.warnings:
                self.told.emit(warning, False)
        assert run.outcome is not None
        self._set(work=run.outcome[0], message=run.outcome[1])
        labels = run.result.labels
        if labels is not None:
            self._guard(self.layers.show)  # before: what is hidden need not be drawn
        if self._streaming:
            self._guard(self._show_patches)
        if run.full_of_trained is not None and run.settings.objects.nucleus_diameter is None:
            diameter = None if report.objects is None else report.objects.diameter
            if diameter is not None:
                self._relabeller.know(run.full_of_trained, diameter)
        if report.stop_reason == "nothing separated" and (wanted or labels is not None):
            self._relabeller.drop()
            self._write_nothing(run)
        elif labels is not None and (run.objects == run.settings.objects or run.full is None):
            self._relabeller.drop()  # what is under way comes too late
            self.layers.find_edit()
            self._write(run, labels, report)
        elif run.full is not None and (labels is not None or (wanted and run.full_of_trained)):
            self._labels_wanted = True
            self._relabel(run, run.full)
        elif wanted and run.trained is None:
            self._write_nothing(run)
        elif (
            run.trained is not None
            and run.trained.steps
            and (wanted or (run.make_labels and not continues and run.stopped_in is Phase.TRAINING))
        ):
            self._launch(run, run.trained, make_labels=True)
        elif run.make_labels:
            self.told.emit("Stopped before there were labels; Make labels makes them.", False)

    def _set(self, state: RunState | None = None, **changes: Any) -> None:
        self._state = replace(state or self._state, **changes)
        if not self._is_draining:
            self._announce()

    def _announce(self) -> None:
        if self._state != self._announced:
            self._announced = self._state
            if self._activity is not None:
                self._activity.show(self._state)
            self.state_changed.emit(self._state)

    # -- in the viewer

    def _guard(self, show: Callable[[], object]) -> None:
        """Do what shows a run: that must not be able to end it.

        The viewer is not ours alone: other plugins listen to its layers and may raise, users switch
        to displays that a layer does not know, or delete what is about to be drawn.
        """
        try:
            show()
        except Exception as error:
            LOG.exception("The run could not be shown.")
            if not self._is_excused:
                self._is_excused = True
                reason = reason_of(error)
                self.told.emit(
                    f"Not everything of the run could be shown ({reason}); it goes on.", False
                )

    def _show_map(self, shown: DisplayMap) -> None:
        self._shown = shown.nucleus
        self._guard(lambda: self.layers.write_map(shown))

    def _show_patches(self) -> None:
        run, nucleus = self.run, self._shown
        if run is None or run.patches is None or nucleus is None or not self._streaming:
            return
        if run.because is not None:  # they may not fit the image any more
            return
        shown = display_patches(run.patches, run.canvas, nucleus)
        self._guard(lambda: self.layers.write_patches(*shown))

    # -- labels

    def _take_objects(self, run: Run, objects: Objects) -> bool:
        """Whether it says anything new."""
        run.settings.replace(**objects.model_dump())  # raises where they do not fit
        is_new = objects != run.objects
        run.inbox.objects = objects
        return is_new

    def _relabel(self, run: Run, confidence: ConfidenceMap, *, labels: bool = True) -> None:
        if run.pixels is None:
            return
        self._relabeller.ask(
            Job(
                confidence,
                run.pixels,
                run.settings,
                run.objects,
                run.source.pixel_size,
                run.canvas,
                labels=labels,
                before=self.layers.region_labels if labels else None,
                differs=self.layers.differs(),
            )
        )

    def _on_outlined(self, outline: Outline) -> None:
        self._remove_outline_later.cancel()
        self._guard(lambda: self.layers.write_outline(outline.border, outline.reduction))

    def _remove_outline(self) -> None:
        self._guard(self.layers.remove_outline)

    def _on_relabel_failed(self, error: PatchSegError) -> None:
        self._guard(self.layers.hide_outline)
        run = self.run
        if run is None or not (self.is_busy and run.inbox.map_wanted):
            self._labels_wanted = False
        self.told.emit(str(error), True)

    def _on_relabelled(self, answer: Relabelled) -> None:
        run, job = self.run, answer.job
        if run is None or job.pixels is not run.pixels:  # of an earlier run
            return
        is_newest = run.preview is None or job.confidence.step >= run.preview.step
        nucleus = answer.confidence.nucleus
        if is_newest and self._streaming and not (self._shown and nucleus.is_like(self._shown)):
            self._show_map(answer.display)
            self._show_patches()
        if answer.labels is None or answer.objects is None:
            return
        self._guard(self.layers.hide_outline)
        self._remove_outline_later()
        waits_for_map = self.is_busy and run.inbox.map_wanted
        report = run.report(answer.confidence, answer.objects)
        if answer.is_edited:
            self.layers.note_edit()
        new = self._labels_wanted and not waits_for_map
        if not new and self.layers.unedited_labels is None:
            self._tell_of_edits(run)
        self._write(run, answer.labels, report, new=new)

    def _write(self, run: Run, labels: LabelArray, report: Report, *, new: bool = True) -> None:
        """Renew the labels; where there are none to be renewed add some, if `new`."""
        is_there = new or self.layers.unedited_labels is not None
        metadata = self._with_size(report.to_dict())
        self._guard(lambda: self.layers.write_labels(labels, metadata, new=new))
        if new:
            self._labels_wanted = False
            if not self.is_busy:
                self._guard(self.layers.show)
        if is_there and self.labels is not None and report.objects is not None:
            self._set(nuclei=report.objects.count)
            self.labelled.emit(report)

    def _write_nothing(self, run: Run) -> None:
        """Add labels without any object."""
        assert run.result is not None
        row0, column0, row1, column1 = run.source.box
        report = run.result.report.replace(objects=ObjectsReport(count=0))
        self.layers.find_edit()
        self._write(run, np.zeros((row1 - row0, column1 - column0), np.uint16), report)

    def _with_size(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Where labels come from, with the pixel size where the layer's units don't say it."""
        metadata = {key: value for key, value in metadata.items() if key != "pixel_size"}
        source = None if self.run is None else self.run.source
        layer = None if source is None else source.layer
        if source is None or layer is None or source.pixel_size is None:
            return metadata
        if source.pixel_size != pixel_size_of(layer, (source.plane.rows, source.plane.columns)):
            metadata["pixel_size"] = source.pixel_size
        return metadata


def _outcome(report: Report, *, trained: bool) -> tuple[Phase, str]:
    """Phase and words that a run with this report ends with."""
    reason = report.stop_reason
    steps = pluralize(report.steps, "step")
    if not trained and reason != "nothing separated":
        return Phase.FINISHED, "segmented with the model"
    return {
        "converged": (Phase.CONVERGED, f"converged after {steps}"),
        "stopped": (Phase.STOPPED, f"stopped after {steps}"),
        "step limit": (Phase.FINISHED, f"reached the limit of {steps}"),
    }.get(reason, (Phase.FINISHED, reason))

"""A panel's session: the run under way, what it shows in the viewer, and what one can ask of it.

The session knows the viewer's layers, but no widget.
"""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from qtpy.QtCore import QTimer
from superqt.utils import QSignalThrottler, qdebounced, qthrottled

from napari_patchseg.errors import PatchSegError, reason_of
from napari_patchseg.method.events import Step
from napari_patchseg.report import Finished, ObjectsReport, Progress, Report, Started
from napari_patchseg.settings import Objects, Settings
from napari_patchseg.words import pluralize

from ._display import Canvas, display_patches
from ._folder_run import check_no_folder
from ._hand import Hand
from ._layers import RunLayers, View
from ._relabel import Job, Outline, Relabelled, Relabeller
from ._run import Failed, Mapped, Paused, Phase, Run, RunState, work
from ._shortcuts import register
from .layer_source import METADATA_KEY, LayerSource, unwrap
from .napari_workarounds import StoppableProgress, activity_dock_is_open, start_task

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_patchseg.corrections import Edits
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
    #: The run before is back, and whether the user asked for that.
    returned = Signal(Run, bool)
    #: A sentence for the user, and whether it is an error.
    told = Signal(str, bool)

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = unwrap(viewer)
        #: The last run; None before the first.
        self.run: Run | None = None
        self._earlier: tuple[Run, RunState] | None = None  # the one before, and how it ended
        self.layers = RunLayers(self._viewer)
        self._state = self._announced = RunState()
        self._streaming = True
        self._labels_wanted = False
        self._is_labelled_from_full = False  # a full map came since, and labels are being made
        self._is_draining = False
        self._shown: NucleusClass | None = None  # the class in the map's layer
        self._is_excused = False  # it was said that the viewer did not show everything
        self._told_of: weakref.WeakSet[Labels] = weakref.WeakSet()  # edited labels that stay
        self._activity = Activity(self.stop)
        self._throttler = QSignalThrottler()
        self._throttler.setTimeout(_MOVED_MS)
        self._throttler.triggered.connect(self._drain)
        self._show_patches_soon = qthrottled(self._show_patches, timeout=_PATCHES_MS)
        self._remove_outline_later = qdebounced(self._remove_outline, timeout=_TIDY_MS)
        self._relabeller = Relabeller()
        self._relabeller.answered.connect(self._on_answer)
        self._shows_hints = False
        #: What the user corrects by hand.
        self.hand: Hand = Hand(self._viewer, self.layers)
        self.hand.told.connect(self.told)
        self.hand.begun.connect(self._on_begun)
        self.hand.taught.connect(self._on_taught)
        self.hand.edited.connect(self._on_edited)
        self._viewer.layers.events.removed.connect(self._on_removed)
        _SESSIONS.add(self)
        register(self._viewer, self)

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
    def shown_class(self) -> NucleusClass | None:
        """Which class the map in the viewer takes for nuclei; None before the first."""
        return self._shown

    @property
    def has_image(self) -> bool:
        """Whether the run's image is still in the viewer."""
        return self.run is not None and self.run.source.layer in self._viewer.layers

    @property
    def can_label(self) -> bool:
        """Whether labels can be made: at once, or after the step under way."""
        run = self.run
        if run is None or not self.has_image or self.state is Phase.STOPPING:
            return False
        return self.is_busy or (run.result is not None and run.because is None)

    # -- what one can ask for

    def start(
        self,
        source: LayerSource,
        settings: Settings,
        *,
        model: Model | None = None,
        start: Model | None = None,
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
        start : Model or None
            Train on from these weights.
        make_labels : bool
            Add a labels layer at the end.

        Raises
        ------
        PatchSegError
            If a run or a folder is under way in this process, or the layer is gone.
        """
        if running_session() is not None:
            raise PatchSegError("A run is under way; stop it first.")
        check_no_folder()
        image = source.layer
        if image is None:
            raise PatchSegError("The image layer is gone; choose another one.")
        self._write_waiting()
        self._forget()
        self._earlier = None
        if self.run is not None and self.has_image and self.run.came_to_something:
            self._earlier = self.run, self._state
            self.run.forget_features()
        run = Run(source, Canvas.of(source.shape, source.box), settings, model, start)
        run.outbox.arrived.connect(self._drain)
        run.outbox.moved.connect(self._throttler.throttle)
        self.run, self._shown, self._shows_hints = run, None, False
        self._labels_wanted = self._is_excused = False
        # A model that is used on a part of the image is used to mend that part.
        part = model is not None and not source.is_whole
        self._guard(lambda: self.layers.begin(image, run.canvas, source.plane, keeps_around=part))
        self._guard(lambda: self.layers.show(View.LIVE if model is None else None))
        name = "segmentation" if make_labels else "training"
        self.hand.begin(run, name, None if self._earlier is None else self._give_back)
        # A refresh after a change in place says no more than "set_data".
        for event in (image.events.data, image.events.set_data):
            event.connect(self._check_source)
        self._launch(run, make_labels=make_labels)

    def pause(self) -> None:
        """Let the worker wait, within the step under way."""
        if self.run is not None and self._state.can_pause:
            self.run.inbox.pause()
            self._set()

    def resume(self) -> None:
        """Let a paused worker go on."""
        if self.run is not None and self._state.waits:
            self.run.inbox.resume()
            self._set()

    def stop(self, because: str | None = None, *, labels: bool = True) -> None:
        """Give up the step under way; the weights before it and the last map are kept.

        A run that was to end with labels still does, with those of the weights reached; stopped
        once more, or when it does not learn yet or no longer, it ends without.

        Parameters
        ----------
        because : str or None
            A sentence for the user where it was not them who asked.
        labels : bool
            Whether such labels are wanted.
        """
        run = self.run
        if run is None or not self.is_busy or (run.inbox.cancelled and because is None):
            return
        run.because = run.because or because
        due = run.make_labels and labels and because is None
        run.continues = due and self._state.work is Phase.TRAINING
        if due and not run.continues:
            then = "those before stay" if self._falls_back(run) else "Make labels makes them"
            self.told.emit(f"Stopped before there were labels; {then}.", False)
        run.inbox.cancel()
        self._set()

    @property
    def streaming(self) -> bool:
        """Whether the live layers are written to."""
        return self._streaming

    @streaming.setter
    def streaming(self, on: bool) -> None:
        self._streaming = on
        if self.run is not None:
            self.run.inbox.previews = on
            self._tell_of_hints(self.run)

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
        if not self.is_busy and not run.found_nothing and run.full_of_trained is None:
            check_no_folder()
        self._labels_wanted, self._is_labelled_from_full = True, False
        if self.is_busy:
            run.inbox.request_map()
        elif run.found_nothing:
            self._write_nothing(run)
        elif run.full_of_trained is not None:
            self._relabel(run, run.full_of_trained)
        else:
            self._launch(run, make_labels=True)

    def set_objects(self, objects: Objects) -> None:
        """Take over what the user says about nuclei, and make the last labels of this run anew.

        Raises
        ------
        SettingsError
            If the run cannot fulfil it.
        """
        run = self.run
        if run is None or not self._take_objects(run, objects) or run.because is not None:
            return
        if run.full is not None and (
            self._labels_wanted or self.layers.unedited_labels is not None
        ):
            self._relabel(run, run.full)
            return
        if run.full is not None:
            self._tell_of_edits()
        if run.preview is not None:
            self._relabel(run, run.preview, labels=False)

    def _tell_of_edits(self) -> None:
        """Say, once for a layer, why it does not follow the controls."""
        edited = self.labels
        if edited is not None and edited not in self._told_of:
            self._told_of.add(edited)
            self.told.emit("Edited labels stay; Make labels adds a new layer.", False)

    def set_pixel_size(self, pixel_size: float | None) -> None:
        """Take over µm per pixel of the run's image, for what is made and saved from now on.

        Raises
        ------
        SettingsError
            If the run's diameter is given in µm, and there is no such size.
        """
        if self.run is None:
            return
        self.run.objects.diameter_in_pixels(pixel_size)
        self.run.source = source = replace(self.run.source, pixel_size=pixel_size)
        if (labels := self.labels) is not None:
            labels.metadata[METADATA_KEY] = source.note_pixel_size(labels.metadata[METADATA_KEY])

    def choose_view(self, view: View) -> None:
        """Show the nuclei or the live layers, since the user wants to see just these."""
        self._guard(lambda: self.layers.show(view, asked=True))

    def shutdown(self) -> None:
        """The panel or the viewer goes away: end the run, and wait for nobody."""
        run, self.run, self._earlier = self.run, None, None
        if run is not None:
            run.inbox.cancel()
        # to be told to nobody: the widgets may have gone
        self._state = self._announced = replace(self._state, work=Phase.STOPPED, hold=None)
        self._forget()
        self._guard(self._activity.close)
        self.hand.close()
        self.layers.close()
        _SESSIONS.discard(self)

    # -- the run

    def _launch(self, run: Run, *, make_labels: bool) -> None:
        run.begin(previews=self._streaming and run.model is None, make_labels=make_labels)
        nuclei = self._state.nuclei if run.outcome else None
        self._set(RunState(Phase.STARTING, "reading the image", nuclei=nuclei))
        self._tell_of_hints(run)
        name = f"PatchSeg: segment nuclei in {run.source.name}"
        start_task(name, work, run, cancel=run.inbox.cancel)

    def _check_source(self, _event: object = None) -> None:
        """Look at the image's data now; changes in place may come without any event."""
        run = self.run
        if run is not None and self.is_busy and self.has_image and run.source.has_changed():
            self.stop(f"The data of '{run.source.name}' changed, so the run was ended.")

    def _on_removed(self, event: Any) -> None:
        run, removed = self.run, event.value
        if run is not None and removed is run.source.layer:
            self.stop(f"'{run.source.name}' was removed, so the run was ended.")
        elif self._earlier is not None and removed is self._earlier[0].source.layer:
            self._earlier = None
            self.hand.forget_earlier()

    def _forget(self) -> None:
        """What is still to be shown of a run shall not be."""
        self._relabeller.ask(None)
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
                if event.is_full and self._earlier is not None:
                    self._earlier[0].forget_maps()  # one run's are held at a time
                if run.because is None:
                    self._show_map(event.chosen, event.shown)
                if run.because is None and event.labels is not None:
                    self._show_sketch(run, event.chosen, event.labels)
                QTimer.singleShot(0, run.inbox.map_shown)  # when Qt has drawn what was written
                if event.is_full and self._labels_wanted and not self._is_labelled_from_full:
                    self._is_labelled_from_full = True  # the next map would only begin it anew
                    self._relabel(run, event.confidence)
            case Paused():
                self._set()
                self._show_patches_soon.flush()
            case Failed() | Finished():
                self._end(run)

    def _end(self, run: Run) -> None:
        """Whatever one of these meets in the viewer, the next ones follow: a run always ends."""
        if run.because is None and run.error is None:
            self._guard(self._check_source)
        self._guard(self._activity.close)
        self._throttler.cancel()
        if run.error is not None or run.because is not None:
            self._labels_wanted = False  # there will be none
        if run.error is not None:
            # The notification goes away after a while: why stays to be read.
            self._set_ended(Phase.FAILED, f"failed. {run.error}")
            self.told.emit(str(run.error), True)
        elif run.because is not None:
            if run.is_sketched:  # of pixels that are no longer so
                self._guard(self.layers.remove_sketch)
            self._set_ended(Phase.STOPPED, "stopped")
            self.told.emit(run.because, False)
        else:
            self._finish(run)
        self._show_patches_soon.cancel()
        self._leave_what_was(run)

    def _leave_what_was(self, run: Run) -> None:
        """Where a run ended without labels, those before it are in their place."""
        if run is not self.run or self.is_busy or self._labels_wanted or run.base is not None:
            return
        if self._falls_back(run):
            self._return(self._state)
        else:
            self._guard(self.layers.uncover)

    def _falls_back(self, run: Run) -> bool:
        """Whether nothing has come of a run, so that the one before it on this image goes on."""
        if self._earlier is None or run.because is not None or run.came_to_something:
            return False
        return self._earlier[0].source.layer is run.source.layer

    def _give_back(self) -> None:
        """The user takes the run back, or gives it up."""
        self._return()

    def _return(self, ended: RunState | None = None) -> None:
        """Go back to the run before: to its labels, weights and map.

        Parameters
        ----------
        ended : RunState or None
            How the present run has ended by itself; None where the user takes it back.
        """
        if self._earlier is None or self.run is None:
            return
        (run, state), self._earlier = self._earlier, None
        self.run.inbox.cancel()
        self._forget()
        self._guard(self._activity.close)
        self._throttler.cancel()
        self.run, self._shown, self._shows_hints = run, None, run.taught is not None
        self._labels_wanted = self._is_excused = False
        self._guard(self.layers.resume)
        is_corrected = self.hand.resume(run)
        self._set(state if ended is None else replace(ended, nuclei=state.nuclei))
        if (labels := self.labels) is not None:
            self.hand.guard_undo(labels)
            if is_corrected:
                self._on_edited(False)
        elif run.base is not None and run.report_of_labels is not None:  # the layer was deleted
            self._write(run, run.base, run.report_of_labels)
        self.returned.emit(run, ended is None)
        if run.found_nothing or run.trained is None or not self.has_image:
            return
        if run.full is None:
            self._launch(run, make_labels=False)
        elif (self.hand.has_hints or self._shows_hints) and run.full_of_trained is not None:
            self._on_taught()
        else:
            self._relabel(run, run.full, labels=False)

    def _finish(self, run: Run) -> None:
        """State, sentences and labels that a run ends with."""
        assert run.result is not None
        report, labels, wanted = run.result.report, run.result.labels, self._labels_wanted
        if run.outcome is None:
            run.outcome = _outcome(report, trained=run.model is None)
            for warning in report.warnings:
                self.told.emit(warning, False)
        self._set_ended(*run.outcome)
        if labels is not None:
            self._guard(self.layers.show)  # before: what is hidden need not be drawn
        self._show_patches()
        if run.found_nothing:
            if wanted or labels is not None:
                self._write_nothing(run)
        elif labels is not None and run.objects == run.settings.objects:
            self._relabeller.ask(None)  # what is under way comes too late
            if self.hand.has_hints and run.full_of_trained:  # shown are some with them, till then
                run.base, run.report_of_labels = labels, report  # their numbers
                self._labels_wanted = True
                self._on_taught()
            else:
                self._write(run, labels, report)
        elif run.full is not None and (labels is not None or (wanted and run.full_of_trained)):
            self._labels_wanted = True
            self._relabel(run, run.full)
        elif wanted or run.continues:
            self._launch(run, make_labels=True)
        elif (
            run.full is not None
            and run.objects != run.settings.objects
            and self.layers.unedited_labels is not None
        ):
            self._relabel(run, run.full)  # moved while the map of a run that is back was made
        else:
            self._on_taught()

    def _set_ended(self, work: Phase, message: str) -> None:
        self._set(work=work, message=message, remaining=None, done=0, total=0, hints="")

    def _set(self, state: RunState | None = None, **changes: Any) -> None:
        state = replace(state or self._state, **changes)
        hold = self.run.inbox.hold if self.run is not None and state.is_busy else None
        self._state = replace(state, hold=hold)
        if not self._is_draining:
            self._announce()

    def _announce(self) -> None:
        if self._state != self._announced:
            self._announced = self._state
            if self.run is not None and self.is_busy:
                self._activity.show(self.run.source.name, self._state)
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

    def _show_map(self, chosen: ConfidenceMap, shown: NDArray[np.float32]) -> None:
        if self._streaming:
            self._shown = chosen.nucleus
            self._guard(lambda: self.layers.write_map(chosen, shown))

    def _show_sketch(self, run: Run, chosen: ConfidenceMap, labels: LabelArray) -> None:
        """Show labels of a preview, unless the user deleted them or made them their own."""
        before = self.labels
        is_ours = before is not None and not self.layers.is_edited
        if not self._streaming or not (is_ours or not run.is_sketched):
            return
        run.is_sketched = True
        if self.hand.corrections is not None and self.hand.corrections.edits:
            labels = _edited(labels, self.hand.corrections.edits, 0)
        count = int(np.count_nonzero(np.bincount(labels.ravel())[1:]))
        found = ObjectsReport(count=count, diameter=run.rough_diameter(chosen))
        report = run.report(chosen, found, self.hand.corrections)
        metadata = run.source.note_pixel_size({**report.to_dict(), "sketch": True})
        self._guard(lambda: self.layers.write_labels(labels, metadata))
        if (layer := self.labels) is not None and layer is not before:
            self.hand.guard_undo(layer)
        self._set(nuclei=count)

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
        objects.diameter_in_pixels(run.source.pixel_size)
        is_new = objects != run.objects
        run.inbox.objects = objects
        return is_new

    def _relabel(self, run: Run, confidence: ConfidenceMap, *, labels: bool = True) -> None:
        before = self.layers.region_labels if labels else None
        if before is not None and run.base is not None and not self.layers.is_edited:
            before = run.base
        corrections = self.hand.corrections
        assert corrections is not None
        self._relabeller.ask(Job(run, confidence, run.objects, labels, before, corrections))

    def _on_begun(self) -> None:
        """The brush is taken: what the first stroke needs is made meanwhile."""
        run = self.run
        if run is None or run.because is not None or run.trained is None or self.is_busy:
            return
        if run.full_of_trained is not None:
            self._relabeller.get_ready_for_hints(run, run.full_of_trained)

    def _on_taught(self) -> None:
        """Hints are others: make map and labels anew, once there are some to be made anew."""
        run = self.run
        if run is None or run.because is not None:
            return
        self._tell_of_hints(run)
        if run.full_of_trained is None or (self.is_busy and run.make_labels and self._streaming):
            return  # the run's worker shows them
        # A job under way may be about hints that were taken back.
        if self.hand.has_hints or self._shows_hints or self.is_relabelling:
            labels = self._labels_wanted or self.labels is not None
            self._relabel(run, run.full_of_trained, labels=labels)
            if not self.is_busy and run.objects.learn_from_hints:
                self._set(hints="learning from hints")

    def _tell_of_hints(self, run: Run) -> None:
        """Say what hints do while the run goes on."""
        text = ""
        if self.is_busy and self.hand.has_hints:
            text = "hints count at once" if run.inbox.previews else "hints count at the end"
            if run.inbox.previews and run.objects.learn_from_hints:
                text += ", their like at the end"
        if self.is_busy:
            self._set(hints=text)

    def _on_edited(self, is_shown: bool) -> None:
        """Objects were edited; where the layer has it not yet, it is written from the base."""
        run, labels = self.run, self.labels
        if run is None or run.base is None or labels is None:
            return
        report = run.report_of_labels
        if report is None:
            return
        if not is_shown:
            self._write(run, run.base, report, new=False)
            return
        shown = self.layers.region_view
        if shown is not None:
            self._note_labels(run, shown, report)

    def _on_answer(self, answer: Outline | Relabelled | PatchSegError) -> None:
        run = self.run
        if run is None:
            return
        if isinstance(answer, Outline):
            self._remove_outline_later.cancel()
            self._guard(lambda: self.layers.write_outline(answer.border, answer.reduction))
            return
        self._guard(self.layers.hide_outline)
        self._remove_outline_later()
        if not self.is_busy:
            self._set(hints="")
        waits_for_map = self.is_busy and run.inbox.map_wanted
        if isinstance(answer, PatchSegError):
            self._write_waiting()
            self._labels_wanted &= waits_for_map
            self.told.emit(str(answer), True)
            self._leave_what_was(run)
            return
        chosen = answer.chosen
        is_newest = run.preview is None or chosen.step >= run.preview.step
        is_same = self._shown is not None and chosen.nucleus.is_like(self._shown)
        is_other = answer.is_hinted or self._shows_hints
        is_due = (is_other and not self.is_busy) or (is_newest and (is_other or not is_same))
        if answer.shown is not None and is_due:
            self._shows_hints = answer.is_hinted
            self.state_changed.emit(self._state)  # there is another model to save
            self._show_map(chosen, answer.shown)
            self._show_patches()
        if answer.labels is not None and answer.objects is not None:
            new = self._labels_wanted and not waits_for_map
            self._write(run, answer.labels, run.report(chosen, answer.objects), new=new)

    def _remove_outline(self) -> None:
        self._guard(self.layers.remove_outline)

    def _write(self, run: Run, labels: LabelArray, report: Report, *, new: bool = True) -> None:
        """Renew the labels; where there are none to be renewed add some, if `new`."""
        self._guard(self.layers.find_edit)
        if not new and self.layers.unedited_labels is None:
            self._tell_of_edits()
            return
        run.base, run.report_of_labels = labels, report
        run.smallest = 0.0 if report.objects is None else report.objects.min_area or 0.0
        if self.hand.corrections is not None and self.hand.corrections.edits:
            labels = _edited(labels, self.hand.corrections.edits, run.smallest)
        metadata = run.source.note_pixel_size(report.to_dict())
        self._guard(lambda: self.layers.write_labels(labels, metadata))
        if (layer := self.labels) is not None:
            self.hand.guard_undo(layer)
        if new:
            self._labels_wanted = False
            if not self.is_busy:
                self._guard(self.layers.show)
        if self.labels is not None and report.objects is not None:
            self._note_labels(run, labels, report)

    def _write_waiting(self) -> None:
        """Labels of a run that wait for what hints teach: without it they are better than none."""
        run = self.run
        if run is None or run.base is None or run.report_of_labels is None:
            return
        if self._labels_wanted and not self.is_busy:
            self._write(run, run.base, run.report_of_labels)

    def _note_labels(self, run: Run, shown: NDArray[np.integer], report: Report) -> None:
        """The labels layer has these labels (h, w): say where they come from, and how many."""
        layer, objects = self.labels, report.objects
        corrections = self.hand.corrections
        if layer is None or objects is None:
            return
        if corrections:
            count = int(np.count_nonzero(np.bincount(shown.ravel())[1:]))
            objects = objects.model_copy(update={"count": count})
            report = report.replace(objects=objects, corrections=corrections)
            metadata = run.source.note_pixel_size(report.to_dict())
            layer.metadata[METADATA_KEY] = {**layer.metadata[METADATA_KEY], **metadata}
        self._set(nuclei=objects.count)
        self.labelled.emit(report)

    def _write_nothing(self, run: Run) -> None:
        """Add labels without any object."""
        assert run.result is not None
        self._relabeller.ask(None)
        row0, column0, row1, column1 = run.source.box
        self._write(run, np.zeros((row1 - row0, column1 - column0), np.uint16), run.result.report)


class Activity:
    """A line about work in napari's activity dock, for whoever has opened that.

    Parameters
    ----------
    stop : callable
        Called when the user stops the work there.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self._progress: StoppableProgress | None = None
        self._is_drawing = self._is_over = False
        #: Shows a name and a state soon, in a turn of its own.
        self.show = qthrottled(self._show, timeout=_MOVED_MS, leading=False)

    def _show(self, name: str, state: RunState) -> None:
        if self._is_drawing or (self._progress is None and not activity_dock_is_open()):
            return
        done, total = (state.done, state.total) if state.total else (state.step, state.max_steps)
        self._is_drawing = True  # napari processes events with each of these
        try:
            if self._progress is None:
                self._progress = StoppableProgress(total=0, desc=name, cancel_callback=self._stop)
            progress = self._progress
            progress.total = total
            progress.set_description(f"{name}: {state.text}")
            progress.update(done - progress.n)
        finally:
            self._is_drawing = False
            if self._is_over:
                self.close()

    def close(self) -> None:
        """Take the line away."""
        self.show.cancel()
        self._is_over = self._is_drawing
        if self._is_over:  # the run ended meanwhile: it goes once it is drawn
            return
        progress, self._progress = self._progress, None
        if progress is not None:
            with contextlib.suppress(RuntimeError):  # the window has gone before
                progress.close()


def _edited(labels: LabelArray, edits: Edits, smallest: float) -> LabelArray:
    from napari_patchseg.objects import apply_edits

    return apply_edits(labels, edits, smallest)


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

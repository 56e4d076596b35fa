"""Puts what a run yields into the viewer's layers, and draws labels when asked."""

from __future__ import annotations

import math
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer, Signal

from napari_patchseg.method.maps import ConfidenceMap, NucleusClass

from .guard import Guard
from .label_maker import Drawing, DrawRequest, LabelMaker, Outline
from .layer_source import METADATA_KEY, pixel_size_of, unwrap
from .live_layers import LiveLayers
from .mailbox import Mail
from .overlays import ShownMap, show_patches
from .run import RunRecord
from .views import View

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

#: Least seconds between two drawings of a run's windows: sixty shapes cost more than a map.
_PATCHES_SECONDS = 2.0
#: Milliseconds from one layer's new data to the next one's: the window does other things meanwhile.
_APART_MS = 20
#: Milliseconds after which a hidden outline's layer is removed: napari takes a fifth of a second to
#: remove one, and a tenth to make the next.
_TIDY_MS = 1500


class Presenter(QObject):
    """Shows one record at a time. Only for the GUI's thread.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are.
    parent : QObject or None
        Qt's owner.
    """

    #: Labels were written; the argument is their report.
    labelled = Signal(dict)
    #: The layers show all that came with a map, whose step is the argument.
    map_written = Signal(int)
    #: Another view is shown, or of another run.
    view_changed = Signal()
    #: A sentence for the user, and whether it is an error.
    told = Signal(str, bool)

    def __init__(self, viewer: Viewer, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer = unwrap(viewer)
        #: Everything that writes into the viewer goes through it.
        self.guard = Guard(lambda sentence: self.told.emit(sentence, False))
        self._record: RunRecord | None = None
        self._nucleus = NucleusClass(0, False, float("nan"))
        self._patches_shown: tuple[int, NucleusClass] | None = None
        self._patches_time = -math.inf
        self._asked = self._written = 0
        self.streaming = True
        self._is_over = True  # the run
        self._liked = View.CONTOURS  # how the user wants nuclei, whichever image's
        self._map_step = 0  # the step of the newest map
        self._to_write: list[Callable[[], None]] = []
        self._apart = QTimer(self)
        self._apart.setInterval(_APART_MS)
        self._apart.timeout.connect(self._write_next)
        self._maker = LabelMaker(self._shown_labels, self)
        self._maker.drawn.connect(self._on_drawn)
        self._maker.outlined.connect(self._on_outlined)
        self._outlined: LiveLayers | None = None
        self._tidy = QTimer(self)
        self._tidy.setSingleShot(True)
        self._tidy.setInterval(_TIDY_MS)
        self._tidy.timeout.connect(self._remove_outline)
        self._shown_of: ConfidenceMap | None = None
        #: The edited labels of which the user knows that they stay.
        self._told_of: weakref.WeakSet[Labels] = weakref.WeakSet()

    @property
    def live(self) -> LiveLayers | None:
        """The layers of the record's image."""
        layer = None if self._record is None else self._record.source.layer
        return None if layer is None else LiveLayers.of(self._viewer, layer)

    @property
    def is_drawing(self) -> bool:
        """Whether labels are being made."""
        return self._maker.is_busy

    @property
    def has_image(self) -> bool:
        """Whether the record's image is still in the viewer."""
        return self._record is not None and self._record.source.layer in self._viewer.layers

    def begin(self, record: RunRecord) -> None:
        """A new run begins."""
        self.guard.begin()
        self.clear()
        self._record = record
        self._patches_shown, self._patches_time = None, -math.inf
        live = self.live
        assert live is not None
        # A model that is used on a part of the image is used to mend that part.
        part = record.model is not None and not record.source.is_whole
        self.guard(lambda: live.begin(record.canvas, record.source.plane, keeps_around=part))
        self._is_over = False
        live.result_view = self._liked
        self._show_view(View.LIVE if record.model is None else None)

    @property
    def view(self) -> View:
        """What is shown of the record."""
        return View.CONTOURS if self.live is None else self.live.view

    def choose_view(self, view: View) -> None:
        """The user wants to see the nuclei, or the live layers."""
        self._show_view(view, asked=True)
        if self.live is not None:
            self._liked = self.live.result_view

    def _show_view(self, view: View | None, *, asked: bool = False) -> None:
        """Show a view; None: the nuclei, as the user likes them."""
        live = self.live
        if live is not None:
            shown = live.result_view if view is None else view
            self.guard(lambda: live.show(shown, asked=asked))
        self.view_changed.emit()

    def _shown_labels(self) -> NDArray | None:
        return None if self.live is None else self.live.region_labels

    def clear(self) -> None:
        """Forget what is still to be drawn."""
        self._maker.clear()
        self.drop()
        self._remove_outline()

    # -- what a run yields

    def show(self, mail: Mail) -> None:
        """Write what came into the live layers."""
        if self.streaming:
            if mail.shown is not None:
                self._show_map(mail.shown)
                self._shown_of = mail.made
            self._show_patches(last=mail.paused is True)
        if mail.shown is not None:
            self._map_step = mail.shown.step
            if not self._to_write:
                self.map_written.emit(self._map_step)

    def _show_map(self, shown: ShownMap) -> None:
        self._nucleus = shown.nucleus
        live = self.live
        if live is not None:
            self.guard(lambda: live.write_map(shown))

    def _show_patches(self, *, last: bool = False) -> None:
        """Show the newest windows if it is their turn.

        That of the last ones, and of a class that has just been chosen, is always.
        """
        record, live = self._record, self.live
        if record is None or live is None or record.patches is None or record.made is None:
            return
        patches, shown, now = record.patches, self._patches_shown, time.monotonic()
        fresh = shown is None or patches.step != shown[0]
        chosen = shown is None or not _same_class(self._nucleus, shown[1])
        if not chosen and not (fresh and (last or now - self._patches_time > _PATCHES_SECONDS)):
            return
        self._patches_shown, self._patches_time = (patches.step, self._nucleus), now
        positive, negative = show_patches(patches, record.canvas, self._nucleus)
        # In a turn of their own: with the map they would hold up the window for too long.
        self._to_write = [lambda: live.write_patches(positive, negative)]
        self._apart.start()

    def finish(self) -> None:
        """The run has ended: what still waits for its turn is written now."""
        self._is_over = True
        result = None if self._record is None else self._record.result
        if result is not None and result.labels is not None:
            self._show_view(None)  # before: what is hidden need not be drawn
        if self.streaming:
            self._show_patches(last=True)
        while self._to_write:
            self._write_next()

    def drop(self) -> None:
        """What still waits for its turn shall not be written."""
        self._is_over = True
        self._to_write.clear()
        self._apart.stop()

    def _write_next(self) -> None:
        if self._to_write and self.streaming:
            self.guard(self._to_write.pop(0))
        if not self.streaming:
            self._to_write.clear()
        if not self._to_write:
            self._apart.stop()
            self.map_written.emit(self._map_step)

    # -- labels

    def draw(self, made: ConfidenceMap, *, labels: bool, new: bool = False) -> None:
        """Draw labels, or the shown class, of a map; the answer comes later."""
        record = self._record
        if record is None or record.pixels is None:
            return
        self._asked += 1
        self._maker.ask(
            DrawRequest(
                confidence=made,
                pixels=record.pixels,
                settings=record.settings,
                pixel_size=record.source.pixel_size,
                canvas=record.canvas,
                chosen=record.chosen,
                report=record.report,
                labels=labels,
                new=new,
                number=self._asked,
            )
        )

    def take_objects(self, wishes: Mapping[str, Any], *, redraw: bool = True) -> None:
        """Take over the user's wishes about objects, and draw the last labels of this run anew.

        Parameters
        ----------
        wishes : mapping
            Settings among `OBJECT_FIELDS`.
        redraw : bool
            Whether to draw at all.

        Raises
        ------
        SettingsError
            If the run cannot fulfil them.
        """
        record, live = self._record, self.live
        if record is None:
            return
        changed = record.settings.replace(**wishes)
        if changed == record.settings:
            return
        record.settings = record.chosen.settings = changed
        if not redraw or live is None:
            return
        unedited = live.has_unedited_labels
        if not unedited and record.whole is not None and not record.is_stale:
            self._tell_of_edits(live)
        if record.whole is not None and unedited:
            self.draw(record.whole, labels=True)
        elif record.made is not None:
            self.draw(record.made, labels=False)

    def _tell_of_edits(self, live: LiveLayers) -> None:
        """Say, once for a layer, why it does not follow the controls."""
        edited = live.last_labels
        if edited is not None and edited not in self._told_of:
            self._told_of.add(edited)
            self.told.emit("Edited labels stay; Make labels adds a new layer.", False)

    def write_result(self, labels: NDArray, report: dict[str, Any]) -> None:
        """Add or renew the labels (h, w) of the region; those still being drawn come too late."""
        record = self._record
        diameter = (report.get("objects") or {}).get("diameter")
        if record is not None and record.whole is not None and diameter is not None:
            self._maker.know(record.whole, record.settings, float(diameter))
        self._written = self._asked
        self._write_labels(labels, report)  # numbered as by any other door

    def take_pixel_size(self, pixel_size: float | None) -> None:
        """The user says what the image's pixel size is: what is made and saved from now on has it.

        Parameters
        ----------
        pixel_size : float or None
            µm per pixel.
        """
        record, live = self._record, self.live
        if record is None or live is None:
            return
        record.source = replace(record.source, pixel_size=pixel_size)
        labels = live.last_labels
        if labels is not None:
            labels.metadata[METADATA_KEY] = self._with_size(labels.metadata[METADATA_KEY])

    def _with_size(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """The report with the pixel size, where the layer's units don't say it."""
        report = {key: value for key, value in report.items() if key != "pixel_size"}
        source = None if self._record is None else self._record.source
        layer = None if source is None else source.layer
        if source is None or layer is None or source.pixel_size is None:
            return report
        if source.pixel_size != pixel_size_of(layer, (source.plane.rows, source.plane.columns)):
            report["pixel_size"] = source.pixel_size
        return report

    def _write_labels(self, labels: NDArray, report: dict[str, Any]) -> None:
        live = self.live
        report = self._with_size(report)
        if live is None:
            return
        self.guard(lambda: live.write_labels(labels, report))
        if self._is_over:
            self._show_view(None)
        if live.last_labels is not None:
            self.labelled.emit(report)

    def write_nothing(self, report: dict[str, Any]) -> None:
        """Add labels without any object."""
        if self._record is not None:
            row0, column0, row1, column1 = self._record.source.box
            self.write_result(np.zeros((row1 - row0, column1 - column0), np.uint16), report)

    def _on_outlined(self, outline: Outline) -> None:
        record, live = self._record, self.live
        if record is None or live is None or outline.request.pixels is not record.pixels:
            return
        if outline.request.number == self._asked and self._maker.is_busy:
            self._outlined = live
            self._tidy.stop()
            self.guard(lambda: live.write_outline(outline.border, outline.reduction))

    def _hide_outline(self) -> None:
        if self._outlined is not None:
            self.guard(self._outlined.hide_outline)
            self._tidy.start()

    def _remove_outline(self) -> None:
        self._tidy.stop()
        if self._outlined is not None:
            outlined, self._outlined = self._outlined, None
            self.guard(outlined.remove_outline)

    def _on_drawn(self, drawing: Drawing) -> None:
        self._show_drawing(drawing)
        if drawing.request.number == self._asked:
            self._hide_outline()

    def _show_drawing(self, drawing: Drawing) -> None:
        record, live = self._record, self.live
        if record is None or live is None or drawing.request.pixels is not record.pixels:
            return  # of an earlier run
        if drawing.error is not None:
            self.told.emit(str(drawing.error), True)
            return
        shown = drawing.shown
        assert shown is not None
        newest = record.made is None or drawing.request.confidence.step >= record.made.step
        made = drawing.request.confidence
        same = made is self._shown_of and _same_class(shown.nucleus, self._nucleus)
        if newest and self.streaming and not same:
            self._show_map(shown)
            self._shown_of = made
            self._show_patches()
        if drawing.labels is None or drawing.report is None:
            return
        if drawing.request.number <= self._written:
            return  # the run has ended meanwhile, and left its own
        if drawing.request.new:
            self._write_labels(drawing.labels, drawing.report)
        elif live.has_unedited_labels:
            labels, report = drawing.labels, self._with_size(drawing.report)
            self.guard(lambda: live.rewrite_labels(labels, report))
            self.labelled.emit(report)


def _same_class(one: NucleusClass, other: NucleusClass) -> bool:
    return (one.index, one.inverted) == (other.index, other.inverted)

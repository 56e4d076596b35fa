"""Measurements of the nuclei shown: in the layer, the panel, the table, in colours, on the canvas.

They are made off the window's thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from superqt.utils import create_worker, qdebounced, qthrottled

from napari_patchseg.errors import PatchSegError

from ._circle import Circle
from ._colours import MOST_COLOURED, colour_by, colours_of
from ._features import moved, show_features
from ._measurement_panel import MeasurementPanel
from ._object_tools import CLICK
from ._plots import areas_of
from ._table import ObjectsTable, show_table

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels
    from napari.viewer import Viewer

    from napari_patchseg.image.pixels import Pixels

    from .session import TrainingSession

#: Milliseconds between two counts, and without a change after which nuclei are measured.
_COUNT_MS, _SETTLE_MS = 200, 300
#: The ring around a nucleus that is looked for, in its diameters.
_RING = 1.8


@dataclass(frozen=True)
class _Job:
    """What to measure: labels (h, w) of a region, and what is known there."""

    version: int
    layer: Any
    labels: NDArray[np.integer]
    origin: tuple[int, int]
    pixels: Pixels | None
    nuclei: NDArray[np.float32] | None
    pixel_size: tuple[float, float] | None


class Measurements:
    """Follows the session's labels: counts at once, measures when they have settled.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are.
    session : TrainingSession
        Whose labels are measured.
    panel : MeasurementPanel
        Shows them.
    circle : Circle
        Shows where a nucleus is.
    """

    #: A sentence for the user, and whether it is an error.
    told = Signal(str, bool)

    def __init__(
        self, viewer: Viewer, session: TrainingSession, panel: MeasurementPanel, circle: Circle
    ) -> None:
        self._viewer, self._session = viewer, session
        self._panel, self._circle = panel, circle
        #: The labels that are followed.
        self.labels: Any = None  # a Labels layer, or None
        #: Of these; None as long as they were not measured.
        self.table: pd.DataFrame | None = None
        self._view: ObjectsTable | None = None
        self._version = 0  # of the labels: one more with every change
        self._measured_version = -1
        self._wanted = False
        self._worker: Any = None
        self._selected = 0
        self._is_pointing = False
        self._count_soon = qthrottled(self._count, timeout=_COUNT_MS, leading=False)
        self._measure_soon = qdebounced(self._measure, timeout=_SETTLE_MS)
        panel.table_button.clicked.connect(self.show_table)
        panel.coloured.connect(self._colour)
        viewer.mouse_drag_callbacks.append(self._on_press)

    def close(self) -> None:
        """The panel goes away."""
        self._leave()
        self._count_soon.cancel()
        self._measure_soon.cancel()
        if self._on_press in self._viewer.mouse_drag_callbacks:
            self._viewer.mouse_drag_callbacks.remove(self._on_press)

    # -- which labels

    def follow(self) -> None:
        """Count the nuclei of the session's labels, now and whenever they change."""
        labels = self._session.labels
        if labels is not self.labels:
            self._leave()
            if labels is None:
                self._panel.clear()
                return
            self.labels = labels
            for event in self._changes(labels):
                event.connect(self._on_changed)
            self._selected = int(labels.selected_label)
            labels.events.selected_label.connect(self._on_selected)
        self._on_changed()

    def _leave(self) -> None:
        labels, self.labels, self.table = self.labels, None, None
        if labels is not None:
            colour_by(labels, None, None)
            for event in self._changes(labels):
                event.disconnect(self._on_changed)
            labels.events.selected_label.disconnect(self._on_selected)
        if self._view is not None:
            self._view.show_table(None)

    @staticmethod
    def _changes(labels: Labels) -> tuple[Any, Any]:
        return labels.events.paint, labels.events.set_data  # undo tells of the latter

    # Not at once: napari tells of an edit before it makes it. A millisecond or two a megapixel.
    def _on_changed(self, _event: object = None) -> None:
        self._version += 1
        self._count_soon()

    def _count(self) -> None:
        labels, run = self.labels, self._session.run
        if labels is None or run is None:
            return
        shown = self._session.layers.region_view
        if shown is None:  # of another shape: the user's own
            shown = np.asarray(labels.data)
        self._panel.show_areas(areas_of(shown), run.source.pixel_size, shown.size)
        self._measure_soon()

    # -- measuring

    def measure_now(self, layer: Labels) -> None:
        """Measure a layer at once, if it is followed and has changed since: it is to be saved."""
        is_current = self._measured_version == self._version
        if layer is self.labels and not is_current and (job := self._job()) is not None:
            self._take(job, *_measured(job))

    def _measure(self) -> None:
        """Measure, unless the network learns: then the next labels come in a moment."""
        if self._session.is_busy:
            return
        if self._worker is not None:
            self._wanted = True
            return
        job = self._job()
        if job is None:
            return
        worker: Any = create_worker(_measured, job, _start_thread=False)
        worker.returned.connect(partial(self._on_measured, job))
        worker.finished.connect(self._on_finished)
        self._worker = worker
        worker.start()

    def catch_up(self) -> None:
        """Measure what has changed while a run was under way."""
        if self.labels is not None and self._measured_version != self._version:
            self._measure_soon()

    def _job(self) -> _Job | None:
        labels, run, shown = self.labels, self._session.run, self._session.layers.region_view
        if labels is None or run is None or shown is None:
            return None
        return _Job(
            self._version,
            labels,
            shown.copy(),
            run.source.box[:2],
            run.pixels,
            run.shown_nuclei,
            run.sizes,
        )

    def _on_finished(self) -> None:
        self._worker = None
        if self._wanted:
            self._wanted = False
            self._measure_soon()

    def _on_measured(
        self, job: _Job, found: tuple[pd.DataFrame | None, PatchSegError | None]
    ) -> None:
        is_newest = not self._wanted and job.version >= self._measured_version
        if self.labels is job.layer and is_newest:
            self._take(job, *found)

    def _take(self, job: _Job, made: pd.DataFrame | None, error: PatchSegError | None) -> None:
        if made is None:
            self.told.emit(str(error), True)
            return
        self.table, self._measured_version = made, job.version
        show_features(job.layer, made)
        self._panel.show_table(made)
        if self._view is not None:
            self._view.show_table(made, self._name)
        self._colour(self._panel.colour)

    # -- colours

    def _colour(self, header: str | None) -> None:
        labels, table = self.labels, self.table
        if labels is None:
            return
        if header is None or table is None or header not in table:
            self._panel.histogram.show_colours(None)
            colour_by(labels, None, None)
            return
        values = table[header].to_numpy(float)
        if not colour_by(labels, table["Label"].to_numpy(), values):
            self._panel.colour_box.setChecked(False)
            self.told.emit(f"Colours are for labels up to {MOST_COLOURED:,}.", False)
            return
        self._panel.histogram.show_colours(partial(colours_of, among=values))

    # -- the table, and where its nuclei are

    def show_table(self) -> None:
        """Open the table of the nuclei."""
        if self.labels is None:
            self.told.emit("There are no nuclei to measure yet; segment the image first.", False)
            return
        self._view = show_table(self._viewer, self._view, self._on_row)
        self._view.show_table(self.table, self._name)
        self.catch_up()

    @property
    def _name(self) -> str:
        run = self._session.run
        return "" if run is None else run.source.name

    def _on_row(self, number: int) -> None:
        if self.labels is not None:
            if int(self.labels.selected_label) == number:
                self._point_at(number)
            else:
                self.labels.selected_label = number

    def _on_selected(self, _event: object) -> None:
        """A row of napari's table or of ours was chosen, or a nucleus."""
        labels = self.labels
        if labels is None:
            return
        number = int(labels.selected_label)
        if number == self._selected:  # another colormap says so, too
            return
        self._selected = number
        if self._view is not None:
            self._view.mark(number)
        if not self._is_pointing:
            self._point_at(number)

    def _point_at(self, number: int) -> None:
        """Show where a nucleus is, in the middle of the canvas if it is not seen."""
        labels, table, run = self.labels, self.table, self._session.run
        if labels is None or table is None or run is None:
            return
        row = table[table["Label"] == number]
        if row.empty:
            return
        y, x, diameter = (
            float(row[name].iloc[0])
            for name in ("Centroid Y px", "Centroid X px", "Equivalent diameter px")
        )
        image = run.source.layer
        if image is not None:
            place = self._session.layers.world_of(y, x)
            self._circle.show(image, max(_RING * diameter, 8), place, f"nucleus {number}")

    def _on_press(self, viewer: Any, event: Any) -> Iterator[None]:
        """A click on a nucleus chooses it, while nothing is painted and no tool is in use."""
        labels = self.labels
        if labels is None or not labels.visible or self._session.hand.tool is not None:
            return
        active = self._viewer.layers.selection.active
        if active is not None and getattr(active, "mode", "pan_zoom") != "pan_zoom":
            return
        if self._viewer.dims.ndisplay != 2 or event.button != 1:
            return
        start, dragged = np.asarray(event.pos), False
        yield
        while event.type == "mouse_move":
            dragged |= bool((abs(np.asarray(event.pos) - start) > CLICK).any())
            yield
        if dragged or labels is None or self.labels is not labels:
            return
        number = labels.get_value(event.position, world=True)
        if number and self.table is not None:
            self._is_pointing = True
            try:
                labels.selected_label = int(number)
            finally:
                self._is_pointing = False


def _measured(job: _Job) -> tuple[pd.DataFrame | None, PatchSegError | None]:
    """The table, or what is wrong: superqt would raise an error that is returned alone."""
    from napari_patchseg.objects import measure

    try:
        table = measure(job.labels, job.pixels, pixel_size=job.pixel_size, confidence=job.nuclei)
    except PatchSegError as error:
        return None, error
    return moved(table, job.origin, job.pixel_size), None

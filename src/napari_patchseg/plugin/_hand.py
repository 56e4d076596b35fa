"""What the user corrects by hand: hints painted on the image, and edits of objects."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from napari.layers import Image, Labels
from psygnal import Signal
from superqt.utils import qdebounced

from napari_patchseg.corrections import (
    NOT_NUCLEUS,
    Add,
    Corrections,
    Delete,
    Edit,
    Merge,
    Split,
)
from napari_patchseg.errors import PatchSegError
from napari_patchseg.files.autosave import Autosaved, autosave, autosaved
from napari_patchseg.files.corrections import load_corrections, save_corrections
from napari_patchseg.geometry import Box
from napari_patchseg.method.maps import NUCLEUS
from napari_patchseg.settings import DEFAULT_DIAMETER, Polarity

from ._layers import RunLayers
from ._object_tools import ObjectTools, Tool, pixel_of
from ._run import Run

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_patchseg.report import Labels as LabelArray
    from napari_patchseg.report import Report

#: Milliseconds after a stroke before it is looked at, and after a correction before it is kept.
_SETTLE_MS, _KEEP_MS = 60, 1000
#: Corrections that can be taken back, and those whose objects get their old numbers then, too.
_STEPS, _NUMBERED = 50, 10
#: Diameter of the brush at first, in expected nucleus diameters.
_BRUSH = 0.5
#: Radius in which a click looks for the class of a nucleus, in expected nucleus diameters.
_CLICKED = 1 / 6

#: Of every image of this process, region by region: what was corrected on it.
_KEPT: weakref.WeakKeyDictionary[Image, dict[Box, Corrections]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class _Past:
    """What there was before something was done, and what that was."""

    name: str
    corrections: Corrections
    #: The run's labels before any edit of objects, for their numbers.
    labels: tuple[Run, LabelArray | None, Report | None] | None
    #: The choice of the nucleus class, where that was what was done.
    choice: tuple[int | None, Polarity | None] | None = None
    #: Where a run began: gives the one before back, and what could be taken back then.
    give_back: Callable[[], None] | None = None
    below: tuple[_Past, ...] = ()


class Hand:
    """Corrections of the image of a session's run, each of which can be taken back.

    They belong to the image and its region: they outlive a run, and a panel.

    Parameters
    ----------
    viewer : Viewer
        Where the layers are.
    layers : RunLayers
        Of the session.
    """

    #: Corrections, tool or what can be undone are others now.
    changed = Signal()
    #: Hints are about to be painted.
    begun = Signal()
    #: Hints are others: map and labels are to be made anew.
    taught = Signal()
    #: Objects were edited; whether the labels layer has it already.
    edited = Signal(bool)
    #: Class and polarity of nuclei were chosen by a click, or are again what they were; None: auto.
    class_chosen = Signal(object, object)
    #: A sentence for the user, and whether it is an error.
    told = Signal(str, bool)

    def __init__(self, viewer: Viewer, layers: RunLayers) -> None:
        self._viewer = viewer
        self._layers = layers
        self._run: Run | None = None
        self._corrections: Corrections | None = None
        self._past: list[_Past] = []
        self._is_kept = True
        #: What an earlier process kept of this image, until it is taken or dropped.
        self.offered: Autosaved | None = None
        self._heard: Labels | None = None  # the hints layer that is listened to
        self._tools = ObjectTools(viewer)
        self._tools.changed.connect(self._announce)
        self._tools.used.connect(self._on_used)
        self._look_soon = qdebounced(self._look, timeout=_SETTLE_MS)
        self._keep_soon = qdebounced(self._keep, timeout=_KEEP_MS)
        viewer.layers.selection.events.active.connect(self._announce)

    def close(self) -> None:
        """The panel goes away; corrections stay, for the next one."""
        self._keep()  # Qt's half may have gone, and with it the debounced one
        self._tools.close()
        self._viewer.layers.selection.events.active.disconnect(self._announce)
        self._listen(None)
        self._run, self._past = None, []  # they hold the image's pixels

    def begin(self, run: Run, name: str = "", give_back: Callable[[], None] | None = None) -> None:
        """A run begins: take up what was corrected on its image and region.

        Parameters
        ----------
        run : Run
            The new one.
        name : str
            What is taken back with it.
        give_back : callable or None
            Has the run before `resume`; None where there is none to go back to.
        """
        before = self._run
        # Only one run is held: neither what began it nor its labels stay of any other.
        kept = before if give_back is not None else None
        below = [
            one if one.labels is None or one.labels[0] is kept else replace(one, labels=None)
            for one in self._past
            if one.give_back is None
        ]
        is_same = _is_same_place(run, before)
        self._past = list(below) if is_same else []
        self._take_up(run, is_new=not is_same)
        if give_back is not None and self._corrections is not None:
            self._past.append(
                _Past(name, self._corrections, None, give_back=give_back, below=tuple(below))
            )
        self._announce()

    def resume(self, run: Run) -> bool:
        """The run before this one is back; whether anything was corrected on its place since."""
        marks = [index for index, one in enumerate(self._past) if one.give_back is not None]
        later: list[_Past] = []
        if marks:
            if _is_same_place(run, self._run):
                later = [replace(one, labels=None) for one in self._past[marks[-1] + 1 :]]
            else:
                self.offered = None
            self._past = [*self._past[marks[-1]].below, *later]
        self._take_up(run, is_new=False)
        self._announce()
        return bool(later)

    def forget_earlier(self) -> None:
        """There is no run to go back to any more."""
        self._past = [one for one in self._past if one.give_back is None]
        self._announce()

    def _take_up(self, run: Run, *, is_new: bool) -> None:
        self._keep()
        self._tools.take(None)
        self._run = run
        image = run.source.layer
        kept = {} if image is None else _KEPT.setdefault(image, {})
        row0, column0, row1, column1 = run.source.box
        self._corrections = kept.get(
            run.source.box, Corrections(shape=(row1 - row0, column1 - column0))
        )
        if is_new:
            name = _name(run)
            self.offered = None if self._corrections or name is None else autosaved(name)
        run.inbox.correct(self._corrections)
        if self.offered is not None:
            self.told.emit(f"{self.offered}: Restore in the panel brings them back.", False)
        layer = self._layers.hints
        self._listen(layer)
        painted = self._layers.painted
        if painted is not None and not np.array_equal(painted, self._corrections.painted):
            self._layers.write_hints(self._corrections.painted)

    # -- what there is

    @property
    def corrections(self) -> Corrections | None:
        """Everything corrected on the run's image; None before the first run."""
        return self._corrections

    @property
    def has_hints(self) -> bool:
        """Whether anything teaches: what is painted, deleted or added."""
        return self._corrections is not None and self._corrections.teaches

    @property
    def is_available(self) -> bool:
        """Whether there is an image to correct on, in the display of planes."""
        run = self._run
        return (
            run is not None
            and run.source.layer in self._viewer.layers
            and self._viewer.dims.ndisplay == 2
        )

    @property
    def tool(self) -> Tool | None:
        """The tool in use on objects."""
        return self._tools.tool

    @property
    def painting(self) -> int | None:
        """1 or 2 while these hints are painted, 0 while they are erased."""
        layer = self._layers.hints
        if layer is None or self._viewer.layers.selection.active is not layer:
            return None
        if layer.mode == "erase":
            return 0
        return int(layer.selected_label) if layer.mode == "paint" else None

    @property
    def can_undo(self) -> bool:
        """Whether there is a correction or a run to take back."""
        return bool(self._past)

    @property
    def undo_text(self) -> str:
        """What would be taken back, such as "Undo split"."""
        return f"Undo {self._past[-1].name}" if self._past else "Undo"

    # -- what one can ask for

    def paint(self, value: int) -> None:
        """Take napari's brush to the hints.

        Parameters
        ----------
        value : int
            1 for nucleus, 2 for not nucleus, 0 to erase.
        """
        if not self._is_ready():
            return
        assert self._corrections is not None
        is_new = self._layers.hints is None
        layer = self._layers.make_hints(self._corrections.painted)
        if layer is None:
            return
        if is_new:
            layer.brush_size = max(1, round(_BRUSH * self._layers.diameter))
            self._listen(layer)
        self._tools.take(None)
        layer.visible = True
        self._viewer.layers.selection.active = layer
        if value:
            layer.selected_label = value
        layer.mode = "paint" if value else "erase"
        self._announce()
        self.begun.emit()

    def rest(self) -> None:
        """Put brush and tools away: dragging moves the view."""
        self._tools.take(None)
        layer = self._layers.hints
        if layer is not None:
            layer.mode = "pan_zoom"

    def use(self, tool: Tool | None) -> None:
        """Take a tool to the objects; None, or the one in use, puts it away."""
        if tool is None or tool is self.tool:
            self._tools.take(None)
            return
        if (layer := self._layer_or_tell(tool)) is not None:
            layer.visible = True
            self._tools.take(tool, layer)

    def use_here(self, tool: Tool) -> None:
        """Use a tool that takes a click where the cursor is on the canvas."""
        viewer = self._viewer
        if viewer.mouse_over_canvas and (layer := self._layer_or_tell(tool)) is not None:
            self._on_used(tool, [pixel_of(viewer, layer, viewer.cursor.position)])

    def guard_undo(self, labels: Labels) -> None:
        """Let Ctrl+Z on a labels layer take our corrections back.

        napari's own would write pixels of labels that are no longer there.
        """

        def undo(layer: Labels) -> None:
            if self._layers.last_labels is layer and not self._layers.is_edited:
                self.undo()
            else:
                layer.undo()

        labels.bind_key("Control-Z", undo, overwrite=True)

    def undo(self) -> None:
        """Take the last correction back, or the run that began after it."""
        if not self._past or self._corrections is None:
            return
        if (give_back := self._past[-1].give_back) is not None:
            give_back()
            return
        last = self._past.pop()
        before, labels = last.corrections, last.labels
        if labels is not None and labels[0] is self._run and labels[1] is not None:
            _, self._run.base, self._run.report_of_labels = labels
        if last.choice is not None:
            self._announce()
            self.edited.emit(False)
            self.class_chosen.emit(*last.choice)
            return
        now, self._corrections = self._corrections, before
        self._note()
        if (now.nucleus, now.not_nucleus) != (before.nucleus, before.not_nucleus):
            self._layers.write_hints(before.painted)
        self.edited.emit(False)
        self.taught.emit()

    def clear(self) -> None:
        """Forget all hints and edits; that can be undone."""
        if self._corrections:
            self._replace("clear", Corrections(shape=self._corrections.shape))

    def restore(self) -> None:
        """Take what an earlier process kept of this image."""
        offered, self.offered = self.offered, None
        if offered is None or self._corrections is None:
            return
        self._replace("restore", offered.corrections)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> None:
        """Write all corrections into a file. Raises `FileError`."""
        if self._corrections is not None:
            save_corrections(path, self._corrections, overwrite=overwrite)

    def load(self, path: str | os.PathLike[str]) -> None:
        """Take corrections of a file instead of these. Raises `FileError` or `ImageError`."""
        if not self._is_ready():
            return
        assert self._corrections is not None
        corrections = load_corrections(path)
        corrections.check_shape(self._corrections.shape)
        self._replace("load", corrections)

    def _replace(self, name: str, corrections: Corrections) -> None:
        self._take(name, corrections)
        if corrections.painted.any() and self._layers.hints is None:
            self._listen(self._layers.make_hints(corrections.painted))
        else:
            self._layers.write_hints(corrections.painted)
        self.edited.emit(False)
        self.taught.emit()

    # -- inside

    def _is_ready(self) -> bool:
        if self._run is None or self._corrections is None:
            self.told.emit("Segment the image first; then correct what you see.", False)
            return False
        if self._viewer.dims.ndisplay != 2:
            self.told.emit("Corrections are made in the display of planes; leave 3-D.", False)
            return False
        return True

    def _layer_or_tell(self, tool: Tool) -> Image | Labels | None:
        """The layer that a tool is used on; where it is of no use, the user is told."""
        if not self._is_ready():
            return None
        if tool is Tool.CLASS:
            return self._classes_or_tell()
        labels = self._layers.last_labels
        if labels is None:
            self.told.emit("There are no nuclei to correct yet; segment the image first.", False)
        return labels

    def _classes_or_tell(self) -> Image | None:
        run = self._run
        assert run is not None
        if not self.is_available:
            self.told.emit("The image layer is gone; choose another one.", False)
        elif run.preview is None:
            self.told.emit("There is no confidence map yet; wait for the first one.", False)
        elif NUCLEUS in run.preview.channels:
            self.told.emit("These weights were taught which class is nuclei.", False)
        else:
            return run.source.layer
        return None

    def _announce(self, _event: object = None) -> None:
        self.changed.emit()

    def _take(self, name: str, corrections: Corrections) -> None:
        self._remember(name)
        self._corrections = corrections
        self._note()

    def _remember(
        self, name: str, choice: tuple[int | None, Polarity | None] | None = None
    ) -> None:
        assert self._corrections is not None
        run = self._run
        labels = None if run is None else (run, run.base, run.report_of_labels)
        self._past.append(_Past(name, self._corrections, labels, choice))
        del self._past[:-_STEPS]
        for index in range(len(self._past) - _NUMBERED):
            self._past[index] = replace(self._past[index], labels=None)

    def _note(self) -> None:
        run, corrections = self._run, self._corrections
        image = None if run is None else run.source.layer
        if run is not None and image is not None and corrections is not None:
            _KEPT.setdefault(image, {})[run.source.box] = corrections
            run.inbox.correct(corrections)  # what it shows while it learns follows
        self.offered, self._is_kept = None, False
        self._keep_soon()
        self._announce()

    def _keep(self) -> None:
        run, corrections = self._run, self._corrections
        if run is not None and corrections is not None and not self._is_kept:
            self._is_kept = True
            if (name := _name(run)) is not None:
                autosave(name, corrections)

    # -- hints

    def _listen(self, layer: Labels | None) -> None:
        heard, self._heard = self._heard, layer
        for one, change in ((heard, "disconnect"), (layer, "connect")):
            if one is not None:
                for event in (one.events.paint, one.events.set_data):
                    getattr(event, change)(self._on_painted)
                for event in (one.events.mode, one.events.selected_label):
                    getattr(event, change)(self._announce)

    def _on_painted(self, _event: object) -> None:
        if not self._layers.is_writing_hints:
            self._look_soon()

    def _look(self) -> None:
        """Compare what is painted with what is known: undo and redo tell of no pixels."""
        painted = self._layers.painted
        if painted is None or self._corrections is None:
            return
        if painted.max(initial=0) > NOT_NUCLEUS:
            self.told.emit("Hints are 1, nucleus, and 2, not nucleus; others say nothing.", False)
            painted = np.where(painted > NOT_NUCLEUS, 0, painted)
        now = Corrections.of_hints(painted, self._corrections.edits)
        if now != self._corrections:
            if self._past and now == self._past[-1].corrections:
                self.undo()  # by napari's own
                return
            self._take("erasing" if self.painting == 0 else "stroke", now)
            self.taught.emit()

    # -- objects

    def _on_used(self, tool: Tool, path: list[tuple[int, int]]) -> None:
        from napari_patchseg.objects import change_of

        if tool is Tool.CLASS:
            self._choose_class(path[0])
            return
        labels, run = self._layers.region_view, self._run
        if labels is None or run is None or self._corrections is None:
            return
        rows, columns = self._layers.inside
        height, width = labels.shape
        own = [(row - rows.start, column - columns.start) for row, column in path]
        own = [(row, column) for row, column in own if 0 <= row < height and 0 <= column < width]
        if not own:
            self.told.emit("That is outside of what was segmented.", False)
            return
        edit = self._edit(tool, own)
        change = None if edit is None else change_of(labels, edit, run.smallest)
        if edit is None or change is None:
            self.told.emit(_NOTHING[tool], False)
            return
        self._layers.edit_labels(*change)
        if not self._layers.is_edited:  # else the labels are the user's, and nothing renews them
            edits = (*self._corrections.edits, edit)
            self._take(str(tool), self._corrections.model_copy(update={"edits": edits}))
        self.edited.emit(True)
        if isinstance(edit, Delete | Add):
            self.taught.emit()

    def _choose_class(self, place: tuple[int, int]) -> None:
        """Take the class that stands out at a pixel of the image's plane for nuclei."""
        from napari_patchseg.objects import class_at

        run = self._run
        assert run is not None
        self._tools.take(None)
        row, column = (at - start for at, start in zip(place, run.source.box, strict=False))
        made = run.newest_at(row, column)
        if made is None:
            self.told.emit("That is outside of what was segmented.", False)
            return
        point = (row - made.box[0]) // made.reduction, (column - made.box[1]) // made.reduction
        wished = run.objects
        try:
            diameter = wished.diameter_in_pixels(run.source.pixel_size) or DEFAULT_DIAMETER
        except PatchSegError as error:
            self.told.emit(str(error), True)
            return
        chosen = class_at(made.data, point, _CLICKED * diameter / made.reduction)
        if chosen is None:
            self.told.emit("No class stands out yet; let it learn on.", False)
            return
        self._remember("class", (wished.nucleus_class, wished.nucleus_polarity))
        self._announce()
        self.class_chosen.emit(chosen.index, "inverted" if chosen.inverted else "direct")

    def _edit(self, tool: Tool, path: list[tuple[int, int]]) -> Edit | None:
        from napari_patchseg.objects import grow, pixels_of

        labels, run = self._layers.region_view, self._run
        assert labels is not None
        assert run is not None
        if tool is Tool.DELETE:
            found = pixels_of(labels, path[0])
            return None if found is None else Delete.of(found)
        if tool is Tool.ADD:
            if run.shown_nuclei is None:
                return None
            found = grow(run.shown_nuclei, labels, path[0], self._layers.diameter)
            return None if found is None else Add.of(found)
        if len(path) < 2:
            return None
        return (Merge if tool is Tool.MERGE else Split)(path=tuple(path))


_NOTHING = {
    Tool.DELETE: "There is no nucleus; click on one to delete it.",
    Tool.ADD: "That belongs to a nucleus already; click where one is missing.",
    Tool.MERGE: "The stroke crosses fewer than two nuclei; drag from one into the other.",
    Tool.SPLIT: "The stroke does not go through a nucleus; begin and end outside of it.",
}


def _is_same_place(run: Run, other: Run | None) -> bool:
    """Whether two runs are of the same image and region."""
    if other is None:
        return False
    return (run.source.layer, run.source.box) == (other.source.layer, other.source.box)


def _name(run: Run) -> str | None:
    """What tells the image and its region from others; None where nothing does, for lazy data."""
    if run.source.fingerprint is None:
        return None
    return f"{run.source.fingerprint:08x}-{'-'.join(map(str, run.source.box))}"

"""The layers that show a run: made once, then only written to."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from numpy.typing import NDArray
from psygnal import Signal

from napari_patchseg.corrections import NOT_NUCLEUS, NUCLEUS
from napari_patchseg.report import NEGATIVE_COLOUR, POSITIVE_COLOUR
from napari_patchseg.settings import DEFAULT_DIAMETER
from napari_patchseg.words import layer_name

from ._display import Canvas, DisplayPatches
from .layer_source import METADATA_KEY, Plane, displayed_axes
from .napari_workarounds import can_show_shapes, draw_before_removal

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_patchseg.method.maps import ConfidenceMap

#: Yellow of Okabe and Ito's palette: stands out from tissue and from the labels' colours.
OUTLINE_COLOUR = "#f0e442"
OUTLINE_COLOURS: dict[int | None, str] = {None: "transparent", 0: "transparent", 1: OUTLINE_COLOUR}
#: Green and purple, which are told apart by most, and from haematoxylin and eosin.
HINT_COLOURS: dict[int | None, str] = {
    None: "transparent",
    0: "transparent",
    NUCLEUS: "#2fd05b",
    NOT_NUCLEUS: "#d02fc0",
}
#: What a run shows while it learns.
_LIVE = ("confidence", "positive patches", "negative patches")
#: Of nuclei over the tissue; contours hide little and are opaque.
_FILLED_OPACITY = 0.6


class View(StrEnum):
    """What the canvas shows of a run beside its image."""

    CONTOURS = "contours"
    FILLED = "filled"
    LIVE = "live"


class _Own:
    """What is known of a layer that this plugin made; holds neither it nor its image.

    Parameters
    ----------
    layer : Layer
        Listened to from now on.
    role : str
        What it shows.
    image : Image
        What it was made of.
    viewer : Viewer
        Where it is.
    """

    def __init__(self, layer: Layer, role: str, image: Image, viewer: Viewer) -> None:
        self.role = role
        self.image, self.viewer = weakref.ref(image), weakref.ref(viewer)
        self.is_edited = False
        self.was_shown_by_hand = False
        #: What was written to labels last: their array may be changed without an event.
        self.written: NDArray | None = None
        #: What hidden patches are to show when they are seen again.
        self.waiting: DisplayPatches | None = None
        self._is_ours = False
        layer.events.visible.connect(self._on_visible)
        if role == "nuclei":
            for event in (layer.events.data, layer.events.paint, layer.events.labels_update):
                event.connect(self._on_edit)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """What happens to the layer meanwhile is our doing."""
        self._is_ours = True
        try:
            yield
        finally:
            self._is_ours = False

    def _on_visible(self, _event: object) -> None:
        self.was_shown_by_hand |= not self._is_ours

    def _on_edit(self, _event: object) -> None:
        self.is_edited |= not self._is_ours


@dataclass(frozen=True)
class _Before:
    """What a run's layers were when the next one began."""

    image: Callable[[], Image | None]
    canvas: Canvas
    plane: Plane
    around: NDArray | None
    view: View
    labels: tuple[Labels, ...]
    #: Labels of the next run's image that were seen, and the last ones, with what was in them.
    shown: tuple[Labels, ...]
    last: Labels | None
    written: NDArray | None
    metadata: dict[str, Any]


#: All layers of ours in this process, in the order they were made: a panel that is opened anew
#: finds those of the one before. Copies that users make are theirs.
_OWN: weakref.WeakKeyDictionary[Layer, _Own] = weakref.WeakKeyDictionary()


def _on_removing(event: Any) -> None:
    """Draw hidden patches before their removal, also when their panel has gone."""
    layer = event.source[event.index]
    own = _OWN.get(layer)
    viewer = None if own is None else own.viewer()
    if own is not None and viewer is not None and own.role.endswith("patches"):
        own.waiting = None
        draw_before_removal(viewer, layer)


def image_of(labels: Labels | None) -> Image | None:
    """The image that labels were made of, if we made them, and it still exists."""
    own = None if labels is None else _OWN.get(labels)
    return None if own is None else own.image()


class RunLayers:
    """Confidence, patches and labels of the image of a run.

    Nothing but the window's thread may call this. A layer that the user deletes during a run stays
    away until the next one; confidence and patches serve the next image's run as well.

    Parameters
    ----------
    viewer : Viewer
        Where the layers go.
    """

    #: Another view is shown, or of another run.
    view_changed = Signal(View)

    def __init__(self, viewer: Viewer) -> None:
        self._viewer = viewer
        self.view = View.CONTOURS
        #: How the nuclei are shown, as the user chose last.
        self.result_view = View.CONTOURS
        self._image: Callable[[], Image | None] = lambda: None
        self._canvas = Canvas((0, 0, 0, 0), (0, 0, 0, 0))
        self._plane = Plane((0, 0), 0, 1, (0, 0))
        self._layers: dict[str, Layer] = {}
        self._gone: set[str] = set()
        self._labels: list[Labels] = []  # of this run
        self._around: NDArray | None = None  # (H, W), what stays outside of the region
        self._before: _Before | None = None
        self.is_writing_hints = False
        viewer.layers.events.removing.connect(_on_removing)  # once: it is the same for every panel
        viewer.dims.events.ndisplay.connect(self._on_ndisplay)

    def close(self) -> None:
        """Listen to the viewer no longer."""
        self._viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)
        self._layers.clear()
        self._before = None

    def begin(
        self, image: Image, canvas: Canvas, plane: Plane, *, keeps_around: bool = False
    ) -> None:
        """A run begins: deleted layers may come back, labels of earlier runs are the user's.

        Parameters
        ----------
        image : Image
            Held weakly, and known whatever it is called.
        canvas, plane : Canvas, Plane
            Where the run's layers are.
        keeps_around : bool
            Write the region's labels into the last ones of this image, whose rest stays as it is;
            into a copy of them where the user has edited them.
        """
        there = self._labels_of(image)
        last = there[-1] if there else None
        self._before = _Before(
            image=self._image,
            canvas=self._canvas,
            plane=self._plane,
            around=self._around,
            view=self.view,
            labels=tuple(self._labels),
            shown=tuple(layer for layer in there if layer.visible),
            last=last,
            written=None if last is None else _OWN[last].written,
            metadata={} if last is None else dict(last.metadata),
        )
        self._image, self._canvas, self._plane = weakref.ref(image), canvas, plane
        self._layers.clear()
        self._gone.clear()
        self._labels.clear()
        self._around = None
        if keeps_around:
            self._continue_last(image)

    def resume(self) -> None:
        """Go back to the run before this one: its labels are shown and renewed again.

        This one's labels are hidden: taken away are only those of a preview.
        """
        before, self._before = self._before, None
        if before is None:
            return
        for layer in self._labels:
            if layer is not before.last and self._is_there(layer):
                _find_edit(layer)
                is_sketch = layer.metadata.get(METADATA_KEY, {}).get("sketch")
                if is_sketch and not _OWN[layer].is_edited:
                    self._viewer.layers.remove(layer)
                else:
                    _set_visible(layer, False, asked=True)
        self._image, self._canvas, self._plane = before.image, before.canvas, before.plane
        self._around, self._labels = before.around, list(before.labels)
        for layer in before.shown:
            if self._is_there(layer):
                _set_visible(layer, True, asked=True)
        if before.last is not None and self._is_there(before.last):
            self._write_back(before, before.last)
        self.show(before.view)
        self._layers.clear()
        self._gone.clear()
        if (last := self.last_labels) is not None:
            _OWN[last] = _OWN.pop(last)  # the newest again

    def _write_back(self, before: _Before, layer: Labels) -> None:
        """Give labels that this run wrote to what was in them; a new layer, if edited since."""
        own, image = _OWN[layer], self._image()
        if before.written is None or own.written is before.written:
            return
        _find_edit(layer)
        if not own.is_edited:
            with own.writing():
                layer.metadata, own.written = before.metadata, before.written
                layer.data = before.written.copy()
        elif image is not None and own.image() is image and self._is_there(image):
            self._labels = [one for one in self._labels if one is not layer]
            self._new_labels(image, before.written, before.metadata)

    def uncover(self) -> None:
        """Show the labels before this run's again, which has none but those of a preview."""
        there = () if self._before is None else self._before.shown
        there = tuple(layer for layer in there if self._is_there(layer))
        if not there or self.is_edited:
            return
        self.remove_sketch()
        for layer in there:
            _set_visible(layer, True)

    def show(self, view: View | None = None, *, asked: bool = False) -> None:
        """Show the live layers, or the nuclei: without a view as the user likes them.

        Parameters
        ----------
        view : View or None
            What to show.
        asked : bool
            Whether the user asked for it: else what they showed or hid by hand stays as it is.
        """
        self.view = view or self.result_view
        is_live = self.view is View.LIVE
        if not is_live:
            self.result_view = self.view
        for role in _LIVE:
            layer = self._layers.get(role)
            if layer is not None and self._is_there(layer):
                _set_visible(layer, is_live, asked=asked)
        nuclei = self.last_labels
        if nuclei is not None:
            self._draw_as(nuclei, self.view)
            _set_visible(nuclei, True, asked=asked)
        self.view_changed.emit(self.view)

    # -- while it runs

    def write_map(self, confidence: ConfidenceMap, shown: NDArray[np.float32]) -> None:
        """Show a confidence map, as `display_map` has it, in "confidence · <image>"."""
        data = self._plane.expand(shown)
        make = partial(
            Image,
            data,
            rgb=False,
            colormap="magma",
            contrast_limits=(0, 1),
            blending="translucent_no_depth",
            opacity=0.6,
        )
        layer = self._layer(
            "confidence", make, self._canvas.origin_of(confidence), confidence.reduction
        )
        if layer is not None:
            layer.data = data
            layer.metadata[METADATA_KEY].update(
                step=confidence.step,
                reduction=confidence.reduction,
                inverted=confidence.nucleus.inverted,
                **{"class": confidence.nucleus.index},
            )

    def write_patches(self, positive: DisplayPatches, negative: DisplayPatches) -> None:
        """Show a step's patches in "positive patches · <image>" and the negative ones' layer."""
        ndim = len(self._plane.axes)
        if not can_show_shapes(self._viewer, ndim):
            return
        for role, colour, shown in (
            ("positive patches", POSITIVE_COLOUR, positive),
            ("negative patches", NEGATIVE_COLOUR, negative),
        ):
            make = partial(
                Shapes,
                None,
                ndim=ndim,
                edge_color=colour,
                face_color="transparent",
                edge_width=1,
                opacity=0.9,
                blending="translucent_no_depth",
            )
            layer = self._layer(role, make)
            if layer is not None and layer.visible:
                self._fill_patches(layer, shown)
            elif layer is not None:  # sixty shapes take their time
                _OWN[layer].waiting = shown

    def _fill_patches(self, layer: Shapes, shown: DisplayPatches) -> None:
        width, count = self._edge_width(shown), len(shown.rectangles)
        # Without a type the first shapes would become polygons.
        with layer.block_thumbnail_update():  # napari would draw three, of bare outlines all black
            layer.data = (
                list(self._plane.vertices(shown.rectangles)),
                ["rectangle"] * count,
            )
            if any(now != width for now in layer.edge_width):
                layer.edge_width = [width] * count
        layer.features = shown.features
        if count:
            layer.metadata[METADATA_KEY]["step"] = int(shown.features["step"][0])

    # -- labels

    def write_labels(self, labels: NDArray, metadata: dict[str, Any]) -> Labels | None:
        """Show labels (h, w) of the region in "nuclei · <image>".

        Labels of this run that nobody edited are renewed, else a layer is made.

        Parameters
        ----------
        labels : ndarray
            (h, w).
        metadata : dict
            Where they come from.

        Returns
        -------
        Labels or None
            The layer; None where the image is gone.
        """
        image, layer = self._image(), self.unedited_labels
        if image is None or not self._is_there(image):
            return None
        canvas, around = self._canvas, self._around
        placed = canvas.place(labels) if around is None else canvas.place_within(labels, around)
        written = self._plane.expand(placed)
        part = {"origin": list(canvas.origin)} if any(canvas.origin) else {}
        metadata = {METADATA_KEY: {"role": "nuclei", **part, **metadata}}
        if layer is None:
            return self._new_labels(image, written, metadata)
        with _OWN[layer].writing():
            layer.metadata = {**layer.metadata, **metadata}
            _OWN[layer].written = written
            layer.data = written.copy()
        return layer

    def _new_labels(self, image: Image, written: NDArray, metadata: dict[str, Any]) -> Labels:
        layer = Labels(
            written.copy(),
            name=layer_name("nuclei", image.name),
            opacity=_FILLED_OPACITY,
            metadata=metadata,
            **self._plane.transform(image, self._canvas.origin),
        )
        self._draw_as(layer, self.view)
        for earlier in self._labels_of(image):
            _set_visible(earlier, False)
        _OWN[layer] = _Own(layer, "nuclei", image, self._viewer)
        _OWN[layer].written = written
        self._labels.append(layer)  # first: what listens to the viewer may raise
        self._add(layer, select=image in self._viewer.layers.selection)
        return layer

    @property
    def last_labels(self) -> Labels | None:
        """The labels layer made last in this run, edited or not, if it is still there."""
        return next((layer for layer in reversed(self._labels) if self._is_there(layer)), None)

    @property
    def unedited_labels(self) -> Labels | None:
        """The last labels of this run that may be renewed."""
        there = (layer for layer in reversed(self._labels) if self._is_there(layer))
        return next((layer for layer in there if not _OWN[layer].is_edited), None)

    def remove_sketch(self) -> None:
        """Take `unedited_labels` away that show what a preview showed."""
        layer = self.unedited_labels
        if layer is not None and layer.metadata[METADATA_KEY].get("sketch"):
            self._viewer.layers.remove(layer)

    def find_edit(self) -> None:
        """Take `unedited_labels` for edited if their array was changed, without an event."""
        if (layer := self.unedited_labels) is not None:
            _find_edit(layer)

    @property
    def region_labels(self) -> NDArray[np.integer] | None:
        """What `last_labels` has in the region, (h, w); None where it has nothing of its size.

        Nor where there are others around, whose numbers these may not take.
        """
        plane = None if self._around is not None else self._in_plane(self.last_labels)
        return None if plane is None else plane[self._canvas.inside]

    def _in_plane(self, layer: Labels | None) -> NDArray[np.integer] | None:
        """A layer's labels (H, W), if they are of the canvas' shape."""
        if layer is None:
            return None
        data = np.asarray(layer.data)
        shape = self._canvas.shape
        if data.shape != self._plane.expand(np.empty(shape, bool)).shape:
            return None
        return data.reshape(shape)

    def _labels_of(self, image: Image) -> list[Labels]:
        """All labels made of an image that are still there, by earlier runs as well."""
        return [
            layer
            for layer, own in list(_OWN.items())
            if own.role == "nuclei" and own.image() is image and self._is_there(layer)
        ]

    def _continue_last(self, image: Image) -> None:
        """Keep what the last labels have outside of the region, if they are of this plane."""
        last = next(reversed(self._labels_of(image)), None)
        around = self._in_plane(last)
        here = self._plane.transform(image, self._canvas.origin)["translate"]
        if last is None or around is None or not _equal(last.translate, here):
            return
        self._around = around.copy()
        _find_edit(last)
        if not _OWN[last].is_edited:
            self._labels.append(last)

    @property
    def region_view(self) -> NDArray[np.integer] | None:
        """What `last_labels` shows in the region, (h, w), whoever's they are."""
        plane = self._in_plane(self.last_labels)
        return None if plane is None else plane[self._canvas.inside]

    @property
    def inside(self) -> tuple[slice, slice]:
        """The region in the layers' rows and columns."""
        return self._canvas.inside

    def world_of(self, row: float, column: float) -> tuple[float, float]:
        """Where a pixel of the image's plane is in the world, along the axes shown."""
        layer, (top, left) = self._image(), self._canvas.origin
        nuclei = self.last_labels
        if layer is None or nuclei is None:
            return row, column
        place = self._plane.vertices(np.array([row - top, column - left]))
        world = np.asarray(nuclei.data_to_world(place))
        y, x = world[list(displayed_axes(self._viewer.dims.order, nuclei.ndim))].tolist()
        return y, x

    @property
    def is_edited(self) -> bool:
        """Whether `last_labels` are the user's: changed by other means than ours."""
        labels = self.last_labels
        if labels is None:
            return False
        _find_edit(labels)
        return _OWN[labels].is_edited

    def edit_labels(
        self, rows: NDArray[np.intp], columns: NDArray[np.intp], values: NDArray[np.int64]
    ) -> None:
        """Change some pixels of the region in `last_labels`, in one step of their undo.

        Parameters
        ----------
        rows, columns : ndarray
            (n,) of the region.
        values : ndarray
            (n,) numbers; those above all of the region's stand for new objects.
        """
        layer, shown = self.last_labels, self.region_view
        if layer is None or shown is None:
            return
        new = values > shown.max(initial=0)
        values = values + new * (int(layer.data.max(initial=0)) - int(shown.max(initial=0)))
        is_own = not self.is_edited
        own = _OWN[layer]
        with own.writing():
            if values.max(initial=0) > np.iinfo(layer.data.dtype).max:
                layer.data = layer.data.astype(np.uint32)
            inside_rows, inside_columns = self.inside
            at: list[Any] = [np.zeros(1, int)] * layer.ndim
            axes = self._plane.axes
            at[axes.index(self._plane.rows)] = rows + inside_rows.start
            at[axes.index(self._plane.columns)] = columns + inside_columns.start
            where = tuple(np.broadcast_arrays(*at))
            layer.data_setitem(where, values)
            if is_own and own.written is not None:
                own.written = own.written.astype(layer.data.dtype)  # others hold it, too
                own.written[where] = values

    @property
    def diameter(self) -> float:
        """Expected nucleus diameter in pixels that `last_labels` were made with."""
        labels = self.last_labels
        return DEFAULT_DIAMETER if labels is None else _diameter(labels)

    # -- hints

    @property
    def hints(self) -> Labels | None:
        """The layer of the hints on this image, if it is there."""
        image, place = self._image(), self._canvas.origin
        if image is None:
            return None
        here = self._plane.transform(image, place)["translate"]
        for layer, own in list(_OWN.items()):
            if own.role == "hints" and own.image() is image and self._is_there(layer):
                fits = self._in_plane(layer) is not None and _equal(layer.translate, here)
                if fits:
                    return layer
        return None

    @property
    def painted(self) -> NDArray[np.integer] | None:
        """The hints in the region, (h, w); None where there is no layer."""
        plane = self._in_plane(self.hints)
        return None if plane is None else plane[self._canvas.inside].copy()

    def make_hints(self, painted: NDArray[np.uint8]) -> Labels | None:
        """The layer "hints · <image>", made with these hints (h, w) if it is not there."""
        image, layer = self._image(), self.hints
        if layer is not None or image is None or not self._is_there(image):
            return layer
        layer = Labels(
            self._plane.expand(self._canvas.place(painted)).copy(),
            name=layer_name("hints", image.name),
            opacity=0.7,
            colormap=HINT_COLOURS,
            metadata=_metadata("hints", image),
            **self._plane.transform(image, self._canvas.origin),
        )
        _OWN[layer] = _Own(layer, "hints", image, self._viewer)
        self._add(layer)
        return layer

    def write_hints(self, painted: NDArray[np.uint8]) -> None:
        """Show other hints (h, w) of the region in their layer, if there is one."""
        layer = self.hints
        plane = self._in_plane(layer)
        if layer is None or plane is None:
            return
        now = plane.copy()
        now[self._canvas.inside] = painted
        self.is_writing_hints = True
        try:
            layer.data = self._plane.expand(now)
            mode = layer.mode
            layer.editable = False  # napari would undo what is no longer there
            layer.editable = True
            layer.mode = mode
        finally:
            self.is_writing_hints = False

    # -- the outline

    def write_outline(self, border: NDArray[np.bool_], reduction: int) -> None:
        """Show a border in the region in "outline · <image>", where labels are to be renewed."""
        nuclei = self.unedited_labels
        if nuclei is None or not nuclei.visible:
            return
        data = self._plane.expand(border.view(np.uint8))
        make = partial(Labels, data, opacity=1, colormap=OUTLINE_COLOURS)
        layer = self._layer("outline", make, self._canvas.region[:2], reduction)
        if layer is not None:
            layer.data = data
            layer.visible = True

    def hide_outline(self) -> None:
        """Show the outline no more; its layer serves the next one, until `remove_outline`."""
        if (layer := self._layers.get("outline")) is not None:
            layer.visible = False

    def remove_outline(self) -> None:
        """Take the outline away, if there is one."""
        layer = self._layers.pop("outline", None)
        if layer is not None and self._is_there(layer):
            self._viewer.layers.remove(layer)

    # -- inside

    def _is_there(self, layer: Layer) -> bool:
        return layer in self._viewer.layers

    def _layer(
        self,
        role: str,
        make: Callable[..., Layer],
        origin: tuple[int, int] = (0, 0),
        reduction: int = 1,
    ) -> Any:
        """The layer of a role, made if need be; None if it was deleted, or the image is gone."""
        image, layer = self._image(), self._layers.get(role)
        if role in self._gone or image is None or not self._is_there(image):
            return None
        if layer is not None and not self._is_there(layer):
            self._gone.add(role)
            return None
        place = self._plane.transform(image, origin, reduction)
        if layer is None and (layer := self._take_over(role, image)) is not None:
            _OWN[layer].waiting = None  # of an earlier run
            if role in _LIVE:
                _set_visible(layer, self.view is View.LIVE)
        if layer is None:
            metadata = _metadata(role, image)
            layer = make(name=layer_name(role, image.name), metadata=metadata, **place)
            layer.visible = self.view is View.LIVE or role not in _LIVE
            _OWN[layer] = _Own(layer, role, image, self._viewer)
            self._add(layer)
        else:
            _move(layer, place)
        self._layers[role] = layer
        layer.events.visible.connect(self._on_visible)
        return layer

    def _take_over(self, role: str, image: Image) -> Layer | None:
        """The layer of this role that an earlier run left."""
        layers = self._viewer.layers
        for layer in list(layers):
            own = _OWN.get(layer)
            if own is None or own.role != role:
                continue
            if layer.ndim != len(self._plane.axes):  # which cannot change
                layers.remove(layer)
                continue
            if own.image() is not image:
                own.image = weakref.ref(image)
                layer.name = layer_name(role, image.name)
                layer.metadata = {**layer.metadata, **_metadata(role, image)}
                layers.move(layers.index(layer), len(layers))
            return layer
        return None

    def _on_visible(self, event: Any) -> None:
        layer = event.source
        own = _OWN[layer]
        if layer.visible and own.waiting is not None and self._layers.get(own.role) is layer:
            shown, own.waiting = own.waiting, None
            self._fill_patches(layer, shown)

    def _on_ndisplay(self, _event: object) -> None:
        nuclei = self.last_labels
        if nuclei is not None:
            self._draw_as(nuclei, self.view)

    def _draw_as(self, layer: Labels, view: View) -> None:
        """Draw nuclei as contours or filled; a thickness or opacity of the user's own stays."""
        # in 3-D napari draws no contours, and warns
        contours = view is not View.FILLED and self._viewer.dims.ndisplay == 2
        if (layer.contour > 0) != contours:
            layer.contour = thickness(layer) if contours else 0
            layer.opacity = 1 if contours else _FILLED_OPACITY

    def _add(self, layer: Layer, *, select: bool = False) -> None:
        """Add a layer; napari selects every new one, which takes the tool out of users' hands."""
        selection = self._viewer.layers.selection
        selected, active = set(selection), selection.active
        try:
            self._viewer.add_layer(layer)
        finally:
            if selected and not select:
                self._viewer.layers.selection = selected
                self._viewer.layers.selection.active = active if len(selected) == 1 else None

    def _edge_width(self, shown: DisplayPatches) -> float:
        """Thin beside a patch, but to be seen in a large image."""
        if not len(shown.rectangles):
            return 1.0
        side = float(np.ptp(shown.rectangles[0, :, 0]))
        return float(np.clip(max(self._canvas.shape) / 500, 1, max(1.0, side / 10)))


def _move(layer: Layer, place: dict[str, Any]) -> None:
    """Put a layer where its image is, should that have moved, or the grid have changed."""
    for name, value in place.items():
        now = getattr(layer, name)
        if name == "affine":
            now = now.affine_matrix
        same = now == value if name in ("units", "axis_labels") else _equal(now, value)
        if not same:
            setattr(layer, name, value)


def _set_visible(layer: Layer, visible: bool, *, asked: bool = False) -> None:
    """Show or hide a layer, unless the user has done so by hand and does not ask for this."""
    own = _OWN[layer]
    if asked:
        own.was_shown_by_hand = False
    if not own.was_shown_by_hand and layer.visible != visible:
        with own.writing():
            layer.visible = visible


def _find_edit(layer: Labels) -> None:
    own = _OWN[layer]
    own.is_edited |= own.written is None or not np.array_equal(layer.data, own.written)


def _metadata(role: str, image: Image) -> dict[str, Any]:
    return {METADATA_KEY: {"role": role, "image": image.name}}


def _diameter(layer: Labels) -> float:
    objects = layer.metadata[METADATA_KEY].get("objects") or {}
    return float(objects.get("diameter") or DEFAULT_DIAMETER)


def thickness(layer: Labels) -> int:
    """Of a nucleus' contour, in pixels: a twelfth of the diameter, at least 1."""
    return max(1, round(_diameter(layer) / 12))


def _equal(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-12, atol=0))

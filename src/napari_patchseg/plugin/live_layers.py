"""The layers that this plugin owns: made once for an image, then only written to."""

from __future__ import annotations

import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.files.curves import NEGATIVE_COLOUR, POSITIVE_COLOUR
from napari_patchseg.words import layer_name

from .layer_source import METADATA_KEY, unwrap
from .overlays import Canvas, ShownMap, ShownPatches
from .plane import Plane
from .views import View, Visibility

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer, Shapes
    from napari.viewer import Viewer

#: Yellow of Okabe and Ito's palette: stands out from tissue and from the labels' colours.
OUTLINE_COLOUR = "#f0e442"
#: Of nuclei over the tissue; contours hide little and are opaque.
_FILLED_OPACITY = 0.6
#: What a run shows while it learns.
_LIVE = ("confidence", "positive patches", "negative patches")
#: Diameter of a nucleus in pixels where the labels don't say.
_DIAMETER = 24.0

#: The images that labels of ours were made of.
_IMAGES: weakref.WeakKeyDictionary[Labels, weakref.ref[Image]] = weakref.WeakKeyDictionary()


def image_of(labels: Labels | None) -> Image | None:
    """The image that labels were made of, if we made them, and it still exists."""
    image = None if labels is None else _IMAGES.get(labels)
    return None if image is None else image()


class LiveLayers:
    """Confidence, windows and labels of one image layer.

    Nothing but the GUI's thread may call this. A layer that the user deletes during a run stays
    away until the next one.

    Parameters
    ----------
    viewer : Viewer
        Where the layers go.
    source : Image
        The image; held weakly, and known whatever it is called. Confidence and patches of another
        image's run are taken over, so that runs don't pile them up.
    """

    #: Confidence, patches and outlines, and whose they are now.
    _owners: ClassVar[weakref.WeakKeyDictionary[Layer, weakref.ref[LiveLayers]]] = (
        weakref.WeakKeyDictionary()
    )
    _visibility: ClassVar[Visibility] = Visibility()
    _known: ClassVar[weakref.WeakKeyDictionary[Image, LiveLayers]] = weakref.WeakKeyDictionary()

    @classmethod
    def of(cls, viewer: Viewer, source: Image) -> LiveLayers:
        """The layers of an image, whichever panel asks."""
        known = cls._known.get(source)
        if known is None or known.viewer is not unwrap(viewer):
            known = cls._known[source] = cls(viewer, source)
        return known

    def __init__(self, viewer: Viewer, source: Image) -> None:
        self._viewer = weakref.ref(unwrap(viewer))
        self._source = weakref.ref(source)
        self._layers: dict[str, Layer] = {}
        self._gone: set[str] = set()
        self._labels: list[_OwnLabels] = []
        self._made: list[_OwnLabels] = []  # by earlier runs as well
        self._around: NDArray | None = None  # (H, W), what stays outside of the region
        #: What hidden layers are to show when they are seen again.
        self._waiting: dict[str, Callable[[], None]] = {}
        self.view = View.LIVE
        #: How the nuclei are shown, as the user chose last.
        self.result_view = View.CONTOURS
        self._canvas: Canvas | None = None
        self._plane: Plane | None = None
        unwrap(viewer).layers.events.removing.connect(self._draw_before_removal)
        unwrap(viewer).dims.events.ndisplay.connect(self._on_ndisplay)

    @property
    def viewer(self) -> Viewer | None:
        """Where the layers are, while it exists."""
        return self._viewer()

    def begin(self, canvas: Canvas, plane: Plane, *, keeps_around: bool = False) -> None:
        """A run begins: deleted layers may come back, labels of earlier runs are the user's.

        Parameters
        ----------
        canvas, plane : Canvas, Plane
            Where the run's layers are.
        keeps_around : bool
            Write the region's labels into the last ones of this image, whose rest stays as it is;
            into a copy of them where the user has edited them.
        """
        if self._plane is not None and plane.axes != self._plane.axes:
            self._remove_all()  # a layer's dimensions cannot change
        self._canvas, self._plane = canvas, plane
        self._gone.clear()
        self._made = [own for own in self._made if self._is_there(own.layer)]
        self._labels.clear()
        self._around = None
        if keeps_around:
            self._continue_last()
        self._waiting.clear()
        self._layers = {
            role: layer
            for role, layer in self._layers.items()
            if self._is_there(layer) and self._owns(layer)
        }

    def show(self, view: View, *, asked: bool = False) -> None:
        """Show the nuclei, or the live layers.

        Parameters
        ----------
        view : View
            What to show.
        asked : bool
            Whether the user asked for it: else what they showed or hid by hand stays as it is.
        """
        self.view = view
        if view is not View.LIVE:
            self.result_view = view
        for role in _LIVE:
            layer = self._layers.get(role)
            if layer is not None and self._is_there(layer):
                self._visibility.set(layer, view is View.LIVE, asked=asked)
        nuclei = self.last_labels
        if nuclei is not None:
            if view is not View.LIVE:
                self._draw_as(nuclei, view)
            self._visibility.set(nuclei, view is not View.LIVE, asked=asked)

    # -- while it runs

    def write_map(self, shown: ShownMap) -> None:
        """Show a confidence map in "confidence · <image>"."""
        layer = self._layer("confidence", lambda: self._new_confidence(shown))
        if layer is None:
            return
        layer.data = self._expand(shown.data)
        self._follow(layer, shown.origin, shown.reduction)
        layer.metadata[METADATA_KEY].update(
            step=shown.step,
            reduction=shown.reduction,
            **{"class": shown.nucleus.index, "inverted": shown.nucleus.inverted},
        )

    def write_positive(self, shown: ShownPatches) -> None:
        """Show a step's positive windows in "positive patches · <image>"."""
        self._write_patches("positive patches", POSITIVE_COLOUR, shown)

    def write_negative(self, shown: ShownPatches) -> None:
        """Show a step's negative windows in "negative patches · <image>"."""
        self._write_patches("negative patches", NEGATIVE_COLOUR, shown)

    def write_patches(self, positive: ShownPatches, negative: ShownPatches) -> None:
        """Show both at once."""
        self.write_positive(positive)
        self.write_negative(negative)

    def _write_patches(self, role: str, colour: str, shown: ShownPatches) -> None:
        viewer, plane = self.viewer, self._plane
        if viewer is None or plane is None:
            return
        if len(plane.axes) == 2 and viewer.dims.ndisplay == 3:
            return  # napari 0.9.2 cannot put shapes of two dimensions into its 3-D display
        layer = self._layer(role, partial(self._new_patches, role, colour))
        if layer is None:
            return
        if layer.visible:
            self._fill_patches(role, shown)
        else:  # sixty shapes take their time
            self._waiting[role] = partial(self._fill_patches, role, shown)

    def _fill_patches(self, role: str, shown: ShownPatches) -> None:
        layer, plane = self._layers[role], self._plane
        if plane is None:
            return
        self._follow(layer)
        width = self._edge_width(shown)
        count = len(shown.rectangles)
        # Without a type the first shapes would become polygons.
        with layer.block_thumbnail_update():  # napari would draw three, of bare outlines all black
            layer.data = (list(plane.vertices(shown.rectangles)), ["rectangle"] * count)
            if any(now != width for now in layer.edge_width):
                layer.edge_width = [width] * count
        layer.features = shown.features
        if count:
            layer.metadata[METADATA_KEY]["step"] = int(shown.features["step"][0])

    # -- labels

    def write_outline(self, border: NDArray[np.bool_], reduction: int) -> None:
        """Show a border in the region in "outline · <image>", until `hide_outline`."""
        source, own = self._source(), self._unedited()
        if source is None or self._canvas is None or own is None or not own.layer.visible:
            return
        origin = self._canvas.region[0], self._canvas.region[1]
        layer = self._layers.get("outline")
        if layer is not None and self._is_there(layer):
            self._follow(layer, origin, reduction)
            layer.data = self._expand(border.view(np.uint8))
            layer.visible = True
            return
        from napari.layers import Labels

        self._layers["outline"] = layer = Labels(
            self._expand(border.view(np.uint8)),
            name=layer_name("outline", source.name),
            opacity=1,
            colormap={0: "transparent", 1: OUTLINE_COLOUR, None: "transparent"},
            metadata=self._metadata("outline", source),
            **self._transform(source, origin, reduction),
        )
        self._add(layer)

    def hide_outline(self) -> None:
        """Show the outline no more; its layer serves the next one, until `remove_outline`."""
        layer = self._layers.get("outline")
        if layer is not None:
            layer.visible = False

    def remove_outline(self) -> None:
        """Take the outline away, if there is one."""
        layer, viewer = self._layers.pop("outline", None), self.viewer
        if layer is not None and viewer is not None and layer in viewer.layers:
            viewer.layers.remove(layer)

    def write_labels(self, labels: NDArray, report: dict[str, Any]) -> Labels | None:
        """Show labels (h, w) of the region in "nuclei · <image>".

        Labels of this run that nobody edited are rewritten; otherwise a new layer is made. None if
        the image is gone.
        """
        source, canvas = self._source(), self._canvas
        if source is None or canvas is None or not self._is_there(source):
            return None
        data = self._placed(labels)
        own = self._unedited()
        if own is not None:
            self.rewrite_labels(labels, report)
            return own.layer
        from napari.layers import Labels

        layer = Labels(
            data,
            name=layer_name("nuclei", source.name),
            opacity=_FILLED_OPACITY,
            metadata={METADATA_KEY: {"role": "nuclei", **report}},
            **self._transform(source, canvas.origin),
        )
        _IMAGES[layer] = self._source
        self._draw_as(layer, self.result_view)
        for earlier in self._made:
            self._visibility.set(earlier.layer, False)
        self._visibility.set(layer, True)  # and watched
        self._labels.append(own := _OwnLabels(layer))  # first: what listens to the viewer may raise
        self._made.append(own)
        self._add(layer, select=source in self._selection())
        return layer

    def rewrite_labels(self, labels: NDArray, report: dict[str, Any]) -> bool:
        """Replace the last labels of this run that nobody edited; false if there are none."""
        own = self._unedited()
        if own is None or self._canvas is None:
            return False
        own.layer.metadata[METADATA_KEY] = {"role": "nuclei", **report}
        own.write(self._placed(labels))
        return True

    @property
    def has_unedited_labels(self) -> bool:
        """Whether there are labels of this run that `rewrite_labels` may replace."""
        return self._unedited() is not None

    @property
    def last_labels(self) -> Labels | None:
        """The labels layer made last in this run, edited or not, if it is still there."""
        there = [own.layer for own in self._labels if self._is_there(own.layer)]
        return there[-1] if there else None

    @property
    def region_labels(self) -> NDArray[np.integer] | None:
        """What `last_labels` has in the region, (h, w); None where it has nothing of its size."""
        layer, canvas = self.last_labels, self._canvas
        if layer is None or canvas is None or self._plane is None:
            return None
        if self._around is not None:  # beside others, whose numbers these may not take
            return None
        data = np.asarray(layer.data)
        if data.shape != self._expand(np.empty(canvas.shape, np.uint8)).shape:
            return None
        (row0, column0), (row1, column1) = canvas.offset, canvas.region[2:]
        rows, columns = row1 - canvas.region[0], column1 - canvas.region[1]
        plane = data.reshape(canvas.shape)
        return plane[row0 : row0 + rows, column0 : column0 + columns]

    def _unedited(self) -> _OwnLabels | None:
        there = [own for own in self._labels if self._is_there(own.layer)]
        return next((own for own in reversed(there) if not own.is_edited()), None)

    # -- inside

    def _continue_last(self) -> None:
        """Keep what the last labels have outside of the region, if they are of this plane."""
        canvas, source = self._canvas, self._source()
        if not self._made or canvas is None or source is None:
            return
        own = self._made[-1]
        data = np.asarray(own.layer.data)
        if data.shape != self._expand(np.empty(canvas.shape, bool)).shape:
            return
        here = self._transform(source, canvas.origin)["translate"]
        if not _equal(own.layer.translate, here):  # of another plane
            return
        self._around = data.reshape(canvas.shape).copy()
        if not own.is_edited():
            self._labels.append(own)

    def _placed(self, labels: NDArray) -> NDArray:
        """Labels (h, w) of the region as the layer has them."""
        canvas = self._canvas
        assert canvas is not None
        around = self._around
        whole = canvas.place(labels) if around is None else canvas.place_within(labels, around)
        return self._expand(whole)

    def _draw_before_removal(self, event: Any) -> None:
        """Draw a hidden patch layer once more before it is removed.

        napari 0.9.2 keeps the buffers of a Shapes layer that was hidden after its data changed, and
        crashes in the next drawing after its removal.
        """
        viewer = self.viewer
        if viewer is None:
            return
        layer = viewer.layers[event.index]
        patches = (self._layers.get("positive patches"), self._layers.get("negative patches"))
        if any(layer is ours for ours in patches) and not layer.visible:
            self._waiting.clear()
            layer.visible = True
            viewer.screenshot(canvas_only=True, flash=False)

    def _remove_all(self) -> None:
        viewer = self.viewer
        for layer in self._layers.values():
            if viewer is not None and self._is_there(layer):
                viewer.layers.remove(layer)
        self._layers.clear()

    def _is_there(self, layer: Layer) -> bool:
        viewer = self.viewer
        return viewer is not None and layer in viewer.layers

    def _selection(self) -> set[Layer]:
        viewer = self.viewer
        return set() if viewer is None else {unwrap(layer) for layer in viewer.layers.selection}

    def _layer(self, role: str, make: Callable[[], Layer]) -> Any:
        """The layer of a role, made if need be; None if it was deleted, or the image is gone."""
        if role in self._gone:
            return None
        layer = self._layers.get(role)
        if layer is None:
            source = self._source()
            if source is None or not self._is_there(source):
                return None
            layer = self._take_over(role, source)
            if layer is None:
                layer = make()
                layer.visible = self.view is View.LIVE
                self._add(layer)
            self._layers[role] = layer
            self._owners[layer] = weakref.ref(self)
            self._visibility.set(layer, self.view is View.LIVE)
            layer.events.visible.connect(self._on_visible)
        elif not self._is_there(layer):
            del self._layers[role]
            self._gone.add(role)
            return None
        return layer

    def _draw_as(self, layer: Labels, view: View) -> None:
        """Draw nuclei as contours or filled; a thickness or opacity of the user's own stays."""
        viewer = self.viewer
        flat = viewer is not None and viewer.dims.ndisplay == 2  # else napari draws none, and warns
        contours = view is View.CONTOURS and flat
        if (layer.contour > 0) != contours:
            layer.contour = _thickness(layer) if contours else 0
            layer.opacity = 1 if contours else _FILLED_OPACITY

    def _on_ndisplay(self, _event: Any = None) -> None:
        nuclei = self.last_labels
        if nuclei is not None and self._is_there(nuclei):
            self._draw_as(nuclei, self.result_view)

    def _owns(self, layer: Layer) -> bool:
        owner = self._owners.get(layer)
        return owner is not None and owner() is self

    def _take_over(self, role: str, source: Image) -> Layer | None:
        """The layer of this role that a run on another image left."""
        viewer, plane = self.viewer, self._plane
        assert viewer is not None
        assert plane is not None
        for layer in list(viewer.layers):
            layer = unwrap(layer)
            ours = layer in self._owners and layer.metadata.get(METADATA_KEY, {})
            if not ours or ours.get("role") != role:
                continue
            if layer.ndim != len(plane.axes):  # which cannot change
                viewer.layers.remove(layer)
                continue
            layer.name = layer_name(role, source.name)
            layer.metadata.update(self._metadata(role, source))
            viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))
            return layer
        return None

    def _on_visible(self, event: Any) -> None:
        layer = event.source
        for role in [role for role in self._waiting if self._layers.get(role) is layer]:
            if layer.visible and self._owns(layer):
                self._waiting.pop(role)()

    def _add(self, layer: Layer, *, select: bool = False) -> None:
        viewer = self.viewer
        if viewer is None:
            return
        with self._keep_selection(not select):
            viewer.add_layer(layer)

    @contextmanager
    def _keep_selection(self, keep: bool) -> Iterator[None]:
        # napari selects every new layer, which would take the tool out of the user's hand.
        viewer = self.viewer
        assert viewer is not None
        selected, active = set(viewer.layers.selection), viewer.layers.selection.active
        try:
            yield
        finally:
            if keep and selected:
                viewer.layers.selection = selected
                viewer.layers.selection.active = active if len(selected) == 1 else None

    def _follow(self, layer: Layer, origin: tuple[int, int] = (0, 0), reduction: int = 1) -> None:
        """Put the layer where the image is, should that have moved, or the grid have changed."""
        source = self._source()
        if source is None:
            return
        for name, value in self._transform(source, origin, reduction).items():
            now = getattr(layer, name)
            if name == "affine":
                now = now.affine_matrix
            same = now == value if name in ("units", "axis_labels") else _equal(now, value)
            if not same:
                setattr(layer, name, value)

    def _transform(
        self, source: Image, origin: tuple[int, int] = (0, 0), reduction: int = 1
    ) -> dict[str, Any]:
        assert self._plane is not None
        return self._plane.transform(source, origin, reduction)

    def _expand(self, array: NDArray[Any]) -> NDArray[Any]:
        assert self._plane is not None
        return self._plane.expand(array)

    def _metadata(self, role: str, source: Image) -> dict[str, Any]:
        return {METADATA_KEY: {"role": role, "image": source.name}}

    def _new_confidence(self, shown: ShownMap) -> Image:
        from napari.layers import Image

        source = self._source()
        assert source is not None
        return Image(
            self._expand(shown.data),
            rgb=False,
            name=layer_name("confidence", source.name),
            colormap="magma",
            contrast_limits=(0, 1),
            blending="translucent_no_depth",
            opacity=0.6,
            metadata=self._metadata("confidence", source),
            **self._transform(source, shown.origin, shown.reduction),
        )

    def _new_patches(self, role: str, colour: str) -> Shapes:
        from napari.layers import Shapes

        source = self._source()
        assert source is not None
        assert self._plane is not None
        return Shapes(
            None,
            ndim=len(self._plane.axes),
            name=layer_name(role, source.name),
            edge_color=colour,
            face_color="transparent",
            edge_width=1,
            opacity=0.9,
            blending="translucent_no_depth",
            metadata=self._metadata(role, source),
            **self._transform(source),
        )

    def _edge_width(self, shown: ShownPatches) -> float:
        """Thin beside a window, but to be seen in a large image."""
        if self._canvas is None or not len(shown.rectangles):
            return 1.0
        side = float(np.ptp(shown.rectangles[0, :, 0]))
        return float(np.clip(max(self._canvas.shape) / 500, 1, max(1.0, side / 10)))


def _thickness(layer: Labels) -> int:
    """Of a nucleus' contour, in pixels: a twelfth of the diameter, at least 1."""
    objects = layer.metadata[METADATA_KEY].get("objects") or {}
    return max(1, round(float(objects.get("diameter", _DIAMETER)) / 12))


class _OwnLabels:
    """A labels layer of ours, and what we wrote into it."""

    def __init__(self, layer: Labels) -> None:
        self.layer = layer
        self._written = _checksum(layer.data)
        self._has_strokes = False
        layer.events.paint.connect(self._on_paint)

    def write(self, data: NDArray) -> None:
        self._written = _checksum(data)  # first: what listens to the layer may raise
        self.layer.data = data
        if self._has_strokes:
            self._forget_strokes()

    def _on_paint(self) -> None:
        self._has_strokes = True

    def _forget_strokes(self) -> None:
        """Undo and redo would put pieces of the earlier labels into these."""
        mode = self.layer.mode
        self.layer.editable = False  # with it goes the history
        self.layer.editable = True
        self.layer.mode = mode
        self._has_strokes = False

    def is_edited(self) -> bool:
        return _checksum(self.layer.data) != self._written


def _checksum(data: Any) -> tuple[Any, ...]:
    array = np.ascontiguousarray(data)
    return array.shape, array.dtype.str, zlib.crc32(array.view(np.uint8).data)


def _equal(a: Any, b: Any) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-12, atol=0))

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

from .layer_source import METADATA_KEY, unwrap
from .overlays import Canvas, ShownMap, ShownPatches
from .plane import Plane

if TYPE_CHECKING:
    from napari.layers import Image, Labels, Layer, Shapes
    from napari.viewer import Viewer

#: Sky blue and orange of Okabe and Ito's palette: told apart with any colour vision.
POSITIVE_COLOUR = "#56b4e9"
NEGATIVE_COLOUR = "#e69f00"
#: Yellow of the same: stands out from tissue and from the labels' colours.
OUTLINE_COLOUR = "#f0e442"

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
        The image; held weakly. Layers are reused for this object alone, whatever it is called.
    """

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
        self._canvas: Canvas | None = None
        self._plane: Plane | None = None
        unwrap(viewer).layers.events.removing.connect(self._draw_before_removal)

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
        for role in [role for role, layer in self._layers.items() if not self._is_there(layer)]:
            del self._layers[role]

    # -- while it runs

    def write_map(self, shown: ShownMap) -> None:
        """Show a confidence map in "<image> confidence"."""
        layer = self._layer("confidence", lambda: self._new_confidence(shown))
        if layer is None:
            return
        layer.data = self._expand(shown.data)
        self._follow(layer, shown.origin, shown.reduction)
        layer.metadata[METADATA_KEY].update(
            step=shown.step,
            reduction=shown.reduction,
            **{"class": shown.nucleus.index + 1, "inverted": shown.nucleus.inverted},
        )

    def write_positive(self, shown: ShownPatches) -> None:
        """Show a step's positive windows in "<image> positive patches"."""
        self._write_patches("positive patches", POSITIVE_COLOUR, shown)

    def write_negative(self, shown: ShownPatches) -> None:
        """Show a step's negative windows in "<image> negative patches"."""
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
        """Show a border in the region in "<image> outline", until `hide_outline`."""
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
            name=f"{source.name} outline",
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
        """Show labels (h, w) of the region in "<image> nuclei".

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
            name=f"{source.name} nuclei",
            opacity=0.6,
            metadata={METADATA_KEY: {"role": "nuclei", **report}},
            **self._transform(source, canvas.origin),
        )
        _IMAGES[layer] = self._source
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
            layer = self._layers[role] = make()
            self._add(layer)
        elif not self._is_there(layer):
            del self._layers[role]
            self._gone.add(role)
            return None
        return layer

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
            name=f"{source.name} confidence",
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
            name=f"{source.name} {role}",
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

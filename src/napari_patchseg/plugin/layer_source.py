"""From an image layer to the pixels of a plane, and from that to the layer's coordinates."""

from __future__ import annotations

import math
import weakref
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image, Layer, Shapes
from numpy.typing import NDArray

from napari_patchseg.errors import ImageError, PatchSegError
from napari_patchseg.files.images import pixel_size_of_file, unconverted_colours
from napari_patchseg.files.pixel_size import micrometres, plausible
from napari_patchseg.image.layout import CHANNEL_NAMES, MOST_CHANNELS, layout_of
from napari_patchseg.words import pluralize

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_patchseg.geometry import Box
    from napari_patchseg.image.pixels import Pixels
    from napari_patchseg.modality import ImageKind

#: Key in ``layer.metadata`` of everything that this plugin makes.
METADATA_KEY = "napari_patchseg"
#: Dimensions beyond this are refused: which two are the image is a guess.
_MOST_DIMENSIONS = 4
#: Values that the fingerprint of an array looks at.
_FINGERPRINT_VALUES = 2**20


class Region(StrEnum):
    """Which part of an image is segmented."""

    WHOLE = "whole image"
    VISIBLE = "visible field"
    RECTANGLE = "selected rectangle"


def unwrap(thing: Any) -> Any:
    """The object behind the proxy that napari hands to plugins."""
    return getattr(thing, "__wrapped__", thing)


def role_of(layer: Layer) -> str:
    """What the layer shows of a run, such as "nuclei"; empty where this plugin did not make it."""
    return str(layer.metadata.get(METADATA_KEY, {}).get("role", ""))


def is_ours(layer: Layer) -> bool:
    """Whether this plugin made the layer to show a run."""
    return bool(role_of(layer))


def is_image(layer: Layer) -> bool:
    """Whether the layer is an image that can be offered for segmentation."""
    return isinstance(unwrap(layer), Image) and not is_ours(layer)


def size_of(layer: Image) -> tuple[int, int]:
    """Height and width at full resolution of an image of two dimensions."""
    height, width = _full_resolution(layer).shape[:2]
    return int(height), int(width)


def image_layer_of(viewer: Viewer) -> Image:
    """The one selected image layer; raises `PatchSegError` with a sentence otherwise."""
    selected = list(viewer.layers.selection)
    if not len(viewer.layers):
        raise PatchSegError("There is no layer; open an image first.")
    if len(selected) > 1:
        raise PatchSegError(
            f"{len(selected)} layers are selected; select the one image to segment."
        )
    if not selected:
        raise PatchSegError("No layer is selected; select the image to segment.")
    return checked_image(selected[0])


def checked_image(layer: Layer | None) -> Image:
    """The layer if it can be segmented; raises `PatchSegError` with a sentence otherwise."""
    layer = unwrap(layer)
    if layer is None:
        raise PatchSegError("There is no image layer; open an image first.")
    if not isinstance(layer, Image):
        raise PatchSegError(
            f"'{layer.name}' is a {type(layer).__name__} layer; select an Image layer to segment."
        )
    if is_ours(layer):
        raise PatchSegError(
            f"'{layer.name}' is a confidence map of PatchSeg; select the image itself."
        )
    return layer


@dataclass(frozen=True)
class Plane:
    """Rows and columns of a layer, at one place along its other axes.

    Attributes
    ----------
    shape : tuple of int
        Length of each of the layer's axes; that of colours is none of them.
    rows, columns : int
        The axes of the plane; rows come first.
    position : tuple of int
        Where the plane is along each axis; for rows, columns and channels it says nothing.
    channels : int or None
        An axis whose channels are taken together.
    """

    shape: tuple[int, ...]
    rows: int
    columns: int
    position: tuple[int, ...]
    channels: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.shape[self.rows], self.shape[self.columns]

    @property
    def index(self) -> tuple[int | slice, ...]:
        """What to index in the layer's data for the plane."""
        return self._index(slice(None), slice(None))

    def region(self, box: Box) -> tuple[int | slice, ...]:
        """What to index in the layer's data for a part of the plane."""
        row0, column0, row1, column1 = box
        return self._index(slice(row0, row1), slice(column0, column1))

    @property
    def channel_axis(self) -> int | None:
        """The axis of channels in the plane's own array."""
        if self.channels is None:
            return None
        return sorted((self.rows, self.columns, self.channels)).index(self.channels)

    @property
    def axes(self) -> range:
        """The axes that a layer derived from the plane has.

        napari counts them from the last one. Channels that come first need none: what has no such
        axis is shown with every channel.
        """
        first = 1 if self.channels == 0 else 0
        return range(first, len(self.shape))

    def expand(self, array: NDArray[Any]) -> NDArray[Any]:
        """An array (h, w) of the plane with the axes of a derived layer."""
        others = [n for n, axis in enumerate(self.axes) if axis not in (self.rows, self.columns)]
        return np.expand_dims(array, tuple(others))

    def vertices(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Points (..., 2) of the plane as coordinates (..., n) of a layer with its `transform`."""
        full = np.zeros((*points.shape[:-1], len(self.axes)))
        full[..., self.axes.index(self.rows)] = points[..., 0]
        full[..., self.axes.index(self.columns)] = points[..., 1]
        return full

    def transform(
        self, layer: Layer, origin: tuple[float, float] = (0, 0), reduction: int = 1
    ) -> dict[str, Any]:
        """Transform, units and axis labels for a layer derived from the plane.

        Parameters
        ----------
        layer : Layer
            The image.
        origin : tuple of float
            Row and column in the plane of the derived layer's first pixel.
        reduction : int
            Pixels of the plane per pixel of the derived layer.

        Returns
        -------
        dict
            scale, translate, rotate, shear, affine, units and axis_labels.
        """
        from napari.utils.transforms import Affine

        count, axes = len(self.axes), self.axes
        scale = np.asarray(layer.scale, float)[-count:]
        translate = np.asarray(layer.translate, float)[-count:]
        rotate = np.asarray(layer.rotate, float)[-count:, -count:]
        shear = _last(np.asarray(layer.shear, float), layer.ndim, count)
        # Of the derived layer's first pixel, in the image's pixels, and how many of them it covers.
        offset, factor = np.zeros(count), np.ones(count)
        for place, axis in enumerate(axes):
            if axis == self.rows or axis == self.columns:
                # A pixel's coordinate is its centre, hence the half pixel of a coarser grid.
                offset[place] = origin[axis == self.columns] + (reduction - 1) / 2
                factor[place] = reduction
            elif axis == self.channels:  # one pixel over all of them
                offset[place], factor[place] = (self.shape[axis] - 1) / 2, self.shape[axis]
            else:
                offset[place] = self.position[axis]
        if offset.any():
            linear = Affine(scale=scale, rotate=rotate, shear=shear, ndim=count).linear_matrix
            translate = translate + linear @ offset
        return {
            "scale": scale * factor,
            "translate": translate,
            "rotate": rotate,
            "shear": shear,
            "affine": np.asarray(layer.affine.affine_matrix, float)[-count - 1 :, -count - 1 :],
            "units": tuple(layer.units)[-count:],
            "axis_labels": tuple(layer.axis_labels)[-count:],
        }

    def _index(self, rows: slice, columns: slice) -> tuple[int | slice, ...]:
        index: list[int | slice] = list(self.position)
        index[self.rows], index[self.columns] = rows, columns
        if self.channels is not None:
            index[self.channels] = slice(None)
        return tuple(index)


@dataclass(frozen=True)
class LayerSource:
    """One plane of an image layer, bound to it for the length of a run; nothing is read yet.

    Attributes
    ----------
    layer_ref : weakref.ref
        The layer.
    name : str
        Its name when the run began.
    path : str or None
        The file that it was opened from.
    data : array
        The layer's, at full resolution; possibly lazy.
    plane : Plane
        Which plane of them.
    rgb : bool
        Whether the last axis of the data is colour.
    box : Box
        The region to be segmented, in pixels of the plane.
    pixel_size : float or None
        µm per pixel; None where neither layer nor file says it.
    fingerprint : int or None
        Checksum of a sample of the plane; None where a sample would have to be computed or read.
    """

    layer_ref: weakref.ref[Any]
    name: str
    path: str | None
    data: Any
    plane: Plane
    rgb: bool
    box: Box
    pixel_size: float | None
    fingerprint: int | None

    @property
    def layer(self) -> Image | None:
        """The layer, if it still exists."""
        return self.layer_ref()

    @property
    def index(self) -> tuple[int | slice, ...]:
        """What to index in `data` for the plane: (H, W), (H, W, 3 | 4) or with channels."""
        return self.plane.index

    @property
    def channel_axis(self) -> int | None:
        """Axis of the indexed plane that holds channels, where it is not RGB."""
        return self.plane.channel_axis

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        return self.plane.size

    @property
    def is_whole(self) -> bool:
        """Whether the region is all of the plane."""
        return self.box == (0, 0, *self.shape)

    def open(self, image_kind: ImageKind | None = None) -> Pixels:
        """Read the region; may take long, so not for the GUI's thread. Raises `ImageError`."""
        from napari_patchseg.image.pixels import Pixels
        from napari_patchseg.image.source import read

        pixels = Pixels.from_array(
            read(self.data, self.plane.region(self.box)),
            rgb=self.rgb,
            channel_axis=self.channel_axis,
            image_kind=image_kind,
        )
        layer = self.layer
        if layer is not None and self.path and layer.source.reader_plugin == "napari":
            space = unconverted_colours(self.path)
            if space is not None:
                pixels.warnings.append(
                    f"The file has {space}, which napari shows unconverted: colours are wrong; "
                    "save it as RGB, or segment the file on the command line."
                )
        return pixels

    def note_pixel_size(self, metadata: dict[str, Any]) -> dict[str, Any]:
        """Metadata of labels, with µm per pixel where the layer's own units don't say them."""
        kept = {key: value for key, value in metadata.items() if key != "pixel_size"}
        layer = self.layer
        if layer is None or self.pixel_size is None:
            return kept
        if self.pixel_size != pixel_size_of(layer, (self.plane.rows, self.plane.columns)):
            kept["pixel_size"] = self.pixel_size
        return kept

    @property
    def is_intact(self) -> bool:
        """Whether the run's pixels are still what they were, and not written over."""
        return _fingerprint(self.data, self.index) == self.fingerprint

    def has_changed(self) -> bool:
        """Whether the layer's pixels are no longer those that the run began with."""
        layer = self.layer
        if layer is None:
            return True
        data = _full_resolution(layer)
        if data is not self.data and (data.shape != self.data.shape or self.fingerprint is None):
            return True
        return _fingerprint(data, self.index) != self.fingerprint


def source_of(
    viewer: Viewer,
    layer: Layer | None,
    region: Region = Region.WHOLE,
    *,
    together: bool | None = None,
) -> LayerSource:
    """The plane of an image layer that is shown, with all its channels where it has any.

    Parameters
    ----------
    viewer : Viewer
        Tells the plane of a layer with more than two dimensions, the visible field and the
        selected rectangle.
    layer : Layer or None
        The image.
    region : Region
        Which part of it.
    together : bool or None
        Whether the axis that `channels_of` names is channels, to be taken together; None: as it
        says.

    Raises
    ------
    PatchSegError
        With one sentence, where there is nothing to segment.
    """
    image = checked_image(layer)
    data = _full_resolution(image)
    if image.ndim < 2 or image.ndim > _MOST_DIMENSIONS:
        raise ImageError(
            f"'{image.name}' has {pluralize(image.ndim, 'dimension')}; "
            "PatchSeg segments one plane of an image with 2 to 4."
        )
    plane = _plane_of(viewer, image, data.shape, together)
    return LayerSource(
        layer_ref=weakref.ref(image),
        name=image.name,
        path=image.source.path,
        data=data,
        plane=plane,
        rgb=bool(image.rgb),
        box=_box(viewer, image, region, plane),
        pixel_size=known_pixel_size(image, plane),
        fingerprint=_fingerprint(data, plane.index),
    )


@dataclass(frozen=True)
class Channels:
    """An axis of a layer that may hold channels.

    Attributes
    ----------
    axis, count : int
        Which one, and how long it is.
    likely : bool
        Whether it is taken for channels where nobody says otherwise.
    is_named : bool
        Whether its name says so.
    """

    axis: int
    count: int
    likely: bool
    is_named: bool = False


def channels_of(layer: Layer) -> Channels | None:
    """The axis that may hold channels, by the rule of all doors; None where there is none."""
    if layer.rgb or layer.ndim < 3:
        return None
    data = _full_resolution(layer)
    axis = layout_of(data.shape, data.dtype, rgb=False, names=layer.axis_labels).channels
    if axis is not None:
        named = str(layer.axis_labels[axis]).lower() in CHANNEL_NAMES
        return Channels(axis, int(data.shape[axis]), likely=True, is_named=named)
    if layer.ndim == 3 and data.shape[0] <= MOST_CHANNELS:
        return Channels(0, int(data.shape[0]), likely=False)
    return None


def known_pixel_size(layer: Layer, plane: Plane | None = None) -> float | None:
    """µm per pixel, of the layer's units or else of its file; None where neither says it.

    napari's own reader leaves out what a file says. It is asked where nobody has scaled the layer,
    and its picture has the layer's height and width.
    """
    last = layer.ndim - 2, layer.ndim - 1
    axes = last if plane is None else (plane.rows, plane.columns)
    size = pixel_size_of(layer, axes)
    path = layer.source.path
    if size is not None or path is None or axes != last:
        return size
    if any(str(unit) != "pixel" for unit in layer.units) or (np.asarray(layer.scale) != 1).any():
        return None
    height, width = (int(n) for n in _full_resolution(layer).shape[: layer.ndim][-2:])
    sizes = pixel_size_of_file(path, (height, width))
    return None if sizes is None else math.sqrt(math.prod(sizes))


def pixel_size_of(layer: Layer, axes: tuple[int, int] | None = None) -> float | None:
    """µm per pixel (geometric mean of rows and columns), by the layer's units.

    None if they are not lengths, or none that a pixel of a micrograph can have.
    """
    rows, columns = axes or (layer.ndim - 2, layer.ndim - 1)
    zero = np.zeros(layer.ndim)
    corner = np.asarray(layer.data_to_world(zero), float)
    steps = []
    for axis in (rows, columns):
        unit = zero.copy()
        unit[axis] = 1
        steps.append((np.asarray(layer.data_to_world(unit), float) - corner)[[rows, columns]])
    area = abs(float(np.linalg.det(np.array(steps))))
    size = math.sqrt(area * micrometres(layer.units[rows]) * micrometres(layer.units[columns]))
    return size if plausible(size, size) else None


# -- inside


def _full_resolution(layer: Image) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def _plane_of(viewer: Viewer, layer: Image, shape: tuple[int, ...], together: bool | None) -> Plane:
    """The plane on the canvas; in 3-D display the one that would be there in 2-D."""
    channels = channels_of(layer)
    taken = None
    if channels is not None and (channels.likely if together is None else together):
        taken = channels.axis
    rows, columns = displayed_axes(viewer.dims.order, layer.ndim)
    if taken == 0 and taken in (rows, columns) and viewer.dims.ndisplay == 2:
        raise ImageError(
            f"'{layer.name}' is shown with its channels along an edge; roll the dimensions (the "
            "button below the layer list) until its rows and columns are shown."
        )
    if taken in (rows, columns):  # in 3-D all three are, and channels that come last always
        rows, columns = [axis for axis in range(layer.ndim) if axis != taken][-2:]
    elif rows > columns and viewer.dims.ndisplay == 2:
        raise ImageError(
            f"'{layer.name}' is shown transposed; press the transpose button below the layer list, "
            "then segment again."
        )
    rows, columns = sorted((rows, columns))
    shape = tuple(int(length) for length in shape[: layer.ndim])
    place = np.clip(np.round(layer.world_to_data(viewer.dims.point)), 0, np.array(shape) - 1)
    position = tuple(int(number) for number in place)
    return Plane(shape, rows, columns, position, taken)


def displayed_axes(order: Sequence[int], ndim: int) -> tuple[int, int]:
    """The axes of a layer of `ndim` dimensions that a viewer with this order shows as a plane.

    napari counts a layer's dimensions from the viewer's last one.
    """
    offset = len(order) - ndim
    own = [*range(-offset), *(axis - offset for axis in order if axis >= offset)]
    return own[-2], own[-1]


def _last(shear: NDArray[np.float64], ndim: int, count: int) -> NDArray[np.float64]:
    """The last dimensions' shear, of a matrix or of the upper triangle's values."""
    if shear.ndim == 2:
        return shear[-count:, -count:]
    full = np.eye(ndim)
    full[np.triu_indices(ndim, 1)] = shear
    return np.asarray(full[-count:, -count:][np.triu_indices(count, 1)])


def _box(viewer: Viewer, layer: Image, region: Region, plane: Plane) -> Box:
    if region is Region.WHOLE:
        return 0, 0, *plane.size
    if region is Region.VISIBLE:
        if viewer.dims.ndisplay == 3:
            raise PatchSegError(
                "There is no visible field in 3-D display; switch to 2-D, or set region to "
                "'whole image'."
            )
        vertices = _visible_in(viewer, layer, plane)
        name = "The visible field"
    else:
        vertices = _rectangle_in(viewer, layer, plane)
        name = "The selected rectangle"
    # A pixel reaches half a unit to either side of its coordinate.
    low = np.floor(vertices.min(0) + 0.5 + 1e-6)
    high = np.ceil(vertices.max(0) + 0.5 - 1e-6)
    row0, column0 = (int(v) for v in np.clip(low, 0, plane.size))
    row1, column1 = (int(v) for v in np.clip(high, 0, plane.size))
    if row1 <= row0 or column1 <= column0:
        raise PatchSegError(f"{name} does not touch '{layer.name}'; move it over the image.")
    return row0, column0, row1, column1


def _visible_in(viewer: Viewer, layer: Image, plane: Plane) -> np.ndarray:
    """Corners (4, 2) of what the canvas shows, in pixels of the plane.

    From the camera: a pyramid's `corner_pixels` are those of the tile that was loaded.
    """
    camera = viewer.scene.camera
    centre = np.asarray(camera.center, float)[-2:]
    half = np.asarray(viewer.canvas.viewbox_size(viewer.layers), float) / camera.zoom / 2
    signs = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]])
    return _in_plane(viewer, layer, plane, centre + signs * half)


def _rectangle_in(viewer: Viewer, layer: Image, plane: Plane) -> np.ndarray:
    """Vertices (n, 2) of the selected shape, in pixels of the plane."""
    shapes, number = _selected_shape(viewer)
    # napari draws a layer of fewer dimensions over the image, axis by axis on the canvas
    axes = list(displayed_axes(viewer.dims.order, shapes.ndim))
    world = [np.asarray(shapes.data_to_world(vertex))[axes] for vertex in shapes.data[number]]
    return _in_plane(viewer, layer, plane, np.array(world, float))


def _in_plane(viewer: Viewer, layer: Image, plane: Plane, world: np.ndarray) -> np.ndarray:
    """Points (n, 2) on the canvas, in the world's units, as pixels of the plane."""
    place = np.asarray(layer.data_to_world(plane.position), float)
    corners = []
    for point in world:
        place[list(displayed_axes(viewer.dims.order, layer.ndim))] = point
        corners.append(np.asarray(layer.world_to_data(place))[[plane.rows, plane.columns]])
    return np.array(corners, float)


def _selected_shape(viewer: Viewer) -> tuple[Shapes, int]:
    layers = [
        layer
        for layer in map(unwrap, viewer.layers)
        if isinstance(layer, Shapes) and not is_ours(layer) and layer.nshapes
    ]
    selected = [layer for layer in layers if len(layer.selected_data) == 1]
    active = [layer for layer in selected if layer in viewer.layers.selection]
    chosen = active or selected
    if len(chosen) == 1:
        return chosen[0], next(iter(chosen[0].selected_data))
    if not chosen and len(layers) == 1 and layers[0].nshapes == 1:
        return layers[0], 0
    raise PatchSegError(
        "Select one rectangle of a Shapes layer as the region, or set region to 'whole image'."
    )


def _fingerprint(data: Any, index: tuple[int | slice, ...]) -> int | None:
    if not isinstance(data, np.ndarray) or isinstance(data, np.memmap):
        return None
    plane = data[index]
    every = max(1, math.isqrt(max(1, plane.size // _FINGERPRINT_VALUES)))
    key = [slice(None)] * plane.ndim
    for axis in np.argsort(plane.shape)[-2:]:  # all channels of a grid of pixels
        key[axis] = slice(None, None, every)
    return zlib.crc32(np.ascontiguousarray(plane[tuple(key)]).view(np.uint8).data)

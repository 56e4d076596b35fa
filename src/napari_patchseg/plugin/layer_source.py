"""From an image layer to the pixels of one run, and back to the layer's coordinates."""

from __future__ import annotations

import math
import weakref
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_patchseg.errors import ImageError, PatchSegError

if TYPE_CHECKING:
    from napari.layers import Image, Layer, Shapes
    from napari.viewer import Viewer

    from napari_patchseg.image.pixels import Box, Pixels

#: Key in ``layer.metadata`` of everything that this plugin makes.
METADATA_KEY = "napari_patchseg"
#: Names of an axis that holds channels.
_CHANNEL_LABELS = frozenset({"c", "channel", "channels"})
#: Dimensions beyond this are refused: which two are the image is a guess.
_MOST_DIMENSIONS = 4
#: Values that the fingerprint of an array looks at.
_FINGERPRINT_VALUES = 65_536


class Region(StrEnum):
    """Which part of an image is segmented."""

    WHOLE = "whole image"
    VISIBLE = "visible field"
    RECTANGLE = "selected rectangle"


def unwrap(thing: Any) -> Any:
    """The object behind the proxy that napari hands to plugins."""
    return getattr(thing, "__wrapped__", thing)


def is_ours(layer: Layer) -> bool:
    """Whether this plugin made the layer to show a run."""
    return "role" in layer.metadata.get(METADATA_KEY, ())


def is_preview(layer: Layer) -> bool:
    """Whether the layer is an outline, shown until labels are drawn."""
    role = layer.metadata.get(METADATA_KEY, {}).get("role")
    return bool(role == "outline")


def is_image(layer: Layer) -> bool:
    """Whether the layer is an image that can be offered for segmentation."""
    from napari.layers import Image

    return isinstance(unwrap(layer), Image) and not is_ours(layer)


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
    from napari.layers import Image

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
class LayerSource:
    """One plane of an image layer, bound to it for the length of a run; nothing is read yet.

    Attributes
    ----------
    layer_ref : weakref.ref
        The layer.
    name : str
        Its name when the run began.
    data : array
        The layer's, at full resolution; possibly lazy.
    index : tuple
        What to index in `data` for the plane: (H, W), (H, W, 3 | 4) or with a channel axis.
    rgb : bool
        Whether the last axis of the plane is colour.
    channel_axis : int or None
        Axis of the plane that holds channels, where it is not RGB.
    shape : tuple of int
        (H, W).
    box : Box
        The region to be segmented, in pixels of the plane.
    pixel_size : float or None
        µm per pixel; None where the layer has no length unit.
    fingerprint : int or None
        Checksum of a sample of the plane; None where a sample would have to be computed or read.
    """

    layer_ref: weakref.ref[Any]
    name: str
    data: Any
    index: tuple[int | slice, ...]
    rgb: bool
    channel_axis: int | None
    shape: tuple[int, int]
    box: Box
    pixel_size: float | None
    fingerprint: int | None

    @property
    def layer(self) -> Image | None:
        """The layer, if it still exists."""
        return self.layer_ref()

    @property
    def is_whole(self) -> bool:
        """Whether the region is all of the plane."""
        return self.box == (0, 0, *self.shape)

    def open(self) -> Pixels:
        """Read the region; may take long, so not for the GUI's thread. Raises `ImageError`."""
        from napari_patchseg.image.pixels import Pixels

        row0, column0, row1, column1 = self.box
        region = (*self.index[:-2], slice(row0, row1), slice(column0, column1))
        return Pixels.from_array(
            np.asarray(self.data[region]), rgb=self.rgb, channel_axis=self.channel_axis
        )

    def has_changed(self) -> bool:
        """Whether the layer's pixels are no longer those that the run began with."""
        layer = self.layer
        if layer is None:
            return True
        data = _full_resolution(layer)
        if data is not self.data and (data.shape != self.data.shape or self.fingerprint is None):
            return True
        return _fingerprint(data, self.index) != self.fingerprint


def source_of(viewer: Viewer, layer: Layer | None, region: Region = Region.WHOLE) -> LayerSource:
    """The current plane of an image layer.

    Parameters
    ----------
    viewer : Viewer
        Tells the plane of a layer with more than two dimensions, the visible field and the
        selected rectangle.
    layer : Layer or None
        The image.
    region : Region
        Which part of it.

    Raises
    ------
    PatchSegError
        With one sentence, where there is nothing to segment.
    """
    image = checked_image(layer)
    data = _full_resolution(image)
    if image.ndim < 2 or image.ndim > _MOST_DIMENSIONS:
        raise ImageError(
            f"'{image.name}' has {image.ndim} dimension{'s' if image.ndim != 1 else ''}; "
            "PatchSeg segments one plane of an image with 2 to 4."
        )
    channels = _channel_dimension(image)
    index = _plane_index(viewer, image, data.shape, channels)
    height, width = (int(n) for n in data.shape[image.ndim - 2 : image.ndim])
    return LayerSource(
        layer_ref=weakref.ref(image),
        name=image.name,
        data=data,
        index=index,
        rgb=bool(image.rgb),
        channel_axis=None if channels is None else 0,
        shape=(height, width),
        box=_box(viewer, image, region, (height, width)),
        pixel_size=pixel_size_of(image),
        fingerprint=_fingerprint(data, index),
    )


def transform_of(
    layer: Layer, origin: tuple[float, float] = (0, 0), reduction: int = 1
) -> dict[str, Any]:
    """Transform, units and axis labels for a 2-D layer derived from an image layer.

    Parameters
    ----------
    layer : Layer
        The image; of more than two dimensions the last two count.
    origin : tuple of float
        Row and column in the image of the derived layer's first pixel.
    reduction : int
        Image pixels per pixel of the derived layer.

    Returns
    -------
    dict
        scale, translate, rotate, shear, affine, units and axis_labels.
    """
    from napari.utils.transforms import Affine

    scale = np.asarray(layer.scale, float)[-2:]
    translate = np.asarray(layer.translate, float)[-2:]
    rotate = np.asarray(layer.rotate, float)[-2:, -2:]
    shear = _last_two(np.asarray(layer.shear, float))
    if tuple(origin) != (0, 0) or reduction != 1:
        # A pixel's coordinate is its centre, hence the half pixel of a coarser grid.
        linear = Affine(scale=scale, rotate=rotate, shear=shear, ndim=2).linear_matrix
        translate = translate + linear @ (np.asarray(origin, float) + (reduction - 1) / 2)
        scale = scale * reduction
    return {
        "scale": scale,
        "translate": translate,
        "rotate": rotate,
        "shear": shear,
        "affine": np.asarray(layer.affine.affine_matrix, float)[-3:, -3:],
        "units": tuple(layer.units)[-2:],
        "axis_labels": tuple(layer.axis_labels)[-2:],
    }


def pixel_size_of(layer: Layer) -> float | None:
    """µm per pixel (geometric mean of rows and columns); None if the units are not lengths."""
    import pint

    zero = np.zeros(layer.ndim)
    corner = np.asarray(layer.data_to_world(zero), float)
    steps = []
    for axis in (layer.ndim - 2, layer.ndim - 1):
        unit = zero.copy()
        unit[axis] = 1
        steps.append((np.asarray(layer.data_to_world(unit), float) - corner)[-2:])
    area = abs(float(np.linalg.det(np.array(steps))))
    try:
        lengths = [(1 * unit).to("micrometer").magnitude for unit in tuple(layer.units)[-2:]]
    except pint.errors.PintError:
        return None
    size = math.sqrt(area * float(lengths[0]) * float(lengths[1]))
    return size if math.isfinite(size) and size > 0 else None


# -- inside


def _full_resolution(layer: Image) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def _last_two(shear: np.ndarray) -> np.ndarray:
    """The last two dimensions' shear, of a matrix or of the upper triangle's values."""
    return shear[-2:, -2:] if shear.ndim == 2 else shear[-1:]


def _channel_dimension(layer: Image) -> int | None:
    if layer.rgb:
        return None
    for axis, name in enumerate(layer.axis_labels[: layer.ndim - 2]):
        if str(name).lower() in _CHANNEL_LABELS:
            return axis
    return None


def _plane_index(
    viewer: Viewer, layer: Image, shape: tuple[int, ...], channels: int | None
) -> tuple[int | slice, ...]:
    position = layer.world_to_data(viewer.dims.point)
    index: list[int | slice] = [
        slice(None) if axis == channels else int(np.clip(round(position[axis]), 0, shape[axis] - 1))
        for axis in range(layer.ndim - 2)
    ]
    return (*index, slice(None), slice(None))


def _box(viewer: Viewer, layer: Image, region: Region, shape: tuple[int, int]) -> Box:
    height, width = shape
    if region is Region.WHOLE:
        return 0, 0, height, width
    if region is Region.VISIBLE:
        corners = np.asarray(layer.corner_pixels, float)[:, -2:]
        if layer.multiscale:
            factor = np.divide(layer.level_shapes[0], layer.level_shapes[layer.data_level])
            corners = corners * factor[layer.ndim - 2 : layer.ndim]
        low, high = np.floor(corners[0]), np.ceil(corners[1]) + 1
        name = "The visible field"
    else:
        vertices = _rectangle_in(viewer, layer)
        # A pixel reaches half a unit to either side of its coordinate.
        low = np.floor(vertices.min(0) + 0.5 + 1e-6)
        high = np.ceil(vertices.max(0) + 0.5 - 1e-6)
        name = "The selected rectangle"
    row0, column0 = (int(v) for v in np.clip(low, 0, shape))
    row1, column1 = (int(v) for v in np.clip(high, 0, shape))
    if row1 <= row0 or column1 <= column0:
        raise PatchSegError(f"{name} does not touch '{layer.name}'; move it over the image.")
    return row0, column0, row1, column1


def _rectangle_in(viewer: Viewer, layer: Image) -> np.ndarray:
    """Vertices (n, 2) of the selected shape, in pixels of the layer."""
    shapes, number = _selected_shape(viewer)
    corners = [
        np.asarray(layer.world_to_data(shapes.data_to_world(vertex)), float)[-2:]
        for vertex in shapes.data[number]
    ]
    return np.array(corners)


def _selected_shape(viewer: Viewer) -> tuple[Shapes, int]:
    from napari.layers import Shapes

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
    rows = plane.ndim - 2 if plane.ndim < 3 or plane.shape[-1] > 4 else 0
    key = [slice(None)] * plane.ndim
    key[rows] = key[rows + 1] = slice(None, None, every)
    return zlib.crc32(np.ascontiguousarray(plane[tuple(key)]).view(np.uint8).data)

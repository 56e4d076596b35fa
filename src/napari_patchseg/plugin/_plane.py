"""Which plane of an image layer is meant, and the way between it and the layer's dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_patchseg.geometry import Box


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

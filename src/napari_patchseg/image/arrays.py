"""Any array as one plane that is read by region: NumPy, zarr, HDF5, dask, xarray, torch, masked."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.errors import ImageError, PatchSegError

from .layout import Layout
from .regions import Box


def as_array(thing: Any) -> Any:
    """The thing itself if it is an array of any library, else NumPy's array of it.

    Raises
    ------
    ImageError
        If it is no array of numbers.
    """
    if hasattr(thing, "shape") and hasattr(thing, "dtype") and hasattr(thing, "__getitem__"):
        return thing
    try:
        return np.asarray(thing)
    except Exception as error:  # whatever the thing's library raises
        raise ImageError(
            f"A {type(thing).__name__} is no image that can be read; give an array."
        ) from error


def type_of(array: Any) -> np.dtype[Any]:
    """NumPy's name of an array's type; raises `ImageError` for what is no image."""
    try:
        dtype: np.dtype[Any] = np.dtype(array.dtype)
    except TypeError:  # another library's: what NumPy makes of a pixel
        if 0 in tuple(array.shape):
            raise ImageError("The image is empty; choose an image with pixels.") from None
        dtype = read(array, (slice(0, 1),) * len(array.shape)).dtype
    if dtype.kind == "b":
        raise ImageError(
            "The image holds true and false only; choose the image itself, not a mask of it."
        )
    if dtype.kind not in "uif":
        raise ImageError(f"Pixels of type {dtype} cannot be segmented; convert them to numbers.")
    return dtype


def read(array: Any, key: tuple[int | slice, ...]) -> NDArray[Any]:
    """Part of an array of any library and device as NumPy's, a masked one if it was.

    Raises
    ------
    ImageError
        With one sentence, if that library cannot.
    """
    try:
        part = array[key]
        if hasattr(part, "detach"):  # torch: from the GPU, out of the graph
            part = part.detach()
            if "bfloat16" in str(part.dtype):  # which NumPy does not know
                part = part.float()
            return np.asarray(part.numpy(force=True))
        if hasattr(part, "get") and hasattr(part, "device"):  # CuPy gives nothing unasked
            return np.asarray(part.get())
        if hasattr(part, "compute"):  # dask: np.asarray would lose a mask
            part = part.compute()
        return part if isinstance(part, np.ma.MaskedArray) else np.asarray(part)
    except (MemoryError, PatchSegError):
        raise
    except Exception as error:  # a chunk that is damaged: whatever that library raises
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        raise ImageError(f"The image cannot be read: {reason[:200]}.") from error


class Plane:
    """One plane of an array, (H, W, C), read region by region.

    Only numbers and slices are asked of the array, which is what arrays of all libraries take.

    Parameters
    ----------
    array : array
        Of two or three axes.
    layout : Layout
        Which of them is what.
    box : Box, optional
        Only this part of it.
    channels : int, optional
        Only the first so many.

    Attributes
    ----------
    shape : tuple of int
        (H, W, C).
    dtype : numpy.dtype
        Of the values.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]

    def __init__(
        self, array: Any, layout: Layout, box: Box | None = None, channels: int | None = None
    ) -> None:
        self._array = array
        self._layout = layout
        self.dtype = type_of(array)
        shape = tuple(int(length) for length in array.shape)
        row0, column0, row1, column1 = box or (0, 0, shape[layout.y], shape[layout.x])
        # as NumPy's slices: what is beyond the image is not there
        self._rows = range(shape[layout.y])[row0:row1]
        self._columns = range(shape[layout.x])[column0:column1]
        count = 1 if layout.channels is None else shape[layout.channels]
        self._channels = slice(0, count if channels is None else channels)
        self.shape = (len(self._rows), len(self._columns), self._channels.stop)

    def first(self, channels: int) -> Plane:
        """The first so many channels."""
        box = (self._rows.start, self._columns.start, self._rows.stop, self._columns.stop)
        return Plane(self._array, self._layout, box, channels)

    @property
    def is_grey(self) -> bool:
        """Whether there is no axis of channels."""
        return self._layout.channels is None

    @property
    def may_be_masked(self) -> bool:
        """Whether it is one of NumPy's masked arrays, perhaps in dask."""
        meta = getattr(self._array, "_meta", None)  # dask's
        return any(isinstance(one, np.ma.MaskedArray) for one in (self._array, meta))

    def read(self, rows: slice, columns: slice = slice(None), channels: slice | None = None) -> Any:
        """Values of a region (h, w, C), which may be a masked array; steps must be above 0."""
        layout = self._layout
        key = [slice(None)] * len(self._array.shape)
        key[layout.y] = _slice(self._rows[rows])
        key[layout.x] = _slice(self._columns[columns])
        order = [layout.y, layout.x]
        if layout.channels is not None:
            key[layout.channels] = channels or self._channels
            order.append(layout.channels)
        values = read(self._array, tuple(key)).transpose(order)
        return values if layout.channels is not None else values[..., None]


def _slice(picked: range) -> slice:
    return slice(picked.start, picked.stop, picked.step)

"""Any array as an image that is read by region: NumPy, zarr, HDF5, dask, xarray, torch, masked."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.errors import ImageError, PatchSegError, reason_of
from napari_patchseg.geometry import Box

from .layout import MOST_CHANNELS, MOST_UNNAMED_CHANNELS, Layout, layout_of

#: Shortest side that can be segmented: a patch and its surroundings.
SMALLEST_SIDE = 64


class ImageSource:
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
    frame : tuple of int
        (H, W) of the array that a box was taken from.
    dtype : numpy.dtype
        Of the values.
    colour : bool or None
        Whether the channels are colours; None: only their content can say.
    """

    def __init__(
        self, array: Any, layout: Layout, box: Box | None = None, channels: int | None = None
    ) -> None:
        self._array, self._layout, self._box = array, layout, box
        self.dtype = _type_of(array)
        self.colour = layout.colour
        self.frame = (int(array.shape[layout.y]), int(array.shape[layout.x]))
        row0, column0, row1, column1 = box or (0, 0, *self.frame)
        # as NumPy's slices: what is beyond the image is not there
        self._rows = range(self.frame[0])[row0:row1]
        self._columns = range(self.frame[1])[column0:column1]
        if channels is None:
            channels = 1 if self.is_grey else int(array.shape[layout.channels])
        self.shape = (len(self._rows), len(self._columns), channels)

    @classmethod
    def of(
        cls,
        array: Any,
        *,
        rgb: bool | None = None,
        channel_axis: int | None = None,
        box: Box | None = None,
        smallest_side: int = SMALLEST_SIDE,
    ) -> ImageSource:
        """Take an array apart; see `napari_patchseg.image.pixels.Pixels.from_array`.

        Raises
        ------
        ImageError
            With one sentence, for anything that is no image of a size that can be segmented.
        """
        array = _as_array(array)
        layout = layout_of(
            array.shape,
            _type_of(array),
            rgb=rgb,
            channel_axis=channel_axis,
            names=getattr(array, "dims", None),  # of xarray
        )
        if 0 in tuple(array.shape):
            raise ImageError("The image is empty; choose an image with pixels.")
        if len(array.shape) > 3:
            raise ImageError(
                f"The array has {len(array.shape)} dimensions; "
                "give one plane: (height, width), with or without a channel axis."
            )
        if layout.planes:
            raise ImageError(
                f"The array of shape {tuple(array.shape)} has no channel axis of at most "
                f"{MOST_UNNAMED_CHANNELS} beside two longer ones; give one plane of it, or say "
                "channel_axis."
            )
        source = cls(array, layout, box)
        height, width, channels = source.shape
        if channels > MOST_CHANNELS:
            raise ImageError(
                f"The image has {channels} channels; choose at most {MOST_CHANNELS} of them."
            )
        if min(height, width) == 0:
            raise ImageError("The image is empty; choose an image with pixels.")
        if min(height, width) < smallest_side:
            raise ImageError(
                f"The image is {width} x {height} px; "
                f"both sides must be at least {smallest_side} px."
            )
        return source

    def first(self, channels: int) -> ImageSource:
        """The first so many channels."""
        return ImageSource(self._array, self._layout, self._box, channels)

    @property
    def is_grey(self) -> bool:
        """Whether there is no axis of channels."""
        return self._layout.channels is None

    @property
    def may_be_masked(self) -> bool:
        """Whether it is one of NumPy's masked arrays, perhaps in dask."""
        meta = getattr(self._array, "_meta", None)  # dask's
        return any(isinstance(one, np.ma.MaskedArray) for one in (self._array, meta))

    def read(self, rows: slice, columns: slice = slice(None)) -> Any:
        """Values of a region (h, w, C), which may be a masked array; steps must be above 0.

        Raises
        ------
        ImageError
            If the array's library cannot.
        """
        layout = self._layout
        key = {layout.y: self._rows[rows], layout.x: self._columns[columns]}
        if layout.channels is not None:
            key[layout.channels] = range(self.shape[2])
        slices = (slice(key[axis].start, key[axis].stop, key[axis].step) for axis in sorted(key))
        values = read(self._array, tuple(slices)).transpose(*key)
        return values[..., None] if self.is_grey else values


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
        raise ImageError(f"The image cannot be read: {reason_of(error)}.") from error


def single(values: Any) -> NDArray[np.float32]:
    """Values in single precision, in which what it cannot hold is infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32)


def _as_array(thing: Any) -> Any:
    """The thing itself if it is an array of any library, else NumPy's array of it."""
    if all(hasattr(thing, name) for name in ("shape", "dtype", "__getitem__")):
        return thing
    if isinstance(thing, str | PurePath):
        raise ImageError(
            f"{thing} is a path, not pixels; files.images.read_image(path).array reads them."
        )
    try:
        return np.asarray(thing)
    except Exception as error:  # whatever the thing's library raises
        raise ImageError(
            f"A {type(thing).__name__} is no image that can be read; give an array."
        ) from error


def _type_of(array: Any) -> np.dtype[Any]:
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

"""Which axes of an array are rows, columns and channels: one rule for every door."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_patchseg.errors import ImageError
from napari_patchseg.words import pluralize

#: More channels than this are taken for an image stack laid out otherwise.
MOST_CHANNELS = 32
#: An axis that nobody named is channels up to this length, if the other two are longer.
MOST_UNNAMED_CHANNELS = 10
#: Names of an axis that holds channels or colours. "s" are TIFF's samples of a pixel.
CHANNEL_NAMES = frozenset(
    {"c", "s", "ch", "channel", "channels", "colour", "color", "rgb", "band", "sample", "samples"}
)
#: Names of an axis along which whole planes lie.
PLANE_NAMES = frozenset(
    {"z", "t", "depth", "time", "plane", "planes", "slice", "slices", "frame", "frames", "page"}
)


@dataclass(frozen=True)
class Layout:
    """Which axis of an array is what.

    Attributes
    ----------
    y, x : int
        Rows and columns.
    channels : int or None
        Channels or colours; None where the image is grey.
    colour : bool or None
        Whether the channels are colours; None where there are three, and only their content can
        say: those of a stained section are, three fluorescences are not.
    planes : tuple of int
        Axes along which whole planes lie, of which one has to be chosen; from 0.
    """

    y: int
    x: int
    channels: int | None
    colour: bool | None
    planes: tuple[int, ...] = ()


def layout_of(
    shape: Sequence[int],
    dtype: Any,
    *,
    rgb: bool | None = None,
    channel_axis: int | None = None,
    names: Sequence[str] | None = None,
) -> Layout:
    """Read the layout of an array from what is known of it.

    What is said comes first, then the axes' names, then lengths: of three axes a first or a last
    one of at most 10 is channels, if the other two are longer. Rows and columns are the last two
    axes that are left.

    Parameters
    ----------
    shape : sequence of int
        Of at least two axes.
    dtype : dtype
        As NumPy takes it: (H, W, 4) is RGBA without being said for 8 bits only.
    rgb : bool, optional
        Whether the channels are colours. True without a channel axis: the last axis is.
    channel_axis : int, optional
        The channels.
    names : sequence of str, optional
        The axes' names, such as "c", "z", "y"; any others say nothing.

    Raises
    ------
    ImageError
        If what is said does not fit the shape, or the shape has less than two axes for the image.
    """
    shape = tuple(int(length) for length in shape)
    ndim = len(shape)
    if ndim < 2:
        raise ImageError(
            f"The array has {pluralize(ndim, 'dimension')}; "
            "give one plane: (height, width), with or without a channel axis."
        )
    if channel_axis is not None and not -ndim <= channel_axis < ndim:
        axes = ", ".join(map(str, range(ndim - 1))) + f" or {ndim - 1}"
        raise ImageError(f"There is no axis {channel_axis}; channel_axis must be {axes}.")
    channels = None if channel_axis is None else channel_axis % ndim
    if channels is None and rgb:
        channels = ndim - 1
    if channels is None:
        channels = _unsaid_channels(shape, names)
    spatial = [axis for axis in range(ndim) if axis != channels]
    if len(spatial) < 2:
        raise ImageError(
            f"The array of shape {shape} has no two axes beside its channels; "
            "give one plane: (height, width), with or without a channel axis."
        )
    *planes, y, x = spatial
    return Layout(y, x, channels, _is_colour(shape, dtype, rgb, channels), tuple(planes))


def _unsaid_channels(shape: tuple[int, ...], names: Sequence[str] | None) -> int | None:
    known = [str(name).lower() for name in names or ()]
    if len(known) != len(shape):
        known = [""] * len(shape)
    named = [axis for axis, name in enumerate(known) if name in CHANNEL_NAMES]
    if len(named) == 1:
        return named[0]
    if len(shape) != 3 or named:
        return None
    for axis in (2, 0) if shape[2] < shape[0] else (0, 2):
        others = [length for other, length in enumerate(shape) if other != axis]
        short = shape[axis] <= MOST_UNNAMED_CHANNELS and shape[axis] < min(others)
        if short and known[axis] not in PLANE_NAMES:
            return axis
    return None


def _is_colour(
    shape: tuple[int, ...], dtype: Any, rgb: bool | None, channels: int | None
) -> bool | None:
    if channels is None:
        return False
    count = shape[channels]
    if rgb:
        if count not in (3, 4):
            raise ImageError(f"RGB needs 3 or 4 values a pixel, not {count}; say rgb=False.")
        return True
    if count == 3:
        return None
    last = channels == len(shape) - 1
    return rgb is None and count == 4 and last and np.dtype(dtype) == np.uint8

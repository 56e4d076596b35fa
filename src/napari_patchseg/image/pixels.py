"""Any image → (C, H, W) float32 in [0, 1] on a bright background, read by region."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.errors import ImageError
from napari_patchseg.words import counted

from .ink import ink
from .regions import Box as Box
from .regions import strips
from .stain import Kind, grey_kind, haematoxylin, is_stained

#: Shortest side that can be segmented: a patch and its surroundings.
SMALLEST_SIDE = 64
#: More channels than this are taken for an image stack laid out otherwise.
MOST_CHANNELS = 32
#: Percentiles that become 0 and 1 where the values are not 8-bit colours.
_LOW, _HIGH = 0.1, 99.9
#: Pixels looked at to learn the value range and the kind of image.
_STATISTICS_PIXELS = 1_000_000
#: Strength of `even_tones`, and the least range that it spreads: an even image stays even.
_TONES, _LEAST_LIGHT = 20.0, 0.02


class Pixels:
    """An image as the method takes it, converted region by region.

    Values are scaled to [0, 1]: 8-bit colours by 255, everything else from its 0.1 to its 99.9
    percentile, per channel. Where nuclei are brighter than their surroundings (fluorescence) the
    image is inverted, since the method needs a bright background. NaN and infinite pixels, and what
    a marker pen covers on a stained section, are filled with the channel's median and marked as not
    valid.

    Use `Pixels.from_array`.

    Attributes
    ----------
    shape : tuple of int
        (C, H, W).
    kind : str
        "stained" (bright-field RGB), "dark on light" or "bright on dark".
    description : str
        One line for the user: how the image is understood.
    warnings : list of str
        What the user should know, one sentence each.
    valid : ndarray or None
        (H, W) bool, False where a pixel was NaN or infinite, or covered by ink; None if all are
        good.
    frame : tuple of int
        (H, W) of the image that a box was taken from; that of the shape without one.
    prior_channel : int
        The channel that separates nuclei best, where the image is not stained.
    light_range : tuple of float
        0.5 and 99.5 percentile of that channel, in [0, 1], before any inversion.
    """

    shape: tuple[int, int, int]
    kind: Kind
    description: str
    warnings: list[str]
    valid: NDArray[np.bool_] | None

    def __init__(self, channels_last: Any, *, colour: bool, label: str) -> None:
        self._data = channels_last
        height, width, channels = channels_last.shape
        self.shape = (channels, height, width)
        self.frame = (height, width)
        self.warnings = []
        self.valid = self._find_valid()
        grid = self._grid()
        sample = self._valid_of(grid)
        self._fill, self._low, self._high = self._value_range(sample, colour)
        scaled = self._scale(sample[None])[:, 0]
        grey = colour and channels == 3 and bool(np.ptp(scaled, axis=0).max() < 0.02)
        if grey:  # three equal channels carry one
            self._data = channels_last[..., :1]
            self.shape = (1, height, width)
            self._fill, self._low, self._high = self._fill[:1], self._low[:1], self._high[:1]
            scaled = scaled[:1]
            label = "grey (three equal channels)"
        if colour and not grey and is_stained(scaled):
            self.kind = "stained"
            self.prior_channel = 0
            self._leave_ink_out(grid)
        else:
            self.prior_channel, self.kind = grey_kind(scaled)
        low, high = np.percentile(scaled[self.prior_channel], [0.5, 99.5])
        self.light_range = (float(low), float(high))
        nuclei = {
            "stained": "nuclei take the haematoxylin",
            "dark on light": "nuclei are darker than their surroundings",
            "bright on dark": "nuclei are brighter than their surroundings",
        }[self.kind]
        self.description = f"{label}, {width} x {height} px: {nuclei}"

    @classmethod
    def from_array(
        cls,
        array: Any,
        *,
        rgb: bool | None = None,
        channel_axis: int | None = None,
        box: Box | None = None,
    ) -> Pixels:
        """Take an image apart.

        Parameters
        ----------
        array : array
            (H, W), RGB or RGBA (H, W, 3 | 4), or with a channel axis of at most 32: (H, W, C) or
            (C, H, W). Unsigned or signed integers, or floats, of any range. Arrays that are read by
            region (memory maps, dask, zarr) stay unread until then.
        rgb : bool, optional
            Whether the last axis is colour. Without it: (H, W, 3) of any type and (H, W, 4) of 8
            bits.
        channel_axis : int, optional
            The channels of an image that is not RGB. Without it: the shorter of first and last
            axis.
        box : Box, optional
            Only this part of the image.

        Raises
        ------
        ImageError
            With one sentence, for anything that cannot be segmented.
        """
        if not hasattr(array, "shape") or not hasattr(array, "dtype"):
            array = np.asarray(array)
        _check_type(array)
        data, colour, label = _channels_last(array, rgb, channel_axis)
        frame = data.shape[:2]
        if box is not None:
            row0, column0, row1, column1 = box
            data = data[row0:row1, column0:column1]
        height, width = data.shape[:2]
        if min(height, width) == 0:
            raise ImageError("The image is empty; choose an image with pixels.")
        if min(height, width) < SMALLEST_SIDE:
            raise ImageError(
                f"The image is {width} x {height} px; "
                f"both sides must be at least {SMALLEST_SIDE} px."
            )
        pixels = cls(data, colour=colour, label=label)
        pixels.frame = frame
        return pixels

    def read(self, box: Box, reduction: int = 1) -> NDArray[np.float32]:
        """Pixels of a box inside the image: (C, h, w) float32 in [0, 1], on a bright background.

        At a reduction only every so many-th row and column of the box, the others are not read.
        """
        scaled = self._scale(self._raw(box, reduction))
        return 1 - scaled if self.kind == "bright on dark" else scaled

    def as_rgb(self) -> RGBPixels:
        """Three channels: a stained image as it is, else the best channel thrice.

        Fluorescence goes through `even_tones`.
        """
        return RGBPixels(self)

    def prior(self, box: Box | None = None, reduction: int = 1) -> NDArray[np.float32]:
        """What looks like nuclei before any training: (h, w) float32, larger is more nucleus-like.

        Haematoxylin's optical density for stained images, else darkness (or brightness) of the
        channel that separates best. At a reduction as in `read`.
        """
        row0, column0, row1, column1 = box or (0, 0, *self.shape[1:])
        height, width = -(-(row1 - row0) // reduction), -(-(column1 - column0) // reduction)
        out = np.empty((height, width), np.float32)
        for rows in strips((height, width)):  # deconvolution needs several times a strip's memory
            top, bottom = row0 + rows.start * reduction, row0 + rows.stop * reduction
            pixels = self.read((top, column0, min(bottom, row1), column1), reduction)
            out[rows] = (
                haematoxylin(pixels) if self.kind == "stained" else 1 - pixels[self.prior_channel]
            )
        return out

    # -- inside

    def _raw(self, box: Box, reduction: int = 1) -> NDArray[np.float32]:
        row0, column0, row1, column1 = box
        index = np.s_[row0:row1:reduction, column0:column1:reduction]
        part = np.asarray(self._data[index], dtype=np.float32)
        if self.valid is None:
            return part
        return np.where(self.valid[index][..., None], part, self._fill)

    def _scale(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        # Channels first before anything else: numpy is slow along an axis of three values.
        scaled = np.array(np.moveaxis(part, -1, 0), np.float32, order="C")
        scaled -= self._low[:, None, None]
        scaled /= (self._high - self._low)[:, None, None]
        return np.clip(scaled, 0, 1, out=scaled)

    def _strips(self) -> Iterator[tuple[int, Any]]:
        for rows in strips(self.shape[1:]):
            yield rows.start, np.asarray(self._data[rows])

    def _find_valid(self) -> NDArray[np.bool_] | None:
        if self._data.dtype.kind != "f":
            return None
        valid = np.empty(self.shape[1:], bool)
        for row, strip in self._strips():
            valid[row : row + len(strip)] = np.isfinite(strip).all(-1)
        bad = int(valid.size - np.count_nonzero(valid))
        if bad == valid.size:
            raise ImageError("All pixels are NaN or infinite; choose an image with finite values.")
        if bad == 0:
            return None
        self.warnings.append(
            f"{bad} pixel{' is' if bad == 1 else 's are'} NaN or infinite and left out."
        )
        return valid

    def _leave_ink_out(self, grid: NDArray[np.float32]) -> None:
        """What ink covers is not valid; pixels there get the median of the rest."""
        every = self._every
        if self.valid is not None:
            grid = np.where(self.valid[::every, ::every, None], grid, self._fill)
        covered = ink(self._scale(grid), every)
        if covered is None:
            return
        _, height, width = self.shape
        free = ~covered.repeat(every, 0).repeat(every, 1)[:height, :width]
        if self.valid is not None:
            free &= self.valid
        if not free.any():
            return
        share = max(float(covered.mean()), 0.01)
        self.warnings.append(f"Ink or black covers {share:.0%} of the image and is left out.")
        self.valid = free
        self._fill = np.median(self._valid_of(grid), axis=0).astype(np.float32)

    @property
    def _every(self) -> int:
        """Which rows and columns are looked at to learn what an image is like."""
        _, height, width = self.shape
        return max(1, int(np.sqrt(height * width / _STATISTICS_PIXELS)))

    def _grid(self) -> NDArray[np.float32]:
        """Evenly spaced pixels, (h, w, C)."""
        return np.asarray(self._data[:: self._every, :: self._every], np.float32)

    def _valid_of(self, grid: NDArray[np.float32]) -> NDArray[np.float32]:
        """The valid pixels among them, (n, C)."""
        if self.valid is None:
            return grid.reshape(-1, grid.shape[-1])
        good = self.valid[:: self._every, :: self._every]
        # valid pixels exist, the grid may have missed them all
        return grid[good] if good.any() else self._first_valid()

    def _first_valid(self) -> NDArray[np.float32]:
        assert self.valid is not None
        found: list[NDArray[np.float32]] = []
        for row, strip in self._strips():
            found.append(strip[self.valid[row : row + len(strip)]].astype(np.float32))
            if sum(map(len, found)) >= _STATISTICS_PIXELS:
                break
        return np.concatenate(found)[:_STATISTICS_PIXELS]

    def _value_range(
        self, sample: NDArray[np.float32], colour: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        if np.all(np.ptp(sample, axis=0) == 0) and self._is_constant(sample[0]):
            raise ImageError(
                "All pixels have the same value; choose an image that shows something."
            )
        fill = np.median(sample, axis=0).astype(np.float32)
        ones = np.ones_like(fill)
        if colour and self._data.dtype == np.uint8:
            return fill, 0 * ones, 255 * ones
        low, high = np.percentile(sample, [_LOW, _HIGH], axis=0)
        if colour:  # one range for all channels keeps the colour
            low, high = low.min() * ones, high.max() * ones
        flat = high <= low
        if flat.any():  # too few pixels differ for percentiles to see them
            low = np.where(flat, sample.min(0), low)
            high = np.where(flat, np.maximum(sample.max(0), low + 1e-6), high)
        return fill, low.astype(np.float32), high.astype(np.float32)

    def _is_constant(self, value: NDArray[np.float32]) -> bool:
        for row, strip in self._strips():
            differs = (strip.astype(np.float32) != value).any(-1)
            if self.valid is not None:
                differs &= self.valid[row : row + len(strip)]
            if differs.any():
                return False
        return True


def even_tones(light: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """log(1 + 20 v) / log(21), with v the light from low to high: dim and bright nuclei alike.

    A few shining nuclei take most of a fluorescence image's range; in the logarithm the others
    stand out from the background as well.

    Parameters
    ----------
    light : ndarray
        In [0, 1].
    low, high : float
        Become 0 and 1; what is beyond is clipped.
    """
    share = ((light - low) / max(high - low, _LEAST_LIGHT)).clip(0, 1)
    return np.asarray(np.log1p(_TONES * share) / np.log1p(_TONES), np.float32)


class RGBPixels:
    """Three channels of any `Pixels`, as the synthetic starts learnt to see them."""

    def __init__(self, pixels: Pixels) -> None:
        self._pixels = pixels

    @property
    def shape(self) -> tuple[int, int, int]:
        """(3, H, W)."""
        return 3, *self._pixels.shape[1:]

    def read(self, box: Box, reduction: int = 1) -> NDArray[np.float32]:
        """(3, h, w) float32 in [0, 1], on a bright background; at a reduction as `Pixels.read`."""
        part = self._pixels.read(box, reduction)
        if self._pixels.kind == "stained":
            return part
        one = part[self._pixels.prior_channel]
        if self._pixels.kind == "bright on dark":
            one = 1 - even_tones(1 - one, *self._pixels.light_range)
        return np.repeat(one[None], 3, axis=0)


def _check_type(array: Any) -> None:
    kind = np.dtype(array.dtype).kind
    if kind == "b":
        raise ImageError(
            "The image holds true and false only; choose the image itself, not a mask of it."
        )
    if kind not in "uif":
        raise ImageError(
            f"Pixels of type {array.dtype} cannot be segmented; convert them to numbers."
        )
    if 0 in array.shape:
        raise ImageError("The image is empty; choose an image with pixels.")


def _channels_last(array: Any, rgb: bool | None, channel_axis: int | None) -> tuple[Any, bool, str]:
    """The array as (H, W, C), whether C is colour, and how that reads."""
    shape = tuple(array.shape)
    if len(shape) == 2:
        return array[..., None], False, "grey"
    if len(shape) != 3:
        raise ImageError(
            f"The array has {len(shape)} dimension{'s' if len(shape) != 1 else ''}; "
            "give one plane: (height, width), with or without a channel axis."
        )
    if rgb is None and channel_axis is None:
        eight_bits = np.dtype(array.dtype) == np.uint8
        rgb = shape[2] == 3 or (shape[2] == 4 and eight_bits)
    if rgb:
        if shape[2] not in (3, 4):
            raise ImageError(f"RGB needs 3 or 4 values a pixel, not {shape[2]}; say rgb=False.")
        return array[..., :3], True, "RGB" if shape[2] == 3 else "RGBA (alpha left out)"
    if channel_axis is None:
        channel_axis = 0 if shape[0] <= shape[2] else 2
    if not -3 <= channel_axis < 3:
        raise ImageError(f"There is no axis {channel_axis}; channel_axis must be 0, 1 or 2.")
    channels = shape[channel_axis]
    if channels > MOST_CHANNELS:
        raise ImageError(
            f"The array of shape {shape} has no channel axis of at most {MOST_CHANNELS}; "
            "give one plane of it, or say channel_axis."
        )
    order = [axis for axis in range(3) if axis != channel_axis % 3] + [channel_axis % 3]
    return array.transpose(order), False, counted(channels, "channel")

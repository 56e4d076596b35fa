"""Any image → (C, H, W) float32 in [0, 1] on a bright background, read by region."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.errors import ImageError
from napari_patchseg.modality import MODALITIES, STAINED, ImageKind, Modality
from napari_patchseg.words import pluralize

from .arrays import Plane, as_array, type_of
from .ihc import counterstain, has_dab, without_dab
from .ink import ink
from .layout import MOST_CHANNELS, MOST_UNNAMED_CHANNELS, layout_of
from .regions import Box as Box
from .regions import strips
from .stain import (
    DARK,
    LIGHT,
    grey_kind,
    haematoxylin,
    is_black,
    is_stained,
)

#: Shortest side that can be segmented: a patch and its surroundings.
SMALLEST_SIDE = 64
#: Scaled values are whole numbers of such steps: integers and floats of the same pixels, which are
#: rounded otherwise, come to the same.
_LEVELS = 4096
#: What a user's word for an image says of its nuclei.
#: Pixels looked at to learn the value range and the kind of image.
_STATISTICS_PIXELS = 1_000_000
#: Strength of `even_tones`, and the least range that it spreads: an even image stays even.
_TONES, _LEAST_LIGHT = 20.0, 0.02


class Pixels:
    """An image as the method takes it, converted region by region.

    Values are scaled to [0, 1], by what the image holds and not by its type: colours of a stained
    section from no light to the light that the glass lets through (the 99.9 percentile of the
    pixels' brightest colour), everything else from its 0.1 to its 99.9 percentile, per channel.
    Where nuclei are brighter than their surroundings (fluorescence) the image is inverted, since
    the method needs a bright background. Pixels that are masked, transparent, NaN or infinite, and
    what is black or covered by a marker pen on a stained section, are filled with the channel's
    median and marked as not valid.

    Use `Pixels.from_array`.

    Attributes
    ----------
    shape : tuple of int
        (C, H, W).
    modality : Modality
        What kind of image it is.
    image_kind : str or None
        What was said of that: "stained", "grey" or "fluorescence"; None: it was seen.
    description : str
        One line for the user: how the image is understood.
    warnings : list of str
        What the user should know, one sentence each.
    valid : ndarray or None
        (H, W) bool, False where a pixel was left out; None if all are good.
    frame : tuple of int
        (H, W) of the image that a box was taken from; that of the shape without one.
    prior_channel : int
        The channel that separates nuclei best, where the image is not stained.
    light_range : tuple of float
        0.5 and 99.5 percentile of that channel, in [0, 1], before any inversion.
    """

    shape: tuple[int, int, int]
    modality: Modality
    image_kind: ImageKind | None
    description: str
    warnings: list[str]
    valid: NDArray[np.bool_] | None

    def __init__(
        self, plane: Plane, *, colour: bool | None, image_kind: ImageKind | None = None
    ) -> None:
        height, width, channels = plane.shape
        self._plane, self._colour, self.image_kind = plane, colour, image_kind
        self._data, self._opacity = plane, None
        label = "grey" if plane.is_grey else pluralize(channels, "channel")
        if colour and channels == 4:
            self._data, self._opacity = plane.first(3), plane
            label = "3 channels (alpha left out)"
        self.frame = (height, width)
        self.warnings = []
        self.valid = self._find_valid()
        grid = self._grid()
        sample = self._valid_of(grid)
        self._check_constant(sample)
        colour = stained = False
        if self._data.shape[2] == 3:
            if _are_equal(sample):  # three equal channels carry one
                label = "grey (three equal channels)"
                self._data, grid, sample = self._data.first(1), grid[..., :1], sample[:, :1]
            else:
                stained = is_stained(sample.T)
                colour = stained if image_kind is None else image_kind == "stained"
        if colour:
            label = "RGB" if self._opacity is None else "RGBA (alpha left out)"
        elif image_kind == "stained":
            raise ImageError(
                f"A stained section needs three colours, but this image is {label}; choose 'grey', "
                "'fluorescence' or 'auto' as image kind."
            )
        self._counterstain: float | None = None
        self.shape = (self._data.shape[2], height, width)
        self._fill = _percentile(sample, 50)
        self._low, self._high = _value_range(sample, colour=colour)
        scaled = self._scale(sample[None])[:, 0]
        if colour:
            self.modality, self.prior_channel = STAINED, 0
            self._leave_ink_out(grid)
            self._counterstain = self._beside_dab(grid)
        else:
            self.prior_channel, self.modality = grey_kind(scaled)
            if image_kind is not None:
                self.modality = MODALITIES[image_kind]
            if stained and image_kind == "grey":  # haematoxylin and DAB take red, eosin does not
                self.prior_channel, label = 0, "red of a stained section"
        low, high = np.percentile(scaled[self.prior_channel], [0.5, 99.5])
        self.light_range = (float(low), float(high))
        nuclei = self.modality.looks
        if self._counterstain is not None:
            nuclei = "haematoxylin and DAB, nuclei take the haematoxylin"
        self.description = f"{label}, {width} x {height} px: {nuclei}"

    @classmethod
    def from_array(
        cls,
        array: Any,
        *,
        rgb: bool | None = None,
        channel_axis: int | None = None,
        box: Box | None = None,
        image_kind: ImageKind | None = None,
    ) -> Pixels:
        """Take an image apart.

        Parameters
        ----------
        array : array
            (H, W), RGB or RGBA (H, W, 3 | 4), or with a channel axis of at most 32: (H, W, C) or
            (C, H, W). Unsigned or signed integers, or floats, of any range, of NumPy or any library
            whose arrays can be sliced (zarr, h5py, dask, xarray, torch). Arrays that are read by
            region stay unread until then. Masked pixels are left out.
        rgb : bool, optional
            Whether the last axis (or the channel axis) is colour. Without it: (H, W, 4) of 8 bits,
            and three channels wherever they are, if they show a stained section.
        channel_axis : int, optional
            The channels. Without it: a first or last axis of at most 10, if the other two are
            longer; see `napari_patchseg.image.layout.layout_of`.
        box : Box, optional
            Only this part of the image.
        image_kind : {"stained", "grey", "fluorescence"}, optional
            How the image is understood: as a stained section in colour, as dark nuclei on light or
            as bright nuclei on dark, whatever it looks like.

        Raises
        ------
        ImageError
            With one sentence, for anything that cannot be segmented.
        """
        if image_kind is not None and image_kind not in MODALITIES:
            raise ImageError(
                f"There is no image kind {image_kind!r}; choose {', '.join(map(repr, MODALITIES))}."
            )
        array = as_array(array)
        names = getattr(array, "dims", None)  # of xarray
        layout = layout_of(
            array.shape, type_of(array), rgb=rgb, channel_axis=channel_axis, names=names
        )
        if 0 in tuple(array.shape):
            raise ImageError("The image is empty; choose an image with pixels.")
        if layout.planes:
            raise ImageError(_many_planes(tuple(array.shape)))
        plane = Plane(array, layout, box)
        channels = plane.shape[2]
        if channels > MOST_CHANNELS:
            raise ImageError(
                f"The image has {channels} channels; choose at most {MOST_CHANNELS} of them."
            )
        height, width, _ = plane.shape
        if min(height, width) == 0:
            raise ImageError("The image is empty; choose an image with pixels.")
        if min(height, width) < SMALLEST_SIDE:
            raise ImageError(
                f"The image is {width} x {height} px; "
                f"both sides must be at least {SMALLEST_SIDE} px."
            )
        pixels = cls(plane, colour=layout.colour, image_kind=image_kind)
        pixels.frame = int(array.shape[layout.y]), int(array.shape[layout.x])
        return pixels

    @property
    def kind(self) -> ImageKind:
        """Name of its modality."""
        return self.modality.kind

    def understood_as(self, image_kind: ImageKind | None) -> Pixels:
        """The same image understood otherwise; None leaves it as it is. Raises `ImageError`."""
        if image_kind in (None, self.image_kind):
            return self
        pixels = Pixels(self._plane, colour=self._colour, image_kind=image_kind)
        pixels.frame = self.frame
        return pixels

    def read(self, box: Box, reduction: int = 1) -> NDArray[np.float32]:
        """Pixels of a box inside the image: (C, h, w) float32 in [0, 1], on a bright background.

        At a reduction only every so many-th row and column of the box, the others are not read.
        """
        scaled = self._scale(self._raw(box, reduction))
        if self._counterstain is not None:
            return without_dab(scaled, self._counterstain)
        return 1 - scaled if self.modality.is_bright else scaled

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
                haematoxylin(pixels) if self.modality is STAINED else 1 - pixels[self.prior_channel]
            )
        return out

    # -- inside

    def _raw(self, box: Box, reduction: int = 1) -> NDArray[np.float32]:
        row0, column0, row1, column1 = box
        index = np.s_[row0:row1:reduction, column0:column1:reduction]
        part = _single(self._data.read(*index))
        if self.valid is None:
            return part
        return np.where(self.valid[index][..., None], part, self._fill)

    def _scale(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        # Channels first before anything else: numpy is slow along an axis of three values.
        scaled = np.array(np.moveaxis(part, -1, 0), np.float32, order="C")
        scaled -= self._low[:, None, None]
        scaled *= _LEVELS / (self._high - self._low)[:, None, None]
        np.rint(scaled, out=scaled)
        return np.clip(scaled / np.float32(_LEVELS), 0, 1, out=scaled)

    def _strips(self, plane: Plane) -> Iterator[tuple[slice, Any]]:
        for rows in strips(plane.shape[:2]):
            yield rows, plane.read(rows)

    def _find_valid(self) -> NDArray[np.bool_] | None:
        height, width, _ = self._data.shape
        looks = self._data.dtype.kind == "f" or self._data.may_be_masked or self._opacity
        if not looks:
            return None
        valid = np.ones((height, width), bool)
        masked = transparent = infinite = 0
        for rows, strip in self._strips(self._opacity or self._data):
            good = valid[rows]
            if isinstance(strip, np.ma.MaskedArray):
                good &= ~np.ma.getmaskarray(strip).any(-1)
                strip = strip.data
            left = int(np.count_nonzero(good))
            masked += good.size - left
            if self._opacity:
                good &= strip[..., 3] != 0
                transparent += left - int(np.count_nonzero(good))
                left = int(np.count_nonzero(good))
            if strip.dtype.kind == "f":
                good &= np.isfinite(_single(strip[..., : self._data.shape[2]])).all(-1)
                infinite += left - int(np.count_nonzero(good))
        if transparent == valid.size:  # it says nothing: a fourth byte that nobody filled
            self._opacity = None
            return self._find_valid()
        for count, what, rather in (
            (masked, "masked", "an image with pixels that are not"),
            (infinite, "NaN or infinite", "an image with finite values"),
            (transparent, "transparent", "an image with pixels that are not"),
        ):
            if count == valid.size:
                raise ImageError(f"All pixels are {what}; choose {rather}.")
            if count:
                are = "is" if count == 1 else "are"
                self.warnings.append(f"{pluralize(count, 'pixel')} {are} {what} and left out.")
        if not valid.any():
            raise ImageError("No pixel has a value that can be used; choose another image.")
        return None if valid.all() else valid

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
        self._fill = _percentile(self._valid_of(grid), 50)

    def _beside_dab(self, grid: NDArray[np.float32]) -> float | None:
        """How strong the haematoxylin of a section with DAB is; None without DAB."""
        seen = self._scale(self._valid_of(grid)[None])
        if not has_dab(seen[:, 0]):
            return None
        self.warnings.append(
            "DAB is left out: where nuclei themselves are brown, choose image kind 'grey'."
        )
        return counterstain(seen)

    @property
    def _every(self) -> int:
        """Which rows and columns are looked at to learn what an image is like."""
        height, width, _ = self._data.shape
        return max(1, int(np.sqrt(height * width / _STATISTICS_PIXELS)))

    def _grid(self) -> NDArray[np.float32]:
        """Evenly spaced pixels, (h, w, C)."""
        every = slice(None, None, self._every)
        return _single(self._data.read(every, every))

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
        for rows, strip in self._strips(self._data):
            found.append(_single(strip)[self.valid[rows]])
            if sum(map(len, found)) >= _STATISTICS_PIXELS:
                break
        return np.concatenate(found)[:_STATISTICS_PIXELS]

    def _check_constant(self, sample: NDArray[np.float32]) -> None:
        if np.any(np.ptp(sample, axis=0)):
            return
        for rows, strip in self._strips(self._data):
            differs = (_single(strip) != sample[0]).any(-1)
            if self.valid is not None:
                differs &= self.valid[rows]
            if differs.any():
                return
        raise ImageError("All pixels have the same value; choose an image that shows something.")


def _many_planes(shape: tuple[int, ...]) -> str:
    if len(shape) > 3:
        return (
            f"The array has {len(shape)} dimensions; "
            "give one plane: (height, width), with or without a channel axis."
        )
    return (
        f"The array of shape {shape} has no channel axis of at most {MOST_UNNAMED_CHANNELS} beside "
        "two longer ones; give one plane of it, or say channel_axis."
    )


def _single(values: Any) -> NDArray[np.float32]:
    """Values in single precision, in which what it cannot hold is infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32)


def _are_equal(sample: NDArray[np.float32]) -> bool:
    """Whether the channels of (n, C) differ by no more than noise, as a grey picture's."""
    return bool(np.ptp(sample, axis=1).max() < 0.05 * np.ptp(sample))


def _percentile(sample: NDArray[np.float32], percent: float) -> NDArray[np.float32]:
    """Of each channel of (n, C); a value that occurs, so that a type's rounding plays no part."""
    return np.percentile(sample, percent, axis=0, method="nearest").astype(np.float32)


def _value_range(
    sample: NDArray[np.float32], *, colour: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What becomes 0 and 1: of colours no light and the light, of others their percentiles."""
    ones = np.ones(sample.shape[1], np.float32)
    low, high = _percentile(sample, DARK), _percentile(sample, LIGHT)
    if colour:
        brightest = sample.max(1)
        low = min(np.float32(0), low.min()) * ones
        full = high.max() if high.max() > low[0] else brightest.max()  # of a few pixels, perhaps
        black = is_black((brightest - low[0]) / (full - low[0]))
        lit = brightest if black is None else brightest[~black]
        return low, _percentile(lit[:, None], LIGHT) * ones
    flat = high <= low
    if flat.any():  # too few pixels differ for percentiles to see them
        low = np.where(flat, sample.min(0), low)
        high = np.where(flat, np.maximum(sample.max(0), low + 1e-6 * np.maximum(1, abs(low))), high)
    return low.astype(np.float32), high.astype(np.float32)


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

    @property
    def valid(self) -> NDArray[np.bool_] | None:
        """That of the `Pixels`."""
        return self._pixels.valid

    def read(self, box: Box, reduction: int = 1) -> NDArray[np.float32]:
        """(3, h, w) float32 in [0, 1], on a bright background; at a reduction as `Pixels.read`."""
        part = self._pixels.read(box, reduction)
        if self._pixels.modality is STAINED:
            return part
        one = part[self._pixels.prior_channel]
        if self._pixels.modality.is_bright:
            one = 1 - even_tones(1 - one, *self._pixels.light_range)
        return np.repeat(one[None], 3, axis=0)

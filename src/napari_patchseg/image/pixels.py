"""Any image → (C, H, W) float32 in [0, 1] on a bright background, read by region."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.color import hdx_from_rgb, hed_from_rgb

from napari_patchseg.errors import ImageError
from napari_patchseg.geometry import Box, crop_boxes, grid_step, strips
from napari_patchseg.modality import MODALITIES, STAINED, ImageKind, Modality
from napari_patchseg.words import pluralize

from .exclusion import ink, is_black, valid_pixels
from .source import SMALLEST_SIDE, ImageSource, single
from .stain import (
    best_channel,
    counterstain,
    haematoxylin,
    is_stained,
    optical_density,
    without_dab,
)

#: Scaled values are whole numbers of such steps: integers and floats of the same pixels, which are
#: rounded otherwise, come to the same.
_LEVELS = 4096
#: Percentiles taken for no light and for full light.
_DARK, _LIGHT = 0.1, 99.9
#: Structure of a few pixels must stand this far above pixel noise. White noise has 0.16, noise
#: blurred by one pixel 1.0, real sections 2.4 and more.
STRUCTURE_TO_NOISE = 1.3


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

    modality: Modality

    def __init__(
        self,
        source: ImageSource,
        image_kind: ImageKind | None = None,
        *,
        to_segment: bool = True,
    ) -> None:
        self._source, self._colours, self.image_kind = source, source, image_kind
        height, width, channels = source.shape
        label = "grey" if source.is_grey else pluralize(channels, "channel")
        opacity = None
        if source.colour and channels == 4:
            self._colours, opacity = source.first(3), source
            label = "3 channels (alpha left out)"
        self.frame = source.frame
        self.valid, self.warnings = valid_pixels(self._colours, opacity)
        # Every so many-th row and column say what an image is like.
        self._every = grid_step((height, width))
        grid = single(self._colours.read(*[slice(None, None, self._every)] * 2))
        sample = self._valid_of(grid)
        if to_segment:
            self._check_constant(sample)
        colour = stained = False
        if self._colours.shape[2] == 3:
            if np.ptp(sample, axis=1).max() <= 0.05 * np.ptp(sample):  # no more than noise
                label = "grey (three equal channels)"
                self._colours, sample = source.first(1), sample[:, :1]
            else:
                low, high, lit = _light(sample)
                stained = is_stained(((lit - low) / (high - low)).T)
                colour = stained if image_kind is None else image_kind == "stained"
        self._in_colour = bool(source.colour or colour or stained)
        if colour:
            label = "RGB" if opacity is None else "RGBA (alpha left out)"
            self._low, self._high = np.full((2, 3), [[low], [high]], np.float32)
        elif image_kind == "stained":
            raise ImageError(
                f"A stained section needs three colours, but this image is {label}; choose 'grey', "
                "'fluorescence' or 'auto' as image kind."
            )
        else:
            self._low, self._high = _value_range(sample)
        self.shape = (self._colours.shape[2], height, width)
        self._fill = _percentile(sample, 50)
        scaled = self._scale(sample)
        self._counterstain: float | None = None
        if colour:
            self.modality, self.prior_channel = STAINED, 0
            sample = self._leave_ink_out(grid, sample)
            self._counterstain = counterstain(self._scale(sample))
        else:
            self.prior_channel, self.modality = best_channel(scaled)
            if image_kind is not None:
                self.modality = MODALITIES[image_kind]
            if stained and image_kind == "grey":  # haematoxylin and DAB take red, eosin does not
                self.prior_channel, label = 0, "red of a stained section"
        low, high = np.percentile(scaled[self.prior_channel], [0.5, 99.5])
        self.light_range = (float(low), float(high))
        nuclei = self.modality.looks
        if self._counterstain is not None:
            nuclei = "haematoxylin and DAB, nuclei take the haematoxylin"
            self.warnings.append(
                "DAB is left out: where nuclei themselves are brown, choose image kind 'grey'."
            )
        self.description = f"{label}, {width} x {height} px: {nuclei}"

    @classmethod
    def from_array(
        cls,
        array: Any,
        *,
        rgb: bool | None = None,
        channel_axis: int | None = None,
        box: Box | None = None,
        image_kind: ImageKind | Literal["auto"] | None = None,
        to_segment: bool = True,
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
            as bright nuclei on dark, whatever it looks like. None or "auto": by what it holds.
        to_segment : bool, optional
            False for an image that is only measured: of any size, and perhaps all of one value.

        Raises
        ------
        ImageError
            With one sentence, for anything that cannot be segmented.
        """
        kind = None if image_kind == "auto" else image_kind
        if kind is not None and kind not in MODALITIES:
            raise ImageError(
                f"There is no image kind {kind!r}; choose {', '.join(map(repr, MODALITIES))}."
            )
        source = ImageSource.of(
            array,
            rgb=rgb,
            channel_axis=channel_axis,
            box=box,
            smallest_side=SMALLEST_SIDE if to_segment else 1,
        )
        return cls(source, kind, to_segment=to_segment)

    @property
    def kind(self) -> ImageKind:
        """Name of its modality."""
        return self.modality.kind

    def understood_as(self, image_kind: ImageKind | None) -> Pixels:
        """The same image understood otherwise; None leaves it as it is. Raises `ImageError`."""
        if image_kind in (None, self.image_kind):
            return self
        return Pixels(self._source, image_kind)

    def read(self, box: Box, reduction: int = 1) -> NDArray[np.float32]:
        """Pixels of a box inside the image: (C, h, w) float32 in [0, 1], on a bright background.

        At a reduction only every so many-th row and column of the box, the others are not read.
        """
        row0, column0, row1, column1 = box
        index = np.s_[row0:row1:reduction, column0:column1:reduction]
        part = single(self._colours.read(*index))
        if self.valid is not None:
            part = np.where(self.valid[index][..., None], part, self._fill)
        scaled = self._scale(part)
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

    @property
    def channels(self) -> tuple[str, ...]:
        """Names of the channels as they are stored."""
        count = self.shape[0]
        if count == 1:
            return ("Intensity",)
        if self._in_colour:
            return "Red", "Green", "Blue"
        return tuple(f"Channel {number}" for number in range(1, count + 1))

    @property
    def stains(self) -> tuple[str, ...]:
        """Names of the stains of a section in colour; none of any other image."""
        if self.modality is not STAINED:
            return ()
        return "Haematoxylin", "Eosin" if self._counterstain is None else "DAB"

    def values(self, rows: slice, where: NDArray[np.bool_]) -> NDArray[np.float64]:
        """What some pixels hold.

        Parameters
        ----------
        rows : slice
            Rows of the image.
        where : ndarray
            (h, W) bool, which pixels of theirs.

        Returns
        -------
        ndarray
            (C + S, n): the channels as they are stored, then the `optical_density` of the stains,
            for which full light is that of the whole image. NaN where a pixel has no value.
        """
        part = np.ma.filled(self._colours.read(rows)[where].astype(float), np.nan)
        part[~np.isfinite(part)] = np.nan
        values: NDArray[np.float64] = np.ascontiguousarray(part.T)
        if not self.stains:
            return values
        stains = hed_from_rgb if self._counterstain is None else hdx_from_rgb
        return np.concatenate([values, optical_density(self._scale(single(part)), stains)])

    # -- inside

    def _scale(self, part: NDArray[np.float32]) -> NDArray[np.float32]:
        # Channels first before anything else: numpy is slow along an axis of three values.
        scaled = np.array(np.moveaxis(part, -1, 0), np.float32, order="C")
        by_channel = (-1,) + (1,) * (scaled.ndim - 1)
        scaled -= self._low.reshape(by_channel)
        scaled *= (_LEVELS / (self._high - self._low)).reshape(by_channel)
        np.rint(scaled, out=scaled)
        return np.clip(scaled / np.float32(_LEVELS), 0, 1, out=scaled)

    def _leave_ink_out(
        self, grid: NDArray[np.float32], sample: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """What ink covers is not valid; pixels there get the median of the rest, the new sample."""
        every = self._every
        if self.valid is not None:
            grid = np.where(self.valid[::every, ::every, None], grid, self._fill)
        covered = ink(self._scale(grid), every)
        if covered is None:
            return sample
        _, height, width = self.shape
        free = ~covered.repeat(every, 0).repeat(every, 1)[:height, :width]
        if self.valid is not None:
            free &= self.valid
        if not free.any():
            return sample
        share = max(float(covered.mean()), 0.01)
        self.warnings.append(f"Ink or black covers {share:.0%} of the image and is left out.")
        self.valid = free
        sample = self._valid_of(grid)
        self._fill = _percentile(sample, 50)
        return sample

    def _valid_of(self, grid: NDArray[np.float32]) -> NDArray[np.float32]:
        """The valid pixels of a grid of every so many-th, (n, C)."""
        if self.valid is None:
            return grid.reshape(-1, grid.shape[-1])
        good = self.valid[:: self._every, :: self._every]
        if good.any():
            return grid[good]
        rows = next(rows for rows in strips(self.valid.shape) if self.valid[rows].any())
        return single(self._colours.read(rows))[self.valid[rows]]  # the grid has missed them all

    def _check_constant(self, sample: NDArray[np.float32]) -> None:
        if np.any(np.ptp(sample, axis=0)):
            return
        for rows in strips(self._colours.shape[:2]):
            differs = (single(self._colours.read(rows)) != sample[0]).any(-1)
            if self.valid is not None:
                differs &= self.valid[rows]
            if differs.any():
                return
        raise ImageError("All pixels have the same value; choose an image that shows something.")


def _percentile(sample: NDArray[np.float32], percent: float) -> NDArray[np.float32]:
    """Of each channel of (n, C); a value that occurs, so that a type's rounding plays no part."""
    return np.percentile(sample, percent, axis=0, method="nearest").astype(np.float32)


def _light(sample: NDArray[np.float32]) -> tuple[float, float, NDArray[np.float32]]:
    """No light and full light of colours (n, 3), and those that are not surrounded by black."""
    brightest = sample.max(1)
    low = min(0.0, float(_percentile(sample, _DARK).min()))
    full = float(_percentile(sample, _LIGHT).max())
    if full <= low:  # of a few pixels, perhaps
        full = float(brightest.max())
    lit = ~is_black((brightest - low) / max(full - low, 1e-6))
    return low, float(_percentile(brightest[lit], _LIGHT)), sample[lit]


def _value_range(sample: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What becomes 0 and 1 of each channel of (n, C)."""
    low, high = _percentile(sample, _DARK), _percentile(sample, _LIGHT)
    flat = high <= low  # too few pixels differ for percentiles to see them
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
    share = ((light - low) / max(high - low, 0.02)).clip(0, 1)  # an even image stays even
    return np.asarray(np.log1p(20 * share) / np.log1p(20), np.float32)


class RGBPixels:
    """Three channels of any `Pixels`, as the pretrained weights learnt to see them."""

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


def has_structure(pixels: Pixels) -> bool:
    """Whether anything in the image is of the size and contrast of nuclei.

    Compares the prior's standard deviation between scales of 2 and 20 px with that below 1 px:
    noise, empty glass and evenly coloured fields have none of the former. Crop by crop: a
    few nuclei in one of them are enough, however empty the others.
    """
    return any(
        _structured(pixels.prior(box), pixels.modality.least_contrast)
        for box in crop_boxes(pixels.shape[1:], 512, 8)
    )


def _structured(prior: NDArray[np.float32], contrast: float) -> bool:
    structure = float((ndi.gaussian_filter(prior, 2) - ndi.gaussian_filter(prior, 20)).std())
    noise = float((prior - ndi.gaussian_filter(prior, 1)).std())
    return structure > contrast and structure > STRUCTURE_TO_NOISE * noise

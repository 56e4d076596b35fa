"""From the colour space that a file keeps its pixels in to RGB or grey."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.errors import FileError
from napari_patchseg.geometry import strips

if TYPE_CHECKING:
    from tifffile import TiffPage

#: Compressions whose decoders hand out RGB, even where the tag still says YCbCr.
_DECODED = {"OJPEG", "JPEG", "JPEG_LOSSY", "ALT_JPEG", "WEBP", "WEBP_DEPRECATED", "JPEGXR",
            "JPEGXR_NDPI", "JPEGXL", "JPEGXL_DNG", "PNG"}  # fmt: skip
#: The one whose pixels are YCbCr, even where the tag says RGB (Aperio's "J2K/YUV16").
_APERIO_YCBCR = "APERIO_JP2000_YCBC"
_UNREAD = {"CFA", "LINEAR_RAW", "LOGL", "LOGLUV", "DEPTH_MAP", "SEMANTIC_MASK"}
#: Values of the tag ExtraSamples: opacity, multiplied into the colours or not.
_OPACITY = {1, 2}

_Coloured = tuple[NDArray[Any], bool, int | None]


class UnknownColoursError(FileError):
    """The colour space cannot be converted; the text is its name, for a sentence."""


def of_tiff(array: NDArray[Any], axes: str, page: TiffPage, names: Sequence[str] = ()) -> _Coloured:
    """Colours of a TIFF's decoded pixels as RGB.

    Parameters
    ----------
    array : ndarray
        One plane: the page's pixels as tifffile decodes them.
    axes : str
        Its axes: "YX", and perhaps one of "S" (samples of a pixel) and "C" (channels).
    page : TiffPage
        Says how they are meant.
    names : sequence of str
        Of the channels, as far as the file names them.

    Returns
    -------
    tuple
        Grey (H, W), or RGB or RGBA (H, W, 3 | 4), or channels in their place; whether it is RGB;
        the axis of channels.

    Raises
    ------
    UnknownColoursError
        If the colours cannot be converted.
    """
    space = _space_of(page)
    if space in _UNREAD:
        raise UnknownColoursError(space)
    if space == "PALETTE":
        return _through_palette(array, page.colormap), True, None
    if space == "MINISWHITE":
        array = _inverted(array, _highest(page))
    if "C" in axes:
        return _channels(array, axes.index("C"), names)
    if array.ndim == 2:
        return array, False, None
    axis = axes.index("S")
    count = array.shape[axis]
    extra = [int(kind) for kind in page.extrasamples]
    if space in ("MINISBLACK", "MINISWHITE", "MASK"):
        if count == 2 and _OPACITY & set(extra):
            return np.take(array, 0, axis), False, None
        # Without the tag of RGB, but as napari takes it: interleaved, by three (or four bytes).
        if axis == 2 and (count == 3 or (count == 4 and array.dtype == np.uint8)):
            return array, True, None
        return array, False, axis
    array = np.moveaxis(array, axis, -1)  # one plane per colour is just another way to lay them out
    if space == "RGB":
        if count < 3:
            return array, False, 2
        return _rgb(array, extra), True, None
    if space == "YCBCR":
        return _converted(array, 3, _from_ycbcr(page)), True, None
    if space == "CIELAB":
        return _converted(array, 3, _from_lab), True, None
    if space == "SEPARATED":
        if page.tags.valueof("InkSet", default=1) != 1:  # inks of any colour: channels
            return array, False, 2
        return _converted(array, 4, _from_cmyk(page)), True, None
    raise UnknownColoursError(space)


def stored_as(page: TiffPage) -> str | None:
    """Name of a page's colour space where software that converts none shows wrong colours."""
    space = _space_of(page)
    if space == "SEPARATED" and page.samplesperpixel < 4:
        return None
    names = {"YCBCR": "YCbCr", "SEPARATED": "CMYK", "PALETTE": "a palette"}
    return names.get(space, "L*a*b*" if space.endswith("LAB") else None)


def is_packed(page: TiffPage) -> bool:
    """Whether the page's chroma is coarser than its luma in a way that tifffile cannot decode."""
    decoded = getattr(page.compression, "name", "") in _DECODED
    return bool(page.is_subsampled and not decoded and page.planarconfig == 1)


def unpacked(page: TiffPage) -> NDArray[np.uint8]:
    """Samples (H, W, 3) of a page for which `is_packed` holds, chroma repeated."""
    import tifffile

    if page.bitspersample != 8 or page.samplesperpixel != 3 or page.predictor != 1:
        raise UnknownColoursError("YCbCr of a rare kind")
    across, down = page.subsampling or (2, 2)
    height, width = page.imagelength, page.imagewidth
    step, wide = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    columns = -(-width // wide)
    decompress = tifffile.TIFF.DECOMPRESSORS[page.compression]
    out = np.zeros((height, width, 3), np.uint8)
    segments = page.parent.filehandle.read_segments(page.dataoffsets, page.databytecounts)
    for segment in segments:
        data, index = cast("tuple[bytes, int]", segment)
        row, column = index // columns * step, index % columns * wide
        rows = step if page.is_tiled else min(step, height - row)
        found: NDArray[Any] = np.frombuffer(decompress(data), np.uint8)
        if page.subsampling is None and found.size == rows * wide * 3:  # the writer left it out
            part = found.reshape(rows, wide, 3)
        else:  # units of across x down luma samples, then one of each chroma
            units = -(-rows // down), -(-wide // across)
            length = across * down + 2
            found = found[: units[0] * units[1] * length].reshape(*units, length)
            luma: NDArray[Any] = found[..., :-2].reshape(*units, down, across).swapaxes(1, 2)
            luma = luma.reshape(units[0] * down, units[1] * across, 1)
            chroma = found[..., -2:].repeat(down, 0).repeat(across, 1)
            part = np.concatenate([luma, chroma], -1)
        place = out[row : row + rows, column : column + wide]
        place[...] = part[: place.shape[0], : place.shape[1]]
    return out


def of_picture(image: Any) -> NDArray[Any]:
    """Pixels of a Pillow image as grey (H, W), or RGB or RGBA (H, W, 3 | 4)."""
    mode, opacity = image.mode, "transparency" in image.info
    if mode in ("1", "L", "LA", "I", "F") or mode.startswith("I;16"):
        array = np.array(image)
        return array[..., 0] if mode == "LA" else array
    if mode in ("RGB", "RGBA") and not opacity:
        return np.array(image)
    if mode == "CMYK":
        return np.asarray(_cmyk_to_rgb(image, image.info.get("icc_profile")))
    see_through = opacity or mode in ("PA", "RGBA", "RGBa")
    return np.array(image.convert("RGBA" if see_through else "RGB"))


def _space_of(page: TiffPage) -> str:
    """Name of the colour space of the decoded pixels."""
    space = getattr(page.photometric, "name", str(page.photometric))
    compression = getattr(page.compression, "name", "")
    if space == "YCBCR" and compression in _DECODED:
        return "RGB"
    if space == "RGB" and compression == _APERIO_YCBCR:
        return "YCBCR"
    return space


def _highest(page: TiffPage) -> int:
    return 2 ** int(page.bitspersample) - 1


def _inverted(array: NDArray[Any], highest: int) -> NDArray[Any]:
    if array.dtype == bool:
        return ~array
    if array.dtype.kind == "u":
        return np.asarray(array.dtype.type(highest) - array)
    return np.asarray(array.max() - array)


def _through_palette(array: NDArray[Any], colormap: NDArray[Any] | None) -> NDArray[np.uint8]:
    palette = np.asarray(colormap)
    if array.ndim != 2 or palette.ndim != 2 or len(palette) != 3:
        raise UnknownColoursError("numbers of a palette that the file does not have")
    # Its colours have 16 bits; some writers give them 8.
    eight = (palette if palette.max() < 256 else palette >> 8).astype(np.uint8)
    index = array.astype(np.uint8) if array.dtype == bool else array
    return eight.T[index]


def _channels(array: NDArray[Any], axis: int, names: Sequence[str]) -> _Coloured:
    """Channels, or RGB where they are called red, green and blue."""
    first = [name.strip().lower()[:1] for name in names]
    whole = {name.strip().lower() for name in names}
    if array.shape[axis] == 3 and whole in ({"red", "green", "blue"}, {"r", "g", "b"}):
        planes = [np.take(array, first.index(colour), axis) for colour in "rgb"]
        return np.stack(planes, -1), True, None
    return array, False, axis


def _rgb(array: NDArray[Any], extra: Sequence[int]) -> NDArray[Any]:
    """RGB of three or more samples, RGBA where the fourth is opacity or nothing is said of it."""
    is_opacity = not extra or extra[0] in _OPACITY
    return np.ascontiguousarray(array[..., : 4 if is_opacity else 3])


def _converted(
    array: NDArray[Any], count: int, convert: Callable[[NDArray[Any]], NDArray[Any]]
) -> NDArray[Any]:
    """The array's first samples as RGB, strip by strip; a further one, opacity, is left out."""
    if array.shape[2] < count:
        raise UnknownColoursError(
            f"{array.shape[2]} samples a pixel, where there should be {count}"
        )
    if array.dtype.kind == "i":  # signs are part of Lab's meaning, not of numpy's type
        array = array.view(array.dtype.str.replace("i", "u"))
    if array.dtype not in (np.uint8, np.uint16):
        raise UnknownColoursError(f"numbers of type {array.dtype}")
    parts = [convert(array[rows, :, :count]) for rows in strips(array.shape[:2])]
    return np.concatenate(parts)


def _from_ycbcr(page: TiffPage) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Conversion by TIFF 6.0, section 21: with the page's coefficients and reference values."""
    highest = _highest(page)
    middle = (highest + 1) // 2
    red, green, blue = _rationals(page, "YCbCrCoefficients", 3) or (0.299, 0.587, 0.114)
    usual = (0.0, highest, middle, highest, middle, highest)
    reference = _rationals(page, "ReferenceBlackWhite", 6) or usual
    # Where chroma's black is not its middle they are meant for RGB; far too low, for fewer bits.
    if reference[2] == 0 or 2 * reference[1] < highest:
        reference = usual
    black = np.array(reference[::2], np.float32)
    scale = np.array([highest, middle - 1, middle - 1]) / (np.array(reference[1::2]) - black)
    if not (np.isfinite(scale).all() and green > 0):
        raise UnknownColoursError("YCbCr with coefficients that cannot be")

    def convert(samples: NDArray[Any]) -> NDArray[Any]:
        luma, cb, cr = np.moveaxis((samples - black) * scale.astype(np.float32), -1, 0)
        r = luma + cr * (2 - 2 * red)
        b = luma + cb * (2 - 2 * blue)
        g = (luma - red * r - blue * b) / green
        out = np.stack([r, g, b], -1).round().clip(0, highest)
        return out.astype(samples.dtype)

    return convert


def _rationals(page: TiffPage, name: str, count: int) -> tuple[float, ...] | None:
    value = page.tags.valueof(name)
    if not isinstance(value, tuple) or len(value) != 2 * count or not all(value[1::2]):
        return None
    return tuple(above / below for above, below in zip(value[::2], value[1::2], strict=True))


def _from_lab(samples: NDArray[Any]) -> NDArray[Any]:
    """L*a*b*, by Pillow in 8 bits."""
    return np.asarray(_picture("LAB", _eight_bits(samples)).convert("RGB"))


def _from_cmyk(page: TiffPage) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Conversion of inks, by the file's own profile if it has one."""
    profile = page.tags.valueof("InterColorProfile")
    dots = page.tags.valueof("DotRange")
    inverted = isinstance(dots, tuple) and len(dots) > 1 and dots[0] > dots[1]

    def convert(samples: NDArray[Any]) -> NDArray[Any]:
        eight = _eight_bits(samples)
        return np.asarray(
            _cmyk_to_rgb(_picture("CMYK", 255 - eight if inverted else eight), profile)
        )

    return convert


def _cmyk_to_rgb(image: Any, profile: bytes | None) -> Any:
    from PIL import ImageCms

    if profile:
        try:
            return ImageCms.profileToProfile(
                image,
                ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                ImageCms.createProfile("sRGB"),
                outputMode="RGB",
            )
        except (ImageCms.PyCMSError, OSError, TypeError):  # damaged, or not one of inks
            pass
    return image.convert("RGB")


def _eight_bits(samples: NDArray[Any]) -> NDArray[np.uint8]:
    return (samples >> 8 if samples.dtype == np.uint16 else samples).astype(np.uint8)


def _picture(mode: str, samples: NDArray[np.uint8]) -> Any:
    from PIL import Image

    return Image.frombytes(mode, samples.shape[1::-1], samples.tobytes())

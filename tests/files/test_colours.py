"""The same section in every colour space that files keep it in."""

from __future__ import annotations

import io
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from napari_patchseg.errors import FileError
from napari_patchseg.files.images import read_image, unconverted_colours

rng = np.random.default_rng(0)
SECTION = np.full((80, 96, 3), (226, 170, 205), np.uint8)  # pink, with a violet nucleus
SECTION[30:60, 30:60] = (95, 60, 140)
SECTION = (SECTION + rng.normal(0, 2, SECTION.shape)).clip(0, 255).astype(np.uint8)
GREY = rng.integers(0, 256, (70, 90), dtype=np.uint8)
OPACITY = np.full((80, 96, 1), 255, np.uint8)
OPACITY[:20] = 100


def samples(mode: str) -> np.ndarray:
    return np.asarray(Image.fromarray(SECTION).convert(mode))


def check(path, *, within: float = 2, expected: np.ndarray = SECTION, bits: int = 8) -> None:
    got = read_image(path)
    assert got.rgb
    assert got.array.dtype == (np.uint8 if bits == 8 else np.uint16)
    assert got.array.shape == expected.shape
    off = got.array / (1 if bits == 8 else 257) - expected
    assert np.abs(off).mean((0, 1)).max() <= within


def cielab(wide: bool = False) -> np.ndarray:
    """As TIFF has it: a* and b* in two's complement."""
    packed = io.BytesIO()
    Image.fromarray(SECTION).convert("LAB").save(packed, "TIFF")
    packed.seek(0)
    lab = tifffile.imread(packed)
    return lab.astype(np.uint16) << 8 if wide else lab


def write(path, array: np.ndarray, photometric: str | int, **options) -> None:
    """Any photometric interpretation on any samples."""
    free = "rgb" if array.ndim == 3 else "minisblack"
    tifffile.imwrite(path, array, photometric=free, metadata=None, **options)
    number = tifffile.PHOTOMETRIC[photometric] if isinstance(photometric, str) else photometric
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["PhotometricInterpretation"].overwrite(int(number))


# -- YCbCr


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "packbits", "zstd", "jpeg2000"])
@pytest.mark.parametrize("layout", [{}, {"tile": (32, 32)}, {"planarconfig": "separate"}])
def test_ycbcr(tmp_path, compression, layout):
    array = samples("YCbCr")
    if "planarconfig" in layout:
        array = np.moveaxis(array, -1, 0)
    options = {"compressionargs": {"level": 0}} if compression == "jpeg2000" else {}
    tifffile.imwrite(
        tmp_path / "a", array, photometric="ycbcr", compression=compression, metadata=None,
        **options, **layout,
    )  # fmt: skip
    check(tmp_path / "a")


def test_ycbcr_of_16_bits(tmp_path):
    tifffile.imwrite(
        tmp_path / "a", samples("YCbCr").astype(np.uint16) << 8, photometric="ycbcr", metadata=None
    )
    check(tmp_path / "a", bits=16, within=3)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 1), (2, 2), (4, 1)])
@pytest.mark.parametrize("tile", [None, (32, 32)])
def test_jpeg_is_converted_once(tmp_path, subsampling, tile):
    tifffile.imwrite(
        tmp_path / "a", SECTION, photometric="rgb", compression="jpeg", subsampling=subsampling,
        tile=tile, metadata=None,
    )  # fmt: skip
    check(tmp_path / "a", within=4)
    with tifffile.TiffFile(tmp_path / "a") as tiff:
        assert tiff.pages[0].photometric.name == "YCBCR"


def subsampled_tiff(
    across: int, down: int, compression: int, rows: int | None, tags: dict[int, list] | None = None
) -> bytes:
    """A TIFF with coarser chroma (TIFF 6.0, section 21), in strips of rows or tiles of 32."""
    array = samples("YCbCr")
    height, width = array.shape[:2]
    step, wide = (rows, width) if rows else (32, 32)
    segments = []
    for row in range(0, height, step):
        for column in range(0, width, wide):
            part = array[row : row + step, column : column + wide]
            short = 0 if rows else step - len(part)
            part = np.pad(part, ((0, short), (0, 0), (0, 0)), mode="edge")
            part = np.pad(
                part, ((0, -len(part) % down), (0, -part.shape[1] % across), (0, 0)), mode="edge"
            )
            units = part.reshape(len(part) // down, down, -1, across, 3).swapaxes(1, 2)
            luma = units[..., 0].reshape(*units.shape[:2], -1)
            chroma = units[..., 1:].mean((2, 3)).round().astype(np.uint8)
            data = np.concatenate([luma, chroma], -1).tobytes()
            encode = {1: bytes, 5: imagecodecs.lzw_encode, 8: imagecodecs.zlib_encode}[compression]
            segments.append(encode(data))
    counts = [len(segment) for segment in segments]
    entries = {
        256: [width], 257: [height], 258: [8, 8, 8], 259: [compression], 262: [6], 277: [3],
        284: [1], 530: [across, down],
    }  # fmt: skip
    entries |= {273: [0], 278: [step], 279: counts} if rows else {322: [32], 323: [32]}
    entries |= {} if rows else {324: [0], 325: counts}
    entries |= tags or {}
    place = 273 if rows else 324
    entries[place] = [0] * len(segments)
    for _ in range(2):  # the first time to learn how long the head is
        body, heads = b"", b""
        start = 8 + 2 + 12 * len(entries) + 4
        for number, values in sorted(entries.items()):
            rational = number in (529, 532)
            packed = b"".join(struct.pack("<II" if rational else "<I", *v) if rational
                              else struct.pack("<I", v) for v in values)  # fmt: skip
            head = struct.pack("<HHI", number, 5 if rational else 4, len(values))
            if len(packed) > 4:
                heads += head + struct.pack("<I", start + len(body))
                body += packed
            else:
                heads += head + packed.ljust(4, b"\0")
        first = start + len(body)
        entries[place] = [first + sum(counts[:index]) for index in range(len(counts))]
    directory = struct.pack("<H", len(entries)) + heads + bytes(4)
    return b"II*\0" + struct.pack("<I", 8) + directory + body + b"".join(segments)


@pytest.mark.parametrize("sampling", [(1, 1), (2, 1), (1, 2), (2, 2), (4, 2), (4, 4)])
@pytest.mark.parametrize("compression", [1, 5, 8])
@pytest.mark.parametrize("rows", [80, 32, None])
def test_ycbcr_with_coarser_chroma(tmp_path, sampling, compression, rows):
    (tmp_path / "a").write_bytes(subsampled_tiff(*sampling, compression, rows))
    check(tmp_path / "a", within=3)


@pytest.mark.parametrize("keep", [0.3, 0.9])
def test_truncated_ycbcr_with_coarser_chroma(tmp_path, keep):
    content = subsampled_tiff(2, 2, 1, 32)
    (tmp_path / "a").write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(FileError, match="truncated TIFF"):
        read_image(tmp_path / "a")


def test_ycbcr_by_the_files_own_coefficients(tmp_path):
    """BT.709 in studio range, as video has it."""
    rgb = SECTION / 255
    luma = rgb @ [0.2126, 0.7152, 0.0722]
    cb, cr = (rgb[..., 2] - luma) / 1.8556, (rgb[..., 0] - luma) / 1.5748
    coded = np.stack([16 + 219 * luma, 128 + 224 * cb, 128 + 224 * cr], -1).round().astype(np.uint8)
    extratags = [
        (529, 5, 3, (2126, 10_000, 7152, 10_000, 722, 10_000), True),
        (532, 5, 6, (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1), True),
    ]
    write(tmp_path / "a", coded, "YCBCR", extratags=[(530, 3, 2, (1, 1), True), *extratags])
    check(tmp_path / "a")


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 300), min_size=18, max_size=18))
def test_any_coefficients_end_in_an_image_or_a_sentence(tmp_path, numbers):
    pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    content = subsampled_tiff(2, 2, 1, 80, {529: pairs[:3], 532: pairs[3:] * 2})
    (tmp_path / "a").write_bytes(content)
    try:
        sentence = None if read_image(tmp_path / "a").rgb else "not RGB"
    except FileError as error:
        sentence = str(error)
    assert sentence is None or "save it as RGB" in sentence


def test_aperio_jpeg2000(tmp_path):
    for compression, array in ((33003, samples("YCbCr")), (33005, SECTION)):
        tifffile.imwrite(
            tmp_path / "a.svs", array, compression=compression, photometric="rgb", tile=(64, 64),
            metadata=None, description="Aperio Image Library v10\n96x80 J2K/YUV16|MPP = 0.499",
        )  # fmt: skip
        check(tmp_path / "a.svs", within=4)


# -- L*a*b*, inks, palettes, black and white


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize(
    ("array", "photometric"),
    [
        (cielab(), "CIELAB"),
        (cielab(wide=True), "CIELAB"),
    ],
)
def test_lab(tmp_path, array, photometric, compression):
    write(tmp_path / "a", array, photometric, compression=compression)
    check(tmp_path / "a", within=4)


def test_lab_by_pillow(tmp_path):
    Image.fromarray(SECTION).convert("LAB").save(tmp_path / "a", "TIFF")
    check(tmp_path / "a")


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("opacity", [False, True])
@pytest.mark.parametrize("planar", [False, True])
def test_cmyk(tmp_path, compression, bits, opacity, planar):
    array = samples("CMYK")
    if opacity:
        array = np.concatenate([array, OPACITY], -1)
    array = array if bits == 8 else array.astype(np.uint16) * 257
    tifffile.imwrite(
        tmp_path / "a", np.moveaxis(array, -1, 0) if planar else array, photometric="separated",
        planarconfig="separate" if planar else "contig", compression=compression, metadata=None,
        extrasamples=[2] if opacity else None,
    )  # fmt: skip
    check(tmp_path / "a")


def test_cmyk_with_inverted_dots(tmp_path):
    tifffile.imwrite(
        tmp_path / "a", 255 - samples("CMYK"), photometric="separated", metadata=None,
        extratags=[(336, 3, 2, (255, 0), True)],
    )  # fmt: skip
    check(tmp_path / "a")


def test_inks_that_are_no_cmyk_are_channels(tmp_path):
    tifffile.imwrite(
        tmp_path / "a", samples("CMYK"), photometric="separated", metadata=None,
        extratags=[(332, 3, 1, 2, True)],
    )  # fmt: skip
    got = read_image(tmp_path / "a")
    assert (got.rgb, got.channel_axis, got.array.shape) == (False, 2, (80, 96, 4))


def test_a_damaged_profile_is_left_out(tmp_path):
    tifffile.imwrite(
        tmp_path / "a",
        samples("CMYK"),
        photometric="separated",
        metadata=None,
        iccprofile=b"x" * 99,
    )
    check(tmp_path / "a")
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # none of inks
    tifffile.imwrite(
        tmp_path / "a", samples("CMYK"), photometric="separated", metadata=None, iccprofile=profile
    )
    check(tmp_path / "a")


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "RGB"])
def test_jpeg(tmp_path, mode):
    """Inks of a JPEG are inverted, as Adobe does it."""
    Image.fromarray(SECTION).convert(mode).save(tmp_path / "a.jpg", quality=95)
    check(tmp_path / "a.jpg", within=4)


@pytest.mark.parametrize(("bits", "most"), [(1, 2), (2, 4), (4, 16), (8, 256), (16, 300)])
@pytest.mark.parametrize("values", ["x 256", "x 257", "of 8 bits"])
@pytest.mark.parametrize("compression", [1, 5])
def test_palettes(tmp_path, bits, most, values, compression):
    colours = rng.integers(1, 256, (3, 2**bits))
    index = rng.integers(0, most, (80, 96)).astype(np.uint8 if bits <= 8 else np.uint16)
    factor = {"x 256": 256, "x 257": 257, "of 8 bits": 1}[values]
    data = index.tobytes()
    if bits < 8:
        split = index[..., None] >> np.arange(bits)[::-1] & 1
        data = np.packbits(split.reshape(80, -1), axis=1).tobytes()
    data = imagecodecs.lzw_encode(data) if compression == 5 else data
    tifffile.imwrite(tmp_path / "a", index, metadata=None, photometric="minisblack")
    palette = (colours * factor).astype("<u2").tobytes()
    entries = {
        256: [96], 257: [80], 258: [bits], 259: [compression], 262: [3], 277: [1], 278: [80],
        279: [len(data)],
    }  # fmt: skip
    head = 8 + 2 + 12 * (len(entries) + 2) + 4
    rows = [struct.pack("<HHII", tag, 4, 1, value[0]) for tag, value in entries.items()]
    rows.append(struct.pack("<HHII", 273, 4, 1, head + len(palette)))
    rows.append(struct.pack("<HHII", 320, 3, 3 * 2**bits, head))
    rows.sort(key=lambda row: struct.unpack("<H", row[:2]))
    content = b"II*\0" + struct.pack("<IH", 8, len(rows)) + b"".join(rows) + bytes(4)
    (tmp_path / "a").write_bytes(content + palette + data)
    check(tmp_path / "a", within=0, expected=np.moveaxis(colours[:, index], 0, -1))


@pytest.mark.parametrize("array", [GREY, SECTION])
def test_no_palette(tmp_path, array):
    write(tmp_path / "a", array, "PALETTE")
    with pytest.raises(FileError, match="a palette that the file does not have"):
        read_image(tmp_path / "a")


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16])
def test_white_is_zero(tmp_path, dtype):
    array = GREY > 127 if dtype is bool else GREY.astype(dtype) * (1 if dtype == np.uint8 else 257)
    tifffile.imwrite(tmp_path / "a", array, photometric="miniswhite", metadata=None)
    got = read_image(tmp_path / "a")
    assert got.array.dtype == dtype
    np.testing.assert_array_equal(got.array, ~array)


# -- which samples are colours


@pytest.mark.parametrize("photometric", ["rgb", "minisblack", "miniswhite"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_three_interleaved_samples_are_rgb(tmp_path, photometric, dtype):
    array = SECTION.astype(dtype)
    if photometric == "miniswhite":
        if dtype == np.float32:
            pytest.skip("nothing says which number is black")
        array = np.iinfo(dtype).max - array
    tifffile.imwrite(
        tmp_path / "a", array, photometric=photometric, planarconfig="contig", metadata=None
    )
    got = read_image(tmp_path / "a")
    assert (got.rgb, got.channel_axis, got.array.dtype) == (True, None, dtype)
    np.testing.assert_array_equal(got.array, SECTION)


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["Red", "Green", "Blue"], [0, 1, 2]),
        (["blue", "green", "red"], [2, 1, 0]),
        (["R", "G", "B"], [0, 1, 2]),
        (["DAPI", "GFP", "Cy5"], None),
        (["Red", "Green", "Red"], None),
        (["RG", "GB", "BR"], None),
    ],
)
def test_planes_named_as_colours(tmp_path, names, order):
    planes = np.moveaxis(SECTION, -1, 0)
    channels = {"axes": "CYX", "Channel": {"Name": names}}
    tifffile.imwrite(tmp_path / "a.ome.tif", planes, photometric="minisblack", metadata=channels)
    labels = {"axes": "CYX", "Labels": names}
    tifffile.imwrite(tmp_path / "b.tif", planes, imagej=True, metadata=labels)
    for file in ("a.ome.tif", "b.tif"):
        got = read_image(tmp_path / file)
        if order is None:
            assert (got.rgb, got.channel_axis) == (False, 0)
        else:
            assert got.rgb
            np.testing.assert_array_equal(got.array, SECTION[..., order])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opacity(tmp_path, dtype):
    full = np.iinfo(dtype).max
    colours = SECTION.astype(dtype) * (full // 255)
    opacity = OPACITY.astype(dtype) * (full // 255)
    plain = np.concatenate([colours, opacity], -1)
    options = {"photometric": "rgb", "metadata": None}
    for kind, array, expected in (
        ("unassalpha", plain, plain),
        ("unspecified", plain, colours),  # infrared, a mask, anything
    ):
        tifffile.imwrite(tmp_path / "a", array, extrasamples=[kind], **options)
        got = read_image(tmp_path / "a")
        assert got.rgb
        assert got.array.shape == expected.shape
        assert np.abs(got.array.astype(float) - expected).max() <= 2 * full / 255
    five = np.concatenate([plain, opacity], -1)
    tifffile.imwrite(tmp_path / "a", five, extrasamples=["unspecified"] * 2, **options)
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, colours)


def test_grey_with_opacity(tmp_path):
    array = np.stack([GREY, 255 - GREY], -1)
    tifffile.imwrite(
        tmp_path / "a", array, photometric="minisblack", planarconfig="contig",
        extrasamples=["unassalpha"], metadata=None,
    )  # fmt: skip
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, GREY)


def test_what_napari_shows_unconverted(tmp_path):
    for array, photometric, name in (
        (samples("YCbCr"), "YCBCR", "YCbCr"),
        (cielab(), "CIELAB", "L*a*b*"),
        (samples("CMYK"), "SEPARATED", "CMYK"),
        (SECTION, "RGB", None),
        (GREY, "MINISBLACK", None),
    ):
        write(tmp_path / "a.tif", array, photometric)
        assert unconverted_colours(tmp_path / "a.tif") == name
    tifffile.imwrite(tmp_path / "a.tif", SECTION, compression="jpeg", photometric="rgb")
    Image.fromarray(SECTION).save(tmp_path / "a.png")
    (tmp_path / "text.tif").write_text("text")
    for file in ("a.tif", "a.png", "text.tif", "none.tif", "."):
        assert unconverted_colours(tmp_path / file) is None


@pytest.mark.parametrize("photometric", ["CFA", "LINEAR_RAW", "LOGLUV", "ICCLAB", "ITULAB", 12_345])
def test_what_cannot_be_converted(tmp_path, photometric):
    array = GREY if photometric == "CFA" else SECTION
    write(tmp_path / "a", array, photometric)
    with pytest.raises(FileError) as caught:
        read_image(tmp_path / "a")
    assert str(caught.value).endswith("which cannot be converted; save it as RGB.")


def test_floats_in_lab_are_refused(tmp_path):
    write(tmp_path / "a", cielab().astype(np.float32), "CIELAB")
    with pytest.raises(FileError, match="numbers of type float32, which cannot be converted"):
        read_image(tmp_path / "a")


@pytest.mark.parametrize("form", ["PNG", "WEBP", "BMP", "TGA", "JPEG2000", "GIF", "PPM"])
def test_other_formats(tmp_path, form):
    lossless = {"lossless": True} if form == "WEBP" else {}
    Image.fromarray(SECTION).save(tmp_path / "a", form, **lossless)
    check(tmp_path / "a", within=6 if form == "GIF" else 0)


def test_a_transparent_colour(tmp_path):
    picture = Image.fromarray(SECTION)
    picture.save(tmp_path / "a.png", transparency=tuple(int(v) for v in SECTION[0, 0]))
    got = read_image(tmp_path / "a.png").array
    np.testing.assert_array_equal(got[..., :3], SECTION)
    assert got[0, 0, 3] == 0
    assert got[..., 3].max() == 255


def seeds() -> list[bytes]:
    packed = io.BytesIO()
    tifffile.imwrite(packed, samples("CMYK"), photometric="separated", metadata=None)
    palette = io.BytesIO()
    colormap = np.zeros((3, 256), np.uint16)
    tifffile.imwrite(palette, GREY, photometric="palette", colormap=colormap, metadata=None)
    coarse = [subsampled_tiff(2, 2, how, rows) for how in (1, 5) for rows in (32, None)]
    return [packed.getvalue(), palette.getvalue(), *coarse]


SEEDS = seeds()


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_files_end_in_an_image_or_a_sentence(tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    end = data.draw(st.sampled_from([40, 300, len(content)]))
    places = st.integers(0, min(end, len(content)) - 1)
    for place, byte in data.draw(st.lists(st.tuples(places, st.integers(0, 255)), max_size=5)):
        content[place] = byte
    (tmp_path / "a").write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        got, sentence = read_image(tmp_path / "a"), ""
    except FileError as error:
        got, sentence = None, str(error)
    assert "\n" not in sentence
    assert got is None or got.array.ndim == (3 if got.rgb or got.channel_axis is not None else 2)

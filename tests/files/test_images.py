from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_patchseg.errors import FileError
from napari_patchseg.files.images import read_image

rng = np.random.default_rng(0)
GREY = rng.integers(0, 256, (70, 90), dtype=np.uint8)
RGB = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
RGBA = rng.integers(0, 256, (70, 90, 4), dtype=np.uint8)
RGB16 = rng.integers(0, 65_536, (70, 90, 3), dtype=np.uint16)
CHANNELS = rng.integers(0, 65_536, (5, 70, 90), dtype=np.uint16)


# -- TIFF


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg2000", "zstd", "packbits"])
@pytest.mark.parametrize("image", [GREY, RGB, RGBA], ids=["grey", "rgb", "rgba"])
def test_tiff(tmp_path, image, compression):
    options = {"compressionargs": {"level": 0}} if compression == "jpeg2000" else {}
    tifffile.imwrite(tmp_path / "a 1.2.tif", image, compression=compression, **options)
    got = read_image(tmp_path / "a 1.2.tif")
    np.testing.assert_array_equal(got.array, image)
    assert (got.rgb, got.channel_axis, got.pixel_size) == (image.ndim == 3, None, None)
    assert got.name == "a 1.2"


def test_jpeg_in_tiff_comes_as_rgb(tmp_path):
    smooth = np.zeros((128, 128, 3), np.uint8) + np.array([200, 100, 150], np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", smooth, compression="jpeg", photometric="rgb", tile=(64, 64)
    )
    got = read_image(tmp_path / "a.tif")
    assert got.rgb
    assert np.abs(got.array.astype(int) - smooth).max() < 6


@pytest.mark.parametrize("planar", ["separate", "contig"])
def test_rgb_by_planes_is_rgb(tmp_path, planar):
    image = RGB16 if planar == "contig" else np.moveaxis(RGB16, -1, 0)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", planarconfig=planar)
    got = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(got.array, RGB16)
    assert got.rgb
    assert got.array.dtype == np.uint16


def test_channels(tmp_path):
    tifffile.imwrite(tmp_path / "a.ome.tif", CHANNELS, metadata={"axes": "CYX"}, ome=True)
    got = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(got.array, CHANNELS)
    assert (got.rgb, got.channel_axis, got.name) == (False, 0, "a")


def test_three_channels_are_not_colours(tmp_path):
    tifffile.imwrite(
        tmp_path / "a.ome.tif", CHANNELS[:3], metadata={"axes": "CYX"}, photometric="minisblack"
    )
    got = read_image(tmp_path / "a.ome.tif")
    assert (got.rgb, got.channel_axis) == (False, 0)


def test_palette(tmp_path):
    palette = rng.integers(0, 256, (3, 256)).astype(np.uint16) << 8
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="palette", colormap=palette)
    got = read_image(tmp_path / "a.tif")
    np.testing.assert_array_equal(got.array, np.moveaxis((palette >> 8)[:, GREY], 0, -1))
    assert got.rgb
    assert got.array.dtype == np.uint8


def test_axes_of_length_one_are_dropped(tmp_path):
    image = GREY[None, None, None]
    tifffile.imwrite(tmp_path / "a.ome.tif", image, metadata={"axes": "TZCYX"})
    got = read_image(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(got.array, GREY)
    assert got.channel_axis is None


@pytest.mark.parametrize(
    ("axes", "options", "named"),
    [
        ("ZYX", {"ome": True}, r"\(depth 5 x height 70 x width 90\)"),
        ("TYX", {"imagej": True}, r"\(time 5 x height 70 x width 90\)"),
        ("QYX", {}, r"\(pages 5 x height 70 x width 90\)"),
    ],
)
def test_stack_is_refused_with_its_axes(tmp_path, axes, options, named):
    tifffile.imwrite(tmp_path / "a.tif", CHANNELS, metadata={"axes": axes}, **options)
    with pytest.raises(FileError, match="more than one plane " + named):
        read_image(tmp_path / "a.tif")


def test_of_a_pyramid_the_full_resolution(tmp_path):
    """Laid out like a scanner's slide: tiles of JPEG, a thumbnail, smaller levels, a label."""
    smooth = np.zeros((256, 256, 3), np.uint8) + 180
    description = "Aperio Image Library v11\n256x256 [0,0 256x256] |AppMag = 40|MPP = 0.2520|x = 1"
    options = {"compression": "jpeg", "tile": (64, 64), "metadata": None}
    with tifffile.TiffWriter(tmp_path / "a.svs") as tiff:
        tiff.write(smooth, description=description, **options)
        tiff.write(smooth[::4, ::4], description=description, metadata=None)
        tiff.write(smooth[::2, ::2], description=description, **options)
        tiff.write(smooth[:70, :90], description="Aperio\nlabel 90x70", metadata=None)
    got = read_image(tmp_path / "a.svs")
    assert got.array.shape == (256, 256, 3)
    assert got.rgb
    assert got.pixel_size == pytest.approx(0.252)


# -- which picture of a file


def scn(pictures: list[tuple[str, list[np.ndarray]]]) -> str:
    """A Leica slide's description: names, and a pyramid's levels, in the order of their pages."""
    images, page = "", 0
    for name, levels in pictures:
        dimensions = ""
        for number, level in enumerate(levels):
            height, width = level.shape[:2]
            dimensions += f'<dimension sizeX="{width}" sizeY="{height}" r="{number}" ifd="{page}"/>'
            page += 1
        images += f'<image name="{name}"><pixels>{dimensions}</pixels></image>'
    return (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f"<collection>{images}</collection></scn>"
    )


SCAN = rng.integers(0, 256, (192, 256, 3), dtype=np.uint8)
BESIDE = SCAN[:120, :48]  # a picture of the whole glass


def write(path, *pages: tuple[np.ndarray, dict]) -> None:
    with tifffile.TiffWriter(path) as tiff:
        for image, options in pages:
            tiff.write(image, photometric="rgb", **{"metadata": None} | options)


def test_a_thumbnail_before_the_image(tmp_path):
    write(tmp_path / "a", (SCAN[::4, ::4], {"subfiletype": 1}), (SCAN, {}))
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, SCAN)
    # not a copy at all, and larger than a thumbnail is, but it says that it is one
    write(tmp_path / "b", (SCAN[:150, :200], {"subfiletype": 1}), (SCAN, {}))
    np.testing.assert_array_equal(read_image(tmp_path / "b").array, SCAN)
    write(tmp_path / "c", (SCAN[::4, ::4], {}), (SCAN, {}))
    np.testing.assert_array_equal(read_image(tmp_path / "c").array, SCAN)


def test_a_thumbnail_whose_image_is_within_it(tmp_path):
    write(
        tmp_path / "a",
        (SCAN[::4, ::4], {"subfiletype": 1, "subifds": 1}),
        (SCAN, {"subfiletype": 0}),
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, SCAN)


def test_a_mask_before_the_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a") as tiff:
        tiff.write(SCAN[..., 0], subfiletype=2, metadata=None)
        tiff.write(SCAN[:180], photometric="rgb", metadata=None)
    with tifffile.TiffFile(tmp_path / "a", mode="r+") as tiff:
        tiff.pages[0].tags["NewSubfileType"].overwrite(4)
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, SCAN[:180])


def test_a_single_picture_that_calls_itself_a_thumbnail(tmp_path):
    write(tmp_path / "a", (SCAN, {"subfiletype": 1}))
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, SCAN)


@pytest.mark.parametrize("first", [True, False])
def test_leica_slide(tmp_path, first):
    levels = [SCAN, SCAN[::2, ::2]]
    pictures = [("overview", [BESIDE]), ("scan", levels)]
    pictures = pictures if first else pictures[::-1]
    pages = [level for _, levels in pictures for level in levels]
    options = {"tile": (16, 16)}
    write(
        tmp_path / "a.scn",
        (pages[0], options | {"description": scn(pictures)}),
        *((page, options) for page in pages[1:]),
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.scn").array, SCAN)


@pytest.mark.parametrize(
    "name", ["label", "Label image", "macro image", "slide macro", "a_thumbnail", "Overview 1"]
)
def test_ome_pictures_that_name_themselves(tmp_path, name):
    """As large as the scan or larger, and before it."""
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        for image, title in ((SCAN[::-1], name), (SCAN[:180], "label-free slide")):
            tiff.write(image, photometric="rgb", metadata={"axes": "YXS", "Name": title})
    np.testing.assert_array_equal(read_image(tmp_path / "a.ome.tif").array, SCAN[:180])


@pytest.mark.parametrize(
    "options",
    [
        {"description": "Label Image"},
        {"description": "Aperio Image Library v11\r\nmacro 1280x431"},
        {"extratags": [(285, 2, 0, "Macro", True)]},  # PageName
        {"extratags": [(255, 3, 1, 2, True)]},  # the reduced copy of TIFF 5
    ],
)
def test_pages_that_say_what_they_are(tmp_path, options):
    write(tmp_path / "a", (SCAN[::-1], options), (SCAN[:180], {}))
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, SCAN[:180])


def test_several_equally_good_pictures(tmp_path):
    write(tmp_path / "a", (SCAN, {}), (SCAN[:150, :200], {}), (SCAN[::4, ::4], {}))
    sentence = r"holds 2 pictures \(256 x 192, 200 x 150 px\); save one of them by itself"
    with pytest.raises(FileError, match=sentence):
        read_image(tmp_path / "a")


# -- other formats


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".jpg", ".txt"])
@pytest.mark.parametrize("image", [GREY, RGB], ids=["grey", "rgb"])
def test_content_decides_not_the_name(tmp_path, image, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(image).save(path, format="PNG")
    got = read_image(path)
    np.testing.assert_array_equal(got.array, image)
    assert got.rgb == (image.ndim == 3)


def test_jpeg_called_png(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "a.png", format="JPEG")
    assert read_image(tmp_path / "a.png").array.shape == RGB.shape


def test_tiff_called_png(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB)
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").array, RGB)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_sixteen_bit_png_keeps_its_bits(tmp_path, channels):
    image = rng.integers(0, 65_536, (70, 90, channels), dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(image.squeeze()))
    got = read_image(tmp_path / "a.png")
    expected = image[..., 0] if channels < 3 else image
    np.testing.assert_array_equal(got.array, expected)
    assert got.rgb == (channels > 2)


def test_palette_png(tmp_path):
    image = Image.fromarray(RGB).quantize(16)
    image.save(tmp_path / "a.png")
    got = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(got.array, np.asarray(image.convert("RGB")))
    image.save(tmp_path / "b.png", transparency=0)
    assert read_image(tmp_path / "b.png").array.shape == (70, 90, 4)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "F", "CMYK", "YCbCr"])
def test_modes(tmp_path, mode):
    suffix = {"F": "TIFF", "CMYK": "JPEG", "YCbCr": "JPEG"}.get(mode, "PNG")
    image = Image.fromarray(GREY)
    image = Image.fromarray(GREY.astype(np.uint16)) if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a", format=suffix)
    got = read_image(tmp_path / "a")
    assert got.array.shape == ((70, 90, 3) if suffix == "JPEG" else (70, 90))
    assert got.array.dtype == {"1": bool, "I;16": np.uint16, "F": np.float32}.get(mode, np.uint8)


def test_camera_orientation_is_left_alone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "a.jpg", exif=exif)
    assert read_image(tmp_path / "a.jpg").array.shape == RGB.shape


def test_animation_is_refused(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(FileError, match="holds 2 pictures"):
        read_image(tmp_path / "a.gif")


# -- bad files


def test_no_such_file(tmp_path):
    with pytest.raises(FileError, match=r"There is no file .*none\.tif"):
        read_image(tmp_path / "none.tif")


def test_folder_and_empty_file_and_text(tmp_path):
    with pytest.raises(FileError, match="is a folder; give an image file"):
        read_image(tmp_path)
    (tmp_path / "a.png").write_bytes(b"")
    with pytest.raises(FileError, match="is empty"):
        read_image(tmp_path / "a.png")
    (tmp_path / "a.png").write_text("hello " * 100)
    with pytest.raises(FileError, match="is not an image that can be read"):
        read_image(tmp_path / "a.png")
    with pytest.raises(FileError, match="null"):
        read_image(tmp_path / "a\0.png")


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg"])
@pytest.mark.parametrize("keep", [0.002, 0.1, 0.5, 0.99])
def test_truncated_tiff(tmp_path, compression, keep):
    options = {"photometric": "rgb", "rowsperstrip": 16, "metadata": None}
    tifffile.imwrite(tmp_path / "a.tif", RGB, compression=compression, **options)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[: max(4, int(len(content) * keep))])
    with pytest.raises(FileError, match="truncated") as caught:
        read_image(tmp_path / "a.tif")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("layout", [{}, {"planarconfig": "separate"}, {"bits": 1}])
@pytest.mark.parametrize("gap", [True, False])
@pytest.mark.parametrize("factor", [0.5, 1, 1.01, 10])
def test_strips_counted_wrongly(tmp_path, layout, gap, factor):
    """The pixels are all there; only the count of a strip's bytes is wrong."""
    image = RGB
    options = {"photometric": "rgb", "rowsperstrip": 16, "metadata": None} | layout
    if "planarconfig" in layout:
        image = np.ascontiguousarray(np.moveaxis(RGB, -1, 0))
    if "bits" in layout:
        image = GREY > 127
        del options["bits"]
        options["photometric"] = "minisblack"
    tifffile.imwrite(tmp_path / "a", image, **options)
    with tifffile.TiffFile(tmp_path / "a") as tiff:
        page = tiff.pages[0]
        offsets, counts = page.tags["StripOffsets"].value, page.tags["StripByteCounts"].value
    if gap:  # the strips don't follow each other: two change places
        content = bytearray((tmp_path / "a").read_bytes())
        (one, other), size = offsets[:2], counts[0]
        parts = [bytes(content[start : start + size]) for start in (one, other)]
        content[one : one + size], content[other : other + size] = parts[::-1]
        (tmp_path / "a").write_bytes(content)
        offsets = (other, one, *offsets[2:])
    with tifffile.TiffFile(tmp_path / "a", mode="r+") as tiff:
        tags = tiff.pages[0].tags
        tags["StripOffsets"].overwrite(offsets)
        tags["StripByteCounts"].overwrite([*counts[:-1], int(max(counts) * factor)])
    expected = np.moveaxis(image, 0, -1) if "planarconfig" in layout else image
    np.testing.assert_array_equal(read_image(tmp_path / "a").array, expected)
    content = (tmp_path / "a").read_bytes()
    end = max(offsets) + counts[-1]
    (tmp_path / "a").write_bytes(content[: end - 1])
    if end == len(content):
        with pytest.raises(FileError, match="truncated TIFF"):
            read_image(tmp_path / "a")


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_truncated_picture(tmp_path, form):
    Image.fromarray(RGB).save(tmp_path / "a", format=form)
    content = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError, match="damaged or truncated"):
        read_image(tmp_path / "a")
    (tmp_path / "b").write_bytes(imagecodecs.png_encode(RGB16)[:9000])
    with pytest.raises(FileError, match="damaged or truncated"):
        read_image(tmp_path / "b")


def test_unknown_compression(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, photometric="rgb", metadata=None)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        tiff.pages[0].tags["Compression"].overwrite(12345)
    with pytest.raises(FileError, match="12345"):
        read_image(tmp_path / "a.tif")


def test_more_than_memory(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, metadata=None, rowsperstrip=70)
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as tiff:
        for name in ("ImageWidth", "ImageLength"):
            tiff.pages[0].tags[name].overwrite(4_000_000)
    with pytest.raises(FileError, match="GB of pixels, more than this machine's memory"):
        read_image(tmp_path / "a.tif")


def seeds() -> list[bytes]:
    out = []
    small = RGB[:40, :40]
    for options in ({}, {"compression": "zlib"}, {"tile": (16, 16), "bigtiff": True}):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, small, photometric="rgb", **options)
        out.append(buffer.getvalue())
    for form in ("PNG", "JPEG", "BMP", "GIF"):
        buffer = io.BytesIO()
        Image.fromarray(small).save(buffer, format=form)
        out.append(buffer.getvalue())
    out.append(imagecodecs.png_encode(RGB16[:40, :40]))
    return out


SEEDS = seeds()


@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_damaged_files_never_raise_anything_else(tmp_path, data):
    content = bytearray(data.draw(st.sampled_from(SEEDS)))
    # Mostly in the head, where the structure is.
    end = data.draw(st.sampled_from([40, 200, len(content)]))
    places = st.integers(0, min(end, len(content)) - 1)
    for place, byte in data.draw(
        st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=6)
    ):
        content[place] = byte
    path = tmp_path / "a"
    path.write_bytes(content[: data.draw(st.integers(1, len(content)))])
    try:
        got = read_image(path)
    except FileError as error:
        got = None
        sentence = str(error)
    assert got.array.ndim in (2, 3) if got else "\n" not in sentence


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    start=st.sampled_from([b"", b"II*\0", b"MM\0*", b"II+\0", b"\x89PNG\r\n\x1a\n", b"\xff\xd8"]),
    rest=st.binary(max_size=300),
)
def test_random_bytes(tmp_path, start, rest):
    path = tmp_path / "a"
    path.write_bytes(start + rest)
    with pytest.raises(FileError):
        read_image(path)

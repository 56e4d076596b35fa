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
from napari_patchseg.files.labels import write_labels_ome_tiff

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


def ome(x: object, unit: str | None) -> dict:
    metadata = {"axes": "YX", "PhysicalSizeX": x, "PhysicalSizeY": x}
    if unit:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    return {"ome": True, "metadata": metadata}


def imagej(per_unit: float, unit: str) -> dict:
    return {"imagej": True, "resolution": (per_unit,) * 2, "metadata": {"unit": unit}}


def tags(per_unit: float, unit: int | str) -> dict:
    return {"resolution": (per_unit,) * 2, "resolutionunit": unit, "metadata": None}


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (ome(0.25, "µm"), 0.25),
        (ome(250, "nm"), 0.25),
        (ome(0.25, None), 0.25),
        (ome(0.00025, "mm"), 0.25),
        (ome(0.25, "pixel"), None),
        (ome(0, "µm"), None),
        (imagej(4, "um"), 0.25),
        (imagej(4, "\\u00B5m"), 0.25),
        (imagej(4, "micron"), 0.25),
        (imagej(0.004, "nm"), 0.25),
        (imagej(4, "pixel"), None),
        (tags(40_000, "CENTIMETER"), 0.25),
        (tags(101_600, "INCH"), 0.25),
        (tags(72, "INCH"), None),
        (tags(300, "INCH"), None),
        (tags(28, "CENTIMETER"), None),
        (tags(40_000, "NONE"), None),
        ({"description": "anything MPP = 0.5 |", "metadata": None}, 0.5),
        ({"description": "MPP = . |", "metadata": None}, None),
    ],
)
def test_pixel_size(tmp_path, options, size):
    tifffile.imwrite(tmp_path / "a.tif", GREY, **options)
    got = read_image(tmp_path / "a.tif").pixel_size
    assert got == (size if size is None else pytest.approx(size))


def test_pixels_that_are_not_square(tmp_path):
    write_labels_ome_tiff(tmp_path / "a.ome.tif", GREY, pixel_size=(0.5, 0.125))
    got = read_image(tmp_path / "a.ome.tif")
    assert got.pixel_size_yx == (0.5, 0.125)
    assert got.pixel_size == pytest.approx(0.25)


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
    with pytest.raises(FileError) as caught:
        read_image(tmp_path / "none.tif")
    assert str(caught.value) == f"There is no file {tmp_path / 'none.tif'}."


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
    with pytest.raises(FileError, match="truncated TIFF") as caught:
        read_image(tmp_path / "a.tif")
    assert "\n" not in str(caught.value)


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
    with pytest.raises(FileError, match=r"cannot be decoded \(compression 12345\)"):
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

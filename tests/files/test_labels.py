from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from fractions import Fraction

import numpy as np
import ome_types
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_patchseg.errors import FileError
from napari_patchseg.files.images import read_image
from napari_patchseg.files.labels import read_labels, read_report, write_confidence, write_labels

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
rng = np.random.default_rng(0)


def some_labels(highest: int, dtype: type = np.int32) -> np.ndarray:
    labels = np.zeros((70, 90), dtype)
    labels[10:30, 20:50] = 1
    labels[40:60, 10:80] = highest
    return labels


def pixels_element(path) -> ET.Element:
    with tifffile.TiffFile(path) as tiff:
        found = ET.fromstring(tiff.ome_metadata).find(f".//{OME}Pixels")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("highest", "given", "written"),
    [
        (255, np.uint8, np.uint16),
        (65_535, np.int64, np.uint16),
        (65_536, np.int32, np.uint32),
        (2**32 - 1, np.uint64, np.uint32),
    ],
)
def test_type_and_values(tmp_path, highest, given, written):
    path = tmp_path / "a.ome.tif"
    labels = some_labels(highest, given)
    assert write_labels(path, labels) == path
    back = tifffile.imread(path)
    assert back.dtype == written
    np.testing.assert_array_equal(back, labels)


def test_pixel_size_unit_and_name(tmp_path):
    path = tmp_path / "slide 7.ome.tif"
    write_labels(path, some_labels(3), pixel_size=(0.5, 0.25))
    pixels = pixels_element(path)
    assert pixels.get("PhysicalSizeX") == "0.25"
    assert pixels.get("PhysicalSizeY") == "0.5"
    assert pixels.get("PhysicalSizeXUnit") == pixels.get("PhysicalSizeYUnit") == "µm"
    with tifffile.TiffFile(path) as tiff:
        assert tiff.is_ome
        assert tiff.series[0].axes == "YX"
        assert tiff.series[0].name == "slide 7"
        tags = tiff.pages[0].tags
        assert Fraction(*tags["XResolution"].value) == 40_000  # per centimetre
        assert Fraction(*tags["YResolution"].value) == 20_000
        assert tags["ResolutionUnit"].value == 3
        assert tags["Compression"].value == 8


@pytest.mark.parametrize("size", [0.5, np.float32(0.5), np.array([0.5, 0.5])])
def test_one_number_is_the_size_of_both_sides(tmp_path, size):
    path = write_labels(tmp_path / "a.ome.tif", some_labels(3), pixel_size=size)
    assert pixels_element(path).get("PhysicalSizeX") == "0.5"
    assert pixels_element(path).get("PhysicalSizeY") == "0.5"


@pytest.mark.parametrize("size", [None, (0, 0.25), (math.nan, 1), (-1, 1), (0.25,)])
def test_unknown_pixel_size_is_not_written(tmp_path, size):
    path = tmp_path / "a.ome.tif"
    write_labels(path, some_labels(3), pixel_size=size)
    assert not any(key.startswith("PhysicalSize") for key in pixels_element(path).attrib)


def test_stack(tmp_path):
    path = tmp_path / "a.ome.tif"
    stack = np.stack([some_labels(3), some_labels(4), some_labels(5)])
    write_labels(path, stack, pixel_size=(2, 0.5, 0.25))
    with tifffile.TiffFile(path) as tiff:
        assert tiff.series[0].axes == "ZYX"
        np.testing.assert_array_equal(tiff.asarray(), stack)
    assert pixels_element(path).get("PhysicalSizeZ") == "2.0"


@pytest.mark.parametrize("shape", [(4097, 70), (70, 5001), (2, 70, 5001)])
def test_large_labels_are_a_pyramid_of_tiles(tmp_path, shape):
    labels = rng.integers(0, 70_000, shape)
    path = write_labels(tmp_path / "a.ome.tif", labels, pixel_size=(0.5, 0.25), report={"seed": 3})
    with tifffile.TiffFile(path) as tiff:
        ome_types.validate_xml(tiff.ome_metadata)
        (series,) = tiff.series
        assert [level.shape[-2:] for level in series.levels] == [
            tuple(-(-side // 2**level) for side in shape[-2:]) for level in range(4)
        ]
        for level, pixels in enumerate(series.levels):
            step = 2**level
            assert pixels.keyframe.tile == (512, 512)
            np.testing.assert_array_equal(pixels.asarray(), labels[..., ::step, ::step])
    saved = read_labels(path)
    assert saved is not None
    np.testing.assert_array_equal(saved.labels, labels)
    assert saved.pixel_size is not None
    assert saved.pixel_size[-2:] == (0.5, 0.25)
    assert saved.report == {"seed": 3}
    if len(shape) == 2:  # to all other programs too it is one image
        np.testing.assert_array_equal(read_image(path).array, labels)


def test_small_labels_are_one_image(tmp_path):
    path = write_labels(tmp_path / "a.ome.tif", some_labels(3), pixel_size=0.5)
    with tifffile.TiffFile(path) as tiff:
        ome_types.validate_xml(tiff.ome_metadata)
        assert len(tiff.series[0].levels) == 1
        assert not tiff.pages[0].is_tiled
        assert tiff.pages[0].tags.get("SubIFDs") is None


def test_report_is_valid_and_comes_back(tmp_path):
    path = tmp_path / "a.ome.tif"
    report = {
        "settings": {"preset": "default", "threads": np.int64(2)},
        "separation": math.nan,
        "text": 'quotes "<&>" µ \x00 {braces}',
        "sizes": (1, 2.5, np.float32(0.5)),
        "none": None,
    }
    write_labels(path, some_labels(3), report=report, name='a<"&\x07b')
    with tifffile.TiffFile(path) as tiff:
        xml = tiff.ome_metadata
    root = ET.fromstring(xml)  # parses, and the image refers to its annotation
    annotation = root.find(f".//{OME}CommentAnnotation")
    reference = root.find(f"{OME}Image/{OME}AnnotationRef")
    assert annotation is not None
    assert reference is not None
    assert annotation.get("ID") == reference.get("ID")
    image = root.find(f"{OME}Image")
    assert image is not None
    assert image.get("Name") == 'a<"&\N{REPLACEMENT CHARACTER}b'
    assert read_report(path) == {
        "settings": {"preset": "default", "threads": 2},
        "separation": None,
        "text": 'quotes "<&>" µ \x00 {braces}',
        "sizes": [1, 2.5, 0.5],
        "none": None,
    }


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(report=st.dictionaries(st.text(), json_values, max_size=4), name=st.text(max_size=20))
def test_any_report_comes_back(tmp_path, report, name):
    for path in (tmp_path / "a.ome.tif", tmp_path / "a.png"):
        write_labels(path, some_labels(3), report=report, name=name)
        assert read_report(path) == report


def test_a_report_may_name_a_file_in_no_encoding(tmp_path):
    for path in (tmp_path / "a.ome.tif", tmp_path / "a.png"):
        write_labels(path, some_labels(3), report={"file": "\udcff.tif"})
        assert read_report(path) == {"file": "\udcff.tif"}


@pytest.mark.parametrize("name", ["a.ome.tif", "a.png"])
def test_labels_come_back(tmp_path, name):
    write_labels(tmp_path / name, some_labels(3), pixel_size=(0.5, 0.25), report={}, name="µ 1")
    saved = read_labels(tmp_path / name)
    assert saved is not None
    np.testing.assert_array_equal(saved.labels, some_labels(3))
    assert saved.pixel_size == pytest.approx((0.5, 0.25), rel=1e-3)
    assert (saved.name, saved.report) == ("µ 1", {})


def test_png(tmp_path):
    path = tmp_path / "a.png"
    labels = some_labels(65_535)
    write_labels(path, labels)
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(image), labels)
    assert read_report(path) is None


def test_png_refuses_what_it_cannot_hold(tmp_path):
    with pytest.raises(FileError, match=r"a label 65,536; save as OME-TIFF"):
        write_labels(tmp_path / "a.png", some_labels(65_536))
    with pytest.raises(FileError, match="have 3 axes; save as OME-TIFF"):
        write_labels(tmp_path / "a.png", np.zeros((2, 70, 70), int))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.ome.tif", "a.png"])
@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (np.array([[0, -1]]), "a label -1; labels must be 0"),
        (np.array([[0.5]]), "must be whole numbers, but these are float64"),
        (np.array([[2**32]]), "a label 4,294,967,296"),
        (np.zeros((0, 5), int), "empty"),
    ],
)
def test_bad_labels(tmp_path, name, labels, sentence):
    with pytest.raises(FileError, match=sentence):
        write_labels(tmp_path / name, labels)
    assert list(tmp_path.iterdir()) == []


def test_masks_are_labels_too(tmp_path):
    write_labels(tmp_path / "a.ome.tif", some_labels(1).astype(bool))
    assert tifffile.imread(tmp_path / "a.ome.tif").max() == 1


def test_too_many_axes(tmp_path):
    with pytest.raises(FileError, match="cannot be written as an image"):
        write_labels(tmp_path / "a.ome.tif", np.zeros((1, 1, 1, 8, 8), int))


def test_confidence(tmp_path):
    path = tmp_path / "confidence.tif"
    confidence = rng.random((80, 70))
    write_confidence(path, confidence, pixel_size=(0.25, 0.25), report={"step": 3})
    back = tifffile.imread(path)
    assert back.dtype == np.float32
    np.testing.assert_array_equal(back, confidence.astype(np.float32))
    assert pixels_element(path).get("PhysicalSizeY") == "0.25"
    assert read_report(path) == {"step": 3}


@pytest.mark.parametrize("name", ["labels.ome.tif", "labels.png"])
def test_the_same_labels_are_the_same_bytes(tmp_path, name):
    labels = np.arange(48, dtype=np.uint16).reshape(6, 8)

    def written(folder, labels, report):
        (tmp_path / folder).mkdir()
        target = tmp_path / folder / name
        write_labels(target, labels, report=report, pixel_size=(0.5, 0.25))
        return target.read_bytes()

    one = written("a", labels, {"seed": 1})
    assert one == written("b", labels[::-1][::-1], {"seed": 1})
    others = [written("c", labels[::-1], {"seed": 1}), written("d", labels, {"seed": 2})]
    assert len({one, *others}) == 3
    if name.endswith("tif"):
        uuids = {re.search(rb"urn:uuid:[0-9a-f-]{36}", some).group() for some in (one, *others)}
        assert len(uuids) == 3


def test_overwrite(tmp_path):
    path = tmp_path / "a.ome.tif"
    write_labels(path, some_labels(2))
    with pytest.raises(FileError, match="exists already"):
        write_labels(path, some_labels(3), overwrite=False)
    assert tifffile.imread(path).max() == 2
    write_labels(path, some_labels(3))
    assert tifffile.imread(path).max() == 3


@pytest.mark.parametrize(
    ("write", "name"),
    [(write_labels, "a.ome.tif"), (write_labels, "a.png"), (write_confidence, "a.ome.tif")],
)
def test_disk_full_half_way(tmp_path, write, name):
    resource = pytest.importorskip("resource", reason="POSIX only")
    path = tmp_path / name
    path.write_bytes(b"old")
    noise = rng.integers(0, 60_000, (400, 400))  # compresses badly: about 300 kB
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(FileError, match=r"was not written: the file would be larger|full"):
            write(path, noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_really_full_disk(small_disk):
    with pytest.raises(FileError, match="disk is full"):
        write_labels(small_disk / "a.ome.tif", rng.integers(0, 60_000, (400, 400)))
    assert list(small_disk.iterdir()) == []


def test_no_report(tmp_path):
    tifffile.imwrite(tmp_path / "plain.tif", np.zeros((8, 8), np.uint8))
    assert read_report(tmp_path / "plain.tif") is None
    write_labels(tmp_path / "a.ome.tif", some_labels(1))
    assert read_report(tmp_path / "a.ome.tif") is None


def test_report_of_no_file_and_no_image(tmp_path):
    with pytest.raises(FileError, match="There is no file"):
        read_report(tmp_path / "none.tif")
    (tmp_path / "text.tif").write_text("hello")
    with pytest.raises(FileError, match="not a TIFF or PNG"):
        read_report(tmp_path / "text.tif")


def test_files_of_earlier_versions_are_known(tmp_path):
    """By the word that they carry, in OME-XML and in a PNG."""
    for name in ("a.ome.tif", "a.png"):
        write_labels(tmp_path / name, np.eye(9, dtype=np.uint16), report={"steps": 3})
        assert b"napari-patchseg/provenance" in (tmp_path / name).read_bytes()

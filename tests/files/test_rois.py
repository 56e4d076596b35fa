"""ImageJ's ROIs out and in; roifile judges what we write, as ImageJ's own classes once did."""

from __future__ import annotations

import json
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE, ImagejRoi, roiread, roiwrite

from napari_patchseg.errors import FileError
from napari_patchseg.files.rois import read_rois, write_rois

DATA = Path(__file__).parent / "data"
LABELS = np.zeros((12, 15), np.int32)
LABELS[1:5, 1:5] = 3
LABELS[2:4, 2:4] = 0  # a hole
LABELS[6:8, 0:3] = LABELS[9:12, 12:15] = 7  # two pieces, at the border
LABELS[0, 14] = 9
LABELS[6:9, 5:9] = 70_000


def read_others(tmp_path, *rois, shape=(20, 30)):
    path = tmp_path / "others.zip"
    path.unlink(missing_ok=True)
    roiwrite(path, rois)
    return read_rois(path, shape)


def area(number, **coordinates):
    roi = ImagejRoi(roitype=number)
    for name, value in coordinates.items():
        setattr(roi, name, value)
    return roi


def test_an_object_is_a_traced_or_a_composite_roi(tmp_path):
    rois = roiread(write_rois(tmp_path / "a.zip", LABELS))
    assert [roi.name for roi in rois] == ["3", "7", "9", "70000"]
    assert [roi.roitype for roi in rois] == [
        ROI_TYPE.RECT,
        ROI_TYPE.RECT,
        ROI_TYPE.TRACED,
        ROI_TYPE.TRACED,
    ]
    assert [roi.composite for roi in rois] == [True, True, False, False]
    assert sorted(rois[2].coordinates().tolist()) == [[14, 0], [14, 1], [15, 0], [15, 1]]
    assert [(r.left, r.top, r.right, r.bottom) for r in rois] == [
        (1, 1, 5, 5),
        (0, 6, 15, 12),
        (14, 0, 15, 1),
        (5, 6, 9, 9),
    ]
    assert len(rois[0].coordinates(multi=True)) == 2


def test_all_that_was_given_comes_back(tmp_path):
    report = {"file": "\udcff µ.tif", "loss": math.nan}
    path = write_rois(tmp_path / "a.zip", LABELS, pixel_size=0.5, report=report, name="slide µ")
    saved = read_rois(path)
    np.testing.assert_array_equal(saved.labels, LABELS)
    assert saved.pixel_size == (0.5, 0.5)
    assert saved.name == "slide µ"
    assert saved.report == {"file": "\udcff µ.tif", "loss": None}
    assert saved.warnings == ()


def test_a_report_that_is_too_long_is_left_out(tmp_path):
    path = write_rois(tmp_path / "a.zip", LABELS, pixel_size=0.5, report={"hints": "x" * 70_000})
    saved = read_rois(path)
    np.testing.assert_array_equal(saved.labels, LABELS)
    assert saved.pixel_size == (0.5, 0.5)
    assert saved.report == {}


def test_far_from_the_corner_coordinates_are_right(tmp_path):
    labels = np.zeros((3, 70_005), np.uint8)
    labels[:, 70_000:70_003] = 1
    labels[1, 70_001] = 0
    labels[:2, 69_000:69_004] = 2
    labels[:2, 50_000:50_004] = 3
    path = write_rois(tmp_path / "a.zip", labels)
    np.testing.assert_array_equal(read_rois(path).labels, labels)
    assert [roi.coordinates(multi=True)[0].min(axis=0).tolist() for roi in roiread(path)] == [
        [70_000, 0],
        [69_000, 0],
        [50_000, 0],
    ]


def test_farther_than_imagej_reaches(tmp_path):
    with pytest.raises(FileError, match="GeoJSON"):
        write_rois(tmp_path / "a.zip", np.zeros((1, 2**24 + 1), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_no_objects(tmp_path):
    assert read_rois(write_rois(tmp_path / "a.zip", np.zeros((3, 5), int))).labels.shape == (3, 5)


def test_the_same_objects_make_the_same_file(tmp_path):
    first, second = (write_rois(tmp_path / f"{n}.zip", LABELS, name="slide") for n in "ab")
    assert first.read_bytes() == second.read_bytes()


def test_a_file_is_kept_unless_it_may_go(tmp_path):
    path = write_rois(tmp_path / "a.zip", LABELS)
    before = path.read_bytes()
    with pytest.raises(FileError, match="exists"):
        write_rois(path, LABELS, overwrite=False)
    with pytest.raises(FileError, match="axes"):
        write_rois(path, np.zeros((2, 3, 4), int))
    assert path.read_bytes() == before


# -- ROIs of others


def test_what_imagej_saves_is_read_as_imagej_sees_it():
    """Written, with the masks of its ROIs, by ImageJ 1.54's own classes."""
    with Image.open(DATA / "imagej.png") as image:
        expected = np.array(image)
    saved = read_rois(DATA / "imagej.zip", expected.shape)
    np.testing.assert_array_equal(saved.labels, expected)
    assert len(saved.warnings) == 1  # a point, lines and a text


def test_areas_of_all_kinds(tmp_path):
    square = np.array([[1, 1], [4, 1], [4, 4], [1, 4]], np.int32)
    polygon = ImagejRoi.frompoints(square)
    polygon.roitype = ROI_TYPE.POLYGON
    freehand = ImagejRoi.frompoints(square + np.array([5.5, 0.4]))  # sub-pixel
    freehand.roitype = ROI_TYPE.FREEHAND
    rectangle = area(ROI_TYPE.RECT, left=11, top=1, right=14, bottom=4)
    oval = area(ROI_TYPE.OVAL, left=16, top=1, right=21, bottom=6)
    precise = area(
        ROI_TYPE.RECT, options=ROI_OPTIONS.SUB_PIXEL_RESOLUTION, xd=1.4, yd=8, widthd=2, heightd=2
    )
    saved = read_others(tmp_path, polygon, freehand, rectangle, oval, precise)
    expected = np.zeros((20, 30), int)
    expected[1:4, 1:4] = 1
    expected[1:4, 6:9] = 2
    expected[1:4, 11:14] = 3
    y, x = np.mgrid[:20, :30]
    expected[(y - 3) ** 2 + (x - 18) ** 2 < 2.5**2] = 4
    expected[8:10, 1:3] = 5
    np.testing.assert_array_equal(saved.labels, expected)
    assert saved.pixel_size is None
    assert saved.report == {}


def test_points_lines_and_texts_are_told(tmp_path):
    square = np.array([[1, 1], [4, 1], [4, 4], [1, 4]])
    rois = [ImagejRoi.frompoints(square) for _ in range(4)]
    kinds = ROI_TYPE.POINT, ROI_TYPE.POLYLINE, ROI_TYPE.FREELINE, ROI_TYPE.POLYGON
    for roi, kind in zip(rois, kinds, strict=True):
        roi.roitype = kind
    line = area(ROI_TYPE.LINE, x1=1, y1=1, x2=5, y2=5)
    text = area(ROI_TYPE.RECT, left=1, right=5, bottom=5, subtype=ROI_SUBTYPE.TEXT, text="mitosis")
    for number, roi in enumerate((*rois, line, text)):
        roi.name = f"{number} "
    saved = read_others(tmp_path, *rois, line, text)
    assert saved.labels.max() == 1
    assert len(saved.warnings) == 1
    assert "(5)" in saved.warnings[0]


def test_a_composite_may_have_curves(tmp_path):
    # a circle of radius 5 at (6, 6), as Java tells it, and a square
    k = 5 * 0.5523
    path = [0, 11, 6, 3, 11, 6 + k, 6 + k, 11, 6, 11, 3, 6 - k, 11, 1, 6 + k, 1, 6]
    path += [3, 1, 6 - k, 6 - k, 1, 6, 1, 3, 6 + k, 1, 11, 6 - k, 11, 6, 4]
    path += [0, 20, 5, 1, 25, 5, 1, 25, 9, 1, 20, 9, 4]
    shape = np.array(path, np.float32)
    roi = area(ROI_TYPE.RECT, multi_coordinates=shape, shape_roi_size=len(shape))
    labels = read_others(tmp_path, roi).labels
    y, x = np.mgrid[:20, :30] + 0.5
    expected = (y - 6) ** 2 + (x - 6) ** 2 < 25
    expected[5:9, 20:25] = 1
    np.testing.assert_array_equal(labels, expected)


def test_a_single_roi_is_read_and_names_are_labels(tmp_path):
    roi = ImagejRoi.frompoints(np.array([[1, 1], [4, 1], [4, 4], [1, 4]]))
    roi.roitype = ROI_TYPE.POLYGON
    roi.tofile(tmp_path / "0012.roi")
    labels = read_rois(tmp_path / "0012.roi").labels
    assert labels.shape == (4, 4)
    assert labels.max() == 12


def packed(content, name="1.roi"):
    def write(path):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr(name, content)

    return write


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"Iout"),
        lambda path: path.write_bytes(b"PK\3\4 nuclei"),
        packed(b"Iout" + bytes(30)),
        packed(b"nuclei"),
        packed(b"Iout\0\xe3\0\0" + b"\xff" * 90),
        packed(b"no roi", "readme.txt"),
        packed(b"Iout\0\xe3\1\0" + bytes(28) + b"\0\0\0\x04" + b"\0" * 24 + b"\x7f\xc0\0\0" * 4),
    ],
)
def test_what_is_no_roi_is_refused_in_a_sentence(tmp_path, write):
    path = tmp_path / "a.zip"
    write(path)
    with pytest.raises(FileError) as told:
        read_rois(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)


def test_damaged_files_of_ours_are_read_or_refused_in_a_sentence(tmp_path):
    """Whatever is changed."""
    path = write_rois(tmp_path / "a.zip", LABELS, pixel_size=0.5, report={})
    whole = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    rng = np.random.default_rng(0)
    for number in range(300):
        if number % 2:
            damaged = bytearray(whole)
            damaged[rng.integers(len(damaged))] = rng.integers(256)
            path.write_bytes(damaged)
        else:  # the checksums are right
            with zipfile.ZipFile(path, "w") as file:
                for name, content in members.items():
                    changed = bytearray(content)
                    changed[rng.integers(len(changed))] = rng.integers(256)
                    file.writestr(name, bytes(changed))
        try:
            read_rois(path, (12, 15))
        except FileError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_a_comment_of_others_is_no_harm(tmp_path):
    path = write_rois(tmp_path / "a.zip", LABELS)
    for comment in (b"nuclei", b"{}", b"[]", b"3", json.dumps({"napari-patchseg": 1}).encode()):
        with zipfile.ZipFile(path, "a") as file:
            file.comment = comment
        np.testing.assert_array_equal(read_rois(path, (12, 15)).labels, LABELS)

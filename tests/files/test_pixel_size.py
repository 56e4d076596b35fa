from __future__ import annotations

import math

import numpy as np
import pint
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from napari_patchseg.files.images import pixel_size_of_file, read_image
from napari_patchseg.files.labels import write_labels
from napari_patchseg.files.pixel_size import PLAUSIBLE, micrometres, plausible

GREY = np.random.default_rng(0).integers(0, 256, (70, 90), dtype=np.uint8)


def ome(x: object, unit: str | None = None) -> dict:
    metadata = {"axes": "YX", "PhysicalSizeX": x, "PhysicalSizeY": x}
    if unit:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    return {"ome": True, "metadata": metadata}


def imagej(per_unit: float, unit: str) -> dict:
    return {"imagej": True, "resolution": (per_unit,) * 2, "metadata": {"unit": unit}}


def tags(per_unit: float, unit: int | str) -> dict:
    return {"resolution": (per_unit,) * 2, "resolutionunit": unit, "metadata": None}


def aperio(mpp: object) -> dict:
    return {"description": f"Aperio Image Library v10 |AppMag = 20|MPP = {mpp}|", "metadata": None}


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (ome(0.25, "µm"), 0.25),
        (ome(250, "nm"), 0.25),
        (ome(0.25), 0.25),
        (ome(0.00025, "mm"), 0.25),
        (ome(0.25, "pixel"), None),
        (ome(0, "µm"), None),
        (ome(352.7778), None),
        (ome(72, "inch"), None),
        (ome(1, "mm"), None),
        (ome(1e-9), None),
        (ome("NaN"), None),
        (imagej(4, "um"), 0.25),
        (imagej(4, "\\u00B5m"), 0.25),
        (imagej(4, "micron"), 0.25),
        (imagej(0.004, "nm"), 0.25),
        (imagej(4, "pixel"), None),
        (imagej(72, "inch"), None),
        (imagej(28.35, "cm"), None),
        (imagej(300, "inch"), None),
        (imagej(1, "mm"), None),
        (tags(40_000, "CENTIMETER"), 0.25),
        (tags(101_600, "INCH"), 0.25),
        (tags(4_000, "MILLIMETER"), 0.25),
        (tags(4, "MICROMETER"), 0.25),
        (tags(72, "INCH"), None),
        (tags(300, "INCH"), None),
        (tags(28, "CENTIMETER"), None),
        (tags(40_000, "NONE"), None),
        (aperio(0.4990), 0.499),
        (aperio("."), None),
        (aperio(0), None),
        (aperio(352.8), None),
        # a page's resolution beside a size: the size
        (aperio(0.5) | {"resolution": (72, 72), "resolutionunit": "INCH"}, 0.5),
        (ome(352.7778) | {"resolution": (40_000, 40_000), "resolutionunit": "CENTIMETER"}, 0.25),
    ],
)
def test_tiff(tmp_path, options, size):
    tifffile.imwrite(tmp_path / "a.tif", GREY, **options)
    got = read_image(tmp_path / "a.tif").pixel_size
    assert got == (size if size is None else pytest.approx(size, rel=1e-4))
    alone = pixel_size_of_file(tmp_path / "a.tif")
    assert alone == (size if size is None else pytest.approx((size, size), rel=1e-4))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])
@pytest.mark.parametrize(("dpi", "size"), [(72, None), (300, None), (50_800, 0.5), (None, None)])
def test_other_formats(tmp_path, form, dpi, size):
    Image.fromarray(GREY).save(tmp_path / "a", form, **({"dpi": (dpi, dpi)} if dpi else {}))
    expected = None if size is None else pytest.approx((size, size), rel=1e-3)
    assert read_image(tmp_path / "a").pixel_size_yx == expected
    assert pixel_size_of_file(tmp_path / "a") == expected


def test_vendors(tmp_path):
    philips = (
        '<?xml version="1.0"?><DataObject ObjectType="DPUfsImport"><Attribute Name="x"><Array>'
        + '<DataObject ObjectType="PixelDataRepresentation"><Attribute Name="DICOM_PIXEL_SPACING"'
        ' PMSVR="IDoubleArray">&quot;0.00025&quot; &quot;0.0005&quot;</Attribute></DataObject>'
        * 2
        + "</Array></Attribute></DataObject>"
    )
    with tifffile.TiffWriter(tmp_path / "philips.tiff") as tiff:
        for image, text in ((GREY, philips), (GREY[::2, ::2], None)):
            tiff.write(
                image, tile=(16, 16), description=text, software="Philips DP v1.0", metadata=None
            )
    assert read_image(tmp_path / "philips.tiff").pixel_size_yx == pytest.approx((0.25, 0.5))
    xmp = b'<iScan ScanRes="0.2325" Magnification="40"/>'
    tifffile.imwrite(
        tmp_path / "a.bif",
        GREY,
        metadata=None,
        description="level=0 mag=40",
        software="Ventana",
        extratags=[(700, 1, len(xmp), xmp, True)],
    )
    assert read_image(tmp_path / "a.bif").pixel_size == pytest.approx(0.2325)


def test_pixels_that_are_not_square(tmp_path):
    write_labels(tmp_path / "a.ome.tif", GREY, pixel_size=(0.5, 0.125))
    got = read_image(tmp_path / "a.ome.tif")
    assert got.pixel_size_yx == (0.5, 0.125) == pixel_size_of_file(tmp_path / "a.ome.tif")
    assert got.pixel_size == pytest.approx(0.25)


def test_size_is_that_of_the_picture_that_is_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tiff:
        for image, name, size in ((GREY[:40, :50], "macro", 8), (GREY, "scan", 0.5)):
            sizes = {f"PhysicalSize{axis}": size for axis in "XY"}
            tiff.write(image, metadata={"axes": "YX", "Name": name, **sizes})
    assert read_image(tmp_path / "a.ome.tif").pixel_size == 0.5
    assert pixel_size_of_file(tmp_path / "a.ome.tif", GREY.shape) == (0.5, 0.5)
    assert pixel_size_of_file(tmp_path / "a.ome.tif", (40, 50)) is None


def test_never_an_error(tmp_path):
    (tmp_path / "text.tif").write_text("hello")
    (tmp_path / "empty.tif").write_bytes(b"")
    (tmp_path / "head.tif").write_bytes(b"II*\0")
    for name in ("text.tif", "empty.tif", "head.tif", "none.tif", ".", "a\0b", "x" * 5000):
        assert pixel_size_of_file(tmp_path / name) is None


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        ("µm", 1), ("μm", 1), ("um", 1), ("Micron", 1), ("MICROMETRE", 1), ("\\u00B5m", 1),
        (" nm ", 1e-3), ("MM", 1e3), ("Inch", 25_400), ("å", 1e-4), (pint.Unit("cm"), 1e4),
        ("pixel", None), ("reference frame", None), ("s", None), ("", None), ("nan", None),
        ("9**9**9**9", None), (None, None), (pint.Unit("pixel"), None),
    ],
)  # fmt: skip
def test_micrometres(unit, size):
    assert micrometres(unit) == pytest.approx(math.nan if size is None else size, nan_ok=True)


@given(st.text(max_size=6))
def test_micrometres_of_any_text(unit):
    assert math.isnan(micrometres(unit)) or micrometres(unit) > 0


@given(st.floats(), st.floats())
def test_plausible(size_y, size_x):
    low, high = PLAUSIBLE
    good = low <= size_y <= high and low <= size_x <= high
    assert plausible(size_y, size_x) == ((size_y, size_x) if good else None)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    value=st.one_of(st.floats(), st.text("0123456789.eE+-µ", max_size=8), st.integers()),
    unit=st.one_of(st.none(), st.sampled_from(["nm", "µm", "cm", "inch", "pixel", ""]), st.text()),
    kind=st.sampled_from(["ome", "aperio", "imagej"]),
)
def test_any_header_gives_a_plausible_size_or_none(tmp_path, value, unit, kind):
    text = {
        "ome": '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="90" SizeY="70" SizeZ="1" SizeC="1" '
        f'SizeT="1" PhysicalSizeX="{value}" PhysicalSizeXUnit="{unit}" PhysicalSizeY="{value}">'
        "<TiffData/></Pixels></Image></OME>",
        "aperio": f"Aperio Image |MPP = {value} {unit}|",
        "imagej": f"ImageJ=1.54f\nunit={unit}\nspacing={value}\nloop={value}\n",
    }[kind]
    tifffile.imwrite(
        tmp_path / "a.tif", GREY, metadata=None, description=text.encode(), resolution=(40_000, 3)
    )
    size = pixel_size_of_file(tmp_path / "a.tif")
    assert size is None or plausible(*size) == size
    assert read_image(tmp_path / "a.tif").pixel_size_yx == size

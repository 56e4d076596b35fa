"""The size of pixels in the window: of the layer, of its file, or as entered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_patchseg.files.images import read_image
from napari_patchseg.plugin.layer_source import source_of

Wait = Callable[[Callable[[], Any]], None]


def ome(folder: Path, image: np.ndarray) -> Path:
    path = folder / "slide.ome.tif"
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    tifffile.imwrite(path, image, photometric="rgb", metadata={"axes": "YXS", **sizes})
    return path


def imagej(folder: Path, image: np.ndarray) -> Path:
    path = folder / "slide.tif"
    grey, unit = image[..., 0], {"unit": "um"}
    tifffile.imwrite(path, grey, imagej=True, resolution=(2, 2), metadata=unit)
    return path


def channels(folder: Path, image: np.ndarray) -> Path:
    path = folder / "channels.ome.tif"
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    planes = np.moveaxis(image[..., :2], -1, 0)
    tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "CYX", **sizes})
    return path


@pytest.mark.parametrize("write", [ome, imagej, channels])
def test_what_the_file_says_is_shown_and_used(
    viewer: Any, panel: Any, image: np.ndarray, tmp_path: Path, write: Any
) -> None:
    options = {"channel_axis": 0} if write is channels else {}
    layer = viewer.open(str(write(tmp_path, image)), plugin="napari", **options)[0]
    viewer.layers.selection.active = layer
    assert panel.image.pixel_size.value() == 0.5
    assert source_of(viewer, layer).pixel_size == pytest.approx(0.5)
    layer.scale = (3, 3)  # what the file says may have gone into it
    assert panel.image.pixel_size.text() == "unknown"
    layer.scale = (1, 1)
    layer.data = layer.data[:100]  # a part, or another picture
    assert source_of(viewer, layer).pixel_size is None


def test_what_no_pixel_can_be_is_unknown(
    viewer: Any, panel: Any, image: np.ndarray, tmp_path: Path
) -> None:
    layer = viewer.add_image(image, rgb=True, scale=(264, 264), units="um")  # 96 dpi
    assert panel.image.pixel_size.text() == "unknown"
    layer.scale = (0.25, 0.25)
    assert panel.image.pixel_size.value() == 0.25
    Image.fromarray(image).save(tmp_path / "screen.png", dpi=(72, 72))
    viewer.open(str(tmp_path / "screen.png"), plugin="napari")
    assert panel.image.pixel_size.text() == "unknown"


def test_a_size_belongs_to_its_image(viewer: Any, panel: Any, image: np.ndarray) -> None:
    first = viewer.add_image(image, rgb=True)
    panel.image.pixel_size.setValue(0.3)
    second = viewer.add_image(image, rgb=True)
    assert panel.image.pixel_size.text() == "unknown"
    assert panel.image.pixel_size_of(second) is None
    viewer.layers.selection.active = first
    assert panel.image.pixel_size.value() == 0.3
    viewer.layers.clear()
    assert not panel.image.pixel_size.isEnabled()


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_entered_size_makes_micrometres_work_and_is_saved(
    viewer: Any,
    panel: Any,
    image: np.ndarray,
    tmp_path: Path,
    wait: Wait,
    told: list[str],
    when: str,
) -> None:
    layer = viewer.add_image(image, rgb=True)
    if when == "before":
        panel.diameter.setValue(3)
        panel.image.unit.setCurrentText("µm")
        panel.image.pixel_size.setValue(0.25)
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    assert panel.session.labels is not None, told
    if when == "before":
        objects = panel.session.labels.metadata["napari_patchseg"]["objects"]
        assert objects["diameter"] == 12
        assert "pixel_size=0.25" in panel.script()
        panel.objects.threshold.setValue(0.42)  # redrawn labels have it as well
        wait(lambda: not panel.session.is_relabelling)
    else:
        panel.image.pixel_size.setValue(0.25)
    path = tmp_path / "nuclei.ome.tif"
    panel.save_labels(str(path))
    assert read_image(path).pixel_size_yx == (0.25, 0.25)
    np.testing.assert_array_equal(panel.session.labels.scale, layer.scale)

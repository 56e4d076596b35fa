"""Copy as Python: what it copies is run, and gives the labels of the window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from napari.layers import Labels
from PIL import Image

from napari_patchseg.errors import PatchSegError
from napari_patchseg.plugin.layer_source import Region, is_ours

Wait = Callable[[Callable[[], Any]], None]


def plain(folder: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).save(folder / "plain.png")
    return folder / "plain.png"


def palette(folder: Path, image: np.ndarray) -> Path:
    colours = np.random.default_rng(0).integers(0, 65535, (3, 256)).astype(np.uint16)
    path = folder / "palette.tif"
    tifffile.imwrite(path, image[..., 0], photometric="palette", colormap=colours, metadata=None)
    return path


def deep(folder: Path, image: np.ndarray) -> Path:
    (folder / "deep.png").write_bytes(imagecodecs.png_encode(image.astype(np.uint16) * 257))
    return folder / "deep.png"


def cmyk(folder: Path, image: np.ndarray) -> Path:
    Image.fromarray(image).convert("CMYK").save(folder / "cmyk.jpg")
    return folder / "cmyk.jpg"


def channels(folder: Path, image: np.ndarray) -> Path:
    path = folder / "channels.tif"
    planes = np.moveaxis(image[..., :2], -1, 0)
    tifffile.imwrite(path, planes, photometric="minisblack", metadata={"axes": "CYX"})
    return path


def stack(folder: Path, image: np.ndarray) -> Path:
    path = folder / "stack.tif"
    planes = np.stack([np.roll(image[..., 0], 9 * number, 0) for number in range(12)])
    tifffile.imwrite(path, planes, metadata={"axes": "ZYX"})
    return path


def run_and_compare(viewer: Any, panel: Any, layer: Any, wait: Wait) -> str:
    panel.run.stream_box.setChecked(False)  # live layers take as long as the run
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    return compare(viewer, panel)


def compare(viewer: Any, panel: Any) -> str:
    (labels,) = [x for x in viewer.layers if isinstance(x, Labels) and is_ours(x)]
    assert labels.data.any()
    script = str(panel.script())
    names: dict[str, Any] = {}
    exec(script, names)
    row0, column0, row1, column1 = panel.session.run.source.box
    region = labels.data.squeeze()[row0:row1, column0:column1]
    np.testing.assert_array_equal(names["labels"], region)
    return script


@pytest.mark.parametrize("write", [plain, palette, deep, cmyk, channels, stack])
def test_a_script_gives_the_labels_of_the_window(
    viewer: Any, panel: Any, wait: Wait, image: np.ndarray, tmp_path: Path, write: Any
) -> None:
    """From the file only where that gives what napari has read from it."""
    path = write(tmp_path, image)
    (layer,) = viewer.open(str(path), plugin="napari")
    script = run_and_compare(viewer, panel, layer, wait)
    assert ("read_image" in script) == (write in (plain, channels))


def test_one_channel_of_a_file(
    viewer: Any, panel: Any, wait: Wait, image: np.ndarray, tmp_path: Path
) -> None:
    layers = viewer.open(str(channels(tmp_path, image)), plugin="napari", channel_axis=0)
    script = run_and_compare(viewer, panel, layers[1], wait)
    assert "current_viewer" in script


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
@pytest.mark.parametrize("colour", [False, True])
def test_a_region_of_a_plane_in_memory(
    viewer: Any, panel: Any, wait: Wait, image: np.ndarray, order: Any, colour: bool
) -> None:
    planes = np.stack([np.roll(image, number, 0) for number in range(120)])
    layer = viewer.add_image(planes if colour else planes[..., 0], rgb=colour, name="it's")
    viewer.dims.order = order
    viewer.dims.set_point(order[0], 70)
    corners = np.zeros((4, 3))
    corners[:, list(order[1:])] = [[10, 20], [10, 110], [100, 110], [100, 20]]
    viewer.add_shapes([corners], name="region")
    panel.image.region.setCurrentText(str(Region.RECTANGLE))
    panel.segment(layer)
    wait(lambda: not panel.session.is_busy)
    layer.name = 'another "name"'
    assert "10:101" in compare(viewer, panel)


def test_what_cannot_be_copied_is_a_sentence(
    viewer: Any, panel: Any, wait: Wait, image: np.ndarray
) -> None:
    layer = viewer.add_image(image.copy(), rgb=True, name="slide")
    run_and_compare(viewer, panel, layer, wait)
    layer.data[50, 50] = 0  # in place, without an event
    with pytest.raises(PatchSegError, match="data of 'slide' changed since the run"):
        panel.script()
    layer.data[50, 50] = image[50, 50]
    assert "current_viewer" in panel.script()
    layer.data = image[::-1].copy()
    with pytest.raises(PatchSegError, match="changed since the run"):
        panel.script()
    viewer.layers.remove(layer)
    with pytest.raises(PatchSegError, match="not in the viewer any more"):
        panel.script()


def test_a_file_stays_when_its_layer_changes_or_goes(
    viewer: Any, panel: Any, wait: Wait, image: np.ndarray, tmp_path: Path
) -> None:
    path = plain(tmp_path, image)
    (layer,) = viewer.open(str(path), plugin="napari")
    script = run_and_compare(viewer, panel, layer, wait)
    layer.data = 255 - layer.data
    assert panel.script() == script
    viewer.layers.remove(layer)
    assert "read_image" in panel.script()
    Image.fromarray(255 - image).save(path)
    with pytest.raises(PatchSegError, match="in no file"):
        panel.script()

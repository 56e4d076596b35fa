"""Labels out in every kind of file and back, whatever the objects are like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from napari_patchseg.errors import FileError
from napari_patchseg.files.results import FORMATS, format_of, load_labels, save

LABELS = np.pad(np.arange(1, 5).reshape(2, 2), 3).repeat(3, axis=1)
TABLE = pd.DataFrame({"Label": [1, 2, 3, 4], "Area px^2": [3, 3, 3, 3]})
KINDS = [".ome.tif", ".png", ".ome.zarr", ".geojson", ".geojson.gz", ".zip"]

few_labels = st.sampled_from([0, 0, 0, 1, 1, 2, 7, 65_535])
many_labels = st.sampled_from([0, 0, 1, 65_536, 2**32 - 1])


def images(elements):
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, max_side=8)
    return hnp.arrays(np.uint32, shapes, elements=elements)


def touching_objects() -> np.ndarray:
    """Thousands of cells that touch, cut by the border, with holes and of single pixels."""
    rng = np.random.default_rng(0)
    seeds = np.zeros((400, 600), np.int32)
    places = rng.choice(seeds.size, 6000, replace=False)
    seeds.ravel()[places] = np.arange(1, 6001)
    nearest = ndimage.distance_transform_edt(
        seeds == 0, return_distances=False, return_indices=True
    )
    labels = seeds[tuple(nearest)]
    labels[rng.random(labels.shape) < 0.1] = 0
    return labels


@pytest.mark.parametrize("ending", KINDS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_labels_come_back(tmp_path, ending, data):
    labels = data.draw(images(few_labels if ending == ".png" else few_labels | many_labels))
    path = save(tmp_path / f"a{ending}", labels, overwrite=True)
    back = load_labels(path)
    np.testing.assert_array_equal(back.labels, labels)
    assert back.warnings == ()


@pytest.mark.parametrize("ending", KINDS)
def test_thousands_of_objects_come_back(tmp_path, ending):
    labels = touching_objects()
    assert len(np.unique(labels)) > 5000
    back = load_labels(save(tmp_path / f"a{ending}", labels))
    np.testing.assert_array_equal(back.labels, labels)


@pytest.mark.parametrize("ending", KINDS)
def test_size_name_and_report_come_back(tmp_path, ending):
    path = save(
        tmp_path / f"a{ending}", LABELS, pixel_size=(0.5, 0.25), name="slide µ", report={"seed": 3}
    )
    back = load_labels(path)
    assert back.pixel_size == pytest.approx((0.5, 0.25))
    assert back.name == "slide µ"
    assert back.report == {"seed": 3}


@pytest.mark.parametrize("ending", [*KINDS, ".csv"])
def test_a_file_is_kept_unless_it_may_go(tmp_path, ending):
    path = save(tmp_path / f"a{ending}", LABELS, measurements=TABLE)
    with pytest.raises(FileError, match="exists"):
        save(path, LABELS, measurements=TABLE)
    save(path, LABELS, measurements=TABLE, overwrite=True)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_ending_means_its_kind(kind):
    for ending in kind.endings:
        assert format_of(f"Slide 1.2{ending.upper()}") is kind
        assert format_of(Path(f"~/a.csv/b{ending}/")) is kind


def test_other_endings_are_refused_with_those_there_are(tmp_path):
    with pytest.raises(FileError, match=r"\.ome\.tif.*\.png.*\.ome\.zarr.*\.geojson.*\.csv.*\.zip"):
        save(tmp_path / "a.jpg", LABELS)
    assert list(tmp_path.iterdir()) == []


def test_what_holds_no_labels_is_refused(tmp_path):
    with pytest.raises(FileError, match="measurements"):
        load_labels(save(tmp_path / "a.csv", LABELS, measurements=TABLE))
    with pytest.raises(FileError, match="measurements"):
        save(tmp_path / "b.csv", LABELS)


@pytest.mark.parametrize("ending", [".geojson", ".zip"])
def test_outlines_of_a_part_lie_where_it_is(tmp_path, ending):
    labels = np.zeros((20, 30), np.uint16)
    labels[3:8, 4:9], labels[5, 6], labels[12:15, 20:30] = 1, 0, 7
    path = save(tmp_path / f"part{ending}", labels, origin=(1000, 5000))
    np.testing.assert_array_equal(load_labels(path).labels, labels)
    whole = load_labels(path, (1100, 5100)).labels
    np.testing.assert_array_equal(whole[1000:1020, 5000:5030], labels)
    assert np.count_nonzero(whole) == np.count_nonzero(labels)

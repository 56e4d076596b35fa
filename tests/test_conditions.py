"""Conditions on measurements: written, read, and used through every door."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage as ndi

import napari_patchseg as ps
from napari_patchseg.conditions import Condition, conditions_of, in_words
from napari_patchseg.errors import SettingsError
from napari_patchseg.settings import Settings

words = st.text("abcXYZ ^2µ°", min_size=1).map(lambda text: " ".join(text.split())).filter(bool)
limits = st.floats(-1e6, 1e6).map(lambda value: float(f"{value:.6g}"))


@given(st.lists(st.tuples(words, st.sampled_from([">=", "<="]), limits), max_size=4))
def test_what_is_written_is_read(parts):
    made = tuple(
        Condition(name[0].upper() + name[1:], sign, limit)
        for name, sign, limit in parts
        if " and " not in f" {name.casefold()} "
    )
    assert conditions_of(in_words(made)) == made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("solidity>=.8", [("Solidity", ">=", 0.8)]),
        ("Solidity  ≥ 0.80", [("Solidity", ">=", 0.8)]),
        (" SOLIDITY >= 8e-1 ", [("SOLIDITY", ">=", 0.8)]),
        (
            "solidity >= 0.8 AND area µm² <= 1234567.4",
            [("Solidity", ">=", 0.8), ("Area µm^2", "<=", 1234567.4)],
        ),
    ],
)
def test_people_write_it_in_their_way(text, expected):
    assert list(conditions_of(text)) == expected
    assert list(conditions_of(in_words(conditions_of(text)))) == expected


@pytest.mark.parametrize(
    "text", ["Solidity", "Solidity > 0.8", ">= 3", "a >= x", "a >= nan", "and"]
)
def test_what_is_no_condition_gets_a_sentence(text):
    with pytest.raises(SettingsError, match="keep: it should be conditions such as"):
        Settings.create(keep=text)


@pytest.fixture(scope="module")
def field():
    return ps.synthetic_field((160, 192), seed=2)[0]


@pytest.fixture(scope="module")
def model(field):
    return ps.train_model([field], max_steps=2, threads=1, device="cpu")


def test_only_nuclei_that_fulfil_all_are_kept_with_their_numbers(field, model):
    before = ps.segment(field, model=model)
    table = ps.measure(before, field)
    area = float(table["Area px^2"].median())
    dark = float(f"{table['Haematoxylin OD mean'].quantile(0.3):.3g}")
    text = f"Area px^2 <= {area} and haematoxylin od mean >= {dark}"
    after = ps.segment(field, model=model, keep=text)
    fit = (table["Area px^2"] <= area) & (table["Haematoxylin OD mean"] >= dark)
    assert 0 < fit.sum() < len(table)
    np.testing.assert_array_equal(after, np.where(np.isin(before, table["Label"][fit]), before, 0))


def test_micrometres_need_the_pixel_size(field, model):
    with pytest.raises(SettingsError, match="pixel size"):
        ps.segment(field, model=model, keep="Area µm^2 >= 3")
    kept = ps.segment(field, model=model, keep="Area µm^2 >= 20", pixel_size=0.25)
    np.testing.assert_array_equal(kept, ps.segment(field, model=model, keep="Area px^2 >= 320"))


@pytest.mark.parametrize("name", ["Solidty", "Label", "Centroid X px"])
def test_an_unknown_measurement_is_told_of(field, model, name):
    with pytest.raises(SettingsError, match="there is no measurement"):
        ps.segment(field, model=model, keep=f"{name} >= 0.5")


def test_what_cannot_be_fulfilled_is_told_before_training(field):
    pixels = ps.Pixels.from_array(field)
    for keep in ("Solidty >= 0.8", "Area µm^2 >= 3", "DAB OD mean >= 0.1"):
        begun = []
        with pytest.raises(SettingsError, match="keep"):
            begun += ps.run(pixels, Settings.create(keep=keep))
        assert len(begun) <= 1


def test_what_is_painted_is_kept_whatever_it_measures(field, model):
    free = ps.segment(field, model=model) == 0
    depth = ndi.distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    hints = np.zeros(field.shape[:2], int)
    hints[max(row - 2, 0) : row + 3, max(column - 12, 0) : column + 13] = 1
    hints[~free] = 0
    painted = hints == 1
    labels = ps.segment(field, model=model, hints=hints, keep="Eccentricity <= 0.5")
    assert (labels[painted] > 0).mean() > 0.9
    others = ps.measure(np.where(np.isin(labels, np.unique(labels[painted])), 0, labels))
    assert others["Eccentricity"].max() <= 0.5


def test_pixels_that_are_no_squares_count_as_in_the_table(field, model):
    before = ps.segment(field, model=model)
    table = ps.measure(before, pixel_size=(0.5, 0.25))
    limit = float(f"{table['Circularity'].median():.3g}")
    after = ps.segment(field, model=model, pixel_size=(0.5, 0.25), keep=f"Circularity >= {limit}")
    fit = table["Label"][table["Circularity"] >= limit]
    np.testing.assert_array_equal(after, np.where(np.isin(before, fit), before, 0))

"""Conditions on measurements: written, read, and used through every door."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    "text",
    [
        "solidity>=.8",
        "Solidity  ≥ 0.80",
        " SOLIDITY >= 8e-1 ".lower(),
        "solidity >= 0.8 AND area µm² <= 9",
    ],
)
def test_people_write_it_in_their_way(text):
    first, *others = conditions_of(text)
    assert first == Condition("Solidity", ">=", 0.8)
    assert others in ([], [Condition("Area µm^2", "<=", 9)])


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
    dark = float(table["Haematoxylin OD mean"].quantile(0.3))
    text = f"Area px^2 <= {area} and haematoxylin od mean >= {dark}"
    after = ps.segment(field, model=model, keep=text)
    fit = (table["Area px^2"] <= area) & (table["Haematoxylin OD mean"] >= round(dark, 6) - 1e-6)
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

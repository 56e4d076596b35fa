"""Tables as CSV."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_patchseg.errors import FileError
from napari_patchseg.files.tables import write_table

TABLE = pd.DataFrame({"Label": [1, 2], "Area µm^2": [0.1 + 0.2, math.nan]})


def test_a_spreadsheet_finds_header_signs_and_rows(tmp_path):
    path = write_table(tmp_path / "a.csv", TABLE)
    assert path.read_bytes() == (
        "\ufeffLabel,Area µm^2\r\n1,0.30000000000000004\r\n2,\r\n".encode()
    )


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(1, 2**32), st.floats()), max_size=5), st.text())
def test_any_numbers_come_back(tmp_path, rows, name):
    table = pd.DataFrame(rows, columns=["Label", "Solidity"]).astype({"Solidity": float})
    path = write_table(tmp_path / "a.csv", table, name=name)
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *back = csv.reader(file)
    assert header == ["Image", "Label", "Solidity"]
    assert [int(row[1]) for row in back] == table["Label"].tolist()
    numbers = [float(row[2] or "nan") for row in back]
    np.testing.assert_array_equal(numbers, table["Solidity"])


def test_no_objects_are_a_header(tmp_path):
    path = write_table(tmp_path / "a.csv", TABLE[:0], name="slide")
    assert path.read_text("utf-8-sig").split() == ["Image,Label,Area", "µm^2"]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '="a,b"'])
def test_no_text_is_a_formula(tmp_path, name):
    table = TABLE.assign(**{name: name})
    with write_table(tmp_path / "a.csv", table, name=name).open(
        newline="", encoding="utf-8-sig"
    ) as file:
        header, first, second = csv.reader(file)
    for row in (header, first, second):
        assert row[-1] == "'" + name
    assert first[0] == "'" + name
    assert table.columns[-1] == name  # ours to read only


def test_a_file_is_kept_unless_it_may_go(tmp_path):
    path = write_table(tmp_path / "a.csv", TABLE)
    with pytest.raises(FileError, match="exists"):
        write_table(path, TABLE[:1], overwrite=False)
    assert len(pd.read_csv(path)) == 2


def test_where_objects_come_from_stands_in_the_first_row(tmp_path):
    report = {"settings": {"seed": 3}, "note": '=1+1, "quoted"\nµ'}
    path = write_table(tmp_path / "a.csv", TABLE, pixel_size=(0.5, 0.25), report=report)
    table = pd.read_csv(path)
    said = table.pop("Provenance")
    assert json.loads(said[0]) == {"pixel_size": [0.5, 0.25], "report": report}
    assert said[1:].isna().all()
    pd.testing.assert_frame_equal(table, pd.read_csv(write_table(tmp_path / "b.csv", TABLE)))
    assert "Provenance" not in pd.read_csv(
        write_table(tmp_path / "c.csv", TABLE[:0], report=report)
    )

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from PIL import Image

from napari_patchseg.errors import FileError
from napari_patchseg.files.curves import (
    LOSS_COLOUR,
    NEGATIVE_COLOUR,
    POSITIVE_COLOUR,
    write_curves_png,
)

HISTORY = [(step, 20 / step, 0.01 * step, 0.02 * step) for step in range(1, 30)]

WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None  # as where it is not installed
from napari_patchseg.errors import FileError
from napari_patchseg.files.curves import write_curves_png
try:
    write_curves_png("curves.png", [])
except FileError as error:
    print(error)
"""


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


def colours(path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return set(map(tuple, np.asarray(image.convert("RGB")).reshape(-1, 3)))


def test_three_curves(tmp_path):
    path = write_curves_png(tmp_path / "curves.png", HISTORY)
    assert {rgb(LOSS_COLOUR), rgb(POSITIVE_COLOUR), rgb(NEGATIVE_COLOUR)} <= colours(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["curves.png"]


def test_pyplot_is_left_alone(tmp_path):
    write_curves_png(tmp_path / "curves.png", HISTORY)
    assert "matplotlib.pyplot" not in sys.modules


def test_gaps_and_no_steps(tmp_path):
    gaps = [(1, math.nan, math.nan, 0.1), (2, 1.0, 0.1, 0.2), (3, math.nan, 0.1, math.nan)]
    assert colours(write_curves_png(tmp_path / "gaps.png", gaps))
    assert rgb(LOSS_COLOUR) not in colours(write_curves_png(tmp_path / "none.png", ()))


def test_old_file_stays(tmp_path):
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")
    with pytest.raises(FileError, match="exists already"):
        write_curves_png(path, HISTORY, overwrite=False)
    assert path.read_bytes() == b"old"


def test_without_matplotlib(fresh_python):
    said = fresh_python("-c", WITHOUT_MATPLOTLIB).stdout
    assert "pip install 'napari-patchseg[all]'" in said

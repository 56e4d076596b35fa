"""Odd users and odd file names: the work is done all the same."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
from PIL import Image

from napari_patchseg.files.images import read_image

BLANK = np.full((96, 96, 3), 240, np.uint8) - np.eye(96, dtype=np.uint8)[..., None]

NAMES = [
    "näme µ 核.png",
    "new\nline.png",
    "-dash.png",
    "dot at the end.",
    "space at the end ",
    "no extension",
    "UPPER.PNG",
    "a.b.c.v2.png",
    "100 %d [a-z]*?;&'$(x).png",
    "~.png",
    ".png",
    "核" * 78 + ".png",
    os.fsdecode(b"no \xff\xfe text.png"),
]


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="users and names of Linux")


def nobody(_uid):
    raise KeyError("getpwuid(): uid not found")


@on_linux
def test_user_without_home(cli, monkeypatch, tmp_path, quickly):
    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    Image.fromarray(BLANK).save(tmp_path / "blank.png")
    done = cli("segment", "blank.png", *quickly)
    assert done.code == 0, done.err
    assert sorted(os.listdir(tmp_path)) == ["blank.png", "blank_nuclei.ome.tif"]
    # on a machine that nobody has measured yet
    done = cli("segment", "blank.png", "--max-steps", 1, "--overwrite")
    assert done.code == 0, done.err
    assert sorted(os.listdir(tmp_path)) == ["blank.png", "blank_nuclei.ome.tif"]


@on_linux
def test_demo_for_a_user_without_home(cli, monkeypatch, quickly):
    """napari itself does not start there."""
    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    done = cli("demo", "--size", 128, *quickly)
    assert done.code == 0, done.err
    assert "No window: napari needs a home folder, and this user has none." in done.err


@on_linux
@pytest.mark.parametrize("name", NAMES)
def test_odd_names(cli, tmp_path, quickly, name):
    Image.fromarray(BLANK).save(tmp_path / name, "PNG")
    argument = f"./{name}" if name.startswith("-") else name
    done = cli("segment", argument, "--report", "report.json", *quickly)
    assert done.code == 0, done.err
    stem = read_image(tmp_path / name).name
    assert set(os.listdir(tmp_path)) == {name, "report.json", f"{stem}_nuclei.ome.tif"}
    assert read_image(tmp_path / f"{stem}_nuclei.ome.tif").array.shape == (96, 96)
    assert json.loads((tmp_path / "report.json").read_text())["image_file"].endswith(name)
    assert cli("segment", argument, *quickly).code == 2  # it is there now


@on_linux
def test_a_name_too_long_for_what_belongs_to_it(cli, tmp_path, quickly):
    name = "x" * 250 + ".png"
    Image.fromarray(BLANK).save(tmp_path / name)
    done = cli("segment", name, *quickly)
    assert done.code == 2
    assert "its name is too long; choose a shorter one" in done.err
    assert cli("segment", name, "-o", "short.png", *quickly).code == 0
    for output in ("y" * 300 + ".png", "y" * 300, "y" * 300 + "/", "y" * 300 + "/a.png"):
        done = cli("segment", name, "-o", output, *quickly)
        assert done.code == 2
        assert done.err.startswith("napari-patchseg: ")


@on_linux
def test_a_name_that_is_no_text_is_said(process, tmp_path, quickly):
    name = os.fsdecode(b"no \xff text.png")
    Image.fromarray(BLANK).save(tmp_path / name)
    done = process("segment", name, *quickly)
    assert done.returncode == 0
    assert r"no \udcff text.png: 0 nuclei" in done.stdout

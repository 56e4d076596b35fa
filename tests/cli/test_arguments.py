from __future__ import annotations

import argparse
import contextlib
import typing

import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_patchseg
from napari_patchseg.cli.arguments import DEVICES, length, parser
from napari_patchseg.method.settings import Device

HEAVY = """
import sys
from napari_patchseg.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    print(stop.code, sorted({"torch", "numpy", "pydantic", "skimage", "napari"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["segment", "--help"], ["demo", "-h"]]
)
def test_answers_at_once(fresh_python, arguments):
    done = fresh_python("-c", HEAVY, *arguments)
    assert done.stdout.endswith("0 []\n")
    assert done.stderr == ""


def test_version(cli):
    assert cli("--version").out == f"napari-patchseg {napari_patchseg.__version__}\n"


def test_help_names_every_command(cli):
    out = cli("--help").out
    for command in ("segment", "train", "demo"):
        assert command in out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["paint"],
        ["segment"],
        ["train", "a.tif"],
        ["segment", "a.tif", "--preset"],
        ["demo", "x"],
    ],
)
def test_wrong_arguments_are_one_sentence(cli, arguments):
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("napari-patchseg: ")
    assert "--help" in line


def test_devices_are_those_of_the_settings():
    assert typing.get_args(Device) == DEVICES


@given(
    st.decimals(min_value="0.001", max_value=10_000, places=3),
    st.sampled_from(["px", "PX", "um", "µm", "μm", "Um", ""]),
    st.sampled_from(["", " "]),
)
def test_lengths(number, unit, space):
    expected = None if not unit else "px" if unit.lower() == "px" else "µm"
    assert length(f"{number}{space}{unit}") == (float(number), expected)


@given(st.text(max_size=8))
def test_length_or_a_sentence(text):
    with contextlib.suppress(argparse.ArgumentTypeError):
        number, unit = length(text)
        assert number > 0
        assert unit in {None, "px", "µm"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("learning_rate=1e-3", ("learning_rate", 0.001)),
        ("threshold=null", ("threshold", None)),
        ("stop_at_convergence=false", ("stop_at_convergence", False)),
        ("similarity=cross-entropy", ("similarity", "cross-entropy")),
        ("similarity = cross-entropy", ("similarity", "cross-entropy")),
        ("split=", ("split", "")),
    ],
)
def test_settings(text, value):
    assert parser().parse_args(["segment", "a.tif", "--set", text]).set == [value]

from __future__ import annotations

import contextlib
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_patchseg
from napari_patchseg.cli.arguments import parse
from napari_patchseg.cli.values import assignment, length, pixel_size
from napari_patchseg.errors import SettingsError
from napari_patchseg.settings import (
    FLUORESCENCE_THRESHOLD,
    PRESETS,
    THRESHOLD,
    Settings,
)

HEAVY = """
import sys
from napari_patchseg.cli import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    print(stop.code, sorted({"torch", "numpy", "scipy", "skimage", "napari"} & set(sys.modules)))
"""


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["--version"], ["segment", "--help"], ["demo", "-h"]]
)
def test_answers_at_once(fresh_python, arguments):
    done = fresh_python("-c", HEAVY, *arguments)
    assert done.stdout.endswith("0 []\n")
    assert done.stderr == ""


def test_version(cli):
    assert cli("--version").out == f"napari-patchseg {napari_patchseg.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(cli, arguments):
    done = cli(*arguments)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("usage: napari-patchseg ")
    for command in ("segment", "train", "demo"):
        assert command in done.out


@pytest.mark.parametrize("command", ["segment", "train", "demo"])
def test_help_says_what_the_settings_say(cli, command):
    """Every one of them, in the settings' own words, with their defaults."""
    out = " ".join(cli(command, "--help").out.split())
    for name, field in Settings.model_fields.items():
        option = f"--{name.replace('_', '-')} "
        if name == "preset":
            assert all(preset in out for preset in PRESETS)
            continue
        assert option in out or f"{name}: " in out
        assert str(field.description) in out
        if field.default is not None:
            assert f"default: {field.default})" in out


def test_help_says_the_thresholds_that_are_used(cli):
    out = " ".join(cli("segment", "--help").out.split())
    assert f"{THRESHOLD}, {FLUORESCENCE_THRESHOLD} for fluorescence" in out
    assert "0.35" in out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["help"], "'help' is no command; choose segment, train or demo; see "),
        (["segmnt", "a.tif"], "'segmnt' is no command; .* did you mean segment"),
        (["a.tif"], "'a.tif' is no command; .* such as napari-patchseg segment a.tif"),
        (["--colour"], "unrecognized arguments: --colour"),
        (["segment"], "No image is given"),
        (["train", "a.tif", "-o"], "expected one argument; see napari-patchseg train --help"),
        (["segment", "a.tif", "--preset"], "expected one argument; see .*segment --help"),
        (["demo", "--headless", "x"], "'x' has no place here; see napari-patchseg demo --help"),
        (["demo", "--headless", "--", "x"], "There is no option --;"),
        (["demo", "--headless", "--siz", "3"], "There is no option --siz; did you mean --size"),
        (["segment", "--overwrite=yes"], "ignored explicit argument 'yes'"),
    ],
)
def test_wrong_arguments_are_one_sentence(cli, tmp_path, arguments, sentence):
    (tmp_path / "a.tif").touch()
    done = cli(*arguments)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert re.match(f"napari-patchseg: .*{sentence}", line)


def test_options_and_images_in_any_order():
    args = parse(["segment", "a.tif", "-o", "out/", "b.tif", "-q", "--", "-c.tif", "--seed"])
    assert args.images == ["a.tif", "b.tif", "-c.tif", "--seed"]
    assert (args.output, args.quiet, args.seed, args.mistakes) == ("out/", True, None, [])


@given(
    st.decimals(min_value="0.001", max_value=10_000, places=3),
    st.sampled_from(["px", "PX", "um", "µm", "μm", "Um", ""]),
    st.sampled_from(["", " "]),
    st.sampled_from(".,"),
)
def test_lengths(number, unit, space, sign):
    expected = None if not unit else "px" if unit.lower() == "px" else "µm"
    text = str(number).replace(".", sign)
    assert length(f"{text}{space}{unit}") == (float(number), expected)


@given(st.text(max_size=8) | st.from_regex(r"-?[0-9.,]{1,6}([uµ]m|px|nm)?", fullmatch=True))
def test_length_or_a_sentence(text):
    with contextlib.suppress(SettingsError):
        number, unit = length(text)
        assert 0 < number < math.inf
        assert unit in {None, "px", "µm"}
    with contextlib.suppress(SettingsError):
        assert 0 < pixel_size(text) < math.inf


@pytest.mark.parametrize(
    "text", ["1,000.5um", "1.000,5", "8mm", "8 8", "inf", "nan", "-3", "0", ""]
)
def test_no_lengths(text):
    with pytest.raises(SettingsError):
        length(text)
    with pytest.raises(SettingsError):
        pixel_size(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("learning_rate=1e-3", ("learning_rate", 0.001)),
        ("learning_rate=0,002", ("learning_rate", 0.002)),
        ("learning-rate=2e-3", ("learning_rate", 0.002)),
        ("threshold=,5", ("threshold", 0.5)),
        ("threshold=null", ("threshold", None)),
        ("threshold=None", ("threshold", None)),
        ("max_steps=1,000", ("max_steps", "1,000")),  # of no whole number a decimal is meant
        ("stop_at_convergence=false", ("stop_at_convergence", False)),
        ("similarity=cross-entropy", ("similarity", "cross-entropy")),
        ("similarity = cross-entropy", ("similarity", "cross-entropy")),
        ("split=", ("split", "")),
        ("split=" + "[" * 100_000, ("split", "[" * 100_000)),
    ],
)
def test_settings(text, value):
    assert assignment(text) == value


@pytest.mark.parametrize("text", ["depth", "=3", " = 3", ""])
def test_no_settings(text):
    with pytest.raises(SettingsError, match="is not NAME=VALUE"):
        assignment(text)

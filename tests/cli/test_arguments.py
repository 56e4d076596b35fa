from __future__ import annotations

import contextlib
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import napari_patchseg
from napari_patchseg.cli._arguments import (
    OF_LABELS,
    length,
    option,
    parse,
    pixel_size,
    settings_from,
)
from napari_patchseg.cli._console import Console
from napari_patchseg.errors import PatchSegError, SettingsError
from napari_patchseg.settings import FIELDS, Settings

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
def test_help_says_what_the_settings_say(cli, monkeypatch, command):
    """Every one that a command heeds, in the settings' own words, with their defaults."""
    monkeypatch.setenv("COLUMNS", "1000")
    out = cli(command, "--help").out
    without = OF_LABELS if command == "train" else ()
    for name, field in FIELDS.items():
        if name in without:
            continue
        (line,) = re.findall(rf"^ *{option(name)} .*(?:\n {{8,}}.*)?", out, re.MULTILINE)
        assert str(field.info.description) in line
        assert all(choice in line for choice in field.choices)
        default = "auto" if field.info.default is None else str(field.info.default) or "none"
        assert f"default: {default}".lower() in line
    assert not any(re.search(rf"^ *{option(name)} ", out, re.MULTILINE) for name in without)


def test_train_offers_nothing_that_is_about_labels_alone(cli):
    done = cli("train", "a.tif", "-o", "m.safetensors", "--keep", "Solidity >= 0.8")
    assert done.code == 2
    assert "There is no option --keep" in done.err


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
    assert (args.output, args.quiet, args.seed, args.mistakes) == (["out/"], True, None, [])


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


def settings_of(*arguments: str) -> Settings:
    args = parse(["segment", "a.tif", *arguments])
    console = Console()
    settings = settings_from(args, console)
    console.check_mistakes()
    assert settings is not None
    return settings


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_an_option(name):
    field = FIELDS[name]
    low, high, _ = field.limits
    if field.choices:
        value = field.choices[0 if name == "device" else -1]  # what there is everywhere
    elif field.kind is str:
        value = "Solidity >= 0.8"
    elif field.kind is bool:
        value = not field.info.default
    else:
        value = low if field.kind is int else (low + (high or low + 2)) / 2
    given = settings_of("--weights", "random", option(name), str(value))
    assert field.of(given) == value
    assert given == settings_of("--set", "weights=random", "--set", f"{name}={value}")
    if field.info.default is None:
        assert field.of(settings_of(option(name), "auto")) is None


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("learning_rate=1e-3", "learning_rate", 0.001),
        ("learning_rate=0,002", "learning_rate", 0.002),
        ("learning-rate=2e-3", "learning_rate", 0.002),
        ("threshold=,5", "threshold", 0.5),
        ("threshold=auto", "threshold", None),
        ("threshold=null", "threshold", None),
        ("threshold=None", "threshold", None),
        ("stop_at_convergence=false", "stop_at_convergence", False),
        ("similarity = cross-entropy", "similarity", "cross-entropy"),
        ("rescale=1.5", "rescale", "3/2"),
        ("diameter_unit=um", "diameter_unit", "µm"),
    ],
)
def test_ways_to_write_a_setting(text, name, value):
    assert FIELDS[name].of(settings_of("--set", text)) == value


def test_an_option_of_its_own_goes_before_set():
    settings = settings_of("--seed", "3", "--set", "seed=4", "--preset", "paper")
    assert (settings.training.seed, settings.preset) == (3, "paper")


@pytest.mark.parametrize(
    ("arguments", "begin"),
    [
        (["--max-steps", "0"], "--max-steps: it should be"),
        (["--set", "max-steps=0"], "--set max_steps: it should be"),
        (["--set", "max_steps=1,000"], "--set max_steps: it should be"),  # no decimal is meant
        (["--set", "sed=3"], "--set sed: there is no such setting; did you mean seed?"),
        (["--set", "cls=3"], "--set cls: there is no such setting"),
        (["--set", "split="], "--set split: it should be"),
        (["--set", "split=" + "[" * 100_000], "--set split: it should be"),
        (["--seed", "1,5"], "--seed: it should be a valid integer"),
        (["--threshold", "-0.2"], "--threshold: it should be greater than 0"),
        (["--threshold", "-,2"], "--threshold: it should be greater than 0"),
        (["--threshold", "NaN"], "--threshold: it should be a finite number, or 'auto'"),
        (["--threshold", "0,4,1"], "--threshold: it should be a valid number"),
        (["--device", "tpu"], "--device: it should be 'cpu', 'cuda' or 'mps', or 'auto', not"),
        (["--set", "depth"], "--set: 'depth' is not NAME=VALUE"),
        (["--set", " = 3"], "--set: ' = 3' is not NAME=VALUE"),
        (["--preset", "best"], "--preset: it should be 'default' or 'paper'"),
        (["--classes", "3"], "Setting combination: the pretrained weights have 2 classes"),
    ],
)
def test_mistakes_name_what_was_typed(arguments, begin):
    with pytest.raises(PatchSegError) as error:
        settings_of(*arguments)
    (line,) = str(error.value).splitlines()
    assert line.startswith(begin)
    assert len(line) < 200

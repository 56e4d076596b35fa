from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_patchseg.files import preferences
from napari_patchseg.files.preferences import (
    load_settings,
    machine_choice,
    remember_machine_choice,
    save_settings,
)
from napari_patchseg.settings import Settings

CHOICE = {
    "device": "cpu",
    "precision": "float32",
    "memory_format": "channels_last",
    "threads": 2,
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A folder of our own instead of the user's."""
    for name in ("HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    folder = preferences.folder()
    assert tmp_path in folder.parents
    return folder


def test_nothing_is_remembered_at_first(home):
    assert load_settings() == {}
    assert machine_choice("AVX2") is None
    assert not home.exists()  # and looking makes no files


def test_settings_come_back():
    changed = Settings.create("paper", max_steps=77, nucleus_diameter=9.5, diameter_unit="µm")
    save_settings({"preset": changed.preset, **changed.changes()})
    assert Settings.create(**load_settings()) == changed


def test_next_start_is_another_process(home):
    save_settings({"seed": 5})
    code = (
        "import sys; from napari_patchseg.files.preferences import load_settings;"
        "assert load_settings() == {'seed': 5}; assert 'torch' not in sys.modules"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=120)


def test_unknown_and_outdated_settings_are_dropped(home, caplog):
    save_settings({"seed": 5, "of_another_version": 1, "classes": 10_000, "max_steps": "many"})
    with caplog.at_level(logging.INFO):
        assert load_settings() == {"seed": 5}
    assert "of_another_version" in caplog.text
    save_settings({"preset": "from the future", "seed": 5})
    assert load_settings() == {}
    save_settings({"preset": ["no name"], "seed": 5})
    assert load_settings() == {}


def test_settings_that_do_not_go_together_are_dropped():
    save_settings({"crop_size": 100, "patch_size": 120})
    assert load_settings() == {}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"seed": NaN}']
)
@pytest.mark.parametrize("name", ["settings.json", "machines.json"])
def test_broken_file_is_as_if_it_were_not_there(home, content, name):
    home.mkdir(parents=True)
    (home / name).write_bytes(content)
    assert load_settings() == {}
    assert machine_choice("AVX2") is None
    save_settings({"seed": 1})
    remember_machine_choice("AVX2", CHOICE)
    assert load_settings() == {"seed": 1}
    assert machine_choice("AVX2") == CHOICE


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just({})


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    remembered=st.dictionaries(
        st.sampled_from(sorted(Settings.model_fields)) | st.text(), values, max_size=4
    )
)
def test_whatever_is_remembered_can_be_used(home, remembered):
    home.mkdir(parents=True, exist_ok=True)
    (home / "settings.json").write_text(json.dumps(remembered), encoding="utf-8")
    Settings.create(**load_settings())


def test_folder_that_cannot_be_made(home, caplog):
    home.parent.mkdir(parents=True, exist_ok=True)
    home.write_text("a file where the folder should be")
    save_settings({"seed": 1})
    remember_machine_choice("AVX2", CHOICE)
    assert caplog.text.count("is not remembered") == 2
    assert load_settings() == {}


def nobody(_uid):
    raise KeyError("getpwuid(): uid not found")


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HOME": ""},
        {"HOME": "relative"},
        {"HOME": "/proc/nothing"},
        {"XDG_CONFIG_HOME": "/proc/nothing"},
        {"XDG_CONFIG_HOME": "~/.config"},
        {"XDG_CONFIG_HOME": "relative"},
        {"XDG_CONFIG_HOME": "/tmp/\udcff" + "x" * 300},
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="homes of Linux")
def test_no_place_for_settings(tmp_path, monkeypatch, caplog, variables):
    """As in a container or batch job under a bare user id."""
    monkeypatch.setattr("pwd.getpwuid", nobody)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    assert load_settings() == {}
    assert machine_choice("AVX2") is None
    save_settings({"seed": 1})
    remember_machine_choice("AVX2", CHOICE)
    assert caplog.text.count("is not remembered") == 2
    assert os.listdir(tmp_path) == []  # neither "~" nor a folder called "relative"


def test_what_json_cannot_hold_is_not_remembered(caplog):
    save_settings({"seed": 4})
    save_settings({"seed": object()})
    assert "is not remembered" in caplog.text
    assert load_settings() == {"seed": 4}


def test_machine_choice_is_per_machine(monkeypatch):
    remember_machine_choice("AVX2", CHOICE)
    assert machine_choice("AVX2") == CHOICE
    monkeypatch.setattr("platform.machine", lambda: "another")
    assert machine_choice("AVX2") is None
    remember_machine_choice("AVX2", {**CHOICE, "threads": 64})
    assert machine_choice("AVX2")["threads"] == 64
    monkeypatch.undo()
    assert machine_choice("AVX512 with bfloat16") is None


def test_other_machines_answers_stay_and_old_ones_go(home, monkeypatch):
    for number in range(40):
        monkeypatch.setattr("platform.machine", lambda number=number: f"machine {number}")
        remember_machine_choice("AVX2", {**CHOICE, "threads": number + 1})
    kept = json.loads((home / "machines.json").read_text())
    assert [choice["threads"] for choice in kept.values()] == list(range(9, 41))


def test_a_choice_that_is_no_choice(home):
    remember_machine_choice("AVX2", {**CHOICE, "device": "abacus"})
    assert machine_choice("AVX2") is None

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_patchseg.files.preferences import load_settings, save_settings, settings_file
from napari_patchseg.settings import FIELDS, Settings


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A folder of our own instead of the user's."""
    for name in ("HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA", "APPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    folder = settings_file().parent
    assert tmp_path in folder.parents
    return folder


def test_nothing_is_remembered_at_first(home):
    assert load_settings() == {}
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
    for preset in ("from the future", ["no name"]):
        save_settings({"seed": 5, "preset": preset})
        assert load_settings() == {"seed": 5}


def test_of_settings_that_do_not_go_together_some_are_dropped():
    save_settings({"crop_size": 100, "patch_size": 120, "seed": 5})
    assert load_settings() == {"crop_size": 100, "seed": 5}


def test_settings_that_go_together_only_are_kept():
    together = {"patch_size": 200, "crop_size": 400}  # the first alone is too large a patch
    save_settings(together)
    assert load_settings() == together


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1, 2]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"seed": NaN}']
)
def test_broken_file_is_as_if_it_were_not_there(home, content):
    home.mkdir(parents=True)
    settings_file().write_bytes(content)
    assert load_settings() == {}
    save_settings({"seed": 1})
    assert load_settings() == {"seed": 1}


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just({})


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(remembered=st.dictionaries(st.sampled_from(sorted(FIELDS)) | st.text(), values, max_size=4))
def test_whatever_is_remembered_can_be_used(home, remembered):
    home.mkdir(parents=True, exist_ok=True)
    settings_file().write_text(json.dumps(remembered), encoding="utf-8")
    Settings.create(**load_settings())


def test_folder_that_cannot_be_made(home, caplog):
    home.parent.mkdir(parents=True, exist_ok=True)
    home.write_text("a file where the folder should be")
    save_settings({"seed": 1})
    assert "not remembered" in caplog.text
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
        {"XDG_CONFIG_HOME": "/proc/\udcff" + "x" * 300},
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
    save_settings({"seed": 1})
    assert "not remembered" in caplog.text
    assert os.listdir(tmp_path) == []  # neither "~" nor a folder called "relative"
    caplog.clear()  # pytest-xdist cannot hand on a log with a name that is no text


def test_what_json_cannot_hold_is_not_remembered(caplog):
    save_settings({"seed": 4})
    save_settings({"seed": object()})
    assert "not remembered" in caplog.text
    assert load_settings() == {"seed": 4}

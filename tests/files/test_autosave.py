import os

import pytest

from napari_patchseg.corrections import Add, Corrections
from napari_patchseg.files.autosave import autosave, autosaved
from napari_patchseg.files.preferences import settings_file

MADE = Corrections(shape=(20, 30), nucleus=((1, 2, 5),), edits=(Add(runs=((3, 1, 4),)),))


def test_corrections_are_kept_by_image_until_they_are_empty():
    assert autosaved("a") is None
    autosave("a", MADE)
    kept = autosaved("a")
    assert kept.corrections == MADE
    assert kept.when.tzinfo is not None
    assert autosaved("b") is None
    autosave("a", Corrections(shape=(20, 30)))
    assert autosaved("a") is None


def test_the_oldest_go():
    for number in range(105):
        autosave(f"image {number:03}", MADE)
        path = settings_file().parent / "corrections" / f"image {number:03}.json"
        os.utime(path, (number, number))
    autosave("newest", MADE)
    assert autosaved("image 000") is None
    assert autosaved("image 104").corrections == MADE
    assert autosaved("newest").corrections == MADE


@pytest.mark.parametrize("content", [b"", b"{", b"\xff"])
def test_what_is_damaged_is_as_if_it_were_not_there(content):
    autosave("a", MADE)
    (settings_file().parent / "corrections" / "a.json").write_bytes(content)
    assert autosaved("a") is None


def test_without_a_place_nothing_is_kept_and_nothing_fails(monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null")
    autosave("a", MADE)
    assert autosaved("a") is None

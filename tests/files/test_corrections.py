import json

import numpy as np
import pytest

from napari_patchseg.corrections import Add, Corrections, Delete, Merge, Split
from napari_patchseg.errors import FileError
from napari_patchseg.files.corrections import load_corrections, save_corrections

MADE = Corrections(
    shape=(20, 30),
    nucleus=((1, 2, 5),),
    not_nucleus=((9, 0, 30),),
    edits=(
        Delete.of(np.nonzero(np.eye(5))),
        Merge(path=((1, 2), (3, 4))),
        Split(path=((0, 0), (9, 9), (9, 0))),
        Add(runs=((3, 1, 4),)),
    ),
)


def test_corrections_come_back_as_they_were(tmp_path):
    assert load_corrections(save_corrections(tmp_path / "by hand.json", MADE)) == MADE


def test_an_existing_file_is_kept_unless_it_may_go(tmp_path):
    path = save_corrections(tmp_path / "by hand.json", MADE)
    with pytest.raises(FileError, match="exists"):
        save_corrections(path, Corrections(shape=(1, 1)), overwrite=False)
    assert load_corrections(path) == MADE


def wrong(**changed):
    content = {"format": "napari-patchseg corrections", "format_version": 1}
    return json.dumps({**content, "corrections": {"shape": [20, 30], **changed}}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"format": "napari-patchseg corrections"}',
        b'{"format": "something", "corrections": {"shape": [2, 3]}}',
        wrong(shape=[0, 3]),
        wrong(nucleus=[[1, 5, 5]]),
        wrong(nucleus=[[0, 0, 1e12]]),
        wrong(edits=[{"action": "delete", "runs": []}]),
        wrong(edits=[{"action": "add", "runs": [[-1, 0, 5]]}]),
        wrong(edits=[{"action": "split", "path": [[1, 1]]}]),
        wrong(edits=[{"action": "explode"}]),
        wrong(surprise=1),
    ],
)
def test_what_holds_no_corrections_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "by hand.json"
    path.write_bytes(content)
    with pytest.raises(FileError, match="holds no corrections"):
        load_corrections(path)


def test_no_file_is_said(tmp_path):
    with pytest.raises(FileError, match="no file"):
        load_corrections(tmp_path / "nothing.json")
    with pytest.raises(FileError, match="cannot be read"):
        load_corrections(tmp_path)

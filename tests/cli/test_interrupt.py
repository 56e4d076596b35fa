"""Ctrl-C, in processes of their own: at any moment, exit code 130 and nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile

from napari_patchseg.cli._console import Console

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

#: The command line, as started from a shell that has not turned Ctrl-C off.
LISTENING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
"""
MAIN = """
from napari_patchseg.cli import main
sys.exit(main(sys.argv[1:]))
"""
#: It interrupts itself: where an expression about an audit event is true, and, after that, where
#: temporary files are tidied up.
BY_ITSELF = """
is_moment, times = eval("lambda event, args: " + sys.argv.pop(1)), int(sys.argv.pop(1))
left = times
def watch(event, args):
    global left
    if left and (is_moment(event, args) or (left < times and ".part" in str(args))):
        left -= 1
        os.kill(os.getpid(), signal.SIGINT)
sys.addaudithook(watch)
"""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def interrupted(tmp_path: Path) -> Callable[..., Ended]:
    """Run until it interrupts itself."""

    def call(moment: str, *arguments: object, times: int = 1) -> Ended:
        code = LISTENING + BY_ITSELF + MAIN
        done = subprocess.run(
            [sys.executable, "-c", code, moment, str(times), *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture
def signalled(tmp_path: Path) -> Callable[..., Ended]:
    """Run until a line says something, and send a signal."""

    def call(line: str, *arguments: object, number: int = signal.SIGINT) -> Ended:
        with subprocess.Popen(
            [sys.executable, "-c", LISTENING + MAIN, *map(str, arguments)],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as running:
            assert running.stderr is not None
            assert any(line in said for said in running.stderr)
            running.send_signal(number)
            out, err = running.communicate(timeout=120)
            return Ended(running.returncode, out, err)

    return call


@pytest.fixture
def endless(quickly: list[str]) -> list[str]:
    """Training that ends only if it is told to."""
    return [*quickly, "--max-steps=100000", "--stop-at-convergence=false"]


def assert_stopped(done: Ended, number: int = signal.SIGINT) -> None:
    assert done.code == 128 + number, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert done.err.splitlines()[-1] == "napari-patchseg: Stopped; nothing was written."


@pytest.mark.parametrize("module", ["numpy", "torch", "torch.nn", "scipy.ndimage", "skimage"])
def test_while_importing(interrupted, slide, quickly, module):
    moment = f"event == 'import' and args[0].startswith({module!r})"
    assert_stopped(interrupted(moment, "segment", slide, *quickly))
    assert [path.name for path in slide.parent.iterdir()] == ["slide.tif"]


@pytest.mark.parametrize(
    ("line", "arguments", "number"),
    [
        ("measuring nuclei", ["segment", "--report", "r.json"], signal.SIGINT),
        ("training, ", ["segment", "--report", "r.json"], signal.SIGINT),
        ("training, ", ["segment"], signal.SIGTERM),
        ("training, ", ["train", "-o", "model.safetensors"], signal.SIGINT),
    ],
)
def test_while_working(signalled, slide, endless, line, arguments, number):
    assert_stopped(signalled(line, *arguments, slide, *endless, number=number), number)
    assert [path.name for path in slide.parent.iterdir()] == ["slide.tif"]


def test_while_predicting(signalled, tmp_path, tissue, quickly):
    tifffile.imwrite(tmp_path / "large.tif", np.tile(tissue, (8, 8, 1)), photometric="rgb")
    assert_stopped(signalled("predicting", "segment", "large.tif", *quickly))
    assert [path.name for path in tmp_path.iterdir()] == ["large.tif"]


def test_a_new_folder_is_not_left_behind(interrupted, slide, quickly):
    made = "os.path.isdir('new/deep')"
    assert_stopped(interrupted(made, "segment", slide, "-o", "new/deep/", *quickly))
    assert [path.name for path in slide.parent.iterdir()] == ["slide.tif"]


@pytest.mark.parametrize("mode", ["w", "r+"], ids=["at the start", "at the end"])
@pytest.mark.parametrize("times", [1, 3])
def test_while_writing(interrupted, slide, quickly, mode, times):
    """A second and third Ctrl-C disturb the tidying up no more than the first."""
    target = slide.with_name("labels.tif")
    target.write_bytes(b"old")
    moment = f"event == 'open' and str(args[0]).endswith('.part') and args[1] == {mode!r}"
    arguments = ["segment", slide, "-o", target, "--overwrite", *quickly]
    assert_stopped(interrupted(moment, *arguments, times=times))
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in slide.parent.iterdir()) == ["labels.tif", "slide.tif"]


def test_between_images(signalled, slide, picture, quickly, tmp_path):
    first = tmp_path / "slide_nuclei.ome.tif"
    done = signalled("(2 of 2)", "segment", slide, picture, "--report", "r.json", *quickly)
    assert done.code == 130
    assert "Traceback" not in done.err
    last = done.err.splitlines()[-1]
    assert last == f"napari-patchseg: Stopped; written before: {first}, r.json"
    assert tifffile.imread(first).shape == (128, 144)
    assert not (tmp_path / "picture_nuclei.ome.tif").exists()
    assert not list(tmp_path.glob(".*"))


def test_ignored_signals_stay_ignored(slide, quickly):
    """As for what a shell starts in the background."""
    code = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
from napari_patchseg.cli import main
os.kill(os.getpid(), signal.SIGINT)
sys.exit(main(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, "segment", str(slide), *quickly],
        capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0


def test_what_hangs_while_it_ends_can_be_terminated():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(KeyboardInterrupt), Console():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

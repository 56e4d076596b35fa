"""Ctrl-C, in processes of their own: at any moment, exit code 130 and nothing half-written."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

#: The command line, interrupted as soon as an expression is true. The shell that runs the tests may
#: have turned Ctrl-C off for what it starts.
INTERRUPTED = """
import os, signal, sys, threading, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
moment = compile(sys.argv[1], "moment", "eval")
times = int(sys.argv[2])
def watch():
    while not eval(moment):
        time.sleep(0.001)
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
threading.Thread(target=watch, daemon=True).start()
sys.setswitchinterval(0.001)
from napari_patchseg.cli import main
sys.exit(main(sys.argv[3:]))
"""

Interrupted = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def interrupted(tmp_path: Path) -> Interrupted:
    def call(moment: str, *arguments: object, times: int = 1) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", INTERRUPTED, moment, str(times), *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    return call


@pytest.fixture
def endless(quickly: list[str]) -> list[str]:
    """Training that ends only if it is told to."""
    return [*quickly, "--set", "max_steps=100000", "--set", "stop_at_convergence=false"]


def assert_stopped(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 130, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "napari-patchseg: Stopped; nothing was written."


@pytest.mark.parametrize("module", ["numpy", "torch", "torch.nn", "scipy.ndimage", "skimage"])
def test_while_importing(interrupted, slide, endless, module):
    assert_stopped(interrupted(f"{module!r} in sys.modules", "segment", slide, *endless))
    assert [path.name for path in slide.parent.iterdir()] == ["slide.tif"]


@pytest.mark.parametrize("phase", ["training", "starting"])
@pytest.mark.parametrize("command", ["segment", "train"])
def test_while_working(slide, endless, phase, command):
    """The signal comes from outside, after the line that names the phase."""
    output = ["-o", "model.safetensors"] if command == "train" else ["--report", "r.json"]
    code = INTERRUPTED.split("moment =")[0] + (
        "from napari_patchseg.cli import main\nsys.exit(main(sys.argv[1:]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, command, str(slide), *output, *endless],
        cwd=slide.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if {"training": "training, ", "starting": "measuring nuclei"}[phase] in line:
                break
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=120)
    assert running.returncode == 130
    assert out == ""
    assert err.splitlines()[-1] == "napari-patchseg: Stopped; nothing was written."
    assert [path.name for path in slide.parent.iterdir()] == ["slide.tif"]


def test_a_new_folder_is_not_left_behind(interrupted, slide, endless):
    made = "Path('new/deep').is_dir()"
    assert_stopped(interrupted(made, "segment", slide, "-o", "new/deep/", *endless))
    assert [path.name for path in slide.parent.iterdir()] == ["slide.tif"]


def test_while_predicting(interrupted, tmp_path, tissue, quickly):
    tifffile.imwrite(tmp_path / "large.tif", np.tile(tissue, (12, 12, 1)), photometric="rgb")
    moment = (
        "'napari_patchseg.method.inference' in sys.modules and any("
        "frame.f_code.co_name == 'predict_tiles' or (frame.f_back and "
        "frame.f_back.f_code.co_name == 'predict_tiles')"
        " for frame in sys._current_frames().values())"
    )
    assert_stopped(interrupted(moment, "segment", "large.tif", *quickly))
    assert [path.name for path in tmp_path.iterdir()] == ["large.tif"]


@pytest.mark.parametrize("times", [1, 3])
def test_while_writing(interrupted, tmp_path, tissue, quickly, times):
    tifffile.imwrite(tmp_path / "large.tif", np.tile(tissue, (8, 8, 1)), photometric="rgb")
    (tmp_path / "labels.tif").write_bytes(b"old")
    moment = "any(path.stat().st_size for path in Path().glob('.labels.tif.*.part'))"
    done = interrupted(
        moment, "segment", "large.tif", "-o", "labels.tif", "--overwrite", *quickly, times=times
    )
    # Where the last block was being written, the file may be whole when the signal is handled.
    whole = (tmp_path / "labels.tif").read_bytes() != b"old"
    if whole:
        assert tifffile.imread(tmp_path / "labels.tif").shape == (1024, 1152)
        assert "Stopped; written before: labels.tif" in done.stderr or done.returncode == 0
    else:
        assert_stopped(done)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.tif", "large.tif"]


def test_between_images(interrupted, slide, picture, endless, tmp_path):
    first = tmp_path / "slide_nuclei.ome.tif"
    done = interrupted(
        f"Path({str(first)!r}).exists()", "segment", slide, picture, "--report", "r.json", *endless,
        "--max-steps", "40",
    )  # fmt: skip
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("napari-patchseg: Stopped; written before: ")
    assert str(first) in last
    assert tifffile.imread(first).shape == (128, 144)
    assert not (tmp_path / "picture_nuclei.ome.tif").exists()
    assert not list(tmp_path.glob(".*"))


def test_termination(slide, endless):
    with subprocess.Popen(
        [sys.executable, "-m", "napari_patchseg", "segment", str(slide), *endless],
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "training, " in line:
                break
        running.terminate()
        err = running.communicate(timeout=120)[1]
    assert running.returncode == 128 + signal.SIGTERM
    assert err.splitlines()[-1] == "napari-patchseg: Stopped; nothing was written."


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

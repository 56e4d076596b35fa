"""Small images and settings that train on them in a second, and ways to call the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from napari_patchseg.cli import main
from napari_patchseg.synthetic import synthetic_field

#: The default preset, in a second.
QUICK = {"crop_size": 96, "batch_size": 2, "max_steps": 3, "device": "cpu", "threads": 1}


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def quick() -> dict[str, Any]:
    """Quick settings."""
    return QUICK


@pytest.fixture(scope="session")
def quickly() -> list[str]:
    """Quick settings as arguments."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in QUICK.items()]


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Done]:
    """Call the command line here, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> Done:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def process(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call the command line in a process of its own, in the same folder, without a display."""

    def call(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, **options.pop("env", {})}  # type: ignore[dict-item]
        for name in ("DISPLAY", "WAYLAND_DISPLAY"):
            environment.pop(name, None)
        return subprocess.run(
            [sys.executable, "-m", "napari_patchseg", *map(str, arguments)],
            **{"capture_output": True, **options},  # type: ignore[call-overload]
            cwd=tmp_path,
            env=environment,
            text=True,
            check=False,
            timeout=300,
        )

    return call


@pytest.fixture(scope="session")
def tissue() -> NDArray[np.uint8]:
    """A synthetic H&E field of 128 x 144 px."""
    return synthetic_field((128, 144), seed=3)[0]


@pytest.fixture
def slide(tmp_path: Path, tissue: NDArray[np.uint8]) -> Path:
    """The field in a TIFF of 0.25 µm per pixel."""
    path = tmp_path / "slide.tif"
    tifffile.imwrite(
        path, tissue, photometric="rgb", resolution=(40_000, 40_000), resolutionunit="CENTIMETER"
    )
    return path


@pytest.fixture
def picture(tmp_path: Path, tissue: NDArray[np.uint8]) -> Path:
    """The field in a PNG, which has no pixel size."""
    from PIL import Image

    path = tmp_path / "picture.png"
    Image.fromarray(tissue).save(path)
    return path


@pytest.fixture
def read_only(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write into, not even root."""
    if hasattr(os, "geteuid") and os.geteuid() != 0:
        folder = tmp_path / "read-only"
        folder.mkdir()
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)
        return
    folder = request.getfixturevalue("small_disk")
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    yield folder

"""What every test shares: nobody's settings are touched, and the wheel is built once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from scipy.spatial import distance

from napari_patchseg.settings import Settings

# How long an example takes says more about the machine than about the code.
settings.register_profile("project", deadline=None)
settings.load_profile("project")

ROOT = Path(__file__).resolve().parents[1]

# Set before napari is imported: it reads these once. Layer changes off the main thread then raise,
# and no test reads or writes the settings of whoever runs it.
_HOME = tempfile.mkdtemp(prefix="napari-patchseg-tests-")
os.environ["NAPARI_ENSURE_PLUGIN_MAIN_THREAD"] = "1"
os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # threads that wait leave the cores to other workers
os.environ["XDG_CONFIG_HOME"] = os.path.join(_HOME, "config")
os.environ["XDG_CACHE_HOME"] = os.path.join(_HOME, "cache")


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def _own_settings(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each test starts like a fresh user, without settings.

    The cache is the session's: the icons that napari keeps there are looked up once.
    """
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))


@pytest.fixture
def quick() -> Settings:
    """The default preset, for small images: a run of one or two seconds."""
    return Settings.create(
        crop_size=64, batch_size=2, max_steps=6, stop_at_convergence=False, device="cpu", threads=1
    )


@pytest.fixture
def quick_paper() -> Settings:
    """The same of preset "paper", which learns from random weights."""
    return Settings.create(
        "paper",
        classes=2,
        crop_size=64,
        batch_size=2,
        patch_size=16,
        stride=8,
        patches=6,
        anchors=4,
        max_steps=12,
        stop_at_convergence=False,
        device="cpu",
        threads=1,
    )


@pytest.fixture(scope="session")
def dice() -> Callable[[np.ndarray, np.ndarray], float]:
    """Dice coefficient of the foregrounds of two label images of one shape."""
    return lambda truth, found: float(1 - distance.dice(truth.ravel() > 0, found.ravel() > 0))


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture
def fresh_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run ``python <arguments>`` in a new process and an empty folder; must end well."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def _built(target: str, folder: Path, pattern: str) -> Path:
    """Wheel or source distribution of this checkout, without fetching anything."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=300,
    )
    (made,) = folder.glob(pattern)
    return made


@pytest.fixture(scope="session")
def built_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built once a session."""
    return _built("wheel", tmp_path_factory.mktemp("wheel"), "*.whl")


@pytest.fixture(scope="session")
def built_sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution of this checkout, built once a session."""
    return _built("sdist", tmp_path_factory.mktemp("sdist"), "*.tar.gz")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB: a memory file system where we may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        pytest.skip("mounting a small disk needs root on Linux")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)

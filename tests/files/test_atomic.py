from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from napari_patchseg.errors import FileError
from napari_patchseg.files.atomic import atomic_folder, atomic_write


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(
    path: Path,
    content: bytes = b"new",
    then: Callable[[], object] | None = None,
    **options: bool,
) -> None:
    with atomic_write(path, **options) as temporary:
        temporary.write_bytes(content)
        if then is not None:
            then()


def test_new_and_replaced(tmp_path):
    path = tmp_path / "labels.tif"
    write(path, b"one", overwrite=False)
    assert path.read_bytes() == b"one"
    write(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == ["labels.tif"]


def test_an_interrupt_as_soon_as_there_is_a_file_leaves_none(tmp_path, monkeypatch):
    close = os.close

    def interrupted(descriptor):
        close(descriptor)
        assert len(names(tmp_path)) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "close", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "labels.tif")
    monkeypatch.undo()
    assert names(tmp_path) == []


def test_existing_file_is_kept(tmp_path):
    path = tmp_path / "labels.tif"
    path.write_bytes(b"old")
    with pytest.raises(FileError, match=r"labels\.tif exists already"):
        write(path, overwrite=False)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["labels.tif"]


def test_file_that_appears_meanwhile_is_kept(tmp_path):
    path = tmp_path / "labels.tif"
    with pytest.raises(FileError, match="exists already"):
        write(path, then=lambda: path.write_bytes(b"of another program"), overwrite=False)
    assert path.read_bytes() == b"of another program"
    assert names(tmp_path) == ["labels.tif"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_failure_leaves_the_old_file(tmp_path, error):
    path = tmp_path / "labels.tif"
    path.write_bytes(b"old")

    def fail():
        raise error

    with pytest.raises(error):
        write(path, b"half", then=fail)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["labels.tif"]


def test_killed_by_interrupt_in_another_process(tmp_path):
    code = (
        "import sys, time\n"
        "from napari_patchseg.files.atomic import atomic_folder, atomic_write\n"
        "with atomic_write(sys.argv[1]) as t:\n"
        "    t.write_bytes(b'half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    path = tmp_path / "labels.tif"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        assert len(names(tmp_path)) == 1
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert names(tmp_path) == []


def test_folder_missing(tmp_path):
    folder = tmp_path / "not" / "there"
    with pytest.raises(FileError, match=f"{re.escape(str(folder))} does not exist"):
        write(folder / "a.tif")


def test_folder_is_a_file(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileError, match="is a file, not a folder"):
        write(tmp_path / "file" / "a.tif")


def test_target_is_a_folder(tmp_path):
    (tmp_path / "a.tif").mkdir()
    for folder in (tmp_path / "a.tif", Path(tmp_path.anchor)):
        with pytest.raises(FileError, match="is a folder; give a file name"):
            write(folder)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no such device here")
def test_device_is_not_replaced():
    with pytest.raises(FileError, match="not an ordinary file"):
        write(Path("/dev/full"))
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs Linux's /proc")
def test_folder_that_takes_no_files():
    # /proc refuses new files even to root, whom permission bits do not stop.
    with pytest.raises(FileError, match="was not written"):
        write(Path("/proc/a.tif"))


def test_read_only_disk(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(FileError, match=r"a\.tif was not written.*read-only"):
        write(small_disk / "a.tif")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_read_only_folder_and_file(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"old")
    (tmp_path / "a.tif").chmod(0o444)
    with pytest.raises(FileError, match="write-protected"):
        write(tmp_path / "a.tif")
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(FileError, match="is read-only"):
            write(tmp_path / "b.tif")
    finally:
        tmp_path.chmod(0o755)


def test_disk_full(small_disk):
    path = small_disk / "labels.tif"
    path.write_bytes(b"old")
    with pytest.raises(FileError, match="disk is full"):
        write(path, bytes(200_000))
    assert path.read_bytes() == b"old"
    assert names(small_disk) == ["labels.tif"]


def test_file_size_limit(tmp_path):
    resource = pytest.importorskip("resource", reason="POSIX only")
    path = tmp_path / "labels.tif"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(FileError, match="larger than this disk or system allows"):
            write(path, bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_name_too_long_and_name_just_short_enough(tmp_path):
    with pytest.raises(FileError, match="name is too long"):
        write(tmp_path / ("a" * 300))
    write(tmp_path / ("µ" * 127))
    assert names(tmp_path) == ["µ" * 127]


def test_impossible_name(tmp_path):
    with pytest.raises(FileError, match="null"):
        write(tmp_path / "a\0b")


@pytest.mark.skipif(sys.platform == "win32", reason="modes are POSIX's")
def test_modes(tmp_path):
    path = tmp_path / "a.tif"
    before = os.umask(0o027)
    try:
        write(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    path.chmod(0o600)  # private stays private
    write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_symbolic_link_stays(tmp_path):
    (tmp_path / "data").mkdir()
    link = tmp_path / "link.tif"
    link.symlink_to(tmp_path / "data" / "real.tif")
    write(link, b"through")
    assert link.is_symlink()
    assert (tmp_path / "data" / "real.tif").read_bytes() == b"through"


def test_relative_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(Path("a.tif"))
    assert names(tmp_path) == ["a.tif"]


def test_readers_never_see_half_a_file(tmp_path):
    path = tmp_path / "a.bin"
    write(path, b"a" * 1000)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        for _ in range(10):
            file.write(b"b" * 100)
            file.flush()
            assert path.read_bytes() == b"a" * 1000
    assert path.read_bytes() == b"b" * 1000


def write_folder(path: Path, then: Callable[[], object] | None = None, **options: bool) -> None:
    with atomic_folder(path, replaceable=lambda _: True, **options) as folder:
        (folder / "file").write_text("new")
        if then is not None:
            then()


def test_a_folder_appears_whole(tmp_path):
    path = tmp_path / "a"
    write_folder(path, lambda: pytest.fail("too early") if path.exists() else None, overwrite=False)
    assert (path / "file").read_text() == "new"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_that_fails_changes_nothing(tmp_path, error):
    def fail():
        raise error

    path = tmp_path / "a"
    path.mkdir()
    (path / "file").write_text("old")
    with pytest.raises(error):
        write_folder(path, fail, overwrite=True)
    assert (path / "file").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_folder_that_appears_meanwhile_stays(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(FileError, match="exists"):
        write_folder(path, path.mkdir, overwrite=False)
    assert names(path) == []
    assert names(tmp_path) == ["a"]


def test_a_folder_in_none(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        write_folder(tmp_path / "a" / "b", overwrite=True)

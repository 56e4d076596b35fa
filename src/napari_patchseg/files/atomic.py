"""Writes that succeed as a whole or change nothing, and what keeps a file from being read."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from napari_patchseg.errors import FileError

#: What is being written, and what it replaces, beside it.
_BESIDE = re.compile(r"\.[0-9a-f]{32}\.(part|old)")
_REASONS = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "your disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file would be larger than this disk or system allows; choose another folder",
    errno.EROFS: "its folder is read-only; choose another",
    errno.EACCES: "its folder is read-only; choose another",
    errno.EPERM: "its folder is read-only; choose another",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
}


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Write a file so that it appears whole or not at all.

    Parameters
    ----------
    path : path-like
        The file to write. A symbolic link stays one: the file it points to is written.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    Path
        An empty file in the same folder, for the block to fill. If the block ends well, it takes
        the target's place in one step; with any exception, Ctrl-C included, it is removed.

    Raises
    ------
    FileError
        If the folder is missing or read-only, the target exists (with ``overwrite=False``) or is no
        ordinary file, or the disk is full. Every `OSError` of the block counts as a failed write.
    """
    target = _real(path)
    # Not tempfile's files, which are for their owner only: here the umask decides.
    temporary = target.parent / f".{uuid.uuid4().hex}.part"
    try:
        _check(target, overwrite)
        temporary.touch(exist_ok=False)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # reports a full network disk, which write() may not
        if _check(target, overwrite):  # again: it may have appeared meanwhile
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except FileError:
        raise
    except OSError as error:
        raise _not_written(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what a write had begun in a folder when its process was killed.

    Not while anybody else writes there.
    """
    for path in folder.glob(".*"):
        if _BESIDE.fullmatch(path.name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    path.unlink()


@contextlib.contextmanager
def atomic_folder(
    path: str | os.PathLike[str], *, overwrite: bool, replaceable: Callable[[Path], bool]
) -> Iterator[Path]:
    """Write a folder so that it appears whole or not at all.

    Parameters
    ----------
    path : path-like
        The folder to write.
    overwrite : bool
        Whether an existing folder may be replaced.
    replaceable : callable
        Whether a folder is such that it may be.

    Yields
    ------
    Path
        An empty folder beside it, for the block to fill; what becomes of it is as in
        `atomic_write`.

    Raises
    ------
    FileError
        As in `atomic_write`, and if what is there is not replaceable.
    """
    target = _real(path)
    temporary, old = (target.parent / f".{uuid.uuid4().hex}{end}" for end in (".part", ".old"))
    try:
        _check_for_folder(target, overwrite, replaceable)
        temporary.mkdir()
        yield temporary
        if _check_for_folder(target, overwrite, replaceable):  # a full folder is not replaced
            os.rename(target, old)
        try:
            os.rename(temporary, target)
        except OSError:
            if old.exists():
                os.rename(old, target)
            raise
    except FileError:
        raise
    except OSError as error:
        raise _not_written(target, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say what keeps a file from being read, as a `FileError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileError(f"There is no file {path}.") from error
    except (OSError, ValueError) as error:  # ValueError: a null in the name
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path} cannot be read: {reason}.") from error


def _real(path: str | os.PathLike[str]) -> Path:
    try:
        return Path(os.path.realpath(path))
    except ValueError as error:  # a null or half a character
        raise FileError(f"{path!r} is no file name: {error}.") from error


def _not_written(target: Path, error: OSError) -> FileError:
    reason = _REASONS.get(error.errno or 0) or error.strerror or error
    return FileError(f"{target} was not written: {reason}.")


def _check_parent(target: Path) -> None:
    folder = target.parent
    if not folder.exists():
        raise FileError(f"Folder {folder} does not exist; create it or choose another.")
    if not folder.is_dir():
        raise FileError(f"{folder} is a file, not a folder; choose another folder.")


def _check_for_folder(target: Path, overwrite: bool, replaceable: Callable[[Path], bool]) -> bool:
    """Whether there is a folder, which may be replaced; a `FileError` where it may not."""
    _check_parent(target)
    if not target.exists():
        return False
    if not overwrite:
        raise FileError(f"{target} exists already; choose another name or allow overwriting.")
    if not target.is_dir() or not replaceable(target):
        raise FileError(
            f"{target} is not a result that was written here, or holds more; choose another name."
        )
    return True


def _check(target: Path, overwrite: bool) -> bool:
    """Whether there is a file, which may be replaced; a `FileError` where it may not."""
    _check_parent(target)
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISDIR(mode):
        raise FileError(f"{target} is a folder; give a file name.")
    if not stat.S_ISREG(mode):  # replacing /dev/null with a file would harm the whole machine
        raise FileError(f"{target} is not an ordinary file; choose another name.")
    if not overwrite:
        raise FileError(f"{target} exists already; choose another name or allow overwriting.")
    if not os.access(target, os.W_OK):
        raise FileError(f"{target} is write-protected; choose another name.")
    return True

"""Writes that either succeed as a whole or leave everything as it was."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from napari_patchseg.errors import FileError

#: errno values that say that no more fits, with what a user would say.
_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your disk quota is used up",
    errno.EFBIG: "the file would be larger than this disk or system allows",
}
#: Binary, so that Windows does not translate line ends; not handed on to child processes.
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str], *, overwrite: bool = True) -> Iterator[Path]:
    """Write a file so that it appears whole or not at all.

    The block gets a temporary path in the target's folder and writes there. If it ends well, the
    temporary file is flushed to the disk and takes the target's place in one step; if it ends with
    any exception, Ctrl-C included, the temporary file is removed and the target is as before.

    Parameters
    ----------
    path : path-like
        The file to write. A symbolic link stays one: the file it points to is written.
    overwrite : bool
        Whether an existing file may be replaced.

    Yields
    ------
    Path
        An empty file that the block opens and fills.

    Raises
    ------
    FileError
        If the folder is missing or not writable, the target exists (with ``overwrite=False``), is a
        folder or anything else than a file, or the disk is full. Every `OSError` of the block is
        taken for a failed write and becomes a `FileError` too.
    """
    try:
        target = Path(os.path.realpath(path))
        _check_target(target, overwrite)
        temporary = _name_beside(target)
    except (OSError, ValueError) as error:
        raise FileError(_sentence(Path(path), error)) from error
    try:  # from before there is a file: an interrupt may come as soon as there is one
        os.close(os.open(temporary, _FLAGS, 0o666))
        yield temporary
        _flush(temporary)
        if target.exists():
            if not overwrite:  # it has appeared meanwhile
                raise FileError(_exists(target))
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except OSError as error:
        raise FileError(_sentence(target, error)) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    _flush_folder(target.parent)


def _check_target(target: Path, overwrite: bool) -> None:
    folder = target.parent
    if not folder.exists():
        raise FileError(f"Folder {folder} does not exist; create it or choose another.")
    if not folder.is_dir():
        raise FileError(f"{folder} is a file, not a folder; choose another folder.")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise FileError(f"{target} is a folder; give a file name.")
    if not stat.S_ISREG(mode):  # replacing /dev/null with a file would harm the whole machine
        raise FileError(f"{target} is not an ordinary file; choose another name.")
    if not overwrite:
        raise FileError(_exists(target))
    if not os.access(target, os.W_OK):
        raise FileError(f"{target} is write-protected; choose another name.")


def _exists(target: Path) -> str:
    return f"{target} exists already; choose another name or allow overwriting."


def _name_beside(target: Path) -> Path:
    # Not tempfile.mkstemp, whose files are for their owner only: here the umask decides. The part
    # of the name that is ours must not make a name too long that is good by itself.
    stem = target.name.encode(errors="replace")[:170].decode(errors="ignore").replace("?", "_")
    return target.with_name(f".{stem}.{secrets.token_hex(8)}.part")


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        os.fsync(descriptor)  # reports a full network disk, which write() may not
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    # The new name survives a power cut; not every system can, and the file is complete anyway.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sentence(target: Path, error: OSError | ValueError) -> str:
    number = getattr(error, "errno", None)
    if number in _FULL:
        full = _FULL[number]
        return f"{target} was not written: {full}; free some space or choose another folder."
    # numpy's tofile reports a short write without saying why; a full disk is the usual cause.
    if number is None and "written" in str(error):
        return f"{target} was not written: the disk is full or failing; choose another folder."
    if number == errno.EROFS or isinstance(error, PermissionError):
        return f"{target} was not written: folder {target.parent} is read-only; choose another."
    if number == errno.ENAMETOOLONG:
        return f"{target} was not written: its name is too long; choose a shorter one."
    reason = getattr(error, "strerror", None) or error
    return f"{target} was not written: {reason}."

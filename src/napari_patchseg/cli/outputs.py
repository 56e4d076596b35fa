"""Where the command line writes: names, and checks before any work is done."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from napari_patchseg.errors import FileError
from napari_patchseg.files.atomic import atomic_write

from .inputs import IMAGES
from .interrupt import Interrupt
from .mistakes import Mistakes


def file_of(text: str | None, option: str, mistakes: Mistakes) -> Path | None:
    """The file that an option names, if it was given."""
    if text is None:
        return None
    if text.strip() and not is_folder(text):
        return Path(os.path.expanduser(text))
    wrong = f"{option}: {text} is a folder; give a file name." if text.strip() else ""
    mistakes.add(wrong or f"{option} is empty; name a file.")
    return None


def labels_files(images: Sequence[Path], output: str | None, *, several: bool) -> list[Path]:
    """Where each image's labels go.

    Parameters
    ----------
    images : sequence of Path
        The images.
    output : str or None
        A file (for one image), a folder, or None for beside each image.
    several : bool
        Whether more than one image was asked for.

    Raises
    ------
    FileError
        If it can be neither.
    """
    names = [f"{image.stem.removesuffix('.ome')}_nuclei.ome.tif" for image in images]
    if output is None:
        return [image.with_name(name) for image, name in zip(images, names, strict=True)]
    if not output.strip():
        raise FileError("--output is empty; name a file or a folder.")
    path = Path(os.path.expanduser(output))
    if os.path.isdir(path) or is_folder(output):
        return [path / name for name in names]
    if not several:
        if path.suffix.lower() in (".tif", ".tiff", ".png"):
            return [path] * len(images)
        raise FileError(
            f"{output} is neither a folder nor a name that ends in .ome.tif, .tif or .png; "
            f"choose another output, or write {output}{os.sep} for a new folder."
        )
    if os.path.exists(path):
        raise FileError(f"{output} is a file; with several images the output must be a folder.")
    if path.suffix.lower() in IMAGES:
        raise FileError(
            f"{output} is one file's name; with several images give a folder, such as "
            f"{path.with_name(path.name.split('.')[0])}{os.sep}"
        )
    return [path / name for name in names]


def is_folder(output: str) -> bool:
    """Whether a text names a folder, there or not, by the sign at its end."""
    return output.endswith(tuple(filter(None, (os.sep, os.altsep))))


class Outputs:
    """The files that a call is going to write, and the folders that are made for them.

    At the end of the ``with`` block, folders that were made and are still empty are removed.

    Parameters
    ----------
    interrupt : Interrupt
        Is told of every file.
    mistakes : Mistakes
        Takes what is wrong.
    inputs : iterable of Path
        Files that are read, and must not be written.
    overwrite : bool
        Whether existing files may be replaced.
    """

    def __init__(
        self,
        interrupt: Interrupt,
        mistakes: Mistakes,
        *,
        inputs: Iterable[Path] = (),
        overwrite: bool,
    ) -> None:
        self._interrupt = interrupt
        self._mistakes = mistakes
        self._overwrite = overwrite
        self._inputs = {_key(path) for path in inputs}
        self._taken: dict[object, str] = {}
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for folder in reversed(self._made):
            with contextlib.suppress(OSError):  # there is something in it, as it should be
                folder.rmdir()

    def add(self, target: Path, what: str) -> None:
        """Check that a file can be written, and watch it.

        Parameters
        ----------
        target : Path
            The file.
        what : str
            What is written there, for the sentence about two outputs in one file.
        """
        key = _key(target)
        if key in self._inputs:
            self._mistakes.add(f"{target} is read and written at once; choose another output.")
        elif key in self._taken:
            self._mistakes.add(
                f"{self._taken[key]} and {what} would both be written to {target}; "
                "choose separate outputs."
            )
        else:
            self._taken[key] = what
            self._mistakes.of(self._prepare, target)

    def make_folder(self, folder: Path) -> bool:
        """Make a folder that is missing, with those above it. Returns whether it is there."""
        places = (folder, *folder.parents)
        missing = [path for path in places if not os.path.exists(path)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            there = next(path for path in places if os.path.exists(path))
            self._mistakes.add(f"{there} is a file, not a folder; choose another folder.")
        except OSError as error:
            self._mistakes.add(f"Folder {folder} cannot be made: {error.strerror}.")
        finally:
            self._made += [path for path in reversed(missing) if os.path.isdir(path)]
        return os.path.isdir(folder)

    def _prepare(self, target: Path) -> None:
        # os.path's, here and above: Path's raises where a name is too long
        if not self._overwrite and os.path.isfile(target):
            raise FileError(f"{target} exists already; choose another name or add --overwrite.")
        # The real thing, ended early: whatever would stop it later stops it now.
        with contextlib.suppress(_Enough), atomic_write(target, overwrite=self._overwrite):
            raise _Enough
        self._interrupt.watch(target)


class _Enough(Exception):
    """Ends a write before it has begun."""


def write_json(path: Path, content: Any, *, overwrite: bool) -> None:
    """Write a report; numbers that JSON doesn't have become null."""
    plain = json.loads(json.dumps(content), parse_constant=lambda _: None)
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


def _key(path: Path) -> object:
    """Equal for the same file, however it is named."""
    with contextlib.suppress(OSError):  # it does not exist
        status = path.stat()
        return status.st_dev, status.st_ino
    return os.path.normcase(os.path.realpath(path))

"""The files that the command line is given and writes: checks before any work is done."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from napari_patchseg.errors import FileError, PatchSegError
from napari_patchseg.files.atomic import atomic_write
from napari_patchseg.files.images import read_image
from napari_patchseg.files.labels import read_report, to_json
from napari_patchseg.words import image_name

from ._console import Console

#: Ends of image files' names.
IMAGES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".svs", ".ndpi", ".bmp", ".webp", ".jp2")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)

# -- read


def image_files(texts: Sequence[str], console: Console) -> list[Path]:
    """The images meant, each once; what is none is a mistake.

    Labels that an earlier call wrote beside its images are left out, with a warning: ``*.tif``
    takes them too.
    """
    if not texts:
        console.mistake("No image is given; name one or several files.")
    found: dict[Path, bool] = {}
    for text in texts:
        for path in console.attempt(_matching, text) or []:
            if path not in found:
                if console.attempt(_checked, path):
                    found[path] = _is_ours(path)
            elif path == Path(os.path.expanduser(text)):  # a pattern may take what was named, too
                console.mistake(f"{path} is given twice.")
    images = [path for path, is_ours in found.items() if not is_ours]
    ours = [str(path) for path, is_ours in found.items() if is_ours]
    if ours:
        more = f" and {len(ours) - 3} more" if len(ours) > 3 else ""
        sentence = f"Results of napari-patchseg, not images: {', '.join(ours[:3])}{more}"
        if images:
            console.warn(f"{sentence}; left out.")
        else:
            console.mistake(f"{sentence}; give the images.")
    return images


def _matching(text: str) -> list[Path]:
    """The files that a text names."""
    if not text.strip():
        raise FileError("An image's name is empty; name a file.")
    if text == "-":
        raise FileError("'-' is no file: images cannot be piped in; name a file.")
    if _ADDRESS.match(text):
        raise FileError(f"{text} is an address; give the path of a file on this computer.")
    path = Path(os.path.expanduser(text))
    if not glob.has_magic(text) or os.path.lexists(path):  # a file may have such a name, too
        return [path]
    # Of Windows' shells, or in quotes.
    matching = [Path(name) for name in sorted(glob.glob(str(path))) if os.path.isfile(name)]
    if not matching:
        raise FileError(f"No file matches {text}; check the pattern and the folder.")
    return matching


def _checked(path: Path) -> bool:
    """True; raises `FileError` where this is no file with something in it."""
    if os.path.isdir(path):  # not Path's: it raises where a folder above may not be read
        if path.suffix.lower() == ".zarr":
            raise FileError(f"{path} is a Zarr store, which is not read; save the image as TIFF.")
        inside = [item.suffix for item in path.glob("*") if item.suffix.lower() in IMAGES]
        suffix = max(inside, key=inside.count, default=".tif")
        raise FileError(f"{path} is a folder; give its images, such as {path / f'*{suffix}'}")
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe may never begin to speak
        raise FileError(f"{path} is not an ordinary file; save the image as a file first.")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError:
        empty = True
    if empty:
        read_image(path)  # says why not
    return True


def _is_ours(path: Path) -> bool:
    try:
        return read_report(path) is not None
    except PatchSegError:
        return False


# -- written


def file_of(text: str | None, option: str, console: Console) -> Path | None:
    """The file that an option names, if it was given."""
    if text is None:
        return None
    if not text.strip():
        console.mistake(f"{option} is empty; name a file.")
    elif is_folder(text):
        console.mistake(f"{option}: {text} is a folder; give a file name.")
    else:
        return Path(os.path.expanduser(text))
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
    names = [f"{image_name(image)}_nuclei.ome.tif" for image in images]
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
    console : Console
        Takes what is wrong, and is told of every file.
    inputs : iterable of Path
        Files that are read, and must not be written.
    overwrite : bool
        Whether existing files may be replaced.
    """

    def __init__(self, console: Console, *, inputs: Iterable[Path] = (), overwrite: bool) -> None:
        self._console = console
        self._overwrite = overwrite
        self._inputs = {_key(path) for path in inputs}
        self._taken: dict[object, str] = {}
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._made:
            with contextlib.suppress(OSError):  # there is something in it, as it should be
                folder.rmdir()

    def add(self, target: Path | None, what: str) -> None:
        """Check that a file can be written, and watch it.

        Parameters
        ----------
        target : Path or None
            The file, if there is one.
        what : str
            What is written there, for the sentence about two outputs in one file.
        """
        if target is None:
            return
        key = _key(target)
        if key in self._inputs:
            self._console.mistake(f"{target} is read and written at once; choose another output.")
        elif key in self._taken:
            self._console.mistake(
                f"{self._taken[key]} and {what} would both be written to {target}; "
                "choose separate outputs."
            )
        else:
            self._taken[key] = what
            self._console.attempt(self._prepare, target)

    def make_folder(self, folder: Path) -> bool:
        """Make a folder that is missing, with those above it. Returns whether it is there."""
        places = (folder, *folder.parents)
        self._made = [path for path in places if not os.path.exists(path)]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            there = next(path for path in places if os.path.exists(path))
            self._console.mistake(f"{there} is a file, not a folder; choose another folder.")
        except OSError as error:
            self._console.mistake(f"Folder {folder} cannot be made: {error.strerror}.")
        return os.path.isdir(folder)

    def _prepare(self, target: Path) -> None:
        # os.path's, here and above: Path's raises where a name is too long
        if not self._overwrite and os.path.isfile(target):
            raise FileError(f"{target} exists already; choose another name or add --overwrite.")
        # The real thing, ended early: whatever would stop it later stops it now.
        with contextlib.suppress(_Enough), atomic_write(target, overwrite=self._overwrite):
            raise _Enough
        self._console.watch(target)


class _Enough(Exception):
    """Ends a write before it has begun."""


def write_json(path: Path, content: Any, *, overwrite: bool) -> None:
    """Write a report; numbers that JSON doesn't have become null."""
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text(to_json(content, indent=2) + "\n", encoding="utf-8")


def _key(path: Path) -> object:
    """Equal for the same file, however it is named."""
    with contextlib.suppress(OSError):  # it does not exist
        status = path.stat()
        return status.st_dev, status.st_ino
    return os.path.normcase(os.path.realpath(path))

"""The files that the command line is given and writes: checks before any work is done."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from napari_patchseg.batch import IMAGES, Job, images_in, is_result, job_of
from napari_patchseg.errors import FileError
from napari_patchseg.files.atomic import atomic_write
from napari_patchseg.files.labels import to_json
from napari_patchseg.files.results import FORMATS, OME_ZARR, check_target

from ._console import Console

#: Ends of results' names, all of them, and in words.
_ENDS = tuple(ending for kind in FORMATS for ending in kind.endings)
RESULTS = ", ".join(kind.endings[0].removeprefix(".") for kind in FORMATS)
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
            is_named = path == Path(os.path.expanduser(text))
            if path not in found:
                if not is_named or console.attempt(_checked, path):
                    found[path] = is_result(path)
            elif is_named:  # a pattern may take what was named, too
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
    if os.path.isdir(path) and path.suffix.lower() != ".zarr":
        return images_in(path)
    if not is_pattern(text):
        return [path]
    # Of Windows' shells, or in quotes.
    names = sorted(glob.glob(str(path), recursive=True))
    matching = [Path(name) for name in names if not os.path.isdir(name)]
    if not matching:
        raise FileError(f"No file matches {text}; check the pattern and the folder.")
    return matching


def is_pattern(text: str) -> bool:
    """Whether a text may name several files; a file may have such a name, too."""
    return glob.has_magic(text) and not os.path.lexists(os.path.expanduser(text))


def _checked(path: Path) -> bool:
    """True; raises `FileError` where a name is none of a file. What is in it, reading tells."""
    if os.path.isdir(path):  # not Path's: it raises where a folder above may not be read
        raise FileError(f"{path} is a Zarr store, which is not read; save the image as TIFF.")
    if not os.path.exists(path):
        raise FileError(f"There is no file {path}.")
    if not os.path.isfile(path):  # a pipe may never begin to speak
        raise FileError(f"{path} is not an ordinary file; save the image as a file first.")
    return True


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


def formats_from(text: str | None) -> tuple[str, ...]:
    """Ends of names, such as ("ome.tif", "png") of "ome.tif,png".

    Raises
    ------
    FileError
        If there is one that is not known, or none.
    """
    if text is None:
        return ("ome.tif",)
    given = dict.fromkeys(part.strip().lower().lstrip(".") for part in text.split(","))
    unknown = [name for name in given if f".{name}" not in _ENDS]
    if unknown:
        raise FileError(f"--formats: {unknown[0]!r} is none; choose some of {RESULTS}.")
    return tuple(given)


def results(
    images: Sequence[Path],
    outputs: Sequence[str],
    formats: Sequence[str],
    *,
    several: bool,
    of_all: bool,
) -> tuple[list[Job], Path | None]:
    """Each image with the files that are made of it, and the folder of them all, if there is one.

    Parameters
    ----------
    images : sequence of Path
        The images.
    outputs : sequence of str
        Files (for one image), or a folder, or nothing for beside each image.
    formats : sequence of str
        Ends of the names that are made here.
    several : bool
        Whether more than one image was asked for.
    of_all : bool
        Whether a name that no format has is a folder's, also if it is not there yet.

    Raises
    ------
    FileError
        If the outputs cannot be what they have to be.
    """
    folder: Path | None = None
    if outputs:
        folder = _folder(outputs, several=several, of_all=of_all)
        if folder is None:
            files = tuple(Path(os.path.expanduser(output)) for output in outputs)
            return [Job(image, files) for image in images], None
    jobs = [job_of(image, folder or image.parent, formats) for image in images]
    return jobs, folder


def _folder(outputs: Sequence[str], *, several: bool, of_all: bool) -> Path | None:
    """The folder that is meant; None for files."""
    for output in outputs:
        if not output.strip():
            raise FileError("--output is empty; name a file or a folder.")
        path = Path(os.path.expanduser(output))
        if is_folder(output) or (os.path.isdir(path) and not _is_zarr(path)):
            if len(outputs) > 1:
                raise FileError(
                    f"{output} is a folder; give it alone, and --formats for what is written there."
                )
            return path
        if several and os.path.isfile(path):
            raise FileError(f"{output} is a file; with several images the output must be a folder.")
        ends_well = path.name.lower().endswith(_ENDS)
        if several and (len(outputs) > 1 or ends_well or path.suffix.lower() in IMAGES):
            raise FileError(
                f"{output} is one file's name; with several images give a folder, such as "
                f"{path.with_name(path.name.split('.')[0])}{os.sep}"
            )
        if several or (of_all and not ends_well and len(outputs) == 1 and not os.path.exists(path)):
            return path
        if not ends_well:
            raise FileError(
                f"{output} is neither a folder nor a name that ends in {RESULTS}; "
                f"choose another output, or write {output}{os.sep} for a new folder."
            )
    return None


def _is_zarr(path: Path) -> bool:
    """Whether a name is that of a result which is a folder itself."""
    return path.name.lower().endswith(OME_ZARR.endings)


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

    def add(self, target: Path | None, what: str, *, may_exist: bool = False) -> None:
        """Check that a file can be written, and watch it.

        Parameters
        ----------
        target : Path or None
            The file, if there is one.
        what : str
            What is written there, for the sentence about two outputs in one file.
        may_exist : bool
            Whether it is known to be of an earlier call that this one goes on with.
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
            self._console.attempt(self._prepare, target, self._overwrite or may_exist)

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

    def _prepare(self, target: Path, overwrite: bool) -> None:
        # os.path's, here and above: Path's raises where a name is too long
        if not overwrite and (
            os.path.isfile(target) or (_is_zarr(target) and os.path.isdir(target))
        ):
            raise FileError(f"{target} exists already; choose another name or add --overwrite.")
        check_target(target, overwrite=overwrite)
        self._console.watch(target)


def write_json(path: Path, content: Any, *, overwrite: bool) -> None:
    """Write a report; numbers that JSON doesn't have become null."""
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text(to_json(content, indent=2) + "\n", encoding="utf-8")


def is_report(path: Path) -> bool:
    """Whether a file is a report of images that `write_json` wrote."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    entries = content if isinstance(content, list) else [content]
    return all(isinstance(entry, dict) and "image_file" in entry for entry in entries)


def _key(path: Path) -> object:
    """Equal for the same file, however it is named."""
    with contextlib.suppress(OSError):  # it does not exist
        status = path.stat()
        return status.st_dev, status.st_ino
    return os.path.normcase(os.path.realpath(path))

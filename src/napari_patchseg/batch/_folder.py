"""The images of a folder, and the files that are made of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from napari_patchseg.errors import FileError, PatchSegError
from napari_patchseg.files.labels import read_report
from napari_patchseg.words import image_name

from ._running import Job

#: Ends of image files' names.
IMAGES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".svs", ".ndpi", ".bmp", ".webp", ".jp2")


def images_in(folder: Path) -> list[Path]:
    """The images of a folder, by their names; not those of folders in it.

    Results that were written beside them are among these: see `is_result`.

    Raises
    ------
    FileError
        If it cannot be read, or holds none.
    """
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise FileError(f"Folder {folder} cannot be read: {error.strerror}.") from error
    images = [
        folder / name
        for name in names
        # A system's own files begin with a dot.
        if name.lower().endswith(IMAGES) and not name.startswith(".")
    ]
    images = [path for path in images if not os.path.isdir(path)]
    if not images:
        raise FileError(f"There is no image in folder {folder}: no {', '.join(IMAGES[:5])}, ...")
    return images


def is_result(path: Path) -> bool:
    """Whether a file is labels that were written here."""
    try:
        return os.path.isfile(path) and read_report(path) is not None  # a pipe would be waited for
    except PatchSegError:
        return False


def job_of(image: Path, folder: Path, ends: Sequence[str]) -> Job:
    """An image with its results in a folder, by the ends of their names, such as "ome.tif"."""
    name = image_name(image)
    return Job(image, tuple(folder / f"{name}_nuclei.{end}" for end in ends))

"""Where the command line writes: names, and checks before any work is done."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from napari_patchseg.errors import FileError
from napari_patchseg.files.atomic import atomic_write

from .interrupt import Interrupt

_LABELS = (".tif", ".tiff", ".png")


def labels_files(images: Sequence[Path], output: str | None) -> list[Path]:
    """Where each image's labels go.

    Parameters
    ----------
    images : sequence of Path
        The images.
    output : str or None
        A file (for one image), a folder, or None for beside each image.

    Raises
    ------
    FileError
        If the folder is missing, or several images have one file name to go to.
    """
    names = [f"{image.stem.removesuffix('.ome')}_nuclei.ome.tif" for image in images]
    if output is None:
        return [image.with_name(name) for image, name in zip(images, names, strict=True)]
    folder = Path(output)
    if folder.is_dir():
        return [folder / name for name in names]
    separators = tuple(filter(None, (os.sep, os.altsep)))
    if not output.endswith(separators) and len(images) == 1:
        if folder.suffix.lower() not in _LABELS:
            raise FileError(
                f"{output} is neither a folder nor a name that ends in .ome.tif, .tif or .png; "
                "choose another output."
            )
        return [folder]
    if folder.exists():
        raise FileError(f"{output} is a file; with several images the output must be a folder.")
    raise FileError(f"Folder {output} does not exist; create it or choose another.")


class _Enough(Exception):
    """Ends a write before it has begun."""


def prepare(
    target: Path, interrupt: Interrupt, *, overwrite: bool, inputs: Iterable[Path] = ()
) -> None:
    """Check that a file can be written, and watch it.

    Raises
    ------
    FileError
        If its folder is missing or read-only, it exists (with ``overwrite=False``), or it is one of
        the inputs.
    """
    if any(_same(target, path) for path in inputs):
        raise FileError(f"{target} is read and written at once; choose another output.")
    # The real thing, ended early: whatever would stop it later stops it now.
    with contextlib.suppress(_Enough), atomic_write(target, overwrite=overwrite):
        raise _Enough
    interrupt.watch(target)


def write_json(path: Path, content: Any, *, overwrite: bool) -> None:
    """Write a report; numbers that JSON doesn't have become null."""
    plain = json.loads(json.dumps(content), parse_constant=lambda _: None)
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(plain, indent=2) + "\n", encoding="utf-8")


def _same(one: Path, other: Path) -> bool:
    with contextlib.suppress(OSError):  # one of them does not exist
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)

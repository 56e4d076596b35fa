"""Corrections made by hand in and out, as JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from napari_patchseg.corrections import Corrections
from napari_patchseg.errors import FileError

from .atomic import atomic_write, reading


class _File(BaseModel):
    format: Literal["napari-patchseg corrections"] = "napari-patchseg corrections"
    format_version: Literal[1] = 1
    corrections: Corrections


def save_corrections(
    path: str | os.PathLike[str], corrections: Corrections, *, overwrite: bool = True
) -> Path:
    """Write hints and corrections of objects.

    Parameters
    ----------
    path : path-like
        The file; should end in ``.json``.
    corrections : Corrections
        What to write.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    content = _File(corrections=corrections).model_dump_json()
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_text(content, encoding="utf-8")
    return Path(path)


def load_corrections(path: str | os.PathLike[str]) -> Corrections:
    """Read what `save_corrections` wrote.

    Raises
    ------
    FileError
        If there is no such file, it cannot be read, or holds no corrections.
    """
    with reading(path):
        content = Path(path).read_bytes()
    try:
        return _File.model_validate_json(content).corrections
    except ValidationError as error:
        raise FileError(f"{path} holds no corrections of PatchSeg, or is damaged.") from error

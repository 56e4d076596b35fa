"""What is done already: a small record beside the results of each image.

A record is written whole before an image's first result, to say that these results are ours, and
again after the last, with what came of it. It holds nothing that another run of the same would not
hold as well: no dates, no durations, no folders.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_patchseg.files.atomic import atomic_write
from napari_patchseg.files.labels import to_json
from napari_patchseg.report import Report

#: The folder of the records, in that of the results.
FOLDER = "records"
#: Columns of the summary that say how large a pixel is.
PIXEL_SIZES = ("Pixel size X µm", "Pixel size Y µm")


class AreaCounts(BaseModel):
    """How many nuclei have which area.

    Attributes
    ----------
    first : int
        Number of the first bin; bin k holds areas from 2**(k / 3) to 2**((k + 1) / 3) px.
    counts : tuple of int
        Of that bin and those that follow.
    """

    model_config = ConfigDict(frozen=True)

    first: int = 0
    counts: tuple[int, ...] = ()


class Outcome(BaseModel):
    """What came of an image.

    Attributes
    ----------
    report : Report
        What the labels came from, without seconds.
    files : tuple of str
        Names of the results.
    values : mapping of str to float
        Its numbers in the summary, by column.
    areas : AreaCounts
        Of its nuclei.
    overview, detail : str
        JPEG in base64: the image with its nuclei, and a part of it at full size; the latter empty
        where the former is at full size.
    """

    model_config = ConfigDict(frozen=True)

    report: Report
    files: tuple[str, ...]
    values: Mapping[str, float]
    areas: AreaCounts
    overview: str
    detail: str

    @property
    def pixel_area(self) -> float:
        """In µm²; 0 where it is unknown."""
        return math.prod(self.values.get(name, 0.0) for name in PIXEL_SIZES)


class Record(BaseModel):
    """What a result is made of, and what came of it.

    Attributes
    ----------
    how : str
        Digest of settings, model and versions.
    image : str
        Digest of the image's file; of a model that of its own, empty until it is there.
    files : tuple of str
        Names of the results: made of this with an outcome; without one they are about to be, and
        what is there may be replaced.
    outcome : Outcome or None
        None until all results are there.
    """

    model_config = ConfigDict(frozen=True)

    how: str
    image: str
    files: tuple[str, ...] = ()
    outcome: Outcome | None = None


class Records:
    """The records in a folder of results.

    Parameters
    ----------
    results : Path
        That folder.
    """

    def __init__(self, results: Path) -> None:
        self.folder = results / FOLDER

    def of(self, name: str) -> Record | None:
        """The record of that name; None without one that can be read."""
        try:
            return Record.model_validate_json(self._file(name).read_bytes())
        except (OSError, ValidationError):
            return None

    def keep(self, name: str, record: Record) -> None:
        """Write a record; raises `FileError`."""
        with suppress(FileExistsError):  # a file: what is written next says so
            self.folder.mkdir()
        with atomic_write(self._file(name)) as temporary:
            temporary.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's content; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def digest_of(value: Any) -> str:
    """SHA-256 of anything that JSON can hold."""
    return hashlib.sha256(to_json(value).encode()).hexdigest()

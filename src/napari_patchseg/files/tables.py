"""Tables of measurements as CSV that spreadsheets open as they should."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .atomic import atomic_write
from .labels import PixelSize, sizes_of, to_json

if TYPE_CHECKING:
    from pandas import DataFrame


def write_table(
    path: str | os.PathLike[str],
    measurements: DataFrame,
    *,
    name: str | None = None,
    pixel_size: PixelSize = None,
    report: Mapping[str, Any] | None = None,
    overwrite: bool = True,
) -> Path:
    """Write a table as CSV: UTF-8 with byte order mark, commas, one header row.

    Parameters, result and errors are those of `napari_patchseg.files.results.save`. Numbers
    are written with all their digits, and what is missing is empty. With a name there is a first
    column "Image", so that tables can be put one below the other; report and pixel size stand as
    JSON in a last column "Provenance" of the first row.
    """
    path = Path(path)
    table = measurements.rename(columns=_as_text)
    for position, kind in enumerate(table.dtypes):
        if kind.kind not in "biuf":
            table.isetitem(position, table.iloc[:, position].map(_as_text))
    if name is not None:
        table.insert(0, "Image", _as_text(name), allow_duplicates=True)
    if report and len(table):
        about = to_json({"pixel_size": sizes_of(pixel_size) or None, "report": report})
        table["Provenance"] = [about, *[""] * (len(table) - 1)]
    with atomic_write(path, overwrite=overwrite) as temporary:
        table.to_csv(
            temporary,
            index=False,
            encoding="utf-8-sig",  # without the mark Excel takes µ for two other signs
            errors="replace",
            lineterminator="\r\n",  # RFC 4180, on every system
        )
    return path


def _as_text(value: object) -> object:
    """A text that no spreadsheet takes for a formula; what is no text stays as it is.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    return "'" + value if isinstance(value, str) and value[:1] in set("=+-@\t\r\n") else value

"""Write the table of docs/measurements.md, from the descriptions that the columns have in the code.

python tools/make_measurements.py
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from napari_patchseg.objects import CONFIDENCE_COLUMN, SHAPE_COLUMNS, intensity_columns

DOCS = Path(__file__).resolve().parents[1] / "docs" / "measurements.md"


def table() -> str:
    """In markdown; what is measured in several units has one row."""
    of_image = intensity_columns(("Red",), ("Haematoxylin",))
    rows = [
        (", ".join(f"`{column.header}`" for column in columns), meaning)
        for meaning, columns in itertools.groupby(
            (*SHAPE_COLUMNS, *of_image, CONFIDENCE_COLUMN), lambda column: column.meaning
        )
    ]
    return "\n".join(["| column | what it is |", "|---|---|", *(f"| {a} | {b} |" for a, b in rows)])


def updated(text: str) -> str:
    """The page with the table of today."""
    begin, end = "<!-- begin columns -->", "<!-- end -->"
    return re.sub(f"{begin}.*?{end}", f"{begin}\n{table()}\n{end}", text, flags=re.DOTALL)


if __name__ == "__main__":
    DOCS.write_text(updated(DOCS.read_text(encoding="utf-8")), encoding="utf-8")

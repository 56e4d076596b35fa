"""Numbers and pictures of an image, a table of all images, and the report."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.segmentation import find_boundaries

from napari_patchseg.files.atomic import atomic_write
from napari_patchseg.files.images import ImageFile
from napari_patchseg.files.tables import write_table
from napari_patchseg.geometry import Box
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.modality import STAINED
from napari_patchseg.objects import has_mean
from napari_patchseg.report import Labels, Report
from napari_patchseg.settings import Settings
from napari_patchseg.words import image_name

from ._page import page
from ._records import PIXEL_SIZES, AreaCounts, Outcome

if TYPE_CHECKING:
    from pandas import DataFrame

#: What is written into the folder of the results, beside these.
SUMMARY, PAGE, MODEL = "summary.csv", "report.html", "model.safetensors"
#: Columns of the summary before those of the measurements.
IMAGE, NUCLEI, WARNINGS, ERROR = "Image", "Nuclei", "Warnings", "Error"
DENSITY = "Nuclei per mm^2"
MEAN = "Mean:"
MEDIAN_AREA, MEDIAN_AREA_PX = "Median area µm^2", "Median area px^2"

#: Longest side of a picture in the report, in pixels.
_SIDE = 480
#: Nuclei of fewer pixels across are filled, not outlined.
_OUTLINED = 8
_COLOUR = np.array((255, 222, 0))


def outcome_of(
    report: Report,
    files: tuple[str, ...],
    file: ImageFile,
    pixels: Pixels,
    labels: Labels,
    table: DataFrame | None,
) -> Outcome:
    """What came of an image.

    Parameters
    ----------
    report : Report
        Without seconds.
    files : tuple of str
        Names of the results.
    file, pixels, labels : ImageFile, Pixels, ndarray
        The image and its nuclei, (H, W).
    table : DataFrame or None
        Their measurements, if they are summed up.
    """
    areas = np.bincount(labels.ravel())[1:]
    areas = areas[areas > 0]
    overview, detail = _pictures(file, pixels, labels, areas)
    return Outcome(
        report=report,
        files=files,
        values=_values(file, labels, areas, table),
        areas=_counts(areas),
        overview=overview,
        detail=detail,
    )


def _values(
    file: ImageFile, labels: Labels, areas: NDArray[np.int64], table: DataFrame | None
) -> dict[str, float]:
    values: dict[str, float] = {NUCLEI: len(areas)}
    sizes = file.pixel_size_yx
    if sizes is not None:
        pixel = sizes[0] * sizes[1]
        values |= dict(zip(PIXEL_SIZES, reversed(sizes), strict=True))
        values[DENSITY] = len(areas) / (labels.size * pixel / 1e6)
        if len(areas):
            values[MEDIAN_AREA] = float(np.median(areas)) * pixel
    if len(areas):
        values[MEDIAN_AREA_PX] = float(np.median(areas))
    if table is None:
        return values
    means = table[[name for name in table if has_mean(name)]].mean()
    # of no object there is none
    return values | {f"{MEAN} {name}": float(mean) for name, mean in means.dropna().items()}


def _counts(areas: NDArray[np.int64]) -> AreaCounts:
    if not len(areas):
        return AreaCounts()
    bins = np.floor(3 * np.log2(areas) + 1e-9).astype(int)
    first = int(bins.min())
    return AreaCounts(first=first, counts=tuple(np.bincount(bins - first).tolist()))


# -- pictures


def _pictures(
    file: ImageFile, pixels: Pixels, labels: Labels, areas: NDArray[np.int64]
) -> tuple[str, str]:
    """The whole image, and its part with most nuclei at full size, with these: JPEG in base64."""
    height, width = labels.shape
    reduction = max(1, max(height, width) // (2 * _SIDE))
    shown = _shown(file, pixels, (0, 0, height, width), reduction)
    scale = min(1.0, _SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = Image.fromarray(shown).resize(size, Image.Resampling.BOX)
    rows, columns = (
        (np.arange(new) * old // new) for new, old in ((size[1], height), (size[0], width))
    )
    across = 2 * np.sqrt(np.median(areas) / np.pi) * scale if len(areas) else 0
    overview = _marked(np.array(small), labels[np.ix_(rows, columns)], outlined=across >= _OUTLINED)
    if scale == 1:
        return overview, ""
    side = _SIDE // 2
    tops, lefts = (range(0, max(1, length - side + 1), side) for length in (height, width))
    # the first of equals: the same picture each time
    row, column = max(
        ((top, left) for top in tops for left in lefts),
        key=lambda corner: np.count_nonzero(
            labels[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
        ),
    )
    box: Box = row, column, min(row + side, height), min(column + side, width)
    part = labels[box[0] : box[2], box[1] : box[3]]
    return overview, _marked(_shown(file, pixels, box), part, outlined=True)


def _shown(file: ImageFile, pixels: Pixels, box: Box, reduction: int = 1) -> NDArray[np.uint8]:
    """A part as (h, w, 3): colours as they are, else in grey the channel that shows nuclei."""
    if pixels.modality is not STAINED:
        part = pixels.read(box, reduction)[pixels.prior_channel]
        part = np.repeat((1 - part if pixels.modality.is_bright else part)[None], 3, axis=0)
    elif file.rgb and file.array.dtype == np.uint8:
        return file.array[box[0] : box[2] : reduction, box[1] : box[3] : reduction, :3]
    else:
        part = pixels.read(box, reduction)
    return np.ascontiguousarray((part * 255).round().astype(np.uint8).transpose(1, 2, 0))


def _marked(image: NDArray[np.uint8], labels: Labels, *, outlined: bool) -> str:
    marked = image.astype(float)
    if outlined:
        marked[find_boundaries(labels, mode="inner")] = _COLOUR
    else:
        inside = labels > 0
        marked[inside] = (marked[inside] + _COLOUR) / 2
    buffer = io.BytesIO()
    Image.fromarray(marked.astype(np.uint8)).save(buffer, format="JPEG", quality=85)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


# -- what is written about all


def sum_up(
    folder: Path, outcomes: Sequence[tuple[Path, Outcome | str]], settings: Settings
) -> tuple[Path, ...]:
    """Write the summary and the report.

    Parameters
    ----------
    folder : Path
        Where to.
    outcomes : sequence of tuple
        Each image's file, and what came of it, or why nothing did.
    settings : Settings
        As they were asked for.

    Raises
    ------
    FileError
        If they cannot be written.
    """
    import pandas as pd

    rows = [_row(image_name(path), outcome) for path, outcome in outcomes]
    written = dict.fromkeys(name for row in rows for name in row)
    first, last = (IMAGE, NUCLEI), (WARNINGS, ERROR)
    columns = [*first, *(name for name in written if name not in (*first, *last)), *last]
    # as objects, or a column with a gap would make its whole numbers fractions
    table = pd.DataFrame(rows, columns=columns, dtype=object)
    write_table(folder / SUMMARY, table)
    content = page([(path.name, outcome) for path, outcome in outcomes], settings)
    with atomic_write(folder / PAGE) as temporary:
        temporary.write_text(content, encoding="utf-8", errors="replace")
    return folder / SUMMARY, folder / PAGE


def _row(name: str, outcome: Outcome | str) -> Mapping[str, object]:
    if isinstance(outcome, str):
        return {IMAGE: name, ERROR: outcome}
    warnings = " ".join(outcome.report.warnings)
    values = {column: _rounded(value) for column, value in outcome.values.items()}
    count = {NUCLEI: int(outcome.values[NUCLEI])}  # whole also beside images that have none
    return {IMAGE: name, **values, **count, WARNINGS: warnings}


def _rounded(value: float) -> float | int:
    """To six digits that count; a whole number without a point."""
    if not value:
        return 0
    rounded = round(value, 5 - math.floor(math.log10(abs(value))))
    return int(rounded) if rounded.is_integer() else rounded

"""A table of measurements as the features of a Labels layer, and back."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    from napari.layers import Labels

#: The columns that layers have from here.
_OURS: weakref.WeakKeyDictionary[Labels, frozenset[str]] = weakref.WeakKeyDictionary()
#: Rows of features per nucleus, up to which napari's table finds a label by its row.
_ROWS = 4


def as_features(table: pd.DataFrame) -> pd.DataFrame:
    """As a layer has it: row k is of label k, which napari's table takes for granted.

    Where numbers leave too many out, a column "index" says which label a row is of. Places come
    last: napari's status bar shows the first columns of the nucleus under the cursor.
    """
    numbers = table["Label"].to_numpy()
    values = table[places_last(table.columns)].drop(columns="Label")
    most = int(numbers.max(initial=0)) + 1
    if most > _ROWS * len(table) + 1000:
        return values.assign(index=numbers)
    values.index = numbers
    return values.reindex(range(most))


def show_features(layer: Labels, table: pd.DataFrame) -> None:
    """Give a layer the table as features; columns of others stay with their labels."""
    known, ours = layer.features, _OURS.get(layer, frozenset())
    features = as_features(table)
    others = [name for name in known.columns if name not in {*features, *ours, "index"}]
    if others:
        numbers = known["index"] if "index" in known else np.arange(len(known))
        kept = known[others].set_axis(numbers).groupby(level=0).first()
        rows = features["index"] if "index" in features else np.arange(len(features))
        features[others] = kept.reindex(rows).to_numpy()
    _OURS[layer] = frozenset(table.columns)
    layer.features = features


def moved(
    table: pd.DataFrame, origin: tuple[int, int], pixel_size: tuple[float, float] | None
) -> pd.DataFrame:
    """A table of a part of an image, whose first pixel is there: places are of the image."""
    for axis, start in enumerate(origin):
        table[f"Centroid {'YX'[axis]} px"] += start
        if pixel_size is not None:
            table[f"Centroid {'YX'[axis]} µm"] += start * pixel_size[axis]
    return table


def places_last(headers: Sequence[str]) -> list[str]:
    """Headers in the order in which people look at them."""
    from napari_patchseg.objects import is_place

    return sorted(headers, key=lambda name: name != "Label" and is_place(name))


def without_pixels(headers: Sequence[str]) -> list[str]:
    """Those headers whose measurement is not there in µm, too."""
    from napari_patchseg.objects import in_micrometres

    return [name for name in headers if in_micrometres(name) not in headers]


def table_of(features: Any) -> pd.DataFrame | None:
    """The table that was made features; None where these are no table of ours."""
    if features is None or "Area px^2" not in features:
        return None
    table = features.rename(columns={"index": "Label"}) if "index" in features else features.copy()
    if "Label" not in table:
        table.insert(0, "Label", np.arange(len(table)))
    table = table[table["Area px^2"].notna()].reset_index(drop=True)
    table["Area px^2"] = table["Area px^2"].astype(np.int64)
    return table[_in_order(table.columns)]


def _in_order(headers: Sequence[str]) -> list[str]:
    """As they are measured: places come first."""
    from napari_patchseg.objects import is_place

    return sorted(headers, key=lambda name: (name != "Label", not is_place(name)))

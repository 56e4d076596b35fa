"""Nuclei in the colours of a measurement."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import numpy as np
from napari.utils.colormaps import CyclicLabelColormap, ensure_colormap
from numpy.typing import NDArray

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.utils.colormaps import LabelColormap

#: From dark to bright, told apart by most, and unlike haematoxylin and eosin at its bright end.
_MAP = "viridis"
#: Shares of the nuclei whose values are at the ends of the colours.
_ENDS = (1, 99)
_GREY = (0.5, 0.5, 0.5, 1)
#: The largest label that can be coloured, of napari's 65,535, and room for those that are added
#: before they are measured.
MOST_COLOURED, _NEW = 65_000, 256

#: What layers were coloured by before.
_BEFORE: weakref.WeakKeyDictionary[Labels, LabelColormap] = weakref.WeakKeyDictionary()


def colours_of(values: NDArray[np.floating], among: NDArray[np.floating]) -> NDArray[np.float32]:
    """RGBA (n, 4) in [0, 1] of values (n,), by where they are among others; NaN is grey."""
    known = among[np.isfinite(among)]
    low, high = np.percentile(known, _ENDS) if len(known) else (0.0, 1.0)
    share = (values - low) / ((high - low) or 1.0)
    colours = np.asarray(ensure_colormap(_MAP).map(np.nan_to_num(share).clip(0, 1)), np.float32)
    colours[~np.isfinite(values)] = _GREY
    return colours


def colour_by(
    layer: Labels, numbers: NDArray[np.integer] | None, values: NDArray[np.floating] | None
) -> bool:
    """Colour nuclei by their values (n,); None: as they were before.

    What was not measured, or not yet, is grey.

    Parameters
    ----------
    layer : Labels
        Recoloured.
    numbers : ndarray or None
        (n,) labels, each once.
    values : ndarray or None
        (n,) of these.

    Returns
    -------
    bool
        False where there are more than napari has colours for: nothing was done.
    """
    if numbers is None or values is None:
        before = _BEFORE.pop(layer, None)
        if before is not None:
            layer.colormap = before
        return True
    most = max(int(np.max(layer.data, initial=0)), int(numbers.max(initial=0)))
    if most > MOST_COLOURED:
        return False
    _BEFORE.setdefault(layer, layer.colormap)
    colours = np.full((most + _NEW, 4), _GREY, np.float32)
    colours[0] = 0
    colours[numbers] = colours_of(values, values)
    layer.colormap = CyclicLabelColormap(colors=colours)
    return True

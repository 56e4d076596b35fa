"""Which objects fulfil conditions on their measurements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from napari_patchseg.conditions import Condition
from napari_patchseg.errors import SettingsError
from napari_patchseg.report import Labels

from ._columns import in_micrometres, is_place

if TYPE_CHECKING:
    import pandas as pd


def keep_only(
    labels: Labels,
    conditions: Sequence[Condition],
    table: pd.DataFrame,
    spared: ArrayLike = (),
) -> Labels:
    """Labels (H, W) of the objects that fulfil all conditions, with the numbers that they have.

    A measurement that an object has not (NaN) fulfils none. The objects in `spared` stay whatever
    they measure. What is measured of neighbours is of all objects, also of those that go.

    Raises
    ------
    SettingsError
        If there is no such measurement.
    """
    kept = np.ones(len(table), bool)
    for name, sign, limit in conditions:
        values = table[header_of(name, table.columns)].to_numpy(float)
        kept &= values >= limit if sign == ">=" else values <= limit
    stays = np.zeros(int(labels.max(initial=0)) + 1, bool)
    stays[table["Label"].to_numpy()[kept]] = True
    stays[np.asarray(spared, np.intp)] = True
    return np.where(stays[labels], labels, labels.dtype.type(0))


def header_of(name: str, headers: Iterable[str]) -> str:
    """The header that is meant, however it is written; raises `SettingsError` where none is."""
    known = {one.casefold(): one for one in headers if not is_place(one)}
    if (found := known.get(name.casefold())) is not None:
        return found
    for px in known.values():
        if name.casefold() == (in_micrometres(px) or "").casefold():
            raise SettingsError(f'keep: "{name}" needs the pixel size; give it, or take "{px}".')
    close = get_close_matches(name.casefold(), known, 3, 0.4)
    there = ", ".join(known[one] for one in close or known)
    raise SettingsError(f'keep: there is no measurement "{name}"; there is {there}.')

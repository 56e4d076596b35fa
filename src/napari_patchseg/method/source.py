"""Where training and prediction read their pixels from."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.geometry import Box


class PixelSource(Protocol):
    """An image that is read by region."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""

    @property
    def valid(self) -> NDArray[np.bool_] | None:
        """(H, W), False where nothing is to be learnt; None where all of the image counts."""

    def read(self, box: Box, reduction: int = 1) -> NDArray[np.float32]:
        """Pixels of a box (h, w) that lies inside the image: (C, h, w) float32 in [0, 1].

        At a reduction only every so many-th row and column: (C, ceil(h / r), ceil(w / r)).
        """

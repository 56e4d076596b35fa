"""What a user corrected by hand, as values that outlive the maps and labels they were made on."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from napari_patchseg.errors import ImageError

#: What the pixels of a hints array say; 0 says nothing.
NUCLEUS, NOT_NUCLEUS = 1, 2

#: Rows and columns of pixels.
Pixels = tuple[NDArray[np.intp], NDArray[np.intp]]
_Coordinate = Annotated[int, Field(ge=0, lt=2**31)]
_Point = tuple[_Coordinate, _Coordinate]


def _are_runs(runs: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
    if any(first >= end for _, first, end in runs):
        raise ValueError("a run must have its first column before its end")
    return runs


#: Pixels row by row: (row, first column, column after the last).
Runs = Annotated[
    tuple[tuple[_Coordinate, _Coordinate, _Coordinate], ...], AfterValidator(_are_runs)
]


def runs_of(pixels: tuple[NDArray[np.intp], ...]) -> Runs:
    """Pixels in any order, each once, as runs."""
    order = np.lexsort(pixels[::-1])
    rows, columns = pixels[0][order], pixels[1][order]
    begins = np.flatnonzero((np.diff(rows, prepend=-1) != 0) | (np.diff(columns, prepend=-1) != 1))
    ends = np.append(begins[1:], len(rows)) - 1 if len(rows) else begins
    runs = np.stack([rows[begins], columns[begins], columns[ends] + 1], 1)
    return tuple((row, first, end) for row, first, end in runs.tolist())


def pixels_of_runs(runs: Runs, shape: tuple[int, int]) -> Pixels:
    """Rows and columns of those pixels that lie in an image (H, W)."""
    inside = [
        (row, np.arange(first, min(end, shape[1])))
        for row, first, end in runs
        if row < shape[0] and first < shape[1]
    ]
    if not inside:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    rows = np.concatenate([np.full(len(columns), row) for row, columns in inside])
    return rows, np.concatenate([columns for _, columns in inside])


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Area(_Frozen):
    #: The object's pixels.
    runs: Annotated[Runs, Field(min_length=1)]

    @classmethod
    def of(cls, pixels: tuple[NDArray[np.intp], ...]) -> Self:
        """An edit of these pixels, at least one."""
        return cls(runs=runs_of(pixels))

    def pixels(self, shape: tuple[int, int]) -> Pixels:
        """Rows and columns of its pixels in an image (H, W)."""
        return pixels_of_runs(self.runs, shape)


class _Stroke(_Frozen):
    #: The stroke's corners, (row, column) each.
    path: tuple[_Point, ...] = Field(min_length=2)


class Delete(_Area):
    """What shares most with these pixels is no nucleus."""

    action: Literal["delete"] = "delete"


class Add(_Area):
    """These pixels are a nucleus."""

    action: Literal["add"] = "add"


class Merge(_Stroke):
    """What this stroke crosses is one nucleus."""

    action: Literal["merge"] = "merge"


class Split(_Stroke):
    """What this stroke goes through is cut along it."""

    action: Literal["split"] = "split"


Edit = Delete | Add | Merge | Split
Edits = tuple[Annotated[Edit, Field(discriminator="action")], ...]


class Corrections(_Frozen):
    """What a user corrected by hand on one image.

    Attributes
    ----------
    shape : (int, int)
        Height and width in pixels of the image, or of the region of it that is segmented.
    nucleus, not_nucleus : tuple of (int, int, int)
        Hints: painted pixels, as runs (row, first column, column after the last).
    edits : tuple of Edit
        Corrections of objects, in the order in which they were made.
    """

    shape: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]
    nucleus: Runs = ()
    not_nucleus: Runs = ()
    edits: Edits = ()

    @classmethod
    def of_hints(cls, hints: NDArray[np.integer], edits: Edits = ()) -> Self:
        """Corrections of a hints array (H, W): 0 nothing, 1 nucleus, 2 not nucleus.

        Raises
        ------
        ImageError
            If it is no such array.
        """
        if hints.ndim != 2 or hints.dtype.kind not in "biu" or not hints.size:
            raise ImageError(
                "Hints should be a plane of whole numbers: 0 nothing, 1 nucleus, 2 not nucleus."
            )
        if hints.min() < 0 or hints.max() > NOT_NUCLEUS:
            raise ImageError(
                f"Hints have values from {hints.min()} to {hints.max()}; paint 1 for nucleus and 2 "
                "for not nucleus, and leave the rest 0."
            )
        return cls(
            shape=hints.shape,
            nucleus=runs_of(np.nonzero(hints == NUCLEUS)),
            not_nucleus=runs_of(np.nonzero(hints == NOT_NUCLEUS)),
            edits=edits,
        )

    def __bool__(self) -> bool:
        return bool(self.nucleus or self.not_nucleus or self.edits)

    def check_shape(self, shape: tuple[int, int]) -> None:
        """Raise `ImageError` where an image has another height and width."""
        if self.shape != shape:
            raise ImageError(
                f"The hints are of an image of {self.shape[1]}x{self.shape[0]} px, this one has "
                f"{shape[1]}x{shape[0]}; give those of this image."
            )

    @property
    def painted(self) -> NDArray[np.uint8]:
        """The hints as painted: `shape` uint8, 0 nothing, 1 nucleus, 2 not nucleus."""
        hints = np.zeros(self.shape, np.uint8)
        hints[pixels_of_runs(self.nucleus, self.shape)] = NUCLEUS
        hints[pixels_of_runs(self.not_nucleus, self.shape)] = NOT_NUCLEUS
        return hints

    @property
    def teaches(self) -> bool:
        """Whether `hints` are any."""
        is_taught = any(isinstance(edit, Delete | Add) for edit in self.edits)
        return bool(self.nucleus or self.not_nucleus or is_taught)

    @property
    def hints(self) -> NDArray[np.uint8]:
        """All that teaches, as `painted`: deleted objects are not nucleus, added ones are.

        What was painted counts more than what an edit says.
        """
        hints = np.zeros(self.shape, np.uint8)
        for edit in self.edits:
            if isinstance(edit, Delete | Add):
                hints[edit.pixels(self.shape)] = NUCLEUS if isinstance(edit, Add) else NOT_NUCLEUS
        painted = self.painted
        return np.where(painted > 0, painted, hints)

"""Parts of an image or a map: boxes, tiles, strips, samples."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

#: Upper left and lower right corner: (row0, column0, row1, column1) in pixels, ends excluded.
Box = tuple[int, int, int, int]
Window = tuple[slice, slice]

#: Side of a tile. Large beside what is read around it, small beside what the map itself takes.
TILE = 1024
#: Pixels that are worked on at a time. More than these are represented by an even grid of them, or
#: by crops.
ENOUGH = 1_000_000
#: A pixel and its eight neighbours.
EIGHT = np.ones((3, 3), bool)


def tiles(shape: tuple[int, int], side: int = TILE) -> list[Box]:
    """Boxes of at most ``side`` px a side that cover a map (H, W) once each."""
    height, width = shape
    return [
        (row, column, min(row + side, height), min(column + side, width))
        for row in range(0, height, side)
        for column in range(0, width, side)
    ]


def strips(shape: tuple[int, int]) -> Iterator[slice]:
    """Rows of a map (H, W), about a million pixels at a time."""
    rows = max(1, ENOUGH // max(1, shape[1]))
    for row in range(0, shape[0], rows):
        yield slice(row, min(row + rows, shape[0]))


def crop_boxes(shape: tuple[int, int], side: int, most: int = 3) -> list[Box]:
    """Evenly spaced boxes of at most ``side`` px a side in a map (H, W), ``most`` along an axis."""
    (rows, tall), (columns, wide) = (_cuts(length, side, most) for length in shape)
    return [(row, column, row + tall, column + wide) for row in rows for column in columns]


def _cuts(length: int, side: int, most: int) -> tuple[list[int], int]:
    """Where such boxes begin along one axis, and their length."""
    size = min(side, length)
    return np.linspace(0, length - size, min(-(-length // size), most), dtype=int).tolist(), size


def window(box: Box, within: Box | None = None) -> Window:
    """Index of a box in the whole map, or in the part of it that another box covers."""
    row, column = (0, 0) if within is None else within[:2]
    return slice(box[0] - row, box[2] - row), slice(box[1] - column, box[3] - column)


def grown(box: Box, by: int, shape: tuple[int, int]) -> Box:
    """A box with so many pixels more on every side, as far as the map (H, W) goes."""
    return (
        max(0, box[0] - by),
        max(0, box[1] - by),
        min(shape[0], box[2] + by),
        min(shape[1], box[3] + by),
    )


def grid_step(shape: tuple[int, ...]) -> int:
    """Step of the even grid that stands for a map of more than `ENOUGH` pixels; 1 up to that."""
    return max(1, math.ceil(math.sqrt(shape[0] * shape[1] / ENOUGH)))

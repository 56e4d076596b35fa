import numpy as np
import pytest

from napari_patchseg.errors import ImageError
from napari_patchseg.image.layout import Layout, layout_of


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((90, 80), {}, Layout(0, 1, None, False)),
        ((90, 80, 3), {}, Layout(0, 1, 2, None)),
        ((3, 90, 80), {}, Layout(1, 2, 0, None)),
        ((90, 80, 3), {"rgb": True}, Layout(0, 1, 2, True)),
        ((3, 90, 80), {"rgb": True, "channel_axis": 0}, Layout(1, 2, 0, True)),
        ((90, 80, 4), {}, Layout(0, 1, 2, True)),
        ((90, 80, 4), {"dtype": "uint16"}, Layout(0, 1, 2, False)),
        ((4, 90, 80), {}, Layout(1, 2, 0, False)),
        ((2, 90, 80), {"rgb": False}, Layout(1, 2, 0, False)),
        ((90, 80, 10), {}, Layout(0, 1, 2, False)),
        ((90, 5, 80), {"channel_axis": 1}, Layout(0, 2, 1, False)),
        ((90, 80, 5), {"channel_axis": -1}, Layout(0, 1, 2, False)),
        ((11, 90, 80), {}, Layout(1, 2, None, False, (0,))),  # a stack
        ((11, 90, 80), {"channel_axis": 0}, Layout(1, 2, 0, False)),
        ((5, 90, 80), {"names": ("z", "y", "x")}, Layout(1, 2, None, False, (0,))),
        ((20, 90, 80), {"names": ("Channel", "y", "x")}, Layout(1, 2, 0, False)),
        ((7, 90, 80, 3), {"rgb": True}, Layout(1, 2, 3, True, (0,))),
        ((7, 2, 90, 80), {"names": ("t", "c", "y", "x")}, Layout(2, 3, 1, False, (0,))),
        ((7, 2, 90, 80), {}, Layout(2, 3, None, False, (0, 1))),
    ],
)
def test_which_axis_is_what(shape, options, expected):
    assert layout_of(shape, options.pop("dtype", np.uint8), **options) == expected


@pytest.mark.parametrize(
    ("shape", "options", "says"),
    [
        ((90,), {}, "1 dimension;"),
        ((90, 80, 5), {"rgb": True}, "RGB needs 3 or 4"),
        ((90, 80, 5), {"channel_axis": 3}, "channel_axis must be 0, 1 or 2"),
        ((90, 3), {"rgb": True}, "no two axes"),
    ],
)
def test_what_does_not_fit_is_a_sentence(shape, options, says):
    with pytest.raises(ImageError, match=says):
        layout_of(shape, np.uint8, **options)

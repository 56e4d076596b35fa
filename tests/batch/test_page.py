from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.batch._page import Axis, _number
from napari_patchseg.batch._records import AreaCounts, Outcome
from napari_patchseg.report import Report
from napari_patchseg.settings import Settings

REPORT = Report(settings=Settings(), versions={}, stop_reason="converged")


def outcome(first: int, counts: tuple[int, ...], size: float | None = None) -> Outcome:
    values = {} if size is None else {"Pixel size X µm": size, "Pixel size Y µm": size}
    areas = AreaCounts(first=first, counts=counts)
    return Outcome(report=REPORT, files=(), values=values, areas=areas, overview="", detail="")


SIZES = st.none() | st.floats(0.01, 100)
#: The first bin and the last are never empty.
COUNTS = st.lists(st.integers(0, 9), max_size=30).map(lambda inner: (1, *inner, 2)) | st.just(())
OUTCOMES = st.builds(outcome, st.integers(0, 60), COUNTS, SIZES)


@given(st.lists(OUTCOMES, max_size=5))
def test_bars_and_ticks_lie_on_the_axis(outcomes):
    axis = Axis(outcomes)
    for one in outcomes:
        bars = list(axis.bars(one))
        assert len(bars) == len(one.areas.counts)
        assert all(bar.x >= -0.1 and bar.x + bar.width <= 300.1 for bar in bars)
        assert all(bar.y + bar.height == pytest.approx(80, abs=0.1) for bar in bars)
    assert all(0 <= place <= 300 for place, _ in axis.ticks())


def test_the_axis_is_in_micrometres_where_all_sizes_are_known():
    # 2**6 px at 0.5 µm are 2**4 µm²
    axis = Axis([outcome(18, (1,), 0.5), outcome(24, (1,), 0.25)])
    assert axis.unit == "µm²"
    assert 2 ** (axis.low / 3) == pytest.approx(16)
    assert 2 ** (axis.high / 3) == pytest.approx(16 * 2 ** (1 / 3))
    assert Axis([outcome(18, (1,), 0.5), outcome(24, (1,))]).unit == "px²"


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (0, "0"), (0.0123456, "0.0123"), (9.99, "9.99"), (12.3456, "12.3")],
)
def test_numbers(value, text):
    assert _number(value) == text
    assert _number(1234.5).replace("\N{NARROW NO-BREAK SPACE}", "") == "1234"
    assert not math.isnan(float(_number(5e-5)))

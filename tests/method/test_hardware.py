from __future__ import annotations

import itertools

import pytest

from napari_patchseg.method.hardware import fastest


def passes(**seconds):
    """Passes that take these seconds, one after the other, the last one ever after."""
    calls = dict.fromkeys(seconds, 0)

    def timed(name):
        def one():
            calls[name] += 1
            return seconds[name][min(calls[name], len(seconds[name])) - 1]

        return one

    return {name: timed(name) for name in seconds}, calls


def test_the_shortest_pass_counts():
    made, _ = passes(steady=[1.0], disturbed=[3.0, 0.9, 2.0])
    assert fastest(made) == "disturbed"


@pytest.mark.parametrize("busy", list(itertools.product([0.5, 5.0], repeat=2)))
def test_two_busy_moments_do_not_decide(busy):
    """A machine that has just started pays for much that the next pass does not."""
    made, _ = passes(slow=[1.0], fast=[*busy, 0.5])
    assert fastest(made) == "fast"


def test_what_is_far_behind_is_not_timed_to_the_end():
    made, calls = passes(fast=[0.1], slow=[1.0])
    assert fastest(made) == "fast"
    assert calls["slow"] < calls["fast"]

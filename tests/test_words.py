import pytest

from napari_patchseg.plugin.states import final_state
from napari_patchseg.words import counted, time_left


@pytest.mark.parametrize(("count", "said"), [(0, "0 nuclei"), (1, "1 nucleus"), (2, "2 nuclei")])
def test_one_is_no_plural(count, said):
    assert counted(count, "nucleus", "nuclei") == said


@pytest.mark.parametrize(("count", "said"), [(1, "after 1 step"), (12, "after 12 steps")])
def test_how_a_run_ended_is_said_so_too(count, said):
    _, words = final_state({"steps": count, "stop_reason": "stopped"}, trained=True)
    assert words == f"stopped {said}"


def test_how_long_it_takes_is_at_most_only_where_it_may_end_sooner():
    assert time_left(39.2, may_end_sooner=True) == "at most 40 s left"
    assert time_left(200, may_end_sooner=False) == "about 3 min left"

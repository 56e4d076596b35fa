import pytest

from napari_patchseg.plugin.states import final_state
from napari_patchseg.words import counted


@pytest.mark.parametrize(("count", "said"), [(0, "0 nuclei"), (1, "1 nucleus"), (2, "2 nuclei")])
def test_one_is_no_plural(count, said):
    assert counted(count, "nucleus", "nuclei") == said


@pytest.mark.parametrize(("count", "said"), [(1, "after 1 step"), (12, "after 12 steps")])
def test_how_a_run_ended_is_said_so_too(count, said):
    _, words = final_state({"steps": count, "stop_reason": "stopped"}, trained=True)
    assert words == f"stopped {said}"

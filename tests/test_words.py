import pytest

from napari_patchseg.words import pluralize, time_left


@pytest.mark.parametrize(
    ("count", "nouns", "said"),
    [
        (0, ("nucleus", "nuclei"), "0 nuclei"),
        (1, ("nucleus", "nuclei"), "1 nucleus"),
        (2, ("step",), "2 steps"),
    ],
)
def test_one_is_no_plural(count, nouns, said):
    assert pluralize(count, *nouns) == said


@pytest.mark.parametrize(
    ("seconds", "sooner", "said"),
    [
        (39.2, True, "at most 40 s left"),
        (200, False, "about 3 min left"),
        (9000, False, "about 2 h left"),
    ],
)
def test_time_left(seconds, sooner, said):
    assert time_left(seconds, may_end_sooner=sooner) == said

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.errors import PatchSegError, SettingsError
from napari_patchseg.settings import PRESETS, Settings


def test_the_paper_preset_is_section_4():
    paper = Settings.create("paper")
    assert paper.start == "random"
    assert (paper.classes, paper.patch_size, paper.stride, paper.patches) == (4, 50, 20, 10)
    assert (paper.crop_size, paper.batch_size, paper.anchors) == (300, 10, 10)
    assert (paper.learning_rate, paper.weight_decay) == (2e-4, 1e-4)
    assert paper.prior_weight == 0
    assert paper.similarity == "mean-squared-error"
    assert (paper.magnification, paper.views) == ("1", 1)  # the image as it is


def test_settings_of_an_earlier_version_leave_magnification_and_views_to_the_image():
    earlier = Settings.create().to_dict()
    del earlier["rescale"], earlier["test_time_augmentation"]
    settings = Settings.from_dict(earlier)
    assert (settings.magnification, settings.views) == ("auto", None)


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_survive_json(preset):
    settings = Settings.create(preset, seed=7, nucleus_diameter=8.5, diameter_unit="µm")
    again = Settings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings
    assert again.changes() == {"seed": 7, "nucleus_diameter": 8.5, "diameter_unit": "µm"}


@pytest.mark.parametrize("unit", ["um", "\N{GREEK SMALL LETTER MU}m", "\N{MICRO SIGN}m"])
def test_micrometres_however_they_are_typed(unit):
    assert Settings.create(diameter_unit=unit).diameter_unit == "µm"


CASES = [
    ({"preset": "fastest"}, "no preset 'fastest'"),
    ({"clases": 4}, "Setting clases: there is no such setting"),
    ({"patch_size": 400}, "patch_size"),
    ({"crop_size": 64, "patch_size": 100}, "must not be smaller"),
    ({"learning_rate": float("nan")}, "learning_rate"),
    ({"device": "tpu"}, "device"),
    ({"threads": 0}, "threads"),
    ({"nucleus_class": 4}, "nucleus_class"),
    ({"classes": 4}, "start 'random'"),
    ({"threshold": 1.0}, "threshold"),
    ({"seed": -1}, "seed"),
]


@pytest.mark.parametrize(("changes", "says"), CASES)
def test_a_wrong_setting_is_one_sentence(changes, says):
    with pytest.raises(SettingsError, match=says) as error:
        Settings.create(**changes)
    assert isinstance(error.value, PatchSegError)
    assert "\n" not in str(error.value)


def test_every_wrong_setting_is_said():
    with pytest.raises(SettingsError) as error:
        Settings.create("best", sed=1, seed="one", threads="two", threshold=float("nan"))
    assert str(error.value).splitlines() == [
        "There is no preset 'best'; choose one of 'default', 'paper'.",
        "Setting sed: there is no such setting; did you mean seed?",
        "Setting seed: it should be a valid integer, not 'one'.",
        "Setting threads: it should be a valid integer or 'auto', not 'two'.",
        "Setting threshold: it should be a finite number, not nan.",
    ]
    with pytest.raises(SettingsError) as error:
        Settings.create(crop_size=64, patch_size=100, classes=4)
    assert len(str(error.value).splitlines()) == 2


def test_replace_validates_and_leaves_the_original():
    settings = Settings.create()
    with pytest.raises(SettingsError):
        settings.replace(classes=0)
    assert settings.replace(seed=3).seed == 3
    assert settings.training.seed == 0


@given(st.dictionaries(st.text(max_size=12), st.integers() | st.text() | st.none(), max_size=4))
def test_no_mapping_gets_past_but_as_settings(values):
    with contextlib.suppress(SettingsError):
        Settings.from_dict(values)

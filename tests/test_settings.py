import contextlib
import json
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_patchseg.errors import PatchSegError, SettingsError
from napari_patchseg.settings import FIELDS, PRESETS, Changes, Machine, Objects, Settings, Training


def test_the_paper_preset_is_section_4():
    paper = Settings.create("paper")
    training = paper.training
    assert training.weights == "random"
    assert (training.classes, training.patch_size, training.stride) == (4, 50, 20)
    assert (training.patches, training.anchors) == (10, 10)
    assert (training.crop_size, training.batch_size) == (300, 10)
    assert (training.learning_rate, training.weight_decay) == (2e-4, 1e-4)
    assert training.similarity == "mean-squared-error"
    assert (training.rescale, training.test_time_augmentation) == ("1", 1)  # the image as it is
    assert paper.objects.prior_weight == 0


def test_names_are_unique_over_the_groups():
    groups = (Settings, Training, Objects, Machine)
    names = [name for group in groups for name in group.model_fields]
    assert len(names) == len(set(names))
    assert set(FIELDS) == set(names) - {"training", "objects", "machine"}
    assert all(field.info.description for field in FIELDS.values())


def test_type_checkers_see_the_same_settings():
    preset, *others = FIELDS.values()
    assert preset.name == "preset"  # not among what is changed in a preset
    assert get_type_hints(Changes) == {field.name: field.info.annotation for field in others}


def test_automatic_is_none_whatever_is_typed():
    automatic = [name for name, field in FIELDS.items() if field.info.default is None]
    assert Settings.create("paper", **dict.fromkeys(automatic, "auto")).flat() == (
        Settings.create("paper", **dict.fromkeys(automatic, None)).flat()
    )
    assert "auto" not in str(Settings.create("default", device="auto").to_dict())


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_survive_json(preset):
    settings = Settings.create(preset, seed=7, nucleus_diameter=8.5, diameter_unit="µm")
    again = Settings.from_dict(json.loads(json.dumps(settings.to_dict())))
    assert again == settings
    assert again.changes() == {"seed": 7, "nucleus_diameter": 8.5, "diameter_unit": "µm"}


@pytest.mark.parametrize("unit", ["um", "\N{GREEK SMALL LETTER MU}m", "\N{MICRO SIGN}m"])
def test_micrometres_however_they_are_typed(unit):
    assert Settings.create(diameter_unit=unit).objects.diameter_unit == "µm"


CASES = [
    ({"preset": "fastest"}, "should be 'default' or 'paper', not 'fastest'"),
    ({"clases": 4}, "Setting clases: there is no such setting"),
    ({"patch_size": 400}, "patch_size"),
    ({"crop_size": 64, "patch_size": 100}, "must not be smaller"),
    ({"learning_rate": float("nan")}, "learning_rate"),
    ({"device": "tpu"}, "device"),
    ({"threads": 0}, "threads"),
    ({"nucleus_class": 4}, "nucleus_class"),
    ({"classes": 4}, "weights 'random'"),
    ({"threshold": 1.0}, "threshold"),
    ({"seed": -1}, "seed"),
    ({"min_area": 90, "max_area": 80}, "must not be larger than max_area"),
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
    lines = str(error.value).splitlines()
    assert len(lines) == 5
    for word in ("best", "seed?", "'one'", "'two'", "nan"):
        assert any(word in line for line in lines), word
    with pytest.raises(SettingsError) as error:
        Settings.create(crop_size=64, patch_size=100, classes=4)
    assert len(str(error.value).splitlines()) == 2


def test_replace_validates_and_leaves_the_original():
    settings = Settings.create()
    with pytest.raises(SettingsError):
        settings.replace(classes=0)
    assert settings.replace(seed=3).training.seed == 3
    assert settings.training.seed == 0


@given(st.dictionaries(st.text(max_size=12), st.integers() | st.text() | st.none(), max_size=4))
def test_no_mapping_gets_past_but_as_settings(values):
    with contextlib.suppress(SettingsError):
        Settings.from_dict(values)


def test_a_rescale_factor_may_be_written_as_a_number():
    for written, factor in ((1.5, "3/2"), ("0.25", "1/4"), (0.667, "2/3"), (2.0, "2")):
        assert Settings.create(rescale=written).training.rescale == factor
    for wrong in (3, "0.3", "1e999999999", True, "half", -1, float("nan"), [1]):
        with pytest.raises(SettingsError, match="rescale"):
            Settings.create(rescale=wrong)


def test_a_group_is_no_setting():
    with pytest.raises(SettingsError) as caught:
        Settings.create(training=3, seed=4)
    assert set(caught.value.wrong) == {"training"}


def test_a_flat_mapping_is_taken_too():
    assert Settings.from_dict({"seed": 3, "objects": {"threshold": 0.4}}).changes() == {
        "seed": 3,
        "threshold": 0.4,
    }

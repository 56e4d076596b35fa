"""Settings of a run: three groups of frozen, validated fields, saved with every result.

`None` is automatic, in every field that has it; `pipeline.resolve` makes these choices once a run.
Names are unique over the groups, so that people give and read them without the group's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Literal, NamedTuple, Self, TypedDict, Unpack, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from napari_patchseg.conditions import conditions_of, in_words
from napari_patchseg.errors import SettingsError
from napari_patchseg.modality import FLUORESCENCE, STAINED, ImageKind, Modality

Similarity = Literal["mean-squared-error", "cross-entropy", "featurised-cosine"]
Device = Literal["cpu", "cuda", "mps"]
Precision = Literal["float32", "bfloat16"]
MemoryFormat = Literal["contiguous", "channels_last"]
Polarity = Literal["direct", "inverted"]
Preset = Literal["default", "paper"]
Weights = Literal["pretrained", "random"]
Rescale = Literal["1/4", "1/2", "2/3", "1", "3/2", "2"]
Split = Literal["distance", "none"]
LengthUnit = Literal["px", "µm"]

#: What people may type for None.
AUTOMATIC = "auto"
#: Depth between two nuclei's peaks, in expected radii, without a map of interiors.
SPLIT_DEPTH_WITHOUT_INTERIORS = 0.06

# What a field says of itself besides its type and limits: its "unit"; whether it is among the few
# that are "in_view"; whether it is "of_one_image", not to be remembered for others; whether it is
# "of_preset", what choosing a preset sets.
#: Nucleus diameter in pixels, of H&E at 40x, where neither user nor image says.
DEFAULT_DIAMETER = 24.0

_PX: JsonDict = {"unit": "px"}
_IN_VIEW: JsonDict = {"in_view": True}


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _automatic(cls, values: Any) -> Any:
        """The word for None, where None is a choice."""
        if not isinstance(values, Mapping):
            return values
        return {
            name: None if value == AUTOMATIC and _may_be_none(name) else value
            for name, value in values.items()
        }


class Training(_Group):
    """How the network is trained, and how it sees the image."""

    # -- network (paper section 3.1)
    weights: Weights = Field(
        "pretrained",
        description="Weights that training starts from: learnt on synthetic images, or random.",
    )
    classes: int = Field(
        2, ge=1, le=16, title="classes K", description="Number of confidence maps K."
    )

    # -- patch sampler (section 3.2)
    patch_size: int = Field(
        50, ge=8, le=256, description="Side of a patch in pixels.", json_schema_extra=_PX
    )
    stride: int = Field(
        20,
        ge=1,
        le=256,
        description="Distance between candidate patches in pixels.",
        json_schema_extra=_PX,
    )
    patches: int = Field(
        10,
        ge=2,
        le=64,
        title="patches per crop",
        description="Patches drawn per crop and class.",
    )

    # -- contrastive loss (section 3.3)
    similarity: Similarity = Field("mean-squared-error", description="Similarity of two patches.")
    anchors: int = Field(
        10, ge=1, le=64, description="Anchors per class, drawn from its positives."
    )

    # -- optimisation (section 4)
    crop_size: int = Field(
        160,
        ge=64,
        le=1024,
        description="Side of a training crop in pixels.",
        json_schema_extra=_PX,
    )
    batch_size: int = Field(3, ge=1, le=64, title="crops per step", description="Crops per step.")
    learning_rate: float = Field(2e-3, gt=0, le=0.1, description="Adam's learning rate.")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Adam's weight decay.")
    consistency_weight: float = Field(
        20.0,
        ge=0,
        le=1000,
        description="Weight of agreeing with the pretrained network's own maps.",
    )
    ema_decay: float = Field(
        0.9,
        ge=0,
        lt=1,
        title="EMA decay",
        description="Share of the earlier weights in their exponential moving average, which is "
        "shown and kept; 0: the last step's weights.",
    )
    max_steps: int = Field(
        60,
        ge=1,
        le=100_000,
        title="steps at most",
        description="Training ends here at the latest.",
    )
    stop_at_convergence: bool = Field(True, description="End when the separations say converged.")
    seed: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="Seed of every random draw.",
        json_schema_extra={"of_preset": False},
    )

    # -- how the network sees the image
    rescale: Rescale | None = Field(
        None,
        title="rescale factor",
        description="How much larger than the image the network sees it, so that nuclei have the "
        "size that it was taught; auto: from their size in the image. Crops, patches and strides "
        "are in pixels of what it sees.",
    )
    test_time_augmentation: int | None = Field(
        None,
        ge=1,
        le=3,
        description="Views averaged for labels: the image, and smaller and turned copies; 1 is "
        f"fastest. auto: {STAINED.test_time_augmentation}, but "
        f"{FLUORESCENCE.test_time_augmentation} in fluorescence and from random weights.",
    )

    @field_validator("rescale", mode="before")
    @classmethod
    def _written(cls, value: object) -> object:
        """Numbers as fractions: 1.5, "1.5" and "3/2" are the same."""
        if not isinstance(value, str | int | float) or isinstance(value, bool):
            return value
        if len(str(value)) > 20 or "e" in str(value):  # 1e999999999 would take hours
            return value
        try:
            number = Fraction(value)
        except (ValueError, OverflowError, ZeroDivisionError):  # a word, NaN, infinity, "1/0"
            return value
        fraction = number.limit_denominator(4)
        return str(fraction) if abs(fraction - number) < 0.01 else value


class Objects(_Group):
    """What counts as a nucleus; can be changed after training."""

    nucleus_class: int | None = Field(
        None,
        ge=0,
        le=15,
        description="Confidence map that is nuclei; auto chooses it by the stain.",
        json_schema_extra={"of_one_image": True},
    )
    nucleus_polarity: Polarity | None = Field(
        None,
        description='Whether high ("direct") or low ("inverted") confidence is nuclei.',
        json_schema_extra={"of_one_image": True},
    )
    nucleus_diameter: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="Expected nucleus diameter; auto estimates it. Given before a run, it also "
        "decides how much the image is rescaled for the network.",
        json_schema_extra=_IN_VIEW,
    )
    diameter_unit: LengthUnit = Field(
        "px",
        description="Unit of nucleus_diameter; µm needs the pixel size.",
        json_schema_extra={"in_view": True, "of_preset": False},
    )
    prior_weight: float = Field(
        0.0,
        ge=0,
        le=10,
        title="stain's weight",
        description="Weight of the stain prior beside the confidence.",
    )
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Confidence from which a pixel is nucleus; every nucleus must have a surer "
        f"interior. auto: {STAINED.threshold}, {FLUORESCENCE.threshold} in fluorescence, or Otsu's "
        "threshold from random weights.",
        json_schema_extra=_IN_VIEW,
    )
    min_area: float | None = Field(
        None,
        ge=0,
        title="minimum area",
        description="Smallest object in square pixels, half of it at the border, where nuclei are "
        "cut; auto follows the diameter.",
        json_schema_extra={"unit": "px²", "in_view": True},
    )
    max_area: float | None = Field(
        None,
        gt=0,
        title="maximum area",
        description="Largest object in square pixels; auto: no limit.",
        json_schema_extra={"unit": "px²", "in_view": True},
    )
    split: Split = Field(
        "distance",
        title="split touching",
        description="How touching nuclei are split.",
        json_schema_extra=_IN_VIEW,
    )
    split_depth: float | None = Field(
        None,
        gt=0,
        le=2,
        description="Depth between two nuclei's peaks, in expected radii; less cuts more. auto: "
        f"{STAINED.split_depth}, {FLUORESCENCE.split_depth} in fluorescence, "
        f"{SPLIT_DEPTH_WITHOUT_INTERIORS} from random weights.",
        json_schema_extra={"unit": "radii", "in_view": True},
    )
    keep: str = Field(
        "",
        title="keep only",
        max_length=1000,
        description="Conditions that every nucleus must fulfil, on any of its measurements, such "
        'as "Solidity >= 0.8 and Area px^2 <= 900"; empty: none.',
        json_schema_extra={"of_one_image": True, "of_preset": False},
    )
    learn_from_hints: bool = Field(
        True,
        description="Whether hints teach their like all over the image; else they count at their "
        "own place alone.",
        json_schema_extra=_IN_VIEW,
    )

    @field_validator("keep")
    @classmethod
    def _conditions(cls, text: str) -> str:
        """As it is written in reports."""
        return in_words(conditions_of(text))

    @field_validator("diameter_unit", mode="before")
    @classmethod
    def _micrometres(cls, value: object) -> object:
        """However the Greek letter is typed."""
        return "µm" if value in ("um", "\N{GREEK SMALL LETTER MU}m") else value

    def diameter_in_pixels(self, pixel_size: float | None) -> float | None:
        """The expected nucleus diameter in pixels; None where it is left to the image.

        Parameters
        ----------
        pixel_size : float or None
            µm per pixel; None where it is unknown.

        Raises
        ------
        SettingsError
            If the diameter is given in µm and the image has no pixel size.
        """
        if self.nucleus_diameter is None or self.diameter_unit == "px":
            return self.nucleus_diameter
        if pixel_size is None:
            raise SettingsError(
                "The diameter is given in µm but the image has no pixel size; give the pixel size, "
                "or the diameter in pixels."
            )
        return self.nucleus_diameter / pixel_size


class Machine(_Group):
    """Where and how to compute."""

    device: Device | None = Field(
        None, description="Where to compute; auto: the graphics card, if torch can use one."
    )
    precision: Precision | None = Field(
        None,
        description="Number format of the convolutions; auto: bfloat16 where the processor has it.",
    )
    memory_format: MemoryFormat | None = Field(
        None,
        description="Memory layout of the convolutions; auto: channels_last, contiguous "
        "from random weights.",
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="CPU threads; auto: as many as torch takes, one a core."
    )


class Changes(TypedDict, total=False):
    """Any setting by its name alone, as type checkers and editors see them.

    Types come from `FIELDS` only while a program runs, hence they are written here once more; a
    test holds the two equal. https://peps.python.org/pep-0692/
    """

    image_kind: ImageKind | None
    weights: Weights
    classes: int
    patch_size: int
    stride: int
    patches: int
    similarity: Similarity
    anchors: int
    crop_size: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    consistency_weight: float
    ema_decay: float
    max_steps: int
    stop_at_convergence: bool
    seed: int
    rescale: Rescale | None
    test_time_augmentation: int | None
    nucleus_class: int | None
    nucleus_polarity: Polarity | None
    nucleus_diameter: float | None
    diameter_unit: LengthUnit
    prior_weight: float
    threshold: float | None
    min_area: float | None
    max_area: float | None
    split: Split
    split_depth: float | None
    keep: str
    learn_from_hints: bool
    device: Device | None
    precision: Precision | None
    memory_format: MemoryFormat | None
    threads: int | None


class Settings(_Group):
    """Every choice that a result depends on, apart from the image itself.

    Two runs with the same image and the same resolved settings give identical labels.

    Raises
    ------
    SettingsError
        From `create`, `replace` and `from_dict`: a line for each unknown name and wrong value.

    Examples
    --------
    >>> from napari_patchseg import Settings
    >>> settings = Settings.create(seed=3, threshold=0.4)
    >>> settings.training.seed, settings.objects.threshold
    (3, 0.4)
    >>> settings.replace(nucleus_diameter=30).changes()
    {'seed': 3, 'nucleus_diameter': 30.0, 'threshold': 0.4}
    """

    preset: Preset = Field(
        "default",
        description="Settings to start from: default, the fastest that is good, or paper, as "
        "published.",
        json_schema_extra={"in_view": True, "of_preset": False},
    )
    image_kind: ImageKind | None = Field(
        None,
        description="How the image is understood. stained: a section in colour; grey: dark nuclei "
        "on light; fluorescence: bright nuclei on dark; auto: by what the image holds.",
        json_schema_extra={"of_one_image": True, "of_preset": False},
    )
    training: Training = Training()
    objects: Objects = Objects()
    machine: Machine = Machine()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        training, nucleus_class = self.training, self.objects.nucleus_class
        least, most = self.objects.min_area, self.objects.max_area
        wrong = []
        if training.crop_size < training.patch_size:
            wrong.append(
                f"crop_size ({training.crop_size}) must not be smaller than "
                f"patch_size ({training.patch_size})"
            )
        if training.weights == "pretrained" and training.classes != 2:
            wrong.append(
                f"the pretrained weights have 2 classes, not {training.classes}; "
                "choose weights 'random' for another number"
            )
        if nucleus_class is not None and nucleus_class >= training.classes:
            wrong.append(
                f"nucleus_class ({nucleus_class}) must be below classes ({training.classes})"
            )
        if least is not None and most is not None and least > most:
            wrong.append(f"min_area ({least:g}) must not be larger than max_area ({most:g})")
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    @classmethod
    def create(cls, /, preset: str = "default", **changes: Unpack[Changes]) -> Settings:
        """Settings of a preset, with some of them changed.

        Parameters
        ----------
        preset : str
            One of `PRESETS`.
        **changes
            Any of `FIELDS`, by its name alone.
        """
        base = next((PRESETS[name] for name in PRESETS if name == preset), {})
        return cls.from_dict({**base, "preset": preset, **changes})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Validate a mapping such as `to_dict` makes, or one of `FIELDS` by name."""
        try:
            return cls.model_validate(_grouped(values))
        except ValidationError as error:
            raise _settings_error(error) from error

    def replace(self, /, **changes: Unpack[Changes]) -> Settings:
        """Return a copy with some of `FIELDS` changed, validated anew."""
        return self.from_dict({**self.flat(), **changes})

    def flat(self) -> dict[str, Any]:
        """All of `FIELDS` by name."""
        return {name: field.of(self) for name, field in FIELDS.items()}

    def to_dict(self) -> dict[str, Any]:
        """All groups as plain JSON values."""
        return self.model_dump(mode="json")

    def changes(self) -> dict[str, Any]:
        """Fields that differ from their preset's: what a user types."""
        base = Settings.create(self.preset).flat()
        return {name: value for name, value in self.flat().items() if value != base[name]}


_SIGNS = ("ge", "gt", "le", "lt")


class SettingField(NamedTuple):
    """A field of `Settings` or of one of its groups.

    Attributes
    ----------
    name : str
        Unique over the groups.
    group : str
        Attribute of `Settings` that has it; empty for those of `Settings` itself.
    info : FieldInfo
        Type, default, limits, title, description, and its unit in ``json_schema_extra``.
    """

    name: str
    group: str
    info: FieldInfo

    def of(self, settings: Settings) -> Any:
        """The field's value."""
        return getattr(getattr(settings, self.group) if self.group else settings, self.name)

    @property
    def label(self) -> str:
        """Its name in words."""
        return self.info.title or self.name.replace("_", " ")

    @property
    def unit(self) -> str:
        """Such as "px"; empty for plain numbers and words."""
        return str(self._said("unit", ""))

    @property
    def in_view(self) -> bool:
        """Whether it is among the few that a panel shows without being asked."""
        return bool(self._said("in_view", False))

    @property
    def of_one_image(self) -> bool:
        """Whether its value means nothing for another image."""
        return bool(self._said("of_one_image", False))

    @property
    def of_preset(self) -> bool:
        """Whether a preset sets it: those about the method."""
        return self.group != "machine" and bool(self._said("of_preset", True))

    @property
    def may_be_none(self) -> bool:
        """Whether there is an automatic choice."""
        return self.info.default is None

    @property
    def kind(self) -> type:
        """What its values are besides None: bool, int, float or str."""
        annotation = self.info.annotation
        kinds = {type(None)} ^ {annotation, *get_args(annotation)}
        return next((kind for kind in (bool, int, float) if kind in kinds), str)

    @property
    def choices(self) -> tuple[str, ...]:
        """All words that it may be; empty where it is a number, yes or no, or any text."""
        return _words(self.info.annotation)

    @property
    def limits(self) -> tuple[float | None, float | None, bool]:
        """Least and largest value, and whether the least itself is excluded."""
        said: dict[str, Any] = {}
        for part in self.info.metadata:
            said |= {sign: getattr(part, sign) for sign in _SIGNS if hasattr(part, sign)}
        low, high = said.get("ge", said.get("gt")), said.get("le", said.get("lt"))
        if self.kind is int and "lt" in said:
            high = said["lt"] - 1
        return low, high, "gt" in said

    def _said(self, name: str, otherwise: Any) -> Any:
        extra = self.info.json_schema_extra
        return extra.get(name, otherwise) if isinstance(extra, dict) else otherwise


def _may_be_none(name: str) -> bool:
    return name in FIELDS and FIELDS[name].may_be_none


def _words(annotation: Any) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return tuple(word for part in get_args(annotation) for word in _words(part))


_GROUPS: dict[str, type[_Group]] = {
    "training": Training,
    "objects": Objects,
    "machine": Machine,
}

_MODELS: dict[str, type[_Group]] = {"": Settings, **_GROUPS}

#: All settings by name, in the order in which people see them.
FIELDS: Mapping[str, SettingField] = {
    name: SettingField(name, group, info)
    for group, model in _MODELS.items()
    for name, info in model.model_fields.items()
    if name not in _GROUPS
}

#: Named starting points. "paper": section 4 of the paper. "default": see docs/method.md for what
#: differs and why.
PRESETS: Mapping[Preset, Mapping[str, Any]] = {
    "default": {},
    "paper": {
        "weights": "random",
        "classes": 4,
        "crop_size": 300,
        "batch_size": 10,
        "learning_rate": 2e-4,
        "ema_decay": 0.0,
        "rescale": "1",
        "test_time_augmentation": 1,
        "max_steps": 100,  # 25 epochs of MoNuSeg's 30 images in batches of 10
    },
}


@dataclass(frozen=True)
class ResolvedMachine:
    """A `Machine` without any automatic choice."""

    device: Device
    precision: Precision
    memory_format: MemoryFormat
    threads: int


@dataclass(frozen=True)
class Resolved:
    """Settings with every choice made that is not read off a confidence map.

    Attributes
    ----------
    settings : Settings
        With `machine`, `image_kind`, `rescale` and `test_time_augmentation` filled in.
    modality : Modality
        What kind of image it is.
    machine : ResolvedMachine
        Where and how to compute.
    rescale : Fraction
        How much larger than the image the network sees it.
    test_time_augmentation : int
        Views averaged for labels.
    """

    settings: Settings
    modality: Modality
    machine: ResolvedMachine
    rescale: Fraction
    test_time_augmentation: int

    @property
    def training(self) -> Training:
        """How the network is trained."""
        return self.settings.training

    @property
    def objects(self) -> Objects:
        """What counts as a nucleus, as the user said."""
        return self.settings.objects


def _grouped(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as `Settings` nests them; unknown names stay outside, to be told of."""
    nested: dict[str, Any] = {name: values.get(name, {}) for name in _GROUPS}
    groups = {n: dict(of) for n, of in nested.items() if isinstance(of, Mapping | _Group)}
    nested |= groups
    for name, value in values.items():
        group = FIELDS[name].group if name in FIELDS else ""
        if group:
            groups.get(group, {})[name] = value  # no mapping is a mistake of its own
        elif name not in _GROUPS:
            nested[name] = value
    return nested


def _settings_error(error: ValidationError) -> SettingsError:
    """In sentences, one for each setting that is wrong."""
    sentences: list[str] = []
    wrong: dict[str, str] = {}
    wanted: dict[str, list[str]] = {}  # one that may be of several types has an error for each
    given: dict[str, Any] = {}
    for item in error.errors():
        text = item["msg"].removeprefix("Value error, ")
        if not item["loc"]:
            sentences += [f"Setting combination: {line}." for line in text.splitlines()]
            continue
        path = [str(part) for part in item["loc"] if part not in _GROUPS]
        name = path[0] if path else str(item["loc"][0])
        if not path:
            wrong[name] = "that is a group of settings; give each by its own name."
            continue
        if item["type"] == "extra_forbidden":
            close = get_close_matches(name, FIELDS, 1)
            wrong[name] = "there is no such setting" + (
                f"; did you mean {close[0]}?" if close else "."
            )
            continue
        text = text.removeprefix("Input should be ").split(", unable")[0].split(", got")[0]
        wanted.setdefault(name, []).append(text)
        given[name] = item["input"]
    for name, texts in wanted.items():
        value = repr(given[name])
        value = value if len(value) <= 40 else value[:37] + "..."
        also = f", or {AUTOMATIC!r}" if _may_be_none(name) else ""
        wrong[name] = f"it should be {' or '.join(texts)}{also}, not {value}."
    return SettingsError(*sentences, wrong=wrong)

"""Settings of a run: frozen, validated, saved with every result."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from fractions import Fraction
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from napari_patchseg.errors import SettingsError

Similarity = Literal["mean-squared-error", "cross-entropy", "featurised-cosine"]
Device = Literal["auto", "cpu", "cuda", "mps"]
Precision = Literal["auto", "float32", "bfloat16"]
MemoryFormat = Literal["auto", "contiguous", "channels_last"]
Polarity = Literal["auto", "direct", "inverted"]
Start = Literal["synthetic", "random"]
Magnification = Literal["auto", "1/4", "1/2", "2/3", "1", "3/2", "2"]
Split = Literal["distance", "none"]
LengthUnit = Literal["px", "µm"]
ImageKind = Literal["auto", "stained", "grey", "fluorescence"]

#: What None stands for; here, so that the descriptions below can say it.
THRESHOLD = 0.5
#: Blurred edges belong to a nucleus that glows; elsewhere it is a half, as the start was taught.
FLUORESCENCE_THRESHOLD = 0.35
#: Depth between two nuclei's peaks. Nuclei that glow are smooth: a shallow saddle between them is
#: one; in stained ones it may be chromatin.
SPLIT_DEPTH, SPLIT_DEPTH_WITH_CORES, FLUORESCENCE_SPLIT_DEPTH = 0.06, 0.2, 0.12


class Settings(BaseModel):
    """Every choice that a result depends on, apart from the image itself.

    Two runs with the same image and the same *resolved* settings (``magnification`` and ``views``
    chosen, no ``"auto"`` left among
    ``device``, ``precision``, ``memory_format`` and ``threads``) give identical labels.

    Raises
    ------
    SettingsError
        From `Settings.create` and `Settings.replace`, for an unknown name or a value out of range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    preset: str = Field("default", description="Name of the preset these settings started from.")

    # -- network (paper section 3.1)
    start: Start = Field(
        "synthetic", description="Weights at the start: learnt on synthetic images."
    )
    classes: int = Field(2, ge=1, le=16, description="Number of confidence maps K.")

    # -- patch sampler (section 3.2)
    patch_size: int = Field(50, ge=8, le=256, description="Side of a patch in pixels.")
    stride: int = Field(
        20, ge=1, le=256, description="Distance between candidate windows in pixels."
    )
    patches: int = Field(10, ge=2, le=64, description="Windows drawn per crop and class.")

    # -- contrastive loss (section 3.3)
    similarity: Similarity = Field("mean-squared-error", description="Similarity of two patches.")
    anchors: int = Field(
        10, ge=1, le=64, description="Anchors per class, drawn from its positives."
    )

    # -- optimisation (section 4)
    crop_size: int = Field(160, ge=64, le=1024, description="Side of a training crop in pixels.")
    batch_size: int = Field(3, ge=1, le=64, description="Crops per step.")
    learning_rate: float = Field(2e-3, gt=0, le=0.1, description="Adam's learning rate.")
    weight_decay: float = Field(1e-4, ge=0, le=1, description="Adam's weight decay.")
    anchor: float = Field(
        20.0, ge=0, le=1000, description="Weight of agreeing with the synthetic start's own maps."
    )
    averaging: float = Field(
        0.9,
        ge=0,
        lt=1,
        description="Share of the earlier weights in the running mean that is shown and kept; "
        "0: the last step's weights.",
    )
    max_steps: int = Field(60, ge=1, le=100_000, description="Training ends here at the latest.")
    stop_at_convergence: bool = Field(True, description="End when the separations say converged.")
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every random draw.")

    # -- image: "auto" is resolved for every image
    image_kind: ImageKind = Field(
        "auto",
        description="How the image is understood. stained: a section in colour; grey: dark nuclei "
        "on light; fluorescence: bright nuclei on dark; auto: by what the image holds.",
    )

    magnification: Magnification = Field(
        "auto",
        description="How much larger than the image the network sees it, so that nuclei have the "
        "size that it was taught; auto: from their size in the image. Crops, patches and strides "
        "are in pixels of what it sees.",
    )

    views: int | None = Field(
        None,
        ge=1,
        le=3,
        description="Views averaged for labels: the image, and smaller and turned copies; 1 is "
        "fastest. None: 3, but 1 in fluorescence and from a random start.",
    )

    # -- machine: "auto" is resolved once per machine and remembered
    device: Device = Field("auto", description="Where to compute.")
    precision: Precision = Field("auto", description="Number format of the convolutions.")
    memory_format: MemoryFormat = Field("auto", description="Memory layout of the convolutions.")
    threads: int | Literal["auto"] = Field("auto", description="CPU threads.")

    # -- from confidence to objects
    nucleus_class: int | None = Field(
        None, ge=0, le=15, description="Confidence map that is nuclei; None chooses it."
    )
    nucleus_polarity: Polarity = Field(
        "auto", description='"inverted" where low confidence is nuclei.'
    )
    nucleus_diameter: float | None = Field(
        None,
        gt=0,
        le=1000,
        description="Expected nucleus diameter; None estimates it. Given before a run, it also "
        "decides how much the network magnifies the image.",
    )
    diameter_unit: LengthUnit = Field("px", description="Unit of nucleus_diameter.")
    prior_weight: float = Field(
        0.0, ge=0, le=10, description="Weight of the stain prior beside the confidence."
    )
    threshold: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Confidence from which a pixel is nucleus; None: "
        f"{THRESHOLD}, {FLUORESCENCE_THRESHOLD} for fluorescence, or Otsu's from a random start. "
        "With a map of cores every nucleus must have a surer one.",
    )
    min_area: float | None = Field(
        None,
        ge=0,
        description="Smallest object in square pixels, half of it at the border, where nuclei are "
        "cut; None follows the diameter.",
    )
    split: Split = Field("distance", description="How touching nuclei are split.")
    split_depth: float | None = Field(
        None,
        gt=0,
        le=2,
        description="Depth between two nuclei's peaks, in expected radii; None: "
        f"{SPLIT_DEPTH_WITH_CORES} with a map of cores, which adds to the height "
        f"({FLUORESCENCE_SPLIT_DEPTH} in fluorescence), else {SPLIT_DEPTH}.",
    )

    @field_validator("diameter_unit", mode="before")
    @classmethod
    def _micrometres(cls, value: object) -> object:
        """However the Greek letter is typed."""
        return "µm" if value in ("um", "\N{GREEK SMALL LETTER MU}m") else value

    @field_validator("magnification", mode="before")
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

    @model_validator(mode="after")
    def _fits(self) -> Self:
        wrong = []
        if self.crop_size < self.patch_size:
            wrong.append(
                f"crop_size ({self.crop_size}) must not be smaller than "
                f"patch_size ({self.patch_size})"
            )
        if self.start == "synthetic" and self.classes != 2:
            wrong.append(
                f"the synthetic start has 2 classes, not {self.classes}; "
                "choose start 'random' for another number"
            )
        if isinstance(self.threads, int) and not 1 <= self.threads <= 1024:
            wrong.append(f"threads must be between 1 and 1024, or 'auto', not {self.threads}")
        if self.nucleus_class is not None and self.nucleus_class >= self.classes:
            wrong.append(
                f"nucleus_class ({self.nucleus_class}) must be below classes ({self.classes})"
            )
        if wrong:
            raise ValueError("\n".join(wrong))
        return self

    @classmethod
    def create(cls, preset: str = "default", **changes: Any) -> Settings:
        """Settings of a preset, with some of them changed.

        Parameters
        ----------
        preset : str
            One of `PRESETS`.
        **changes
            Any field of `Settings`.

        Raises
        ------
        SettingsError
            For an unknown preset, unknown fields and values out of range: a line for each.
        """
        if isinstance(preset, str) and preset in PRESETS:
            return cls.from_dict({**PRESETS[preset], "preset": preset, **changes})
        known = ", ".join(repr(name) for name in PRESETS)
        wrong = [f"There is no preset {preset!r}; choose one of {known}."]
        try:
            cls.from_dict(changes)
        except SettingsError as error:
            wrong.append(str(error))
        raise SettingsError("\n".join(wrong))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Validate a mapping such as `to_dict` makes.

        Raises
        ------
        SettingsError
            With a line for each setting that is wrong.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise SettingsError("\n".join(_sentences(error))) from error

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some fields changed, validated anew; raises `SettingsError`."""
        return self.from_dict({**self.model_dump(), **changes})

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

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return self.model_dump(mode="json")

    def changes(self) -> dict[str, Any]:
        """Fields that differ from their preset's, as plain JSON values: what a user types."""
        if self.preset not in PRESETS:
            return self.to_dict()
        base = Settings.create(self.preset).to_dict()
        return {key: value for key, value in self.to_dict().items() if value != base[key]}


def _sentences(error: ValidationError) -> list[str]:
    """One for each setting that is wrong."""
    wrong: dict[str, list[str]] = {}  # one that may be of several types has an error for each
    given: dict[str, Any] = {}
    sentences = []
    for item in error.errors():
        text = item["msg"].removeprefix("Value error, ")
        if not item["loc"]:
            sentences += [f"Setting combination: {line}." for line in text.splitlines()]
            continue
        name = str(item["loc"][0])
        if item["type"] == "extra_forbidden":
            close = get_close_matches(name, Settings.model_fields, 1)
            end = f"; did you mean {close[0]}?" if close else "."
            sentences.append(f"Setting {name}: there is no such setting{end}")
            continue
        text = text.removeprefix("Input should be ").split(", unable")[0].split(", got")[0]
        wrong.setdefault(name, []).append(text)
        given[name] = item["input"]
    for name, wanted in wrong.items():
        value = repr(given[name])
        value = value if len(value) <= 40 else value[:37] + "..."
        sentences.append(f"Setting {name}: it should be {' or '.join(wanted)}, not {value}.")
    return sentences


#: Named starting points. "paper": section 4 of the paper. "default": see docs/method.md for what
#: differs and why.
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "paper": {
        "start": "random",
        "classes": 4,
        "crop_size": 300,
        "batch_size": 10,
        "learning_rate": 2e-4,
        "averaging": 0.0,
        "magnification": "1",
        "views": 1,
        "max_steps": 100,  # 25 epochs of MoNuSeg's 30 images in batches of 10
    },
}

"""Settings of a run: frozen, validated, saved with every result."""

from __future__ import annotations

from collections.abc import Mapping
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
        description="Confidence from which a pixel is nucleus; None: 0.5, 0.35 for fluorescence, "
        "or Otsu's from a random start. With a map of cores every nucleus must have a surer one.",
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
        description="Depth between two nuclei's peaks, in expected radii; None: 0.2 with a map of "
        "cores, which adds to the height (0.12 in fluorescence), else 0.06.",
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
        if self.crop_size < self.patch_size:
            raise ValueError(
                f"crop_size ({self.crop_size}) must not be smaller than "
                f"patch_size ({self.patch_size})"
            )
        if self.start == "synthetic" and self.classes != 2:
            raise ValueError(
                f"the synthetic start has 2 classes, not {self.classes}; "
                "choose start 'random' for another number"
            )
        if isinstance(self.threads, int) and not 1 <= self.threads <= 1024:
            raise ValueError(f"threads must be between 1 and 1024, or 'auto', not {self.threads}")
        if self.nucleus_class is not None and self.nucleus_class >= self.classes:
            raise ValueError(
                f"nucleus_class ({self.nucleus_class}) must be below classes ({self.classes})"
            )
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
            For an unknown preset, an unknown field or a value out of range.
        """
        if preset not in PRESETS:
            known = ", ".join(repr(name) for name in PRESETS)
            raise SettingsError(f"There is no preset {preset!r}; choose one of {known}.")
        return cls.from_dict({**PRESETS[preset], "preset": preset, **changes})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Validate a mapping such as `to_dict` makes; raises `SettingsError`."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(str(part) for part in first["loc"][:1])
            text = first["msg"].removeprefix("Value error, ")
            if first["type"] == "extra_forbidden":
                text = "there is no such setting"
            raise SettingsError(f"Setting {name or 'combination'}: {text}.") from error

    def replace(self, **changes: Any) -> Settings:
        """Return a copy with some fields changed, validated anew; raises `SettingsError`."""
        return self.from_dict({**self.model_dump(), **changes})

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain JSON values."""
        return self.model_dump(mode="json")

    def changes(self) -> dict[str, Any]:
        """Fields that differ from their preset's, as plain JSON values: what a user types."""
        if self.preset not in PRESETS:
            return self.to_dict()
        base = Settings.create(self.preset).to_dict()
        return {key: value for key, value in self.to_dict().items() if value != base[key]}


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

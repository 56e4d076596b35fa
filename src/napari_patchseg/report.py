"""What a run tells its host, and what a result came from."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, computed_field, model_validator

from napari_patchseg.corrections import Corrections
from napari_patchseg.settings import Resolved, Settings

if TYPE_CHECKING:  # the report is read where torch is not loaded
    from napari_patchseg.method.events import MapMade, Step, Trained
    from napari_patchseg.method.maps import ConfidenceMap, NucleusClass
    from napari_patchseg.method.network import Model

PACKAGES = ("napari-patchseg", "torch", "numpy", "scipy", "scikit-image")
#: Labels: (H, W) uint16 or uint32, 0 is background.
Labels = NDArray[np.uint16] | NDArray[np.uint32]
#: Reddish purple, sky blue and orange of Okabe and Ito's palette, on dark and light ground: curves
#: of a history, and patches, have these colours everywhere.
LOSS_COLOUR, POSITIVE_COLOUR, NEGATIVE_COLOUR = "#cc79a7", "#56b4e9", "#e69f00"


class HistoryRow(NamedTuple):
    """Loss and separations of a training step."""

    step: int
    loss: float
    positive_separation: float
    negative_separation: float

    @classmethod
    def of(cls, step: Step) -> HistoryRow:
        """Of the step that was just done."""
        return cls(step.step, step.loss, step.positive_separation, step.negative_separation)


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ImageReport(_Frozen):
    """What was segmented.

    Attributes
    ----------
    description : str
        How it was understood.
    shape : tuple of int
        (C, H, W).
    pixel_size_um : float or None
        µm per pixel.
    file : str or None
        Its name, without folders: labels are passed on.
    """

    description: str
    shape: tuple[int, int, int]
    pixel_size_um: float | None = None
    file: str | None = None


class NucleusReport(_Frozen):
    """Which class was taken for nuclei; see `NucleusClass`."""

    index: int
    inverted: bool
    correlation: float | None

    @classmethod
    def of(cls, nucleus: NucleusClass) -> NucleusReport:
        """Of the class that was chosen."""
        value = nucleus.correlation
        correlation = None if math.isnan(value) else round(value, 4)
        return cls(index=nucleus.index, inverted=nucleus.inverted, correlation=correlation)


class ObjectsReport(_Frozen):
    """What the labels came from; lengths in pixels. None where no object was looked for.

    Attributes
    ----------
    count : int
        Nuclei found.
    threshold, marker_threshold : float or None
        Confidence from which a pixel is nucleus, and that every nucleus reaches inside.
    diameter, min_area, max_area : float or None
        Expected diameter, the smallest area, and the largest, where there is one.
    split : bool or None
        Whether touching nuclei were split.
    split_depth : float or None
        In expected radii.
    """

    count: int
    threshold: float | None = None
    diameter: float | None = None
    min_area: float | None = None
    max_area: float | None = None
    split: bool | None = None
    split_depth: float | None = None
    marker_threshold: float | None = None


class Report(_Frozen):
    """What a result came from: all that is needed to make it again.

    Attributes
    ----------
    settings : Settings
        Resolved: nothing automatic is left that is not read off the confidence map.
    versions : mapping
        Of Python and of the packages that matter.
    image : ImageReport or None
        What was segmented.
    start_steps : int
        Steps behind the model that training began with; 0 where it began as the settings say.
    steps, weights_of_step : int or None
        Training steps done, and the step whose weights were kept.
    stop_reason : str
        Why training ended.
    loss, positive_separation, negative_separation : float or None
        Of the last step.
    nucleus_class : NucleusReport or None
        Which class is nuclei.
    objects : ObjectsReport or None
        What the labels came from; None where none were made.
    seconds : mapping of str to float
        By phase.
    warnings : tuple of str
        Sentences for the user.
    model_file : str or None
        Name of the model's file, where one was used, begun with, or written.
    corrections : Corrections or None
        What the user corrected by hand.
    """

    settings: Settings
    versions: Mapping[str, str]
    image: ImageReport | None = None
    start_steps: int = 0
    steps: int = 0
    weights_of_step: int | None = None
    stop_reason: str
    loss: float | None = None
    positive_separation: float | None = None
    negative_separation: float | None = None
    nucleus_class: NucleusReport | None = None
    objects: ObjectsReport | None = None
    seconds: Mapping[str, float] = {}
    warnings: tuple[str, ...] = ()
    model_file: str | None = None
    corrections: Corrections | None = None

    @model_validator(mode="before")
    @classmethod
    def _as_written(cls, values: Any) -> Any:
        """Take what `to_dict` makes: the seed is written once more than it is held."""
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if name != "seed"}

    @computed_field  # type: ignore[prop-decorator] # https://github.com/python/mypy/issues/14461
    @property
    def seed(self) -> int:
        """Seed of every random draw."""
        return self.settings.training.seed

    def replace(self, **changes: Any) -> Report:
        """Return a copy with some fields changed."""
        return self.model_copy(update=changes)

    def took(self, **seconds: float) -> Report:
        """Return a copy with more phases' seconds."""
        more = {name: round(value, 3) for name, value in seconds.items()}
        return self.replace(seconds={**self.seconds, **more})

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, for files and layers."""
        return self.model_dump(mode="json")


@cache
def versions() -> Mapping[str, str]:
    """Of Python and of the packages that results depend on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


@dataclass(frozen=True)
class Segmentation:
    """The result of a run.

    Attributes
    ----------
    labels : ndarray or None
        (H, W) uint16 or uint32, 0 is background; None where none were asked for, or the run was
        stopped.
    confidence : ConfidenceMap or None
        Of the whole image at full size; None where the run ended before there was one.
    model : Model or None
        The trained network; None where there was nothing to train on.
    report : Report
        What it came from.
    history : tuple of HistoryRow
        Of every training step.
    """

    labels: Labels | None
    confidence: ConfidenceMap | None
    model: Model | None
    report: Report
    history: tuple[HistoryRow, ...] = ()


# -- events: what `pipeline.run` yields, besides the method's `Step`, `MapMade` and `Trained`


@dataclass(frozen=True)
class Started:
    """Every choice is made; training or prediction begins."""

    resolved: Resolved


@dataclass(frozen=True)
class Progress:
    """Where a run is, outside of training.

    Attributes
    ----------
    phase : str
        "starting", "predicting" or "labelling".
    done, total : int
        Units of work of this phase.
    message : str
        In words for the user.
    """

    phase: Literal["starting", "predicting", "labelling"]
    done: int
    total: int
    message: str


@dataclass(frozen=True)
class Labelled:
    """Labels were made: (H, W), and what they came from."""

    labels: Labels
    objects: ObjectsReport


@dataclass(frozen=True)
class Finished:
    """The run has ended."""

    result: Segmentation


if TYPE_CHECKING:
    Event = Started | Progress | Step | MapMade | Trained | Labelled | Finished

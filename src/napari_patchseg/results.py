"""What a run yields besides training's snapshots: where it is, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from napari_patchseg.image.instances import Labels
from napari_patchseg.method.model import Model
from napari_patchseg.method.settings import Settings
from napari_patchseg.method.snapshot import ConfidenceMap


@dataclass(frozen=True)
class Progress:
    """Where a run is, outside of training.

    Attributes
    ----------
    phase : str
        "starting", "predicting" or "instances".
    done, total : int
        Units of work of this phase.
    message : str
        In words for the user.
    settings : Settings or None
        At the end of "starting": every choice made, those that depend on the image too.
    """

    phase: str
    done: int
    total: int
    message: str
    settings: Settings | None = None


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
    report : dict
        JSON-ready provenance: settings, versions, steps, stop reason, separations, seconds by
        phase, objects, warnings.
    warnings : list of str
        One sentence each, for the user.
    history : tuple
        (step, loss, positive separation, negative separation) of every training step.
    """

    labels: Labels | None
    confidence: ConfidenceMap | None
    model: Model | None
    report: dict[str, Any]
    warnings: list[str]
    history: tuple[tuple[int, float, float, float], ...] = field(default=())

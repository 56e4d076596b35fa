"""Where a run is: one frozen value, which panel and activity line show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from napari_patchseg.words import pluralize, time_left


class Phase(StrEnum):
    """What a session is doing."""

    IDLE = "idle"
    STARTING = "starting"
    TRAINING = "training"
    PREDICTING = "predicting"
    LABELLING = "labelling"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    CONVERGED = "converged"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


#: What a worker does, as the pipeline says.
_WORK = frozenset({Phase.STARTING, Phase.TRAINING, Phase.PREDICTING, Phase.LABELLING})
#: What the user has asked for meanwhile, and what is said then.
_HOLDS = {
    Phase.PAUSING: "pausing…",
    Phase.PAUSED: "paused",
    Phase.STOPPING: "stopping…",
}


@dataclass(frozen=True)
class RunState:
    """Where a run is, or how it ended.

    Attributes
    ----------
    work : Phase
        What the worker does, or what came of it.
    message : str
        The same in words.
    hold : Phase or None
        PAUSING, PAUSED or STOPPING, beside the work.
    step, max_steps : int
        Training steps done, and the most there can be; 0 before the first.
    done, total : int
        Units of work outside of training; 0 in training.
    remaining : float or None
        Estimated seconds to the step limit.
    may_end_sooner : bool
        Whether `remaining` is an upper bound.
    nuclei : int or None
        How many the last labels have.
    """

    work: Phase = Phase.IDLE
    message: str = "ready"
    hold: Phase | None = None
    step: int = 0
    max_steps: int = 0
    done: int = 0
    total: int = 0
    remaining: float | None = None
    may_end_sooner: bool = True
    nuclei: int | None = None

    @property
    def phase(self) -> Phase:
        """The one to show."""
        return self.hold or self.work

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self.work in _WORK

    @property
    def waits(self) -> bool:
        """Whether the user has asked for a pause."""
        return self.hold in (Phase.PAUSING, Phase.PAUSED)

    @property
    def can_pause(self) -> bool:
        """Whether a pause makes sense."""
        return self.phase in (Phase.TRAINING, Phase.PREDICTING)

    @property
    def text(self) -> str:
        """For the user: the phase, and how many nuclei there are."""
        words = _HOLDS[self.hold] if self.hold else self.message
        if self.nuclei is None or self.work is Phase.FAILED:
            return words
        return f"{words} · {pluralize(self.nuclei, 'nucleus', 'nuclei')}"

    @property
    def time_left(self) -> str:
        """How long training will take yet, in words; empty where nobody knows."""
        if self.phase is not Phase.TRAINING or self.remaining is None:
            return ""
        return time_left(self.remaining, may_end_sooner=self.may_end_sooner)

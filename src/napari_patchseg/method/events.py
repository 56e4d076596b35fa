"""What training tells its host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .maps import ConfidenceMap, SampledPatches

if TYPE_CHECKING:  # hosts know events before torch is loaded
    from .model import Model

StopReason = Literal["converged", "step limit", "stopped", "nothing separated"]
State = Literal["separating", "converged", "collapsed", "stopped", "step limit"]


@dataclass(frozen=True)
class Step:
    """A training step is done.

    Attributes
    ----------
    step, max_steps : int
        Steps done, and the most there can be.
    loss : float
        Contrastive loss of the step; NaN where the step was skipped.
    positive_separation, negative_separation : float
        Positive-positive and positive-negative information separation (mean squared differences);
        NaN where a batch had no such pairs.
    state : str
        "separating", "converged", "collapsed" (this step was undone), "stopped" or "step limit".
    message : str
        The state in words for the user, such as "converged after 140 steps".
    elapsed : float
        Seconds since the start, pauses included.
    remaining : float or None
        Estimated seconds to the step limit; None while too few steps have been timed.
    may_end_sooner : bool
        Whether training stops at convergence, so that `remaining` is an upper bound.
    patches : SampledPatches
        The step's windows.
    """

    step: int
    max_steps: int
    loss: float
    positive_separation: float
    negative_separation: float
    state: State
    message: str
    elapsed: float
    remaining: float | None
    may_end_sooner: bool
    patches: SampledPatches


@dataclass(frozen=True)
class MapMade:
    """A confidence map, where one was due or asked for."""

    confidence: ConfidenceMap


@dataclass(frozen=True)
class Trained:
    """Training has ended.

    Attributes
    ----------
    model : Model
        The weights reached; its `steps` and `stop_reason` say how.
    steps : int
        Steps done; the weights may be of an earlier one.
    message : str
        Why it ended, in words for the user.
    recoveries : tuple of str
        What was done about collapses, in words.
    """

    model: Model
    steps: int
    message: str
    recoveries: tuple[str, ...] = ()

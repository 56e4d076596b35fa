"""What training and prediction tell their host, and what it may ask of them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from napari_patchseg.geometry import Box

from .maps import ConfidenceMap, SampledPatches

if TYPE_CHECKING:  # hosts know events before torch is loaded
    from .network import Model

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


class Control:
    """What a host may ask of a running training or prediction, from any thread.

    Parameters
    ----------
    previews : bool
        Whether confidence maps are made during training.
    preview_box : Box or None
        The part of the image that previews should cover, such as the visible field; None: all of
        it.
    """

    def __init__(self, *, previews: bool = False, preview_box: Box | None = None) -> None:
        self.previews = previews
        self.preview_box = preview_box
        self._cancelled = threading.Event()
        self._map_wanted = threading.Event()

    def cancel(self) -> None:
        """Ask for the end; training gives up the step under way and keeps the weights before it."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the end was asked for."""
        return self._cancelled.is_set()

    def request_map(self) -> None:
        """Ask for one map of the whole image at full size after the step under way."""
        self._map_wanted.set()

    @property
    def map_wanted(self) -> bool:
        """Whether such a map was asked for and is not made yet."""
        return self._map_wanted.is_set()

    def map_made(self) -> None:
        """Called by the worker: a map of the whole image at full size has come."""
        self._map_wanted.clear()

    def wait_while_paused(self) -> None:
        """Called between the pieces of work; a host that can pause waits here."""

    def checkpoint(self) -> None:
        """Wait while paused; raises `Cancelled` where the end was asked for."""
        self.wait_while_paused()
        if self.cancelled:
            raise Cancelled


class Cancelled(Exception):
    """Raised inside work whose end was asked for."""

"""What training tells its host after every step, and what a host may ask of it."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .settings import Start
from .source import Box

if TYPE_CHECKING:
    from .model import Model

StopReason = Literal["converged", "step limit", "stopped", "nothing separated"]
State = Literal["separating", "converged", "collapsed", "stopped", "step limit"]


def learning(step: int, max_steps: int) -> str:
    """What a run in training says of itself."""
    return f"learning: step {step}, at most {max_steps}"


@dataclass(frozen=True)
class NucleusClass:
    """Which confidence map is nuclei.

    Attributes
    ----------
    index : int
        Class of the confidence network, from 0.
    inverted : bool
        Whether low confidence is nuclei.
    correlation : float
        Correlation in [-1, 1] of that class's confidence with the prior that chose it; NaN where
        the user chose.
    """

    index: int
    inverted: bool
    correlation: float

    def of(self, confidence: NDArray[np.float32]) -> NDArray[np.float32]:
        """Confidence in nuclei (H, W) out of confidences (K, H, W)."""
        chosen: NDArray[np.float32] = confidence[self.index]
        return 1 - chosen if self.inverted else chosen


@dataclass(frozen=True)
class ConfidenceMap:
    """Confidences from forward passes of the weights of one step alone.

    Attributes
    ----------
    step : int
        The step whose weights made the map.
    data : ndarray
        (K, h, w) float32 in [0, 1].
    box : Box
        The part of the image it covers, in pixels of the full image.
    reduction : int
        Image pixels per map pixel; 1 for full size. Then h = ceil((row1 - row0) / reduction).
    nucleus : NucleusClass
        Which class is nuclei, as chosen on this map.
    start : str
        Start of the network behind it, which says what its classes and a half mean.
    is_exact : bool
        Whether it was made as the settings say, magnification and views; previews are simpler.
    """

    step: int
    data: NDArray[np.float32]
    box: Box
    reduction: int
    nucleus: NucleusClass
    start: Start = "random"
    is_exact: bool = True

    @property
    def nuclei(self) -> NDArray[np.float32]:
        """Confidence in nuclei, (h, w) float32 in [0, 1]."""
        return self.nucleus.of(self.data)


@dataclass(frozen=True)
class SampledPatches:
    """The windows that a step was trained on.

    Attributes
    ----------
    step : int
        The step they were drawn in.
    boxes : ndarray
        (M, 4) int64: row0, column0, row1, column1 in pixels of the image, ends excluded.
    image_index, class_index : ndarray
        (M,) int64.
    positive : ndarray
        (M,) bool: taken as a positive of its class.
    confidence, entropy : ndarray
        (M,) float32: means over the window; entropy in bits.
    """

    step: int
    boxes: NDArray[np.int64]
    image_index: NDArray[np.int64]
    class_index: NDArray[np.int64]
    positive: NDArray[np.bool_]
    confidence: NDArray[np.float32]
    entropy: NDArray[np.float32]


@dataclass(frozen=True)
class Snapshot:
    """State of a training run after a step.

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
        `words.time_left` says it.
    may_end_sooner : bool
        Whether training stops at convergence, so that `remaining` is an upper bound.
    patches : SampledPatches or None
        The step's windows; None on a first one of step 0, and on a last one that adds no step,
        since the one under way was given up.
    confidence : ConfidenceMap or None
        A new map where one was due.
    model : Model or None
        The trained weights; on the last snapshot only.
    stop_reason : str or None
        Why training ended; on the last snapshot only.
    recoveries : tuple of str
        What was done about collapses so far, in words.
    """

    step: int
    max_steps: int
    loss: float
    positive_separation: float
    negative_separation: float
    state: State
    message: str
    elapsed: float
    remaining: float | None = None
    may_end_sooner: bool = True
    patches: SampledPatches | None = None
    confidence: ConfidenceMap | None = None
    model: Model | None = None
    stop_reason: StopReason | None = None
    recoveries: tuple[str, ...] = ()

    @classmethod
    def of_start(cls, confidence: ConfidenceMap, max_steps: int) -> Snapshot:
        """Before the first step: a map of the weights that training starts from."""
        return cls(
            step=0,
            max_steps=max_steps,
            loss=math.nan,
            positive_separation=math.nan,
            negative_separation=math.nan,
            state="separating",
            message=learning(0, max_steps),
            elapsed=0.0,
            confidence=confidence,
        )


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

    def take_map_request(self) -> bool:
        """Whether a whole map was asked for since the last call."""
        wanted = self._map_wanted.is_set()
        self._map_wanted.clear()
        return wanted


class Cancelled(Exception):
    """Raised inside a prediction whose end was asked for."""

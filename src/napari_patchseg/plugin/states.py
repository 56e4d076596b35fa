"""The states of a session, and their words."""

from __future__ import annotations

from enum import StrEnum

from napari_patchseg.report import Report
from napari_patchseg.words import pluralize


class RunState(StrEnum):
    """What a session is doing."""

    IDLE = "idle"
    STARTING = "starting"
    TRAINING = "training"
    PAUSING = "pausing"
    PAUSED = "paused"
    STOPPING = "stopping"
    PREDICTING = "predicting"
    LABELLING = "labelling"
    CONVERGED = "converged"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"


#: The pipeline's phases outside of training.
PHASES = {
    "starting": RunState.STARTING,
    "predicting": RunState.PREDICTING,
    "labelling": RunState.LABELLING,
}
#: States in which a pause makes sense.
CAN_PAUSE = frozenset({RunState.TRAINING, RunState.PREDICTING})


def final_state(report: Report, *, trained: bool) -> tuple[RunState, str]:
    """State and words that a run with this report ends with."""
    reason = report.stop_reason
    steps = pluralize(report.steps, "step")
    if not trained and reason != "nothing separated":
        return RunState.FINISHED, "segmented with the model"
    return {
        "converged": (RunState.CONVERGED, f"converged after {steps}"),
        "stopped": (RunState.STOPPED, f"stopped after {steps}"),
        "step limit": (RunState.FINISHED, f"reached the limit of {steps}"),
    }.get(reason, (RunState.FINISHED, reason))

"""A picture of how a training went: loss and both separations over its steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from napari_patchseg.errors import FileError

from .atomic import atomic_write

#: Reddish purple, sky blue and orange of Okabe and Ito's palette, on dark and light ground: curves
#: and patches have these colours everywhere.
LOSS_COLOUR, POSITIVE_COLOUR, NEGATIVE_COLOUR = "#cc79a7", "#56b4e9", "#e69f00"


def require_matplotlib() -> None:
    """Raise a `FileError` where matplotlib, which draws the curves, is not installed."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise FileError(
            "matplotlib draws the curves and is not installed; "
            "install it with: pip install 'napari-patchseg[all]'."
        ) from error


def write_curves_png(
    path: str | os.PathLike[str],
    history: Sequence[tuple[int, float, float, float]],
    *,
    overwrite: bool = True,
) -> Path:
    """Draw the loss and the positive-positive and positive-negative separation of a training.

    Parameters
    ----------
    path : path-like
        The PNG to write.
    history : sequence of tuple
        (step, loss, positive separation, negative separation) of every step, as in
        `napari_patchseg.report.Segmentation.history`; NaN leaves a gap, and it may be empty.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FileError
        If matplotlib is not installed, or the file cannot be written.
    """
    require_matplotlib()
    from matplotlib.figure import Figure  # without pyplot: no window, no global state

    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    steps, losses, positives, negatives = zip(*history, strict=True) if history else ((),) * 4
    above.plot(steps, losses, color=LOSS_COLOUR)
    above.set_ylabel("contrastive loss")
    below.plot(steps, positives, color=POSITIVE_COLOUR, label="positive–positive")
    below.plot(steps, negatives, color=NEGATIVE_COLOUR, label="positive–negative")
    below.set_ylabel("information separation")
    below.set_xlabel("step")
    below.xaxis.get_major_locator().set_params(integer=True)
    below.legend()
    with atomic_write(path, overwrite=overwrite) as temporary:
        figure.savefig(temporary, format="png")
    return Path(path)

"""A picture of how a training went: loss and both separations over its steps."""

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from pathlib import Path

from napari_patchseg.errors import FileError

from .atomic import atomic_write

#: Okabe and Ito's colours, which colour-blind people tell apart.
_LOSS, _POSITIVE, _NEGATIVE = "#0072B2", "#009E73", "#D55E00"


def require_matplotlib() -> None:
    """Raise a `FileError` where matplotlib, which draws the curves, is not installed."""
    try:
        importlib.import_module("matplotlib.figure")
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
        `napari_patchseg.results.Segmentation.history`; NaN leaves a gap, and it may be empty.
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
    # Figures without pyplot: no window, no global state.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True)
    steps, losses, positives, negatives = (
        zip(*history, strict=True) if history else ((), (), (), ())
    )
    above.plot(steps, losses, color=_LOSS)
    above.set_ylabel("contrastive loss")
    below.plot(steps, positives, color=_POSITIVE, label="positive–positive")
    below.plot(steps, negatives, color=_NEGATIVE, label="positive–negative")
    below.set_ylabel("information separation")
    below.set_xlabel("step")
    below.xaxis.get_major_locator().set_params(integer=True)
    below.legend()
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        if not history:
            axes.text(0.5, 0.5, "no training step", ha="center", transform=axes.transAxes)
    with atomic_write(path, overwrite=overwrite) as temporary:
        canvas.print_png(temporary)
    return Path(path)

"""A run as a Python script that gives the same labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from napari_patchseg.errors import PatchSegError
from napari_patchseg.settings import Settings

from ._run import Run
from .layer_source import LayerSource

#: In scripts that take the image from the open viewer.
_VIEWER = "napari.current_viewer()"


def script_of(
    run: Run | None,
    report: dict[str, Any] | None,
    model_path: str | None = None,
    *,
    is_open: bool = True,
) -> str:
    """Python that reproduces labels.

    Parameters
    ----------
    run : Run or None
        The run; None where there was none.
    report : dict or None
        Of its labels: ``layer.metadata["napari_patchseg"]``; None where none were made yet.
    model_path : str or None
        Where the model lies that the run used or began with.
    is_open : bool
        Whether the image is still in the viewer.

    Raises
    ------
    PatchSegError
        If there was no run or it failed, the model is in no file, or the pixels of the run are
        neither in a file nor in the viewer any more.
    """
    if run is None:
        raise PatchSegError("There is nothing to copy yet; train on an image first.")
    if report is None and run.error is not None:
        raise PatchSegError(
            f"The last run, on {run.source.name!r}, failed; segment an image first."
        )
    known = run.model or run.start
    if known is not None and model_path is None:
        raise PatchSegError("Save the model first: the script has to load it.")
    source, settings = run.source, _settings(run, report)
    changes = settings.changes() | settings.machine.model_dump()
    arguments = ["image", "settings=settings"]
    lines = ["import napari_patchseg as ps"]
    if known is not None:
        lines.append("from napari_patchseg.files.models import load_model")
        name = "start" if run.model is None else "model"
        arguments.append(f"{name}=load_model({model_path!r})")
    if source.pixel_size is not None:
        arguments.append(f"pixel_size={source.pixel_size!r}")
    arguments.append(f"rgb={source.rgb}")
    if source.channel_axis is not None:
        arguments.append(f"channel_axis={source.channel_axis}")
    corrected: list[str] = []
    if report is not None and report.get("corrections"):
        corrected = [f"corrections = ps.Corrections(**{report['corrections']!r})"]
        arguments.append("corrections=corrections")
    lines += [
        *_image(source, is_open=is_open),
        "",
        "settings = ps.Settings.create(",
        f"    {settings.preset!r},",
        *[f"    {name}={value!r}," for name, value in changes.items()],
        ")",
        *corrected,
        f"labels = ps.segment({', '.join(arguments)})",
        "",
    ]
    return "\n".join(lines)


def notice(script: str) -> str:
    """What to say when a script has been copied."""
    where = "; run it in napari's console" if _VIEWER in script else ""
    return f"Copied a script that makes the labels of this run{where}."


def _settings(run: Run, report: dict[str, Any] | None) -> Settings:
    """The run's settings with every "auto" replaced by what it came to."""
    settings = run.wished
    if report is None:
        report = {} if run.result is None else run.result.report.to_dict()
    if "settings" in report:
        settings = Settings.from_dict(report["settings"])
    changes: dict[str, Any] = {}
    nucleus, objects = report.get("nucleus_class"), report.get("objects") or {}
    if nucleus:
        changes["nucleus_class"] = nucleus["index"]
        changes["nucleus_polarity"] = "inverted" if nucleus["inverted"] else "direct"
    if objects.get("threshold") is not None:
        changes |= {
            "threshold": objects["threshold"],
            "min_area": objects["min_area"],
            "nucleus_diameter": objects["diameter"],
            "diameter_unit": "px",
        }
    steps = int(report.get("steps") or 0)
    if run.model is None and steps and report.get("stop_reason") not in ("converged", "step limit"):
        # Stopped, or labels made on the way: train for as long and no longer.
        changes |= {"max_steps": steps, "stop_at_convergence": False}
    return settings.replace(**changes)


def _image(source: LayerSource, *, is_open: bool) -> list[str]:
    """Lines that get the region's pixels: from the file if it has them, else from the viewer."""
    index = _index(source)
    if source.path is not None and _is_in_file(source):
        return [
            "from napari_patchseg.files.images import read_image",
            "",
            f"image = read_image({source.path!r}).array{index}",
        ]
    layer = source.layer
    if layer is None or not is_open:
        raise PatchSegError(
            f"'{source.name}' is not in the viewer any more, and its pixels are in no file; "
            "open and segment it again, then copy."
        )
    if source.has_changed():
        raise PatchSegError(
            f"The data of '{layer.name}' changed since the run; segment it again, then copy."
        )
    level = "[0]" if layer.multiscale else ""
    return [
        "import napari",
        "",
        "# From the open viewer: run this in napari's console.",
        f"image = {_VIEWER}.layers[{layer.name!r}].data{level}{index}",
    ]


def _is_in_file(source: LayerSource) -> bool:
    """Whether the file gives the run's pixels.

    napari may have read it otherwise (palettes, 16 bits, CMYK), or one channel of it, and what it
    read may have been changed since.
    """
    from napari_patchseg.files.images import read_image

    data = source.data
    if source.path is None or not isinstance(data, np.ndarray) or not source.is_intact:
        return False
    try:
        array = read_image(source.path).array
    except PatchSegError:
        return False
    if array.shape != data.shape or array.dtype != data.dtype:
        return False
    return np.array_equal(array, data, equal_nan=data.dtype.kind == "f")


def _index(source: LayerSource) -> str:
    index = source.index if source.is_whole else source.plane.region(source.box)
    parts = [f"{p.start}:{p.stop}" if isinstance(p, slice) and p.stop else p for p in index]
    text = ", ".join(":" if isinstance(part, slice) else str(part) for part in parts)
    return f"[{text}]" if text.strip(":, ") else ""

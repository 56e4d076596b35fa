"""A run as a Python script that gives the same labels."""

from __future__ import annotations

from typing import Any

from napari_patchseg.method.settings import Settings

from .run import RunRecord

_MACHINE = ("device", "precision", "memory_format", "threads")


def script_of(record: RunRecord, report: dict[str, Any], model_path: str | None = None) -> str:
    """Python that reproduces the labels of a report.

    Parameters
    ----------
    record : RunRecord
        The run.
    report : dict
        Of the labels: ``layer.metadata["napari_patchseg"]``, or the run's.
    model_path : str or None
        Where the model lies, if the labels were made with a loaded one.
    """
    settings = _settings(record, report, trained=model_path is None)
    base = Settings.create(settings.preset).to_dict()
    changes = {
        name: value
        for name, value in settings.to_dict().items()
        if value != base[name] or name in _MACHINE
    }
    changes.pop("preset", None)
    lines = ["import napari_patchseg as ps"]
    if model_path is not None:
        lines.append("from napari_patchseg.files.models import load_model")
    lines += [*_image(record), "", "settings = ps.Settings.create("]
    lines += [f"    {settings.preset!r},"]
    lines += [f"    {name}={value!r}," for name, value in changes.items()]
    lines += [")"]
    source = record.source
    options = ["image", "settings=settings"]
    if source.pixel_size is not None:
        options.append(f"pixel_size={source.pixel_size!r}")
    options.append("rgb=True" if source.rgb else "rgb=False")
    if source.channel_axis is not None:
        options.append(f"channel_axis={source.channel_axis}")
    if model_path is not None:
        lines.append(f"model = load_model({model_path!r})")
        options.append("model=model")
    lines += [f"labels = ps.segment({', '.join(options)})", ""]
    return "\n".join(lines)


def _settings(record: RunRecord, report: dict[str, Any], *, trained: bool) -> Settings:
    """The run's settings with every "auto" replaced by what it came to."""
    settings = record.settings
    if "settings" in report:
        settings = Settings.from_dict(report["settings"])
    changes: dict[str, Any] = {}
    nucleus, objects = report.get("nucleus_class"), report.get("objects") or {}
    if nucleus:
        changes["nucleus_class"] = nucleus["index"]
        changes["nucleus_polarity"] = "inverted" if nucleus["inverted"] else "direct"
    if "threshold" in objects:
        changes |= {
            "threshold": objects["threshold"],
            "min_area": objects["min_area"],
            "nucleus_diameter": objects["diameter"],
            "diameter_unit": "px",
        }
    steps = int(report.get("steps") or 0)
    if trained and steps and report.get("stop_reason") not in ("converged", "step limit"):
        # Stopped, or labels made on the way: train for as long and no longer.
        changes |= {"max_steps": steps, "stop_at_convergence": False}
    return settings.replace(**changes)


def _image(record: RunRecord) -> list[str]:
    """Lines that get the region's pixels."""
    source = record.source
    layer = source.layer
    path = None if layer is None else layer.source.path
    index = _index(record)
    if path is not None and layer is not None and layer.ndim == 2:
        return [
            "from napari_patchseg.files.images import read_image",
            "",
            f"image = read_image({str(path)!r}).array{index}",
        ]
    level = "[0]" if layer is not None and layer.multiscale else ""
    return [
        "import napari",
        "",
        f"image = napari.current_viewer().layers[{source.name!r}].data{level}{index}",
    ]


def _index(record: RunRecord) -> str:
    source = record.source
    row0, column0, row1, column1 = source.box
    lead = [":" if isinstance(part, slice) else str(part) for part in source.index[:-2]]
    if source.is_whole and not lead:
        return ""
    region = [":", ":"] if source.is_whole else [f"{row0}:{row1}", f"{column0}:{column1}"]
    return f"[{', '.join([*lead, *region])}]"

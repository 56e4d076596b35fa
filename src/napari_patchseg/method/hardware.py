"""Device, precision, memory format and threads: "auto" turned into a choice."""

from __future__ import annotations

import os
import time
from typing import Any

import torch

from napari_patchseg.errors import DeviceError

from .inference import to_channels_last
from .network import ConfidenceNetwork
from .settings import Settings

MACHINE_FIELDS = ("device", "precision", "memory_format", "threads")


def available_devices() -> list[str]:
    """Devices that torch can use here, the fastest first; "cpu" is always the last."""
    devices = []
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def resolve(settings: Settings, remembered: dict[str, Any] | None = None) -> Settings:
    """Replace every "auto" among the machine's settings.

    Parameters
    ----------
    settings : Settings
        Possibly with "auto" in `MACHINE_FIELDS`.
    remembered : dict or None
        An earlier answer for this machine, from `measure`; asked before measuring anew.

    Raises
    ------
    DeviceError
        If the device asked for is not there.
    """
    if "auto" not in [getattr(settings, name) for name in MACHINE_FIELDS]:
        _check(settings.device)
        return settings
    device: str = settings.device
    if device == "auto":
        device = (remembered or {}).get("device") or available_devices()[0]
        if device not in available_devices():
            device = available_devices()[0]
    _check(device)
    choice = remembered if remembered and remembered.get("device") == device else measure(device)
    filled = {name: choice[name] for name in MACHINE_FIELDS if getattr(settings, name) == "auto"}
    return settings.replace(**{**filled, "device": device})


def measure(device: str) -> dict[str, Any]:
    """Time a small training step in every memory format and precision and choose the fastest.

    Takes a second or two. Returns a mapping with the keys of `MACHINE_FIELDS`.
    """
    threads = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        threads = len(os.sched_getaffinity(0))
    if device != "cpu":
        return {
            "device": device,
            "precision": "float32",
            "memory_format": "channels_last",
            "threads": threads,
        }
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        timings = {
            (precision, layout): _time_step(precision, layout)
            for precision in (("float32", "bfloat16") if _has_bfloat16() else ("float32",))
            for layout in ("contiguous", "channels_last")
        }
    finally:
        torch.set_num_threads(before)
    precision, layout = min(timings, key=lambda key: timings[key])
    return {
        "device": device,
        "precision": precision,
        "memory_format": layout,
        "threads": threads,
    }


def _has_bfloat16() -> bool:
    # Without the instructions bfloat16 is emulated: slower, and not worth timing.
    check = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(check()) if check is not None else False


def _time_step(precision: str, layout: str) -> float:
    network = ConfidenceNetwork(3, 4)
    images = torch.rand(4, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    if layout == "channels_last":
        network = to_channels_last(network)
        images = images.contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            out = network(images)
        out.mean().backward()
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])  # what else the machine does only ever adds


def _check(device: str) -> None:
    if device not in available_devices():
        usable = " or ".join(available_devices())
        raise DeviceError(f"Device {device!r} is not available here; choose {usable}, or 'auto'.")

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

#: Steps of each way that are timed, the first of which does not count.
_ROUNDS = 4

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

    Takes about a second. Returns a mapping with the keys of `MACHINE_FIELDS`.
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
        precision, layout = _fastest()
    finally:
        torch.set_num_threads(before)
    return {
        "device": device,
        "precision": precision,
        "memory_format": layout,
        "threads": threads,
    }


def capabilities() -> str:
    """What the answer of `measure` depends on besides the processor's name: its instructions."""
    extra = " with bfloat16" if _has_bfloat16() else ""
    return f"{torch.backends.cpu.get_cpu_capability()}{extra}"


def _has_bfloat16() -> bool:
    # Without the instructions bfloat16 is emulated: slower, and not worth timing.
    check = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(check()) if check is not None else False


def _fastest() -> tuple[str, str]:
    """Precision and memory format of the fastest step.

    In turns, so that a moment in which the machine is busy with something else meets all of them;
    the shortest of each counts, since anything else only ever adds.
    """
    precisions = ("float32", "bfloat16") if _has_bfloat16() else ("float32",)
    ways = [(p, layout) for p in precisions for layout in ("contiguous", "channels_last")]
    seconds: dict[tuple[str, str], list[float]] = {way: [] for way in ways}
    with torch.random.fork_rng(devices=[]):  # leaves the caller's random numbers alone
        steps = {way: _Step(*way) for way in ways}
    for _ in range(_ROUNDS):
        for way, step in steps.items():
            seconds[way].append(step())
    return min(ways, key=lambda way: min(seconds[way][1:]))  # the first round sets up


class _Step:
    """A small training step: forward and backward, with statistics frozen as in the default."""

    def __init__(self, precision: str, layout: str) -> None:
        self.bfloat16 = precision == "bfloat16"
        self.network = ConfidenceNetwork(3, 2).eval()
        self.images = torch.rand(2, 3, 160, 160, generator=torch.Generator().manual_seed(0))
        if layout == "channels_last":
            self.network = to_channels_last(self.network)
            self.images = self.images.contiguous(memory_format=torch.channels_last)

    def __call__(self) -> float:
        """Do one step and return its seconds."""
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bfloat16):
            out = self.network.logits(self.images)
        out.float().mean().backward()
        return time.perf_counter() - start


def _check(device: str) -> None:
    if device not in available_devices():
        usable = " or ".join(available_devices())
        raise DeviceError(f"Device {device!r} is not available here; choose {usable}, or 'auto'.")

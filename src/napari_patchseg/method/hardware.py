"""Device, precision, memory format and threads: "auto" turned into a choice."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import torch

from napari_patchseg.errors import DeviceError

from .inference import to_channels_last
from .network import DILATIONS, WIDTH, ConfidenceNetwork
from .settings import Settings

#: Passes of each way that are timed; how many times the fastest one's time is far behind, which a
#: single pass cannot tell: the machine may have been busy with something else for just that one.
_ROUNDS = 5
_ROUNDS_FOR_ALL = 3
_FAR_BEHIND = 2.0

_Way = TypeVar("_Way", bound=Hashable)

MACHINE_FIELDS = ("device", "precision", "memory_format", "threads")


def available_devices() -> list[str]:
    """Devices that torch can use here, the fastest first; "cpu" is always the last."""
    devices = []
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def resolve(
    settings: Settings, remembered: dict[str, Any] | None = None, *, timed: bool = True
) -> Settings:
    """Replace every "auto" among the machine's settings.

    Parameters
    ----------
    settings : Settings
        Possibly with "auto" in `MACHINE_FIELDS`.
    remembered : dict or None
        An earlier answer for this machine, from `measure`; asked before measuring anew.
    timed : bool
        Whether to measure where there is no earlier answer, or to take what is `presumed`.

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
    if remembered and remembered.get("device") == device:
        choice = remembered
    else:
        choice = measure(device) if timed else presumed(device)
    filled = {name: choice[name] for name in MACHINE_FIELDS if getattr(settings, name) == "auto"}
    return settings.replace(**{**filled, "device": device})


def measure(device: str, *, bfloat16: bool | None = None) -> dict[str, Any]:
    """Time a piece of training in every memory format and precision and choose the fastest.

    Parameters
    ----------
    device : str
        One of `available_devices`; only on "cpu" is there anything to time.
    bfloat16 : bool or None
        Whether bfloat16 is among the choices; None: where the processor has it.

    Returns
    -------
    dict
        With the keys of `MACHINE_FIELDS`.
    """
    usual = presumed(device)
    if device != "cpu":
        return usual
    before = torch.get_num_threads()
    torch.set_num_threads(usual["threads"])
    try:
        precision, layout = _fastest(_has_bfloat16() if bfloat16 is None else bfloat16)
    finally:
        torch.set_num_threads(before)
    return {**usual, "precision": precision, "memory_format": layout}


def presumed(device: str) -> dict[str, Any]:
    """What works on every machine, and is often the fastest; the keys are those of `measure`."""
    threads = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        threads = len(os.sched_getaffinity(0))
    return {
        "device": device,
        "precision": "float32",
        "memory_format": "channels_last",
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


def _fastest(bfloat16: bool) -> tuple[str, str]:
    """Precision and memory format of the fastest pass."""
    precisions = ("float32", "bfloat16") if bfloat16 else ("float32",)
    ways = [(p, layout) for p in precisions for layout in ("contiguous", "channels_last")]
    with torch.random.fork_rng(devices=[]):  # leaves the caller's random numbers alone
        passes = {way: _Pass(*way) for way in ways}
    for one in passes.values():
        one()  # sets up
    return fastest(passes)


def fastest(passes: Mapping[_Way, Callable[[], float]]) -> _Way:
    """Which of some passes is the fastest; each returns its seconds when it is called.

    In turns, so that a moment in which the machine is busy with something else meets all of them;
    the shortest of each counts, since anything else only ever adds. What is far behind after a few
    rounds drops out.
    """
    best = dict.fromkeys(passes, math.inf)
    ways = list(passes)
    for done in range(1, _ROUNDS + 1):
        for way in ways:
            best[way] = min(best[way], passes[way]())
        if done >= _ROUNDS_FOR_ALL:
            ways = [way for way in ways if best[way] < _FAR_BEHIND * min(best.values())]
    return min(best, key=best.__getitem__)


class _Pass:
    """Forward and backward through one residual block, with statistics frozen as in the default.

    The six are the same arithmetic, and nearly all of a step: one of them on maps of a fair size
    tells as much as the whole network, and has a sixth of the convolutions to set up.
    """

    def __init__(self, precision: str, layout: str) -> None:
        self.bfloat16 = precision == "bfloat16"
        network = ConfidenceNetwork(3, 2).eval()
        maps = torch.rand(2, WIDTH, 200, 200, generator=torch.Generator().manual_seed(0))
        if layout == "channels_last":
            network = to_channels_last(network)
            maps = maps.contiguous(memory_format=torch.channels_last)
        self.block = network.residuals[len(DILATIONS) // 2]
        maps = maps.to(torch.bfloat16 if self.bfloat16 else torch.float32)
        self.maps = maps.requires_grad_()

    def __call__(self) -> float:
        """Do it and return its seconds."""
        start = time.perf_counter()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bfloat16):
            out = self.block(self.maps)
        out.square().sum().backward()  # of a number: a gradient given makes torch import sympy
        return time.perf_counter() - start


def _check(device: str) -> None:
    if device not in available_devices():
        usable = " or ".join(available_devices())
        raise DeviceError(f"Device {device!r} is not available here; choose {usable}, or 'auto'.")

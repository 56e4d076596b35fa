"""Device, precision, memory format and threads: the automatic choices, by what the machine can."""

from __future__ import annotations

import torch

from napari_patchseg.errors import DeviceError
from napari_patchseg.settings import Device, Machine, MemoryFormat, ResolvedMachine, Weights


def available_devices() -> list[Device]:
    """Devices that torch can use here, the fastest first; "cpu" is always the last."""
    devices: list[Device] = []
    if torch.cuda.is_available():
        devices.append("cuda")
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def resolve_machine(machine: Machine, weights: Weights = "pretrained") -> ResolvedMachine:
    """Make the automatic choices among the machine's settings.

    They follow from what the machine can, not from how busy it is, so that they are the same in
    every run.

    Parameters
    ----------
    machine : Machine
        As the user wished.
    weights : str
        Those that training starts from: the batch statistics of random ones, which torch computes,
        take twice as long with the channels last.

    Raises
    ------
    DeviceError
        If the device asked for is not there.
    """
    usable = available_devices()
    device = machine.device or usable[0]
    if device not in usable:
        raise DeviceError(
            f"Device {device!r} is not available here; choose {' or '.join(usable)}, or 'auto'."
        )
    layout: MemoryFormat = "channels_last" if weights == "pretrained" else "contiguous"
    return ResolvedMachine(
        device=device,
        precision=machine.precision
        or ("bfloat16" if device == "cpu" and _has_bfloat16() else "float32"),
        memory_format=machine.memory_format or layout,
        threads=machine.threads or torch.get_num_threads(),
    )


def _has_bfloat16() -> bool:
    """Whether the processor has instructions for bfloat16; torch else emulates it, slowly."""
    check = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return bool(check()) if check is not None else False

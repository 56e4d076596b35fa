"""What is remembered between starts: the user's settings, and which way this machine is fastest.

Nothing here is worth an error: what cannot be read is as if it were not there, what cannot be
written is not remembered, and the log says why.
"""

from __future__ import annotations

import json
import logging
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import platformdirs

from napari_patchseg.errors import FileError, SettingsError

from .atomic import atomic_write

_log = logging.getLogger(__name__)

_SETTINGS = "settings.json"
_MACHINES = "machines.json"
#: A home folder may be shared by the machines of a cluster; the oldest answers make room.
_MOST_MACHINES = 32


def folder() -> Path:
    """Where the preferences lie.

    Raises
    ------
    OSError
        If this user has no place for them: a batch job or container may have no home folder.
    """
    try:
        path = platformdirs.user_config_path("napari-patchseg", appauthor=False)
    except (KeyError, RuntimeError) as error:
        raise OSError(f"there is no home folder ({error})") from error
    if not path.is_absolute():  # "~" or what a wrong variable says: not into the folder one is in
        raise OSError(f"{path.parent} is no absolute path to a folder for settings")
    return path


def load_settings() -> dict[str, Any]:
    """The settings that the user had last.

    Returns
    -------
    dict
        Fields of `napari_patchseg.method.settings.Settings` with valid values, "preset" perhaps
        among them: ``Settings.create(**load_settings())`` works. Empty where nothing is remembered.
    """
    remembered = _read(_SETTINGS)
    preset = remembered.get("preset", "default")
    if not _fits(preset, {}):
        _log.info("Remembered settings of an unknown preset %r are left out.", preset)
        return {}
    rest = {name: value for name, value in remembered.items() if name != "preset"}
    if _fits(preset, rest):
        return remembered
    good: dict[str, Any] = {"preset": preset} if "preset" in remembered else {}
    for name, value in remembered.items():
        if name == "preset":
            continue
        if _fits(preset, {name: value}):
            good[name] = value
        else:
            _log.info("Remembered setting %r is left out: this version does not take it.", name)
    if not _fits(preset, {name: value for name, value in good.items() if name != "preset"}):
        _log.info("Remembered settings do not go together and are left out.")
        return {}
    return good


def save_settings(settings: Mapping[str, Any]) -> None:
    """Remember settings, such as ``{"preset": ..., **Settings.changes()}``, for the next start."""
    _write(_SETTINGS, dict(settings))


def machine_choice(capabilities: str) -> dict[str, Any] | None:
    """What `remember_machine_choice` was given on this machine, with this torch, if anything.

    Parameters
    ----------
    capabilities : str
        `napari_patchseg.method.hardware.capabilities`: virtual machines of one name differ in them.
    """
    choice = _read(_MACHINES).get(_machine(capabilities))
    if not isinstance(choice, dict) or not _fits("default", choice):
        return None
    return choice


def remember_machine_choice(capabilities: str, choice: Mapping[str, Any]) -> None:
    """Remember the answer of `napari_patchseg.method.hardware.measure` for this machine."""
    machine = _machine(capabilities)
    machines = _read(_MACHINES)
    machines.pop(machine, None)
    newest = list(machines.items())[-(_MOST_MACHINES - 1) :]
    _write(_MACHINES, {**dict(newest), machine: dict(choice)})


def _machine(capabilities: str) -> str:
    """What the fastest way depends on: system, processor and what it can, cores, torch."""
    try:
        torch = version("torch")  # without importing it
    except PackageNotFoundError:
        torch = "none"
    cores = os.cpu_count()
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    processor = f"{_processor()} ({capabilities})"
    return f"{platform.system()}, {platform.machine()}, {processor}, {cores} cores, torch {torch}"


def _processor() -> str:
    try:  # Linux, where platform.processor() is empty or no more than the architecture
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()


def _fits(preset: Any, changes: dict[str, Any]) -> bool:
    from napari_patchseg.method.settings import Settings

    try:
        Settings.create(preset, **changes)
    except (SettingsError, TypeError):  # TypeError: a preset that is no name
        return False
    return True


def _read(name: str) -> dict[str, Any]:
    try:
        path = folder() / name
    except (OSError, ValueError) as error:
        _log.info("%s is not looked for: %s", name, error)
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text, parse_constant=lambda _: None)  # NaN is no JSON
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("%s is ignored: %s", path, error)
        return {}
    if not isinstance(value, dict):
        _log.warning("%s is ignored: it holds no settings.", path)
        return {}
    return value


def _write(name: str, value: dict[str, Any]) -> None:
    try:
        path = folder() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False)
        with atomic_write(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except (FileError, OSError, TypeError, ValueError) as error:
        _log.warning("%s is not remembered: %s", name, error)

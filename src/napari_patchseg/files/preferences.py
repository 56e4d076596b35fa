"""What is remembered between starts: the user's settings.

Nothing here is worth an error: what cannot be read is as if it were not there, what cannot be
written is not remembered, and the log says why.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from napari_patchseg.errors import FileError, SettingsError

from .atomic import atomic_write

_log = logging.getLogger(__name__)

_SETTINGS = "settings.json"


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
        Fields of `napari_patchseg.settings.Settings` with valid values, "preset" perhaps
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


def _fits(preset: Any, changes: dict[str, Any]) -> bool:
    from napari_patchseg.settings import Settings

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

"""The user's settings, remembered between starts.

Nothing here is worth an error: what cannot be read is as if it were not there, what cannot be
written is not remembered, and the log says why.
"""

# Not napari's own plugin settings: the manifest would repeat every field of `Settings` with its
# limits, and has no type for numbers that may be automatic.

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs

from napari_patchseg.errors import SettingsError
from napari_patchseg.settings import Settings

from .atomic import atomic_write

_log = logging.getLogger(__name__)


def settings_file() -> Path:
    """Where the settings lie.

    Raises
    ------
    OSError
        If this user has no place for them: a batch job or container may have no home folder.
    """
    try:
        path = platformdirs.user_config_path("napari-patchseg", appauthor=False) / "settings.json"
    except (KeyError, RuntimeError) as error:
        raise OSError(f"there is no home folder ({error})") from error
    if not path.is_absolute():  # "~" or what a wrong variable says: not into the folder one is in
        raise OSError(f"{path} is no absolute path")
    return path


def load_settings() -> dict[str, Any]:
    """The settings that the user had last.

    Returns
    -------
    dict
        Fields of `napari_patchseg.settings.Settings` with valid values, "preset" perhaps among
        them: ``Settings.create(**load_settings())`` works. Empty where nothing is remembered.
    """
    try:
        text = settings_file().read_text(encoding="utf-8")
        remembered = json.loads(text, parse_constant=lambda _: None)  # NaN is no JSON
        if not isinstance(remembered, dict):
            raise ValueError("it holds no settings")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        _log.warning("Remembered settings are ignored: %s", error)
        return {}
    if _fits(remembered):
        return remembered
    good: dict[str, Any] = {}
    for name in sorted(remembered, key=lambda name: name != "preset"):  # the preset first
        if _fits({**good, name: remembered[name]}):
            good[name] = remembered[name]
        else:
            _log.info("Remembered setting %r is left out: it is not taken.", name)
    return good


def save_settings(settings: Mapping[str, Any]) -> None:
    """Remember settings, such as ``{"preset": ..., **Settings.changes()}``, for the next start."""
    try:
        path = settings_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dict(settings), indent=2, allow_nan=False, ensure_ascii=False)
        with atomic_write(path) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    except (OSError, TypeError, ValueError) as error:
        _log.warning("Settings are not remembered: %s", error)


def _fits(settings: dict[str, Any]) -> bool:
    try:
        Settings.create(**settings)
    except SettingsError:
        return False
    return True

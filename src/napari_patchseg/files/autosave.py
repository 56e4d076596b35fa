"""Corrections made by hand, kept beside the settings until they are saved or thrown away.

Nothing here is worth an error: what cannot be kept is not kept, and the log says why.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from napari_patchseg.corrections import Corrections
from napari_patchseg.errors import FileError

from .corrections import load_corrections, save_corrections
from .preferences import settings_file

_LOG = logging.getLogger(__name__)

#: Images whose corrections are kept; beyond, the oldest go.
_IMAGES = 100


class Autosaved(NamedTuple):
    """Corrections, and when they were kept."""

    corrections: Corrections
    when: datetime

    def __str__(self) -> str:
        when = self.when.strftime("%d %b, %H:%M")
        return f"Hints and corrections of this image were kept on {when}"


def autosave(image: str, corrections: Corrections) -> None:
    """Keep the corrections of an image, instead of those that were kept; empty ones are dropped.

    Parameters
    ----------
    image : str
        What tells the image from others, good as a file's name.
    corrections : Corrections
        All of them.
    """
    try:
        path = _path(image)
        if not corrections:
            path.unlink(missing_ok=True)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        save_corrections(path, corrections)
        kept = sorted(path.parent.glob("*.json"), key=lambda one: one.stat().st_mtime)
        for old in kept[:-_IMAGES]:
            old.unlink(missing_ok=True)
    except OSError as error:
        _LOG.warning("Corrections are not kept: %s", error)


def autosaved(image: str) -> Autosaved | None:
    """What was kept of an image; None where there is nothing."""
    try:
        path = _path(image)
        if not path.exists():
            return None
        when = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
        return Autosaved(load_corrections(path), when)
    except (FileError, OSError) as error:
        _LOG.warning("Kept corrections are ignored: %s", error)
        return None


def _path(image: str) -> Path:
    return settings_file().parent / "corrections" / f"{image}.json"

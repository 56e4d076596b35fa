"""Asking for the file to save to: its ending is settled before anything is overwritten."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.history import get_save_history, update_save_history
from qtpy.QtWidgets import QFileDialog, QMessageBox, QWidget

if TYPE_CHECKING:
    from napari.layers import Layer

#: Signs that some system takes in no file name.
_FORBIDDEN = re.compile(r'[/\\:*?"<>|\x00-\x1f\x7f-\x9f]')
#: Devices of Windows, whatever the ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(?=\.|$)", re.IGNORECASE)
#: Bytes of an offered name; systems take 255, and an ending and a temporary file's mark are added.
_MOST_BYTES = 180


def offered_name(name: str, otherwise: str = "labels") -> str:
    """A layer's name as a file name that every system takes, without an ending.

    Parameters
    ----------
    name : str
        The layer's.
    otherwise : str
        Where nothing of the name is left.
    """
    name = _FORBIDDEN.sub("_", name).encode()[:_MOST_BYTES].decode(errors="ignore")
    return _DEVICES.sub(r"_\1", name.strip(" ."), count=1) or otherwise


def with_ending(path: str, endings: Sequence[str], otherwise: str) -> str:
    """The path, with the ending `otherwise` unless it has one of `endings`, however written."""
    return path if path.lower().endswith(tuple(endings)) else path + otherwise


def folder_of(layer: Layer | None) -> Path | None:
    """Where a layer's file lies; None where it comes from no file, or its folder is gone."""
    path = None if layer is None else layer.source.path
    if not path:
        return None
    folder = Path(path).absolute().parent
    return folder if folder.is_dir() else None


def last_folder() -> Path:
    """The folder that was saved to last in napari, or the user's own."""
    return Path(get_save_history()[0])


def ask_for_file(
    parent: Any,
    title: str,
    start: Path,
    formats: Mapping[str, str],
    endings: Sequence[str],
) -> str | None:
    """Ask where to save; asks again before a file is replaced.

    Parameters
    ----------
    parent : QWidget
        Whose window asks.
    title : str
        Of the dialog.
    start : Path
        Folder and name to offer.
    formats : mapping of str to str
        The dialog's filters, and the ending that each gives to a name without one.
    endings : sequence of str
        What counts as an ending, in small letters.

    Returns
    -------
    str or None
        The file, which may be written, and replaced; None where the user changed their mind.
    """
    parent = parent if isinstance(parent, QWidget) else None
    # Qt would ask about the name as it was typed, before it has its ending: we ask ourselves.
    path, chosen = QFileDialog.getSaveFileName(
        parent,
        title,
        str(start),
        ";;".join(formats),
        next(iter(formats)),
        QFileDialog.Option.DontConfirmOverwrite,
    )
    if not path:
        return None
    path = with_ending(path, endings, formats.get(chosen) or next(iter(formats.values())))
    if Path(path).exists() and not _may_replace(parent, title, path):
        return None
    update_save_history(path)
    return path


def _may_replace(parent: QWidget | None, title: str, path: str) -> bool:
    answer = QMessageBox.question(
        parent,
        title,
        f"{Path(path).name} exists already in {Path(path).parent}. Replace it?",
        QMessageBox.StandardButton.Yes | QMessageBox.StandardButton.No,
        QMessageBox.StandardButton.No,
    )
    return answer == QMessageBox.StandardButton.Yes

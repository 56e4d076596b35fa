"""Keys for correcting by hand, which napari's shortcuts page shows and changes."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from napari.components import ViewerModel
from napari.settings import get_settings
from napari.utils.action_manager import action_manager

from ._layers import View
from ._object_tools import Tool
from .layer_source import unwrap

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from .session import TrainingSession

#: The session of each viewer that has a panel.
_SESSIONS: weakref.WeakKeyDictionary[Viewer, weakref.ref[TrainingSession]] = (
    weakref.WeakKeyDictionary()
)


def _switch_fill(session: TrainingSession) -> None:
    is_filled = session.layers.view is View.FILLED
    session.choose_view(View.CONTOURS if is_filled else View.FILLED)


#: By name: the key at first, what it does, and how.
_ACTIONS: dict[str, tuple[str, str, Callable[[TrainingSession], None]]] = {
    "delete_object": (
        "D",
        "Delete the nucleus under the cursor",
        lambda session: session.hand.use_here(Tool.DELETE),
    ),
    "add_object": (
        "A",
        "Add the nucleus under the cursor",
        lambda session: session.hand.use_here(Tool.ADD),
    ),
    "merge_objects": (
        "J",
        "Join nuclei by a stroke across them",
        lambda session: session.hand.use(Tool.MERGE),
    ),
    "split_object": (
        "S",
        "Split a nucleus by a stroke through it",
        lambda session: session.hand.use(Tool.SPLIT),
    ),
    "paint_nucleus": (
        "H",
        "Paint hints: nucleus",
        lambda session: session.hand.paint(1),
    ),
    "paint_not_nucleus": (
        "N",
        "Paint hints: not nucleus",
        lambda session: session.hand.paint(2),
    ),
    "choose_class": (
        "K",
        "Take the class that stands out under the cursor for nuclei",
        lambda session: session.hand.use_here(Tool.CLASS),
    ),
    "undo_correction": (
        "U",
        "Undo the last correction or segmentation",
        lambda session: session.hand.undo(),
    ),
    "fill_nuclei": (
        "C",
        "Show nuclei filled, or as contours",
        _switch_fill,
    ),
}


def register(viewer: Viewer, session: TrainingSession) -> None:
    """Let the keys act on a viewer's session; the user's own choice of keys counts."""
    _SESSIONS[unwrap(viewer)] = weakref.ref(session)
    chosen = get_settings().shortcuts.shortcuts
    for name, (key, description, act) in _ACTIONS.items():
        full = f"napari-patchseg:{name}"
        if full in action_manager._actions:  # noqa: SLF001 # there is no other way to ask
            continue
        action_manager.register_action(full, _command(act), f"PatchSeg: {description}", ViewerModel)
        for one in chosen.get(full, [key]):
            action_manager.bind_shortcut(full, one)


def key_of(name: str) -> str:
    """The key of an action at first, for its tooltip."""
    return _ACTIONS[name][0]


def _command(act: Callable[[TrainingSession], None]) -> Callable[[Viewer], None]:
    def command(viewer: Viewer) -> None:
        there = _SESSIONS.get(unwrap(viewer))
        session = None if there is None else there()
        if session is not None:
            act(session)

    return command

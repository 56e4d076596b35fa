"""What a host may ask of a running training or prediction."""

from __future__ import annotations

import threading

from napari_patchseg.geometry import Box


class Control:
    """What a host may ask of a running training or prediction, from any thread.

    Parameters
    ----------
    previews : bool
        Whether confidence maps are made during training.
    preview_box : Box or None
        The part of the image that previews should cover, such as the visible field; None: all of
        it.
    """

    def __init__(self, *, previews: bool = False, preview_box: Box | None = None) -> None:
        self.previews = previews
        self.preview_box = preview_box
        self._cancelled = threading.Event()
        self._map_wanted = threading.Event()

    def cancel(self) -> None:
        """Ask for the end; training gives up the step under way and keeps the weights before it."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether the end was asked for."""
        return self._cancelled.is_set()

    def request_map(self) -> None:
        """Ask for one map of the whole image at full size after the step under way."""
        self._map_wanted.set()

    @property
    def map_wanted(self) -> bool:
        """Whether such a map was asked for and is not made yet."""
        return self._map_wanted.is_set()

    def map_made(self) -> None:
        """Called by the worker: a map of the whole image at full size has come."""
        self._map_wanted.clear()

    def wait_while_paused(self) -> None:
        """Called between the pieces of work; a host that can pause waits here."""

    def checkpoint(self) -> None:
        """Wait while paused; raises `Cancelled` where the end was asked for."""
        self.wait_while_paused()
        if self.cancelled:
            raise Cancelled


class Cancelled(Exception):
    """Raised inside work whose end was asked for."""

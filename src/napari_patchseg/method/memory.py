"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import sys


def give_back() -> None:
    """Let the C library return what it holds of freed memory; nothing where it can't be asked.

    glibc keeps freed maps for the next ones of their size. Those of the tiles at an image's edges
    and of each view have sizes of their own, and what is kept for them all is several times what a
    tile needs.
    """
    if not sys.platform.startswith("linux"):
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
    if trim is not None:
        trim(0)

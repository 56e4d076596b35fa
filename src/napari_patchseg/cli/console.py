"""What the command line says: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO

PROGRAM = "napari-patchseg"


class Console:
    """The user's terminal, log file or pipe; one that was closed is no reason to lose work.

    Attributes
    ----------
    quiet : bool
        Whether only results, warnings and errors are said.
    """

    def __init__(self) -> None:
        self.quiet = False
        with contextlib.suppress(AttributeError, ValueError):  # a "µ" on a terminal without one
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    def result(self, text: str) -> None:
        """What the user asked for."""
        _say(text, sys.stdout)

    def note(self, text: str) -> None:
        """What is going on."""
        if not self.quiet:
            _say(text, sys.stderr)

    def warn(self, text: str) -> None:
        """What the user should know about the result."""
        _say(f"{PROGRAM}: warning: {text}", sys.stderr)

    def error(self, text: str) -> None:
        """Why there is no result."""
        _say(f"{PROGRAM}: {text}", sys.stderr)

    @property
    def has_bar(self) -> bool:
        """Whether progress can be drawn: stderr is a terminal that has a width."""
        try:
            return not self.quiet and os.get_terminal_size(sys.stderr.fileno()).columns > 0
        except (OSError, ValueError):
            return False


def _say(text: str, stream: TextIO) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except (OSError, ValueError):  # `| head` has read enough, or the disk of the log is full
        with contextlib.suppress(OSError, ValueError):  # what is still to come, at exit too
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)

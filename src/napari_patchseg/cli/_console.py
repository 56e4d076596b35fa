"""The user at the command line: what they are told, and their Ctrl-C.

Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec, Self, TextIO, TypeVar

from napari_patchseg.errors import PatchSegError

PROGRAM = "napari-patchseg"

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Console:
    """The user's terminal, log file or pipe; one that was closed is no reason to lose work.

    Within a ``with`` block SIGINT and SIGTERM become a `KeyboardInterrupt`. Libraries written in C
    may turn that into another error, or drop it: whoever meets an error asks `check` or looks at
    `signal`. After an interrupt the process ends undisturbed by Ctrl-C.

    Attributes
    ----------
    quiet : bool
        Whether only results, warnings and errors are said.
    mistakes : list of str
        What was wrong with the call, to be said at once before any work is done.
    signal : int
        The signal that came; 0 before.
    """

    def __init__(self) -> None:
        self.quiet = False
        self.mistakes: list[str] = []
        self.signal = 0
        self._handlers: dict[int, Any] = {}
        self._targets: dict[Path, tuple[int, int] | None] = {}
        with contextlib.suppress(AttributeError, ValueError):  # a "µ" on a terminal without one
            sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]

    # -- what is said

    def result(self, text: str) -> None:
        """What the user asked for."""
        _say(text, sys.stdout)

    def note(self, text: str) -> None:
        """What is going on."""
        if not self.quiet:
            _say(text, sys.stderr)

    def warn(self, text: str) -> None:
        """What the user should know about the result."""
        self.error(f"warning: {text}")

    def error(self, text: str) -> None:
        """Why there is no result."""
        _say(f"{PROGRAM}: {text}", sys.stderr)

    def mistake(self, text: str) -> None:
        """Note what the user should put right."""
        self.mistakes.append(text)

    def attempt(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """Call a function; None, and a mistake more, where it raises `PatchSegError`."""
        try:
            return function(*args, **kwargs)
        except PatchSegError as error:
            self.mistake(str(error))
            return None

    def check_mistakes(self) -> None:
        """Raise `PatchSegError`, a line for each mistake, if there is any."""
        if self.mistakes:
            raise PatchSegError("\n".join(dict.fromkeys(self.mistakes)))

    # -- Ctrl-C

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Ignored signals stay ignored: a shell does that to what it starts in the background.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            if not self.signal or number == signal.SIGTERM:  # that ends what hangs at its end
                signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        self.signal = number
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it would disturb the tidying up
        raise KeyboardInterrupt

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if there was one, even if something swallowed it."""
        if self.signal:
            raise KeyboardInterrupt

    def watch(self, path: Path) -> None:
        """Remember what a file is before it is written."""
        self._targets.setdefault(path, _identity(path))

    def written(self) -> list[Path]:
        """The watched files that have been written since."""
        return [path for path, before in self._targets.items() if _identity(path) != before]


def _say(text: str, stream: TextIO) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except (OSError, ValueError):  # `| head` has read enough, or the disk of the log is full
        with contextlib.suppress(OSError, ValueError):  # what is still to come, at exit too
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns

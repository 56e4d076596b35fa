"""Ctrl-C in the command line: noticed wherever it lands, and what was written until then."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

#: Seconds for which a second Ctrl-C is ignored: it could disturb the tidying up.
_TIDYING = 1.0


class Interrupt:
    """Turns SIGINT and SIGTERM into a `KeyboardInterrupt`, and remembers that there was one.

    Libraries written in C may turn a `KeyboardInterrupt` into another error, or drop it. Whoever
    meets an error asks `check` whether it is really an interrupt.

    Listens within a ``with`` block; after an interrupt the process ends undisturbed by Ctrl-C.

    Attributes
    ----------
    signal : int
        The signal that came; 0 before.
    """

    def __init__(self) -> None:
        self.signal = 0
        self._since = 0.0
        self._before: dict[int, Any] = {}
        self._targets: dict[Path, tuple[int, int] | None] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Ignored signals stay ignored: a shell does that to what it starts in the background.
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            # SIGTERM ends a process that hangs while it ends.
            ending = self.signal and number == signal.SIGINT
            signal.signal(number, signal.SIG_IGN if ending else handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        if self.signal and time.monotonic() - self._since < _TIDYING:
            return
        self.signal = number
        self._since = time.monotonic()
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


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns

"""What the command line says: results on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from napari_patchseg.words import time_left

if TYPE_CHECKING:
    from napari_patchseg.report import Event

PROGRAM = "napari-patchseg"
#: Seconds between two lines of progress where there is no terminal to draw a bar on.
_LINE_INTERVAL = 10.0
#: Characters of a name before a bar.
_NAME = 24
_BAR = "{desc} {percentage:3.0f}% |{bar}| {n_fmt}/{total_fmt}{postfix}"


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

    def follow(
        self, items: Iterable[Event], name: str, words: Mapping[str, str]
    ) -> Iterator[Event]:
        """Hand on the items of `pipeline.run`, showing progress under a name.

        ``words`` has other words for some phases.
        """
        if self.quiet:
            yield from items
            return
        display = _Bar(name) if _columns() else _Lines(name)
        try:
            for item in items:
                state = _state(item, words)
                if state is not None:
                    display.show(state)
                yield item
        finally:
            display.close()


def _columns() -> int:
    """Width of the terminal that stderr goes to; 0 if it goes to none, or to one without a size."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return 0


def _say(text: str, stream: TextIO) -> None:
    try:
        stream.write(text + "\n")
        stream.flush()
    except (OSError, ValueError):  # `| head` has read enough, or the disk of the log is full
        _mute(stream)


def _mute(stream: TextIO) -> None:
    """Send what is still to be written, at exit too, nowhere."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


@dataclass(frozen=True)
class _State:
    phase: str
    words: str
    done: int
    total: int
    time_left: str = ""  # empty where nobody knows


def _state(item: Event, words: Mapping[str, str]) -> _State | None:
    from napari_patchseg.method.events import Step
    from napari_patchseg.report import Progress

    if isinstance(item, Step):
        text = "training" if item.state == "separating" else item.message
        left = item.remaining
        told = time_left(left, may_end_sooner=item.may_end_sooner) if left else ""
        return _State("training", text, item.step, item.max_steps, told)
    if isinstance(item, Progress):
        text = words.get(item.phase, item.message)
        return _State(item.phase, text, item.done, item.total)
    return None


class _Bar:
    """A bar on a terminal."""

    def __init__(self, name: str) -> None:
        from tqdm import tqdm

        # The bar and its words have the line's end.
        self._name = name if len(name) <= _NAME else f"{name[: _NAME // 2]}..{name[-_NAME // 2 :]}"
        self._phase = ""
        self._bar = tqdm(
            total=1,
            file=sys.stderr,
            leave=False,
            dynamic_ncols=True,
            bar_format=_BAR,
            desc=self._name,
        )

    def show(self, state: _State) -> None:
        bar = self._bar
        bar.set_description_str(f"{self._name}: {state.words}", refresh=False)
        if state.phase != self._phase:
            self._phase = state.phase
            bar.reset(state.total)
        bar.total = state.total  # what there is to do may turn out on the way
        bar.set_postfix_str(state.time_left, refresh=False)
        bar.update(state.done - bar.n)
        if state.done == state.total:  # the last step may come too soon after the one before
            bar.refresh()

    def close(self) -> None:
        self._bar.close()


class _Lines:
    """A line now and then, for a log."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._words = ""
        self._next = 0.0

    def show(self, state: _State) -> None:
        now = time.monotonic()
        if state.words == self._words and now < self._next:
            return
        self._words, self._next = state.words, now + _LINE_INTERVAL
        text = f"{self._name}: {state.words}"
        if state.total > 1:
            text += f", {state.done} of {state.total}"
        _say(", ".join(filter(None, (text, state.time_left))), sys.stderr)

    def close(self) -> None:
        pass

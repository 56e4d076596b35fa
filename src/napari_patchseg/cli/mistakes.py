"""All that is wrong with a call, gathered and said at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

from napari_patchseg.errors import PatchSegError

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Mistakes:
    """What the user should put right before any work is done.

    Parameters
    ----------
    sentences : sequence of str
        Those known already.
    """

    def __init__(self, sentences: Sequence[str] = ()) -> None:
        self._sentences = list(sentences)

    def add(self, error: PatchSegError | str) -> None:
        """Note a mistake."""
        self._sentences.append(str(error))

    def of(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T | None:
        """Call a function; None, and a mistake more, where it raises `PatchSegError`."""
        try:
            return function(*args, **kwargs)
        except PatchSegError as error:
            self.add(error)
            return None

    def end(self) -> None:
        """Raise `PatchSegError`, a line for each mistake, if there is any."""
        if self._sentences:
            raise PatchSegError("\n".join(dict.fromkeys(self._sentences)))

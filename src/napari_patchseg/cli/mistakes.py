"""All that is wrong with a call, gathered and said at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

from napari_patchseg.errors import PatchSegError

_Parameters = ParamSpec("_Parameters")
_Value = TypeVar("_Value")


class Mistakes:
    """What the user should put right before any work is done.

    Parameters
    ----------
    sentences : iterable of str
        Those known already.
    """

    def __init__(self, sentences: Iterable[str] = ()) -> None:
        self._sentences = list(sentences)

    def add(self, error: PatchSegError | str) -> None:
        """Note a mistake; an error of several lines is as many mistakes."""
        self._sentences += str(error).splitlines()

    def of(
        self,
        function: Callable[_Parameters, _Value],
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> _Value | None:
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

"""What shows a run must not be able to end it."""

from __future__ import annotations

import logging
from collections.abc import Callable

LOG = logging.getLogger(__name__)


class Guard:
    """Does what shows a run in the viewer; what goes wrong there is logged, and said once a run.

    The viewer is not ours alone: other plugins listen to its layers and may raise, users switch to
    displays that a layer does not know, or delete what is about to be drawn.

    Parameters
    ----------
    tell : callable
        Called with a sentence for the user.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._told = False

    def begin(self) -> None:
        """A new run begins, of which nothing was said yet."""
        self._told = False

    def __call__(self, show: Callable[[], object]) -> None:
        """Do it. Raises nothing that can be survived."""
        try:
            show()
        except Exception as error:
            LOG.exception("The run could not be shown.")
            if not self._told:
                self._told = True
                reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
                self._tell(f"Not everything of the run could be shown ({reason}); it goes on.")

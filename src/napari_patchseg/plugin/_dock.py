"""The dock that napari puts the panel into: its title, and what is asked before it closes."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QDockWidget, QLabel

TITLE = "PatchSeg"


def settle_in(dock: QDockWidget, may_close: Callable[[Callable[[], None]], None]) -> None:
    """Give the dock the panel's own title, and be asked before its button closes it for good.

    napari calls docks "Widget (Plugin)", finds them again by that, and writes it on their bar,
    which it makes anew wherever a dock is moved.

    Parameters
    ----------
    dock : QDockWidget
        napari's.
    may_close : callable
        Called with what closes the dock, instead of that, when its button is clicked. Closing the
        window goes its own way: napari asks there itself.
    """
    name = dock.windowTitle()
    here = weakref.ref(dock)

    def write_title(*_: object) -> None:
        dock = here()
        if dock is None:
            return
        try:
            for label in dock.findChildren(QLabel):
                if label.text() == name:
                    label.setText(TITLE)
        except RuntimeError:  # it has gone
            return

    def soon(*_: object) -> None:
        QTimer.singleShot(0, write_title)  # napari makes the bar after this

    dock.setWindowTitle(TITLE)
    dock.topLevelChanged.connect(soon)
    dock.dockLocationChanged.connect(soon)
    soon()

    close = getattr(type(dock), "destroyOnClose", None)  # of napari's own class
    if close is None:
        return

    def close_now() -> None:
        dock = here()
        if dock is not None:
            close(dock)

    dock.destroyOnClose = lambda: may_close(close_now)  # type: ignore[attr-defined]

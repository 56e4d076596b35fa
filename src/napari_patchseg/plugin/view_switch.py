"""What one looks at: contours, filled nuclei or the live layers, and the patch under the mouse."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QToolTip, QWidget

from ._layers import View
from ._shortcuts import key_of
from .layer_source import role_of, unwrap

if TYPE_CHECKING:
    from napari.layers import Shapes
    from napari.viewer import Viewer

    from .session import TrainingSession

_TOOLTIPS = {
    View.CONTOURS: "Show the nuclei as contours over the image; confidence and patches are hidden.",
    View.FILLED: "Show the nuclei as filled areas; confidence and patches are hidden. "
    f"({key_of('fill_nuclei')} turns between contours and this)",
    View.LIVE: "Show confidence and sampled patches; the nuclei are hidden.",
}


class ViewSwitch(QWidget):
    """Three buttons of which one is down; the arrow keys move between them.

    Parameters
    ----------
    session : TrainingSession
        What shows the run.
    parent : QWidget or None
        Qt's owner.
    """

    def __init__(self, session: TrainingSession, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.buttons: dict[View, QPushButton] = {}
        group = QButtonGroup(self)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        label = QLabel("show")
        layout.addWidget(label)
        layout.addSpacing(6)
        for view, tooltip in _TOOLTIPS.items():
            button = QPushButton(str(view))
            button.setCheckable(True)
            button.setToolTip(tooltip)
            button.setAccessibleName(f"show {view}")
            button.setObjectName(f"show_{view}")
            group.addButton(button)
            layout.addWidget(button, 1)
            self.buttons[view] = button
            # Not `toggled`: that tells of `_show_view` as well.
            button.clicked.connect(lambda _checked, chosen=view: session.choose_view(chosen))
        label.setBuddy(self.buttons[View.CONTOURS])
        session.layers.view_changed.connect(self._show_view)
        self._show_view()

    def _show_view(self, _view: View | None = None) -> None:
        self.buttons[self._session.layers.view].setChecked(True)
        for button in self.buttons.values():
            button.setEnabled(self._session.run is not None)


def watch_hover(viewer: Viewer) -> Callable[[], None]:
    """Show a tooltip over windows; returns what ends that.

    napari's own tooltips are off by default and know no features of shapes.
    """
    callbacks = unwrap(viewer).mouse_move_callbacks

    def on_move(model: Any, event: Any) -> None:
        if event.is_dragging:
            return
        for layer in reversed(model.layers):
            if role_of(layer).endswith("patches") and layer.visible:
                text = text_at(layer, event)
                if text:
                    QToolTip.showText(QCursor.pos(), text)
                    return

    callbacks.append(on_move)
    return lambda: callbacks.remove(on_move) if on_move in callbacks else None


def text_at(layer: Shapes, event: Any) -> str:
    """What the window under a mouse event of napari is; empty where there is none."""
    number = layer.get_value(
        event.position,
        view_direction=event.view_direction,
        dims_displayed=event.dims_displayed,
        world=True,
    )[0]
    if number is None or not 0 <= number < layer.nshapes:
        return ""
    features = layer.features.iloc[number]
    return (
        f"{role_of(layer).removesuffix('es')}, step {features['step']:.0f}, "
        f"class {features['class']:.0f}\nmean confidence {features['mean confidence']:.2f}, "
        f"mean entropy {features['mean entropy']:.2f} bits"
    )

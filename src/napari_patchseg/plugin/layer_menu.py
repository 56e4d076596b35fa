"""The entry "Segment nuclei" in the layer list's right-click menu, and the command behind it.

napari takes no contributions to that menu from manifests, so the entry is put there at run time.
This is the only module that touches napari's private API (`napari._app_model`); without it the
command stays in Layers > Segment and everything else works. Nothing heavy is imported here: napari
runs it while it starts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import napari.viewer

    from .dock_widget import PatchSegWidget

LOG = logging.getLogger(__name__)

PLUGIN = "napari-patchseg"
COMMAND = "napari-patchseg.segment"
MENU = "napari/layers/context"
TITLE = "Segment nuclei"
WHEN = "num_selected_layers == 1 and num_selected_image_layers == 1"


def install(_context: Any = None) -> None:
    """Add the entry now, and again whenever the plugin is enabled; npe2's `on_activate` as well."""
    from npe2 import PluginManager

    PluginManager.instance().events.enablement_changed.connect(_on_enablement, unique=True)
    register()


def register() -> None:
    """Add the entry to the present application's menu, once; says in the log why it cannot."""
    from npe2 import PluginManager

    manager = PluginManager.instance()
    if PLUGIN in manager and manager.is_disabled(PLUGIN):
        return
    try:
        from app_model.types import CommandRule, MenuItem
        from napari._app_model import get_app_model

        app = get_app_model()  # asked for every time: each of napari's tests has its own
        present = app.menus._menu_items.get(MENU, {})
        if COMMAND in {getattr(getattr(item, "command", None), "id", None) for item in present}:
            return
        item = MenuItem(
            command=CommandRule(id=COMMAND, title=TITLE, enablement=WHEN),
            when=WHEN,
            group="1_conversion",
            order=99,
        )
        dispose = app.menus.append_menu_items([(MENU, item)])
        # A disabled plugin has no commands; an entry left behind would raise when clicked.
        manager.get_context(PLUGIN).register_disposable(dispose)
    except Exception:  # private API: whatever changed there, napari and the plugin must go on
        LOG.warning(
            "No right-click entry '%s': napari's layer menu has changed. "
            "Use Layers > Segment or the PatchSeg panel.",
            TITLE,
            exc_info=True,
        )


def _on_enablement(enabled: set[str], _disabled: set[str]) -> None:
    if PLUGIN in enabled:
        register()


def segment_nuclei(viewer: napari.viewer.Viewer) -> None:
    """Train on the panel's region of the selected image until convergence and add its labels.

    Parameters
    ----------
    viewer : Viewer
        Injected by napari.
    """
    from .preload import preload

    preload(_is_running)  # a run was asked for: it waits for nothing but this
    from napari.utils.notifications import show_error

    from napari_patchseg.errors import PatchSegError

    from .layer_source import image_layer_of, unwrap

    viewer = unwrap(viewer)
    try:
        layer = image_layer_of(viewer)
    except PatchSegError as error:
        show_error(str(error))
        return
    find_panel(viewer).segment(layer)


def _is_running() -> bool:
    from .session import running_session

    return running_session() is not None


def find_panel(viewer: napari.viewer.Viewer) -> PatchSegWidget:
    """The panel of this viewer, shown; opened as Plugins > PatchSeg would open it if need be."""
    from .dock_widget import PatchSegWidget

    for inner in viewer.window.dock_widgets.values():
        if isinstance(inner, PatchSegWidget):
            dock = inner.parentWidget()
            if dock is not None:
                dock.show()
                dock.raise_()
            return inner
    panel = PatchSegWidget(viewer)
    # The name that napari's own menu entry looks for, else that would open a second panel.
    viewer.window.add_dock_widget(panel, name="PatchSeg (PatchSeg)", area="right")
    return panel

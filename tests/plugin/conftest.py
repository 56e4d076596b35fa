"""A small image, settings that learn in seconds, and a real viewer with the panel."""

from __future__ import annotations

import gc
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from napari_patchseg.settings import Settings

#: Milliseconds after which a wait is taken for a hang; says nothing about speed.
PATIENCE = 120_000


def blobs(side: int = 128, seed: int = 0) -> np.ndarray:
    """Dark violet discs on pale pink, RGB uint8."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:side, :side]
    depth = np.zeros((side, side))
    for centre_row, centre_column in random.uniform(0, side, (side * side // 500, 2)):
        distance = np.hypot(row - centre_row, column - centre_column)
        depth = np.maximum(depth, 1 / (1 + np.exp(distance - 6)))
    image = np.array([235, 215, 230]) - depth[..., None] * np.array([130, 150, 70])
    return (image + random.normal(0, 5, image.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture
def image() -> np.ndarray:
    return blobs()


@pytest.fixture
def transform() -> dict[str, Any]:
    """Everything that can be said about where a layer is."""
    return {
        "scale": (0.5, 0.25),
        "translate": (3, 4),
        "rotate": 30,
        "shear": [0.2],
        "affine": [[1, 0.1, 5], [0, 1.2, 2], [0, 0, 1]],
        "units": ("um", "um"),
        "axis_labels": ("y", "x"),
    }


@pytest.fixture
def long(quick: Settings) -> Settings:
    """The same without an end in sight."""
    return quick.replace(max_steps=100_000)


@pytest.fixture
def wait(qtbot: Any) -> Callable[[Callable[[], Any]], None]:
    """Run the event loop until something holds."""

    def until(condition: Callable[[], Any]) -> None:
        qtbot.waitUntil(lambda: bool(condition()), timeout=PATIENCE)

    return until


@pytest.fixture(scope="session")
def _imported() -> None:
    """Import what a run takes, and leave it out of garbage collections.

    Each test with a viewer has several full ones, of half a million objects that stay.
    """
    for name in ("safetensors.torch", "napari_patchseg.pipeline", "napari_patchseg.hinting"):
        importlib.import_module(name)
    for name in ("napari.qt", "pandas", "pyqtgraph", "napari_patchseg.plugin.dock_widget"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


@pytest.fixture
def make_napari_viewer(_imported: None, make_napari_viewer: Any) -> Any:
    return make_napari_viewer


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    from napari_patchseg.plugin.layer_menu import install

    viewer = make_napari_viewer()
    install()  # at napari's start the package does this; each test has a new application
    return viewer


@pytest.fixture
def told() -> Iterator[list[str]]:
    """Sentences that reached the user through napari's notifications."""
    from napari.utils.notifications import notification_manager

    sentences: list[str] = []

    def hear(notification: Any) -> None:
        sentences.append(notification.message)

    notification_manager.notification_ready.connect(hear)
    yield sentences
    notification_manager.notification_ready.disconnect(hear)


@pytest.fixture
def panel(viewer: Any, quick: Settings, wait: Callable[..., None]) -> Iterator[Any]:
    """The panel in the viewer's window, with quick settings."""
    from napari_patchseg.plugin.layer_menu import find_panel

    panel = find_panel(viewer)
    panel.show_settings(quick)
    yield panel
    if panel.session.is_busy:  # the next test must not find a run under way
        panel.session.shutdown()
        wait(lambda: not panel.session.is_busy)

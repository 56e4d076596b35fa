from __future__ import annotations

import functools
import hashlib
import socket
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import imageio.v3 as iio
import numpy as np
import pytest

from napari_patchseg.errors import FileError
from napari_patchseg.synthetic import synthetic_field

PLUGIN = "napari-patchseg"


def test_synthetic(make_napari_viewer):
    viewer = make_napari_viewer()
    image, labels = viewer.open_sample(PLUGIN, "synthetic")
    assert [layer.name for layer in viewer.layers] == ["synthetic H&E", "synthetic H&E true nuclei"]
    assert image.rgb
    assert image.data.shape == (512, 512, 3)
    assert labels.data.max() > 50
    assert not labels.visible
    for layer in (image, labels):
        np.testing.assert_array_equal(layer.scale, (0.25, 0.25))
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    np.testing.assert_array_equal(image.extent.world, labels.extent.world)
    expected = synthetic_field((512, 512), seed=0)
    np.testing.assert_array_equal(image.data, expected[0])
    np.testing.assert_array_equal(labels.data, expected[1])


def test_ihc(make_napari_viewer):
    viewer = make_napari_viewer()
    (layer,) = viewer.open_sample(PLUGIN, "ihc")
    assert layer.name == "IHC"
    assert layer.rgb
    assert layer.data.shape == (512, 512, 3)
    assert [str(unit) for unit in layer.units] == ["pixel", "pixel"]


def test_samples_are_in_the_menu(make_napari_viewer):
    from napari.plugins import _npe2

    make_napari_viewer()
    found = {key: list(samples) for key, samples in _npe2.sample_iterator()}
    assert found[PLUGIN] == ["synthetic", "ihc", "skin"]


@pytest.fixture
def no_network(monkeypatch):
    """Names are not found, as on a machine without network; nothing leaves this one either way."""

    def fail(*args, **kwargs):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(socket.socket, "connect", fail)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    from skimage.data import _fetchers

    if _fetchers._image_fetcher is None:
        pytest.skip("scikit-image without pooch never downloads")
    monkeypatch.setattr(_fetchers._image_fetcher, "path", tmp_path)
    monkeypatch.setattr("skimage.data.data_dir", str(tmp_path / "data"))
    monkeypatch.setattr("time.sleep", lambda _: None)  # pooch's pauses between its tries


def test_skin_without_network_is_one_sentence(viewer, told, wait, no_network, empty_cache):
    with pytest.raises(FileError):
        viewer.open_sample(PLUGIN, "skin")
    wait(lambda: told)
    assert len(told) == 1
    assert "network" in told[0]
    assert len(viewer.layers) == 0


def test_skin_that_takes_long_holds_nobody_up(viewer, wait, empty_cache, monkeypatch):
    """Asked for twice, it comes once."""
    picture = np.full((80, 90, 3), 200, np.uint8)
    released = threading.Event()
    monkeypatch.setattr("skimage.data.skin", lambda: released.wait(60) and picture)
    for _ in range(2):
        with pytest.raises(FileError):
            viewer.open_sample(PLUGIN, "skin")
    assert not released.is_set()
    released.set()
    wait(lambda: viewer.layers)
    assert [layer.name for layer in viewer.layers] == ["H&E skin"]


@pytest.fixture
def skin_server(tmp_path, monkeypatch, empty_cache):
    """A server on this machine from which scikit-image's own loader fetches its skin image."""
    from skimage.data import _fetchers

    name, picture = "data/skin.jpg", np.full((80, 90, 3), (200, 150, 180), np.uint8)
    file = tmp_path / "served" / "skin.jpg"
    file.parent.mkdir()
    iio.imwrite(file, picture)
    handler = functools.partial(QuietHandler, directory=file.parent)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    checksum = hashlib.sha256(file.read_bytes()).hexdigest()
    address = f"http://127.0.0.1:{server.server_port}/{file.name}"
    monkeypatch.setitem(_fetchers.registry, name, checksum)
    monkeypatch.setitem(_fetchers._image_fetcher.registry, name, checksum)
    monkeypatch.setitem(_fetchers._image_fetcher.urls, name, address)
    yield iio.imread(file)
    server.shutdown()
    server.server_close()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_skin_that_comes(skin_server, viewer, wait):
    """The whole way: asked for, downloaded, checked, read, shown; the next time it is there."""
    with pytest.raises(FileError):
        viewer.open_sample(PLUGIN, "skin")
    wait(lambda: viewer.layers)
    viewer.open_sample(PLUGIN, "skin")
    assert len(viewer.layers) == 2
    for layer in viewer.layers:
        assert layer.name.startswith("H&E skin")
        assert layer.rgb
        np.testing.assert_array_equal(layer.data, skin_server)

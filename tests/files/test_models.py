from __future__ import annotations

import json
import math
import pickle
import struct
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from napari_patchseg.errors import FileError, ModelError
from napari_patchseg.files.models import load_model, save_model
from napari_patchseg.method.maps import NucleusClass
from napari_patchseg.method.network import ConfidenceNetwork, Model, weights_of
from napari_patchseg.settings import Settings


def make_model(channels: int = 3, classes: int = 4, nucleus: NucleusClass | None = None) -> Model:
    torch.manual_seed(0)
    network = ConfidenceNetwork(channels, classes)
    network(torch.rand(2, channels, 64, 64))  # fills the running statistics
    chosen = Settings.create("paper", classes=classes, seed=3, device="cpu", threads=2)
    return Model(weights_of(network), channels, chosen, 120, "converged", nucleus, "stained")


MODEL = make_model(nucleus=NucleusClass(2, True, 0.625))


@pytest.fixture(scope="module")
def content(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("models") / "a.safetensors"
    return save_model(path, MODEL).read_bytes()


def assert_same(got: Model, expected: Model) -> None:
    assert replace(got, weights={}) == replace(expected, weights={})
    assert got.weights.keys() == expected.weights.keys()
    for name, tensor in expected.weights.items():
        assert torch.equal(got.weights[name], tensor)
        assert got.weights[name].dtype == tensor.dtype


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("classes", [1, 4])
def test_comes_back(tmp_path, channels, classes):
    model = make_model(channels, classes, NucleusClass(0, False, 0.5))
    path = save_model(tmp_path / "m.safetensors", model)
    got = load_model(path)
    assert_same(got, model)
    image = torch.rand(1, channels, 70, 70)
    assert torch.equal(got.network()(image), model.network()(image))


def test_without_nucleus_class_and_with_the_users(tmp_path):
    assert load_model(save_model(tmp_path / "a", replace(MODEL, nucleus=None))).nucleus is None
    chosen = replace(MODEL, nucleus=NucleusClass(1, False, math.nan))
    got = load_model(save_model(tmp_path / "a", chosen)).nucleus
    assert got is not None
    assert (got.index, got.inverted) == (1, False)
    assert math.isnan(got.correlation)


def test_channels_last_weights(tmp_path):
    weights = {
        name: tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor
        for name, tensor in MODEL.weights.items()
    }
    assert_same(load_model(save_model(tmp_path / "a", replace(MODEL, weights=weights))), MODEL)


def test_overwrite(tmp_path):
    path = save_model(tmp_path / "a", MODEL)
    with pytest.raises(FileError, match="exists already"):
        save_model(path, make_model(1), overwrite=False)
    assert load_model(path).channels == 3


def test_no_file_and_folder(tmp_path):
    with pytest.raises(FileError, match="There is no file"):
        load_model(tmp_path / "none")
    with pytest.raises(FileError, match="cannot be read: Is a directory"):
        load_model(tmp_path)


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 100, 0.3, 0.9, 0.9999])
def test_truncated(tmp_path, content, keep):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(ModelError, match="truncated; get it anew"):
        load_model(path)


def repack(path, weights=None, header: dict | None = None, **metadata: str) -> None:
    described = {
        "channels": 3,
        "steps": 1,
        "stop_reason": "converged",
        "settings": MODEL.settings.to_dict(),
        "nucleus": None,
        "image_kind": "stained",
        "package_version": "9.9",
        **(header or {}),
    }
    packed = {
        "format": "napari-patchseg model",
        "format_version": "3",
        "model": json.dumps(described),
        **metadata,
    }
    path.write_bytes(save(dict(MODEL.weights if weights is None else weights), packed))


def test_repacked_is_good(tmp_path):
    repack(tmp_path / "m")
    assert load_model(tmp_path / "m").steps == 1


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": "pt"}, "is not a PatchSeg model"),
        ({"format_version": "2"}, "of format '2', and this version reads format '3'"),
        ({"format_version": ""}, "of format ''"),
        ({"model": "{"}, "its description cannot be read"),
        ({"model": "[" * 10_000}, "its description cannot be read"),
        ({"header": {"channels": 0}}, "its description cannot be read"),
        ({"header": {"channels": 10**12}}, "its description cannot be read"),
        ({"header": {"channels": "3"}}, "its description cannot be read"),
        ({"header": {"steps": -1}}, "its description cannot be read"),
        ({"header": {"channels": 4}}, "weights of another network"),
        (
            {"header": {"settings": {"training": {"weights": "random", "classes": 3}}}},
            "of another network",
        ),
        (
            {"header": {"settings": {"of_the_future": 3, "b": 1}}},
            r"settings that this .*of_the_future.* 9\.9",
        ),
        (
            {"header": {"nucleus": {"index": 4, "inverted": False, "correlation": 0.5}}},
            "nucleus class does not exist",
        ),
        ({"header": {"nucleus": {"index": "x"}}}, "its description cannot be read"),
        ({"weights": {}}, "weights of another network"),
        ({"weights": {"a": torch.zeros(2)}}, "weights of another network"),
        ({"weights": {k: v.double() for k, v in MODEL.weights.items()}}, "another network"),
        ({"weights": {k: v * math.nan if v.is_floating_point() else v
                      for k, v in MODEL.weights.items()}}, "not finite"),
    ],
)  # fmt: skip
def test_wrong_content(tmp_path, changes, sentence):
    repack(tmp_path / "m", **changes)
    with pytest.raises(ModelError, match=sentence) as caught:
        load_model(tmp_path / "m")
    assert "\n" not in str(caught.value)


class _Bomb:
    def __reduce__(self):
        return (pytest.fail, ("code of the file ran",))


def test_pickles_are_not_opened(tmp_path):
    (tmp_path / "m").write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(ModelError, match="pickled PyTorch file"):
        load_model(tmp_path / "m")
    torch.save({"a": torch.zeros(2)}, tmp_path / "m.pt")
    with pytest.raises(ModelError, match="pickled PyTorch file"):
        load_model(tmp_path / "m.pt")


def test_something_else(tmp_path):
    (tmp_path / "m").write_text("This is a text about nuclei.")
    with pytest.raises(ModelError, match="is not a PatchSeg model"):
        load_model(tmp_path / "m")
    with (tmp_path / "m").open("wb") as file:
        file.truncate(200 * 2**20)
    with pytest.raises(ModelError, match="is not a PatchSeg model"):
        load_model(tmp_path / "m")


slow = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@slow
@given(rest=st.binary(max_size=400), as_header=st.booleans())
def test_random_bytes(tmp_path, rest, as_header):
    path = tmp_path / "m"
    path.write_bytes(struct.pack("<Q", len(rest)) + b"{" + rest if as_header else rest)
    with pytest.raises((ModelError, FileError)):
        load_model(path)


@slow
@given(data=st.data())
def test_changed_bytes_of_the_header(tmp_path, content, data):
    changed = bytearray(content)
    end = 8 + struct.unpack("<Q", content[:8])[0]
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, end - 1), st.integers(0, 255)), min_size=1, max_size=4)
    ):
        changed[place] = byte
    path = tmp_path / "m"
    path.write_bytes(changed)
    try:
        got = load_model(path)
    except (ModelError, FileError):
        return
    got.network()  # what loads can be used


dtypes = st.sampled_from(
    ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "F4", "C64", "U16", "nonsense"]
)


@slow
@given(
    name=st.sampled_from(["stem.0.weight", "x"]),
    dtype=dtypes,
    shape=st.lists(st.integers(-1, 2**63), max_size=3),
    end=st.integers(0, 2**64),
    metadata=st.dictionaries(st.text(max_size=3), st.text(max_size=9), max_size=2),
)
def test_hostile_headers(tmp_path, name, dtype, shape, end, metadata):
    header = {
        "__metadata__": {**metadata, "format": "napari-patchseg model", "format_version": "3"},
        name: {"dtype": dtype, "shape": shape, "data_offsets": [0, end]},
    }
    text = json.dumps(header).encode()
    path = tmp_path / "m"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(64))
    with pytest.raises((ModelError, FileError)):
        load_model(path)


def test_one_model_is_the_same_bytes_in_every_process(tmp_path, fresh_python):
    """safetensors itself has its metadata in another order each time."""
    code = (
        "from napari_patchseg.files.models import *; save_model('b.safetensors', load_model({!r}))"
    )
    path = save_model(tmp_path / "a.safetensors", MODEL)
    for _ in range(2):
        fresh_python("-c", code.format(str(path)))
        assert (tmp_path / "b.safetensors").read_bytes() == path.read_bytes()

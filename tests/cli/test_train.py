from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from safetensors import safe_open
from safetensors.torch import save_file

from napari_patchseg.files.labels import read_report
from napari_patchseg.files.models import load_model


@pytest.fixture
def model(cli, slide, quickly) -> Path:
    """A model trained on the slide."""
    assert cli("train", slide, "-o", "model.safetensors", *quickly).code == 0
    return slide.with_name("model.safetensors")


def test_one_model_of_several_images(cli, slide, picture, quickly):
    done = cli("train", slide, picture, "-o", "m.safetensors", "--report", "r.json", *quickly)
    assert done.code == 0, done.err
    assert done.out.startswith("2 images: 3 steps (step limit), ")
    assert done.out.endswith(" -> m.safetensors\n")
    model = load_model("m.safetensors")
    assert (model.channels, model.steps) == (3, 3)
    assert model.nucleus is not None
    report = json.loads(Path("r.json").read_text())
    assert report["image_files"] == [str(slide), str(picture)]
    assert report["model_file"] == "m.safetensors"
    assert set(report["seconds"]) >= {"reading", "training", "predicting", "writing", "total"}


def test_model_used_on_another_image(cli, model, picture, quickly):
    done = cli("segment", picture, "--model", model, "--report", "r.json", *quickly)
    assert done.code == 0, done.err
    assert "training" not in done.err
    assert " nuclei of about " in done.out
    assert ", model of 3 steps (step limit), " in done.out
    labels = tifffile.imread("picture_nuclei.ome.tif")
    assert labels.any()
    saved = read_report("picture_nuclei.ome.tif")
    assert saved is not None
    assert saved["model_file"] == "model.safetensors"
    assert "training" not in json.loads(Path("r.json").read_text())["seconds"]


def test_same_labels_as_after_training(cli, model, slide, quickly):
    assert cli("segment", slide, "-o", "trained.tif", *quickly).code == 0
    assert cli("segment", slide, "-o", "model.tif", "--model", model, *quickly).code == 0
    np.testing.assert_array_equal(tifffile.imread("trained.tif"), tifffile.imread("model.tif"))


def test_model_is_not_overwritten_unasked(cli, model, slide, quickly):
    before = model.read_bytes()
    done = cli("train", slide, "-o", model, *quickly)
    assert done.code == 2
    assert "exists already" in done.err
    done = cli("segment", slide, "--model", model, "-o", "l.tif", "--report", model, "--overwrite")
    assert done.code == 2
    assert "read and written at once" in done.err
    assert model.read_bytes() == before
    assert cli("train", slide, "-o", model, "--overwrite", "--seed", "4", *quickly).code == 0
    assert model.read_bytes() != before


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("missing/m.safetensors", "does not exist; create it or choose another."),
        (".", "is a folder; give a file name."),
        ("models/", "--output: models/ is a folder; give a file name."),
        ("m.png", "m.png is an image's name; train writes a model: end it in .safetensors."),
        (
            "slide.tif",
            "slide.tif is an image's name; train writes a model: end it in .safetensors.",
        ),
    ],
)
def test_output_that_cannot_be(cli, slide, quickly, output, sentence):
    done = cli("train", slide, "-o", output, "--overwrite", *quickly)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.endswith(sentence)


def test_every_image_must_be_good(cli, slide, quickly, tmp_path):
    (tmp_path / "text.tif").write_text("text")
    tifffile.imwrite("small.tif", np.arange(3600, dtype=np.uint16).reshape(60, 60))
    for bad, sentence in (
        ("none.tif", "There is no file none.tif."),
        ("text.tif", "text.tif is not an image"),
        ("small.tif", "small.tif: The image is 60 x 60 px"),
    ):
        done = cli("train", slide, bad, "-o", "m.safetensors", "--quiet", *quickly)
        assert (done.code, done.out) == (2, "")
        (line,) = done.err.splitlines()
        assert line.startswith(f"napari-patchseg: {sentence}")
    assert not Path("m.safetensors").exists()


def test_every_bad_image_is_named(cli, slide, quickly, tmp_path):
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).write_text("text")
    done = cli("train", slide, "a.tif", "b.tif", "-o", "m.safetensors", "--quiet", *quickly)
    assert (done.code, done.out) == (2, "")
    assert [line.split()[1] for line in done.err.splitlines()] == ["a.tif", "b.tif"]


def test_all_mistakes_of_a_call_at_once(cli, quickly, tmp_path):
    done = cli("train", "none.tif", "--report", "no/r.json", *quickly, "--seed", "x")
    assert (done.code, done.out) == (2, "")
    lines = done.err.splitlines()
    assert len(lines) == 4
    for part in ("no file none.tif", "add -o with one", "--seed: ", "no does not exist"):
        assert part in done.err
    assert not list(tmp_path.iterdir())


def test_it_does_not_say_that_it_predicts(cli, slide, quickly):
    done = cli("train", slide, "-o", "m.safetensors", *quickly)
    assert done.code == 0
    assert "predicting" not in done.err
    assert "m.safetensors: trying the model on slide.tif" in done.err


def test_images_of_different_channels(cli, slide, tissue, quickly):
    tifffile.imwrite("grey.tif", tissue[..., 0])
    done = cli("train", slide, "grey.tif", "-o", "m.safetensors", "--quiet", *quickly)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        "napari-patchseg: The images differ in their number of channels; train on like images.\n"
    )
    assert not Path("m.safetensors").exists()


def test_nothing_to_learn(cli, quickly):
    noise = np.random.default_rng(0).integers(0, 256, (96, 96), np.uint8)
    tifffile.imwrite("noise.tif", noise)
    done = cli("train", "noise.tif", "-o", "m.safetensors", "--quiet", *quickly)
    assert (done.code, done.out) == (2, "")
    assert "m.safetensors was not written: nothing could be separated" in done.err
    assert not Path("m.safetensors").exists()


# -- models that are none


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def another_version(path):
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    save_file(weights, path, {**metadata, "format_version": "1"})


def test_model_that_begins_like_a_pickle(model):
    with safe_open(model, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    for length in range(256):  # the file begins with the length of its header
        save_file(weights, model, {**metadata, "padding": " " * length})
        if model.read_bytes().startswith(b"\x80"):
            break
    else:
        pytest.fail("no length of the header begins with 0x80")
    assert load_model(model).steps == 3


def not_ours(path):
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(weights, path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (truncated, "model.safetensors is "),
        (another_version, "model.safetensors is a PatchSeg model of format '1'"),
        (not_ours, "model.safetensors is not a PatchSeg model."),
        (lambda path: path.write_text("a model"), "model.safetensors is "),
        (lambda path: path.unlink(), "There is no file "),
    ],
)
def test_bad_models(cli, model, slide, quickly, change, sentence):
    change(model)
    done = cli("segment", slide, "--model", model, *quickly)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("napari-patchseg: ")
    assert sentence in line
    assert not slide.with_name("slide_nuclei.ome.tif").exists()


def test_model_of_other_channels(cli, slide, tissue, quickly):
    paper = [*quickly, "--preset", "paper"]  # of the default preset, models take any image
    assert cli("train", slide, "-o", "paper.safetensors", *paper).code == 0
    tifffile.imwrite("grey.tif", tissue[..., 0])
    done = cli("segment", "grey.tif", slide, "--model", "paper.safetensors", "--quiet", *quickly)
    assert done.code == 1  # the slide goes on
    assert done.err == (
        "napari-patchseg: grey.tif: The model takes images of 3 channels, this one has 1; "
        "choose another model or train on this image.\n"
    )
    assert tifffile.imread("slide_nuclei.ome.tif").any()
    assert not Path("grey_nuclei.ome.tif").exists()


def test_what_changes_labels_alone_is_no_option(cli, slide, quickly):
    done = cli("train", slide, "-o", "m.safetensors", "--threshold", "0.4", *quickly)
    assert done.code == 2
    assert "There is no option --threshold" in done.err
    done = cli("train", slide, "-o", "m.safetensors", "--set", "threshold=0.4", *quickly)
    assert done.code == 0, done.err

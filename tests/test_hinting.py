"""What is corrected by hand is so through every door: Python, models, files, command line."""

import json

import numpy as np
import pytest
from imageio.v3 import imwrite

import napari_patchseg as ps
from napari_patchseg.cli import main
from napari_patchseg.corrections import Delete, Merge
from napari_patchseg.errors import ImageError, ModelError, SettingsError
from napari_patchseg.files.labels import read_labels
from napari_patchseg.hinting import Place
from napari_patchseg.method.maps import ConfidenceMap, NucleusClass
from napari_patchseg.objects import pixels_of


@pytest.fixture(scope="module")
def field():
    return ps.synthetic_field((128, 160), seed=1)[0]


@pytest.fixture(scope="module")
def model(field):
    """Trained once: what follows is about hints."""
    return ps.train_model([field], max_steps=2, threads=1, device="cpu")


@pytest.fixture(scope="module")
def before(field, model):
    return ps.segment(field, model=model)


@pytest.fixture(scope="module")
def hints(before):
    """One nucleus is none, and one more is where the background was."""
    hints = np.zeros(before.shape, np.uint8)
    hints[before == 3] = 2
    row, column = _free(before)
    hints[row : row + 8, column : column + 8] = 1
    return hints


def _free(labels, side=8):
    """The corner of a square of background."""
    rows, columns = (length - side for length in labels.shape)
    return next(
        (row, column)
        for row in range(rows)
        for column in range(columns)
        if not labels[row : row + side, column : column + side].any()
    )


@pytest.mark.parametrize("learns", [True, False])
def test_what_is_painted_is_so(field, model, before, hints, learns):
    labels = ps.segment(field, model=model, hints=hints, learn_from_hints=learns)
    assert not labels[hints == 2].any()
    assert (labels[hints == 1] > 0).mean() > 0.9
    again = ps.segment(field, model=model, hints=hints, learn_from_hints=learns)
    np.testing.assert_array_equal(labels, again)


def test_strokes_count_at_their_place_of_a_reduced_map(field):
    box, shape = (10, 20, 127, 157), (39, 46)  # as a preview at a third of the size
    data = np.full((2, *shape), 0.3, np.float32)
    preview = ConfidenceMap(1, data, ("nucleus", "interior"), box, 3, NucleusClass(0, False, 0.5))
    hints = np.zeros(field.shape[:2], np.uint8)
    hints[40, 50] = 1  # a single pixel is enough
    hints[100:103, 110] = 2
    hints[5, 5] = 1  # outside
    place = Place.of(ps.Pixels.from_array(field), preview, 24)
    painted = place.painted(preview, hints)
    for nuclei in (painted.nuclei, painted.interiors):
        assert nuclei[10, 10] > 0.99
        assert nuclei[30, 30] < 0.01
        np.testing.assert_array_equal(nuclei[:, 40:], data[0, :, 40:])
        np.testing.assert_allclose(nuclei[:4, :4], 0.3, rtol=1e-5)
    assert place.fits(preview, 24)
    assert not place.fits(preview, 25)


def test_hints_that_say_nothing_change_nothing(field, model, before):
    nothing = np.zeros(before.shape, int)
    np.testing.assert_array_equal(ps.segment(field, model=model, hints=nothing), before)


def test_only_here_changes_nothing_far_away(field, model, before, hints):
    labels = ps.segment(field, model=model, hints=hints, learn_from_hints=False)
    rows, columns = np.nonzero(hints)
    row, column = np.mgrid[: hints.shape[0], : hints.shape[1]]
    far = np.ones(hints.shape, bool)
    for at in zip(rows[::7], columns[::7], strict=True):
        far &= np.hypot(row - at[0], column - at[1]) > 40
    np.testing.assert_array_equal(labels[far] > 0, before[far] > 0)


def test_a_model_keeps_hints_and_what_they_taught(field, hints, tmp_path):
    taught = ps.train_model([field], hints=hints, max_steps=2, threads=1, device="cpu")
    assert len(taught.heads) == 1
    path = ps.save_model(tmp_path / "taught.safetensors", taught)
    loaded = ps.load_model(path)
    np.testing.assert_array_equal(loaded.corrections.painted, hints)
    another = ps.synthetic_field((128, 128), seed=5)[0]
    np.testing.assert_array_equal(
        ps.segment(another, model=taught), ps.segment(another, model=loaded)
    )


def test_hints_on_several_images_all_teach(field, hints):
    another = ps.synthetic_field((128, 160), seed=5)[0]
    model = ps.train_model(
        [field, another], hints=[None, hints], max_steps=2, threads=1, device="cpu"
    )
    assert len(model.heads) == 1


def test_a_damaged_head_is_refused(field, hints, tmp_path):
    taught = ps.train_model([field], hints=hints, max_steps=2, threads=1, device="cpu")
    taught.heads[0].deviation.fill_(-1)
    path = ps.save_model(tmp_path / "taught.safetensors", taught)
    with pytest.raises(ModelError, match="damaged"):
        ps.load_model(path)


def test_edits_and_hints_of_a_file_are_the_same_through_every_door(
    field, model, before, hints, tmp_path
):
    edits = (Delete.of(pixels_of(before, tuple(np.argwhere(before == 5)[0]))),)
    corrections = ps.Corrections.of_hints(hints, edits)
    labels = ps.segment(field, model=model, corrections=corrections)
    assert (labels[before == 5] > 0).mean() < 0.5
    imwrite(tmp_path / "field.png", field)
    imwrite(tmp_path / "hints.png", hints)
    ps.save_corrections(tmp_path / "all.json", corrections)
    ps.save_corrections(tmp_path / "edits.json", corrections.model_copy(update={"nucleus": ()}))
    ps.save_model(tmp_path / "m.safetensors", model)
    common = [str(tmp_path / "field.png"), "--model", str(tmp_path / "m.safetensors"), "--quiet"]
    for name, options in (
        ("all", ["--corrections", str(tmp_path / "all.json")]),
        (
            "both",
            ["--corrections", str(tmp_path / "edits.json"), "--hints", str(tmp_path / "hints.png")],
        ),
    ):
        out = tmp_path / f"{name}.tif"
        report = tmp_path / f"{name} report.json"
        done = main(["segment", *common, *options, "-o", str(out), "--report", str(report)])
        assert done == 0
        np.testing.assert_array_equal(read_labels(out).labels, labels)
        told = json.loads(report.read_text())
        assert told["corrections"]["edits"][0]["action"] == "delete"
        assert told["objects"]["count"] == len(np.unique(labels)) - 1


def test_within_a_box_hints_of_the_whole_image_are_taken(field, model, hints):
    box = (0, 0, 128, 128)
    labels = ps.segment(field, model=model, box=box, hints=hints)
    assert not labels[:, :128][hints[:, :128] == 2].any()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (np.zeros((5, 5), int), "5x5"),
        (np.zeros((128, 160)), "whole numbers"),
        (np.zeros((128, 160, 3), int), "plane"),
        (np.full((128, 160), 7), "from 7 to 7"),
        (np.full((128, 160), -1), "from -1"),
    ],
)
def test_wrong_hints_get_a_sentence(field, model, wrong, sentence):
    with pytest.raises(ImageError, match=sentence):
        ps.segment(field, model=model, hints=wrong)


def test_wrong_corrections_get_a_sentence(field, model):
    with pytest.raises(SettingsError, match="load_corrections"):
        ps.segment(field, model=model, corrections="all.json")
    with pytest.raises(ImageError, match="for each image"):
        ps.train_model([field, field], hints=[None])


def test_the_command_line_says_what_is_wrong_with_hints(field, tmp_path, capsys):
    for name in ("a", "b"):
        imwrite(tmp_path / f"{name}.png", field)
    imwrite(tmp_path / "hints.png", field)
    images = [str(tmp_path / f"{name}.png") for name in ("a", "b")]
    assert main(["segment", *images, "--hints", str(tmp_path / "hints.png")]) == 2
    said = capsys.readouterr().err
    assert "hints.png: Hints should be a plane" in said
    assert "one image" in said


def test_only_one_kind_of_hint_is_taken(field, model, hints):
    for kind in (1, 2):
        labels = ps.segment(field, model=model, hints=np.where(hints == kind, hints, 0))
        assert ((labels[hints == kind] > 0) == (kind == 1)).mean() > 0.9


def test_hints_everywhere_are_taken(field, model, before):
    hints = np.where(before > 0, 1, 2)
    labels = ps.segment(field, model=model, hints=hints)
    assert ((labels > 0) == (before > 0)).mean() > 0.97


def test_merged_objects_are_one_after_all_thresholds(field, model, before):
    second = tuple(int(v) for v in np.argwhere(before == 2).mean(0).round())
    fourth = tuple(int(v) for v in np.argwhere(before == 4).mean(0).round())
    corrections = ps.Corrections(shape=before.shape, edits=(Merge(path=(second, fourth)),))
    for threshold in (0.4, 0.5, 0.6):
        labels = ps.segment(field, model=model, corrections=corrections, threshold=threshold)
        assert labels[second] == labels[fourth] > 0

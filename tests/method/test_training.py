import math

import numpy as np
import pytest
import torch

from napari_patchseg.method.control import Control
from napari_patchseg.method.inference import input_scale, predict
from napari_patchseg.method.maps import NucleusClass
from napari_patchseg.method.model import Model
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.method.scale import InputScale
from napari_patchseg.method.source import ArraySource
from napari_patchseg.method.trainer import Trainer
from napari_patchseg.method.training import _remaining, train


def test_every_step_tells_where_it_is(disks, quick):
    shots = list(train(disks, quick))
    assert [shot.step for shot in shots] == [1, 2, 3, 4, 5, 6]
    assert all(shot.max_steps == 6 for shot in shots)
    assert all(math.isfinite(shot.positive_separation) for shot in shots)
    assert [shot.elapsed for shot in shots] == sorted(shot.elapsed for shot in shots)
    assert all(shot.model is None and shot.stop_reason is None for shot in shots[:-1])
    assert shots[-1].stop_reason == "step limit"
    assert isinstance(shots[-1].model, Model)
    assert shots[-1].message == "reached the limit of 6 steps"
    assert shots[-1].remaining == 0


def test_the_time_left_is_told_when_it_is_known(disks, quick):
    shots = list(train(disks, quick.replace(max_steps=8)))
    assert [shot.remaining is None for shot in shots] == [True] * 4 + [False] * 4
    assert not shots[0].may_end_sooner
    assert next(iter(train(disks, quick.replace(stop_at_convergence=True)))).may_end_sooner


def test_neither_warming_up_nor_a_pause_says_how_long_the_others_take():
    assert _remaining([60, 1, 1, 50, 1], 10) == 5


def test_training_changes_the_weights_and_the_same_seed_gives_the_same(disks, quick):
    first, second = (list(train(disks, quick))[-1].model for _ in range(2))
    other = list(train(disks, quick.replace(seed=1)))[-1].model
    fresh = Trainer([disks], quick).network.state_dict()
    for name, tensor in first.weights.items():
        assert torch.equal(tensor, second.weights[name])
    assert any(not torch.equal(t, other.weights[n]) for n, t in first.weights.items())
    assert any(not torch.equal(t, fresh[n]) for n, t in first.weights.items())


def test_previews_and_other_random_numbers_do_not_change_the_run(disks, quick):
    plain = list(train(disks, quick))[-1].model
    watched = None
    for shot in train(disks, quick, control=Control(previews=True)):
        torch.rand(3)  # somebody else in the process draws
        np.random.rand(3)  # noqa: NPY002 - the global state is the point
        watched = shot.model
    for name, tensor in plain.weights.items():
        assert torch.equal(tensor, watched.weights[name])


def test_sampled_patches_lie_in_the_image_and_describe_themselves(disks, quick):
    for shot in train(disks, quick):
        patches = shot.patches
        assert patches.step == shot.step
        assert (
            len(patches.boxes)
            == quick.training.batch_size * quick.training.classes * quick.training.patches
        )
        assert (patches.boxes[:, :2] >= 0).all()
        assert (patches.boxes[:, 2] <= 128).all()
        assert (patches.boxes[:, 3] <= 160).all()
        assert (patches.boxes[:, 2:] - patches.boxes[:, :2] == quick.training.patch_size).all()
        assert ((patches.confidence >= 0) & (patches.confidence <= 1)).all()
        assert ((patches.entropy >= 0) & (patches.entropy <= 1)).all()


def test_a_preview_is_a_forward_pass_of_the_weights_of_its_step(disks, quick):
    control = Control(previews=True)
    seen = 0
    trainer_model = None
    for shot in train(disks, quick, control=control):
        if shot.confidence is not None:
            seen += 1
            assert shot.confidence.step == shot.step
            assert shot.confidence.data.shape == (2, 128, 160)
        control.request_map()  # the step after is mapped, due or not
        trainer_model = shot.model
    assert seen >= quick.training.max_steps - 2
    assert trainer_model is not None


def test_a_map_asked_for_comes_after_the_next_step_and_only_once(disks, quick):
    control = Control()
    maps = []
    for shot in train(disks, quick, control=control):
        if shot.step == 2:
            control.request_map()
        maps.append(shot.confidence)
    assert [m is not None for m in maps] == [False, False, True, False, False, False]
    assert maps[2].box == (0, 0, 128, 160)
    assert maps[2].reduction == 1


def test_a_large_preview_is_reduced_and_says_so(disks, quick, monkeypatch):
    monkeypatch.setattr("napari_patchseg.method.previews.PREVIEW_PIXELS", 2000)
    control = Control(previews=True, preview_box=(10, 20, 110, 151))
    chosen = []

    def choose(data, box, reduction):
        chosen.append((data.shape, box, reduction))
        return NucleusClass(1, True, -0.5)

    first = next(train(disks, quick, control=control, choose_class=choose))
    assert first.confidence.reduction == 3
    assert first.confidence.data.shape == (2, 34, 44)
    assert chosen == [((2, 34, 44), (10, 20, 110, 151), 3)]
    assert np.allclose(first.confidence.nuclei, 1 - first.confidence.data[1])


class Endless:
    """An image of any size, of which nothing is kept but how many values were read."""

    valid = None

    def __init__(self, tile, side):
        self.tile, self.shape, self.values = tile, (len(tile), side, side), 0

    def read(self, box, reduction=1):
        rows = np.arange(box[0], box[2], reduction) % self.tile.shape[1]
        columns = np.arange(box[1], box[3], reduction) % self.tile.shape[2]
        part = self.tile[:, rows[:, None], columns]
        self.values += part.size
        return part


def test_training_reads_as_much_of_a_large_image_as_of_a_larger_one(disks, quick):
    read = []
    for side in (5_000, 40_000):
        source = Endless(disks.read((0, 0, 120, 160)), side)
        # The one preview is made after the first step; after the last there is none.
        snapshots = list(train(source, quick.replace(max_steps=2), control=Control(previews=True)))
        assert [one.confidence is not None for one in snapshots] == [True, False]
        read.append(source.values)
    assert read[1] <= 1.25 * read[0]  # previews are of 250,000 and 292,681 px


def test_the_first_map_is_that_of_the_start_s_own_weights(disks, quick):
    settings = quick.replace(weights="pretrained", max_steps=2)
    start = ConfidenceNetwork(3, 2).eval().state_dict()
    shots = list(train(disks, settings, start=start, control=Control(previews=True)))
    assert [shot.step for shot in shots] == [0, 1, 2]
    assert shots[0].patches is None
    assert shots[0].confidence.step == 0
    network = ConfidenceNetwork(3, 2).eval()
    network.load_state_dict(start)
    expected = predict(network, disks, settings, input_scale(disks, settings))
    np.testing.assert_allclose(shots[0].confidence.data, expected, atol=1e-5)
    plain = list(train(disks, settings, start=start))
    assert [shot.step for shot in plain] == [1, 2]
    for name, tensor in plain[-1].model.weights.items():
        assert torch.equal(tensor, shots[-1].model.weights[name])


def test_a_map_asked_for_is_not_that_of_the_start(disks, quick):
    """Whoever asks wants labels of weights that a step has reached."""
    settings = quick.replace(weights="pretrained", max_steps=2)
    control = Control(previews=True)
    control.request_map()
    start = ConfidenceNetwork(3, 2).eval().state_dict()
    shots = list(train(disks, settings, start=start, control=control))
    assert [shot.confidence is not None for shot in shots] == [True, True, False]


class CancelledAt(Control):
    """Asks for the end the nth time that it is asked."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    @property
    def cancelled(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize("start", ["random", "synthetic"])
@pytest.mark.parametrize("asked", range(1, 12))
def test_a_cancelled_run_ends_with_the_weights_of_its_last_whole_step(disks, quick, asked, start):
    quick = quick.replace(start=start)
    torch.manual_seed(0)
    weights = ConfidenceNetwork(3, 2).state_dict() if start == "synthetic" else None
    shots = list(train(disks, quick, control=CancelledAt(asked), pretrained=weights))
    whole = [shot for shot in shots if shot.patches is not None]
    assert [shot.step for shot in whole] == list(range(1, len(whole) + 1))
    assert len(shots) - len(whole) <= 1
    end = shots[-1]
    assert end.stop_reason == end.state == end.model.stop_reason == "stopped"
    assert end.step == end.model.steps == len(whole) >= 1
    steps = "1 step" if end.step == 1 else f"{end.step} steps"
    assert end.message == f"stopped after {steps}"
    shorter = quick.replace(max_steps=end.step, stop_at_convergence=False)
    *_, reference = train(disks, shorter, pretrained=weights)
    for name, expected in reference.model.weights.items():
        assert torch.equal(expected, end.model.weights[name])


def test_stop_is_asked_for_within_a_step(disks, quick):
    """Between the forward passes and the backward one, that none is waited for."""
    control = CancelledAt(10**6)
    steps = len(list(train(disks, quick, control=control)))
    assert (10**6 - control.left) >= 2 * steps - 1


def test_several_images_are_all_trained_on(disks, quick):
    other = ArraySource(disks.read((0, 0, 100, 120)))
    seen = set()
    for shot in train([disks, other], quick):
        patches = shot.patches
        seen |= set(patches.image_index.tolist())
        inside = patches.boxes[patches.image_index == 1]
        assert (inside[:, 2] <= 100).all()
        assert (inside[:, 3] <= 120).all()
    assert seen == {0, 1}


@pytest.mark.parametrize("side", [64, 70, 97])
def test_the_smallest_images_train(quick, side):
    rng = np.random.default_rng(0)
    source = ArraySource(rng.random((1, side, side + 3), dtype=np.float32))
    last = list(train(source, quick.replace(max_steps=2, patch_size=50, crop_size=300)))[-1]
    assert last.stop_reason == "step limit"


@pytest.mark.parametrize("rescale", ["1", "2"])
@pytest.mark.parametrize("similarity", ["cross-entropy", "featurised-cosine"])
def test_the_other_similarities_train(disks, quick, similarity, magnification):
    quick = quick.replace(similarity=similarity, magnification=magnification)
    last = list(train(disks, quick))[-1]
    assert math.isfinite(last.loss)


@pytest.mark.parametrize("value", [40.0, -40.0])
def test_a_collapse_is_noticed_recovered_from_and_reported(disks, quick, monkeypatch, value):
    """Driven into saturation at step 2, training starts anew and goes on to the end."""
    plain = Trainer.step

    def saturated(self, number, control):
        if number == 2 and not hasattr(self, "hit"):
            self.hit = True
            with torch.no_grad():
                self.learner.head.bias.fill_(value)
                self.learner.head.weight.zero_()
        return plain(self, number, control)

    monkeypatch.setattr(Trainer, "step", saturated)
    shots = list(train(disks, quick))
    assert shots[1].state == "collapsed"
    assert shots[-1].stop_reason == "step limit"
    assert len(shots[-1].recoveries) == 1
    assert "seed 1000" in shots[-1].recoveries[0]
    assert shots[3].state == "separating"
    assert 0.05 < float(np.mean(shots[3].patches.confidence)) < 0.95


def test_collapse_after_collapse_gives_up(disks, quick, monkeypatch):
    plain = Trainer.step

    def saturated(self, number, control):
        with torch.no_grad():
            self.learner.head.bias.fill_(-40)
            self.learner.head.weight.zero_()
        return plain(self, number, control)

    monkeypatch.setattr(Trainer, "step", saturated)
    last = list(train(disks, quick.replace(max_steps=50)))[-1]
    assert last.stop_reason == "nothing separated"
    assert last.step < 50


def test_unresolved_settings_and_unlike_images_are_a_programming_error(disks, quick):
    with pytest.raises(ValueError, match="resolved"):
        next(train(disks, quick.replace(device="auto")))
    with pytest.raises(ValueError, match="channels"):
        next(train([disks, ArraySource(np.zeros((1, 80, 80), np.float32))], quick))


def test_what_is_left_out_takes_no_part(quick):
    """Beside an image three times as much that does not count: nothing changes but the draws."""
    random = np.random.default_rng(0)
    image = random.random((3, 128, 128)).astype(np.float32)
    wide = np.pad(image, ((0, 0), (0, 0), (0, 384)), constant_values=0.5)
    source = ArraySource(wide)
    source.valid = np.arange(512) < 128 + np.zeros((128, 1))
    assert InputScale.of_image(source) == InputScale.of_image(ArraySource(image))
    read = []
    plain = source.read
    source.read = lambda box, reduction=1: read.append(box) or plain(box, reduction)
    settings = quick.replace(max_steps=4, crop_size=64, stop_at_convergence=False)
    for _ in train([source], settings):
        pass
    drawn = [box for box in read if box[2] - box[0] == 64]
    assert len(drawn) == 4 * settings.training.batch_size
    assert all(box[1] < 128 - 32 for box in drawn)

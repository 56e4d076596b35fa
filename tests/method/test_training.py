import math

import numpy as np
import pytest
import torch

from napari_patchseg.method.events import Control, MapMade, Step, Trained
from napari_patchseg.method.maps import NucleusClass
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.method.objective import Anchored, Contrastive
from napari_patchseg.method.previews import Previews
from napari_patchseg.method.scale import InputScale, NetworkInput
from napari_patchseg.method.training import _remaining, train


def first_class(_data, _channels, _box, _reduction):
    return NucleusClass(0, False, math.nan)


@pytest.fixture(scope="session")
def weights():
    torch.manual_seed(0)
    return ConfidenceNetwork(3, 2).eval().state_dict()


class Run:
    """A training run to its end."""

    def __init__(self, source, resolved, *, objective=None, weights=None, **more):
        sources = source if isinstance(source, list) else [source]
        kind = "random" if weights is None else "pretrained"
        images = [NetworkInput(one, kind) for one in sources]
        if objective is None:
            objective = Contrastive(resolved) if weights is None else Anchored(resolved, weights)
        control = more.get("control") or Control()
        previews = Previews(images[0], resolved.machine, control, more.get("choose", first_class))
        during = more.get("during", lambda _event: None)
        self.events = []
        for event in train(images, resolved, objective, previews=previews, control=control):
            self.events.append(event)
            during(event)
        self.steps = [event for event in self.events if isinstance(event, Step)]
        self.maps = [event.confidence for event in self.events if isinstance(event, MapMade)]
        self.end = self.events[-1]
        assert isinstance(self.end, Trained)
        self.model = self.end.model


def are_equal(one, other):
    return all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())


@pytest.mark.parametrize("pretrained", [False, True])
def test_every_step_tells_where_it_is(disks, quick, weights, pretrained):
    run = Run(disks, quick(), weights=weights if pretrained else None)
    assert [step.step for step in run.steps] == [1, 2, 3, 4, 5, 6]
    assert all(step.max_steps == 6 for step in run.steps)
    assert all(math.isfinite(step.positive_separation) for step in run.steps)
    assert [step.elapsed for step in run.steps] == sorted(step.elapsed for step in run.steps)
    assert run.model.stop_reason == run.steps[-1].state == "step limit"
    assert run.end.steps == run.model.steps == 6
    assert run.steps[-1].remaining == 0


def test_the_time_left_is_told_when_it_is_known(disks, quick):
    steps = Run(disks, quick(max_steps=8)).steps
    assert [step.remaining is None for step in steps] == [True] * 4 + [False] * 4
    assert not steps[0].may_end_sooner
    assert Run(disks, quick(stop_at_convergence=True, max_steps=1)).steps[0].may_end_sooner


def test_neither_warming_up_nor_a_pause_says_how_long_the_others_take():
    assert _remaining([60, 1, 1, 50, 1], 10) == 5


def test_training_changes_the_weights_and_the_same_seed_gives_the_same(disks, quick):
    first, second = (Run(disks, quick()).model for _ in range(2))
    assert are_equal(first, second)
    assert not are_equal(first, Run(disks, quick(seed=1)).model)
    assert not are_equal(first, Run(disks, quick(max_steps=1)).model)


@pytest.mark.parametrize("pretrained", [False, True])
def test_previews_and_other_random_numbers_do_not_change_the_run(disks, quick, weights, pretrained):
    def draw(_event):  # as somebody else in the process may
        torch.rand(3)
        np.random.rand(3)  # noqa: NPY002 - the global state is the point

    given = weights if pretrained else None
    watched = Run(disks, quick(), weights=given, control=Control(previews=True), during=draw)
    assert watched.maps
    assert are_equal(Run(disks, quick(), weights=given).model, watched.model)


def test_sampled_patches_lie_in_the_image_and_describe_themselves(disks, quick):
    settings = quick().training
    for step in Run(disks, quick()).steps:
        patches = step.patches
        assert patches.step == step.step
        assert len(patches.boxes) == settings.batch_size * settings.classes * settings.patches
        assert (patches.boxes[:, :2] >= 0).all()
        assert (patches.boxes[:, 2] <= 128).all()
        assert (patches.boxes[:, 3] <= 160).all()
        assert (patches.boxes[:, 2:] - patches.boxes[:, :2] == settings.patch_size).all()
        assert ((patches.confidence >= 0) & (patches.confidence <= 1)).all()
        assert ((patches.entropy >= 0) & (patches.entropy <= 1)).all()


def test_a_map_asked_for_comes_after_the_next_step_and_only_once(disks, quick):
    control = Control()

    def ask(event):
        if isinstance(event, Step) and event.step == 2:
            control.request_map()

    run = Run(disks, quick(), control=control, during=ask)
    (made,) = run.maps
    assert run.events.index(MapMade(made)) == run.events.index(run.steps[2]) + 1
    assert made.step == 3
    assert made.box == (0, 0, 128, 160)
    assert made.reduction == 1
    assert made.is_exact


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
        run = Run(source, quick(max_steps=2), control=Control(previews=True))
        assert len(run.maps) == 1
        read.append(source.values)
    assert read[1] <= 1.25 * read[0]  # previews are of 250,000 and 292,681 px


class CancelledAt(Control):
    """Asks for the end the nth time that it is asked."""

    def __init__(self, asked: int) -> None:
        super().__init__()
        self.left = asked

    @property
    def cancelled(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.mark.parametrize("pretrained", [False, True])
@pytest.mark.parametrize("asked", range(1, 12))
def test_a_cancelled_run_ends_with_the_weights_of_its_last_whole_step(
    disks, quick, weights, asked, pretrained
):
    given = weights if pretrained else None
    run = Run(disks, quick(), weights=given, control=CancelledAt(asked))
    assert [step.step for step in run.steps] == list(range(1, len(run.steps) + 1))
    assert run.model.stop_reason == "stopped"
    assert run.end.steps == run.model.steps == len(run.steps) >= 1
    whole = Run(disks, quick(max_steps=len(run.steps)), weights=given)
    assert are_equal(whole.model, run.model)


def test_stop_is_asked_for_within_a_step(disks, quick):
    """Between the forward passes and the backward one, that none is waited for."""
    control = CancelledAt(10**6)
    steps = len(Run(disks, quick(), control=control).steps)
    assert (10**6 - control.left) >= 2 * steps - 1


def test_a_host_can_pause_within_a_step(disks, quick):
    class Pausing(Control):
        waited = 0

        def wait_while_paused(self):
            self.waited += 1

    control = Pausing()
    assert control.waited < len(Run(disks, quick(), control=control).steps) <= control.waited + 1


def test_several_images_are_all_trained_on(disks, quick, source_of):
    other = source_of(disks.read((0, 0, 100, 120)))
    seen = set()
    for step in Run([disks, other], quick()).steps:
        patches = step.patches
        seen |= set(patches.image_index.tolist())
        inside = patches.boxes[patches.image_index == 1]
        assert (inside[:, 2] <= 100).all()
        assert (inside[:, 3] <= 120).all()
    assert seen == {0, 1}


@pytest.mark.parametrize("side", [64, 70, 97])
def test_the_smallest_images_train(quick, source_of, side):
    rng = np.random.default_rng(0)
    source = source_of(rng.random((1, side, side + 3), dtype=np.float32))
    run = Run(source, quick(max_steps=2, patch_size=50, crop_size=300))
    assert run.model.stop_reason == "step limit"


@pytest.mark.parametrize("rescale", ["1", "2"])
@pytest.mark.parametrize("similarity", ["cross-entropy", "featurised-cosine"])
def test_the_other_similarities_train(disks, quick, similarity, rescale):
    run = Run(disks, quick(similarity=similarity, rescale=rescale))
    assert math.isfinite(run.steps[-1].loss)


@pytest.mark.parametrize(
    ("rescale", "size"), [("1/2", 48), ("2/3", 36), ("1", 24), ("3/2", 16), ("2", 12)]
)
def test_windows_are_of_the_set_size_as_the_network_sees_them(quick, disks, rescale, size):
    boxes = Run(disks, quick(rescale=rescale, max_steps=2)).steps[-1].patches.boxes
    assert (boxes[:, 2:] - boxes[:, :2] == size).all()
    assert (boxes >= 0).all()
    assert (boxes[:, 2] <= 128).all()
    assert (boxes[:, 3] <= 160).all()


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("rescale", ["1/4", "3/2", "2"])
def test_the_smallest_image_trains_at_any_rescale_factor(quick, source_of, rescale, precision):
    image = np.random.default_rng(0).random((3, 65, 67), np.float32)
    sizes = {"patch_size": 50, "crop_size": 200, "max_steps": 2}
    run = Run(source_of(image), quick(rescale=rescale, precision=precision, **sizes))
    assert run.end.steps == 2


class Saturated(Contrastive):
    """Driven into saturation at some steps."""

    def __init__(self, resolved, steps, value):
        super().__init__(resolved)
        self.saturated, self.value = steps, value

    def loss(self, network, batch, between):
        if batch.number in self.saturated:
            with torch.no_grad():
                network.head.bias.fill_(self.value)
                network.head.weight.zero_()
        return super().loss(network, batch, between)


@pytest.mark.parametrize("value", [40.0, -40.0])
def test_a_collapse_is_noticed_recovered_from_and_reported(disks, quick, value):
    """Training starts anew and goes on to the end."""
    resolved = quick()
    run = Run(disks, resolved, objective=Saturated(resolved, {2}, value))
    assert [step.state for step in run.steps[1:4]] == ["collapsed", "separating", "separating"]
    assert run.model.stop_reason == "step limit"
    assert len(run.end.recoveries) == 1
    assert "seed 1000" in run.end.recoveries[0]
    assert 0.05 < float(np.mean(run.steps[3].patches.confidence)) < 0.95


def test_a_collapse_after_the_peak_goes_back_to_it(disks, quick):
    resolved = quick(max_steps=26)
    run = Run(disks, resolved, objective=Saturated(resolved, {25}, -40.0))
    assert run.steps[24].state == "collapsed"
    assert "half" in run.end.recoveries[0]


def test_after_a_collapse_training_starts_at_the_pretrained_weights(disks, quick):
    """Those of the step before are the best so far, but had begun to collapse."""
    resolved = quick(weights="pretrained", max_steps=4)
    pretrained = ConfidenceNetwork(3, 2).state_dict()

    class Collapsing(Saturated, Anchored):
        def __init__(self):
            Anchored.__init__(self, resolved, pretrained)
            self.saturated, self.value = {3}, -40.0

    run = Run(disks, resolved, objective=Collapsing())
    assert run.steps[2].state == "collapsed"
    assert "seed 1000 at half the learning rate" in run.end.recoveries[0]


def test_collapse_after_collapse_gives_up(disks, quick):
    resolved = quick(max_steps=50)
    run = Run(disks, resolved, objective=Saturated(resolved, range(50), -40.0))
    assert run.model.stop_reason == "nothing separated"
    assert run.end.steps < 50


def test_unlike_images_are_a_programming_error(disks, quick, source_of):
    with pytest.raises(ValueError, match="channels"):
        Run([disks, source_of(np.zeros((1, 80, 80), np.float32))], quick())


def test_what_is_left_out_takes_no_part(quick, source_of):
    """Beside an image three times as much that does not count: nothing changes but the draws."""
    random = np.random.default_rng(0)
    image = random.random((3, 128, 128)).astype(np.float32)
    wide = np.pad(image, ((0, 0), (0, 0), (0, 384)), constant_values=0.5)
    source = source_of(wide, valid=np.arange(512) < 128 + np.zeros((128, 1)))
    assert InputScale.of_image(source) == InputScale.of_image(source_of(image))
    boxes = [step.patches.boxes for step in Run(source, quick(max_steps=4, crop_size=64)).steps]
    assert (np.concatenate(boxes)[:, 1] < 128 + 32).all()

import math

import pytest

from napari_patchseg.method.contrast import Contrast
from napari_patchseg.method.convergence import CollapseRule, ConvergenceRule, Spread
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.method.objective import Anchored, Loss


def stopped_at(negative, positive=lambda _: 0.01, steps=400):
    """The step at which the rule stops on made-up curves, and the peak it goes back to."""
    rule = ConvergenceRule()
    for step in range(1, steps + 1):
        if rule.update(step, positive(step), negative(step)):
            return step, rule.peak_step
    return None


def rise_and_fall(peak):
    return lambda step: 0.04 + 0.03 * math.exp(-(((step - peak) / 40) ** 2))


@pytest.mark.parametrize("peak", [40, 80, 200])
def test_it_stops_soon_after_the_peak_and_goes_back_to_it(peak):
    step, best = stopped_at(rise_and_fall(peak))
    assert peak <= best <= peak + 15
    assert best + 10 <= step <= best + 40


def test_a_separation_that_never_falls_never_stops():
    assert stopped_at(lambda step: 0.05 - 0.04 * math.exp(-step / 50)) is None


def test_the_random_network_at_the_start_is_no_peak():
    """High separations of the first steps are those of random weights."""
    step, best = stopped_at(lambda s: 0.2 if s < 3 else rise_and_fall(90)(s))
    assert best >= 80
    assert step > 90


def test_positives_unlike_each_other_are_not_convergence():
    """Past the peak, but positives differ as much from each other as from negatives."""
    assert stopped_at(rise_and_fall(60), positive=lambda _: 0.2) is None


def test_separations_that_lie_level_throughout_have_a_peak_too():
    """On some slides positives differ among themselves as much as from negatives, all along."""
    curve = rise_and_fall(60)
    step, best = stopped_at(curve, positive=lambda s: 1.05 * curve(s))
    assert 60 <= best <= 75
    assert step <= 100


def test_noise_does_not_stop_a_rising_curve():
    noisy = lambda step: 0.03 + 0.0002 * step + 0.004 * math.sin(step * 2.4)  # noqa: E731
    assert stopped_at(noisy) is None


def test_steps_without_pairs_are_passed_over():
    nan = float("nan")
    plain = stopped_at(rise_and_fall(60))
    holed = stopped_at(lambda s: nan if s % 7 == 0 else rise_and_fall(60)(s))
    assert holed is not None
    assert abs(holed[0] - plain[0]) <= 5


HEALTHY = Spread(0.01, 0.5, 0.99)
EMPTY = Spread(0.0, 0.001, 0.02)
FULL = Spread(0.97, 0.999, 1.0)


def test_all_classes_flat_is_a_collapse_but_one_is_not():
    assert CollapseRule().update([EMPTY, FULL], skipped=False)
    assert not CollapseRule().update([EMPTY, HEALTHY], skipped=False)
    assert CollapseRule().update([Spread(math.nan, math.nan, math.nan)], skipped=False)


def test_few_nuclei_are_no_collapse():
    assert not CollapseRule().update([Spread(0.0, 0.005, 0.98)], skipped=False)


def test_crops_in_which_the_teacher_sees_hardly_anything_either_are_no_collapse():
    speck = Spread(0.0, 0.004, 0.7)
    assert not CollapseRule().update([EMPTY, EMPTY], skipped=False, reference=[speck, EMPTY])
    assert CollapseRule().update([EMPTY, EMPTY], skipped=False, reference=[HEALTHY, EMPTY])


def test_many_skipped_steps_in_a_row_are_a_collapse():
    rule = CollapseRule(skips=3)
    seen = [rule.update([HEALTHY], skipped) for skipped in (True, True, False, True, True, True)]
    assert seen == [False, False, False, False, False, True]


@pytest.fixture(scope="module")
def pretrained_ends_at(resolve):
    """The step at which training from pretrained weights has converged on a made-up curve."""

    def ends_at(curve):
        network = ConfidenceNetwork(3, 2)
        settings = {"rescale": "1", "test_time_augmentation": 1}
        objective = Anchored(resolve(**settings), network.state_dict())
        objective.prepare(network, crop=160, seed=0)
        for step in range(1, 400):
            contrast = Contrast(None, 0.06, curve(step))
            assert objective.keep(step, Loss(None, contrast, None, [], []))
            if objective.has_converged:
                return step
        return None

    return ends_at


@pytest.mark.parametrize("pace", [3, 5, 10, 20])
def test_from_pretrained_weights_it_ends_when_the_separation_grows_no_more(
    pretrained_ends_at, pace
):
    step = pretrained_ends_at(lambda n: 0.05 * (1 - math.exp(-n / pace)))
    assert 2 * pace <= step <= 30 + 3 * pace


def test_weights_that_have_separated_already_end_early(pretrained_ends_at):
    assert pretrained_ends_at(lambda _: 0.05) == 12
    assert pretrained_ends_at(lambda n: 0.05 - 0.0001 * n) == 12

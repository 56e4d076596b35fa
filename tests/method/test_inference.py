from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchseg.method.events import Cancelled, Control
from napari_patchseg.method.inference import predict, predict_tiles, windows
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.method.scale import NetworkInput, contents


def seen(source):
    return NetworkInput(source, "random")


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = ConfidenceNetwork(3, 2)
    network(torch.rand(2, 3, 64, 64))  # running statistics other than the initial ones
    return network


@given(
    st.integers(1, 3000).flatmap(lambda stop: st.tuples(st.integers(0, stop - 1), st.just(stop))),
    st.integers(0, 500),
    st.integers(0, 150),
    st.sampled_from([1, 2, 3, 12]),
    st.integers(1, 600),
)
def test_windows_are_of_one_size_and_see_a_halo(part, rest, halo, unit, most):
    start, stop = part
    length = stop + rest
    found = windows(start, stop, length, halo=halo, unit=unit, most=most)
    at = start
    for seen, of_use in found:
        assert of_use.start == at <= of_use.stop
        at = of_use.stop
        assert seen.stop - seen.start == found[0][0].stop - found[0][0].start
        assert seen.start % unit == (length - seen.stop) % unit == 0
        assert seen.start >= 0
        assert seen.stop <= length
        assert seen.start == 0 or of_use.start - seen.start >= halo
        assert seen.stop == length or seen.stop - of_use.stop >= halo
    assert at == stop


def test_prediction_is_a_plain_forward_pass_in_evaluation_mode(network, disks, quick):
    found = predict(network, seen(disks), quick().machine)
    assert network.training  # left as it was
    network.eval()
    with torch.no_grad():
        plain = network(contents(torch.from_numpy(disks.data[None])))[0]
    assert np.allclose(found, plain.numpy(), atol=1e-5)


@pytest.fixture(scope="module")
def evaluated():
    torch.manual_seed(1)
    return ConfidenceNetwork(3, 2).eval()


@pytest.fixture(scope="module")
def field(disks):
    """(3, 330, 400): larger than a window."""
    return np.tile(disks.data, (1, 3, 3))[:, 5:335, 3:403]


@settings(deadline=None, max_examples=8)
@given(
    rescale=st.sampled_from([Fraction(text) for text in ("1/2", "2/3", "1", "3/2", "2")]),
    views=st.integers(1, 3),
    tile=st.integers(20, 170),
    height=st.integers(300, 330),
    width=st.integers(360, 400),
)
def test_tiled_equals_untiled(
    evaluated, quick, source_of, field, rescale, views, tile, height, width
):
    part, machine = seen(source_of(field[:, :height, :width])), quick().machine
    look = {"rescale": rescale, "views": views}
    whole = predict(evaluated, part, machine, **look)
    assert whole.shape == (2, height, width)
    tiled = predict(evaluated, part, machine, **look, tile=tile)
    assert np.allclose(tiled, whole, atol=1e-4)
    boxed = predict(evaluated, part, machine, **look, tile=tile, box=(131, 17, 277, 198))
    assert np.allclose(boxed, whole[:, 131:277, 17:198], atol=1e-4)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(("rescale", "views"), [("1", 1), ("3/2", 2)])
def test_tiled_equals_untiled_in_bfloat16(
    evaluated, quick, source_of, field, layout, rescale, views
):
    image = seen(source_of(field))
    machine = quick(precision="bfloat16", memory_format=layout).machine
    look = {"rescale": Fraction(rescale), "views": views}
    whole = predict(evaluated, image, machine, **look)
    tiled = predict(evaluated, image, machine, **look, tile=101)
    assert np.allclose(tiled, whole, atol=1e-2)


def test_a_box_is_predicted_with_its_surroundings(network, disks, quick):
    whole = predict(network, seen(disks), quick().machine)
    part = predict(network, seen(disks), quick().machine, box=(30, 40, 90, 150))
    assert part.shape == (2, 60, 110)
    assert np.allclose(part, whole[:, 30:90, 40:150], atol=1e-4)


def test_channels_last_and_bfloat16_agree_with_the_plain_formulation(network, disks, quick):
    plain = predict(network, seen(disks), quick().machine)
    layout = predict(network, seen(disks), quick(memory_format="channels_last").machine)
    assert np.allclose(layout, plain, atol=1e-4)
    short = predict(network, seen(disks), quick(precision="bfloat16").machine)
    assert np.allclose(short, plain, atol=0.03)


def test_cancelling_ends_within_a_tile(network, disks, quick):
    class CancelledWhenAskedAgain(Control):
        asked = 0

        @property
        def cancelled(self):
            self.asked += 1
            return self.asked == 4

    control = CancelledWhenAskedAgain()
    with pytest.raises(Cancelled):
        predict(network, seen(disks), quick().machine, control=control)
    assert control.asked == 4
    assert network.training  # left as it was


def test_cancelling_ends_before_the_next_window(network, quick, source_of):
    source = source_of(np.zeros((3, 300, 200), np.float32))
    control = Control()
    out = np.zeros((2, 300, 200), np.float32)
    steps = predict_tiles(network, seen(source), quick().machine, out, control=control, tile=64)
    assert next(steps) == (1, 3)
    control.cancel()
    with pytest.raises(Cancelled):
        next(steps)
    assert out[:, :90].all()
    assert not out[:, 210:].any()

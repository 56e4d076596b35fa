import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_patchseg.method import inference
from napari_patchseg.method.control import Cancelled, Control
from napari_patchseg.method.inference import predict, predict_tiles, tiles
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.method.scale import InputScale
from napari_patchseg.method.source import ArraySource

SCALE = InputScale.of_the_paper(3)


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = ConfidenceNetwork(3, 2)
    network(torch.rand(2, 3, 64, 64))  # running statistics other than the initial ones
    return network


@given(st.integers(1, 400), st.integers(1, 400), st.integers(16, 200))
def test_tiles_cover_every_pixel_once(height, width, tile):
    seen = np.zeros((height, width), int)
    for row0, column0, row1, column1 in tiles(height, width, tile):
        assert 0 < row1 - row0 <= tile
        assert 0 < column1 - column0 <= tile
        seen[row0:row1, column0:column1] += 1
    assert (seen == 1).all()


def test_prediction_is_a_plain_forward_pass_in_evaluation_mode(network, disks, quick):
    found = predict(network, disks, quick, SCALE)
    assert network.training  # left as it was
    network.eval()
    with torch.no_grad():
        plain = network(SCALE(torch.from_numpy(disks.read((0, 0, 128, 160))[None])))[0]
    assert np.allclose(found, plain.numpy(), atol=1e-5)


@settings(deadline=None, max_examples=8)
@given(tile=st.integers(20, 170))
def test_tiled_equals_untiled(disks_and_network, tile):
    disks, network, quick = disks_and_network
    whole = predict(network, disks, quick, SCALE, tile=1000)
    assert np.allclose(predict(network, disks, quick, SCALE, tile=tile), whole, atol=1e-4)


@pytest.fixture(scope="module")
def disks_and_network(disks):
    from napari_patchseg.settings import Settings

    torch.manual_seed(1)
    machine = {"device": "cpu", "precision": "float32", "memory_format": "contiguous", "threads": 1}
    quick = Settings.create(**machine, rescale="1", test_time_augmentation=1)
    return disks, ConfidenceNetwork(3, 2).eval(), quick


@settings(deadline=None, max_examples=8)
@given(
    magnification=st.sampled_from(["1/4", "1/2", "2/3", "1", "3/2", "2"]),
    test_time_augmentation=st.integers(1, 3),
    tile=st.integers(70, 170),
    height=st.integers(90, 128),
    width=st.integers(120, 160),
)
def test_tiled_equals_untiled_at_any_magnification_and_view(
    disks_and_network, magnification, views, tile, height, width
):
    disks, network, quick = disks_and_network
    part = ArraySource(disks.read((0, 0, height, width)))
    quick = quick.replace(magnification=magnification, test_time_augmentation=views)
    whole = predict(network, part, quick, SCALE, tile=1000)
    assert whole.shape == (2, height, width)
    assert np.allclose(predict(network, part, quick, SCALE, tile=tile), whole, atol=1e-4)
    box = (31, 17, 77, 98)
    boxed = predict(network, part, quick, SCALE, box=box, tile=tile)
    assert np.allclose(boxed, whole[:, 31:77, 17:98], atol=1e-4)


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
@pytest.mark.parametrize(("rescale", "test_time_augmentation"), [("1", 1), ("3/2", 2)])
def test_tiled_equals_untiled_in_bfloat16(disks_and_network, layout, magnification, views):
    disks, network, quick = disks_and_network
    quick = quick.replace(
        precision="bfloat16",
        memory_format=layout,
        magnification=magnification,
        test_time_augmentation=views,
    )
    whole = predict(network, disks, quick, SCALE, tile=1000)
    for tile in (64, 101) if views == 1 else (101,):
        assert np.allclose(predict(network, disks, quick, SCALE, tile=tile), whole, atol=1e-2)


def test_a_box_is_predicted_with_its_surroundings(network, disks, quick):
    whole = predict(network, disks, quick, SCALE)
    part = predict(network, disks, quick, SCALE, box=(30, 40, 90, 150))
    assert part.shape == (2, 60, 110)
    assert np.allclose(part, whole[:, 30:90, 40:150], atol=1e-4)


def test_channels_last_and_bfloat16_agree_with_the_plain_formulation(network, disks, quick):
    plain = predict(network, disks, quick, SCALE)
    layout = predict(network, disks, quick.replace(memory_format="channels_last"), SCALE)
    assert np.allclose(layout, plain, atol=1e-4)
    short = predict(network, disks, quick.replace(precision="bfloat16"), SCALE)
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
        predict(network, disks, quick, SCALE, control=control)
    assert control.asked == 4
    assert network.training  # left as it was


def test_cancelling_ends_before_the_next_tile(network, disks, quick):
    control = Control()
    out = np.zeros((2, 128, 160), np.float32)
    steps = predict_tiles(network, disks, quick, SCALE, out, control=control, tile=64)
    assert next(steps) == (1, 6)
    control.cancel()
    with pytest.raises(Cancelled):
        next(steps)
    assert out[:, :64, :64].all()
    assert not out[:, 64:].any()


@pytest.mark.parametrize(("tile", "rows"), [(64, 2), (160, 0)])
def test_memory_goes_back_after_every_row_of_several_tiles(
    network, disks, quick, tile, rows, monkeypatch
):
    given = []
    monkeypatch.setattr(inference, "give_back", lambda: given.append(True))
    predict(network, disks, quick, SCALE, tile=tile)  # 128 x 160 pixels
    assert len(given) == rows

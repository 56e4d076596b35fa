"""Images of other libraries: the same pixels as NumPy's, or a sentence."""

import numpy as np
import pytest

from napari_patchseg.errors import ImageError
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.synthetic import synthetic_field

RGB = synthetic_field((96, 112), seed=3)[0]
LAYOUTS = {
    "RGB": RGB,
    "grey": RGB[..., 0],
    "channels first": np.moveaxis(RGB, -1, 0),
    "channels last": np.dstack([RGB, RGB]),
    "RGBA": np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]),
}
BOX = (5, 7, 90, 100)
OPEN = []  # files whose arrays are read


class Sliced:
    """What zarr, h5py and their like have in common."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.ndim = array, array.shape, array.dtype, array.ndim
        self.values = 0

    def __getitem__(self, key):
        for part in key if isinstance(key, tuple) else (key,):
            if not isinstance(part, int | slice):
                raise IndexError(f"expected integer or slice, got {type(part)}")
        out = self.array[key]
        self.values += out.size
        return out


def zarr_array(array):
    return pytest.importorskip("zarr").array(np.ascontiguousarray(array))


def h5py_array(array):
    h5py = pytest.importorskip("h5py")
    file = h5py.File.in_memory()
    OPEN.append(file)
    return file.create_dataset("image", data=array)


def dask_array(array):
    return pytest.importorskip("dask.array").from_array(array, chunks=32)


def torch_tensor(array):
    return pytest.importorskip("torch").from_numpy(np.ascontiguousarray(array))


def learning_tensor(array):
    return torch_tensor(array.astype(np.float32)).requires_grad_()


def half_tensor(array):
    return torch_tensor(array).to(pytest.importorskip("torch").bfloat16)


def xarray_array(array):
    return pytest.importorskip("xarray").DataArray(array)


def big_endian(array):
    return array.astype(">u2")


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


def backwards(array):
    return np.ascontiguousarray(array[::-1])[::-1]


LIBRARIES = [
    Sliced, zarr_array, h5py_array, dask_array, torch_tensor, learning_tensor, half_tensor,
    xarray_array, big_endian, read_only, backwards, np.asfortranarray, np.ma.asarray, np.array,
    np.ndarray.tolist,
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("library", LIBRARIES, ids=lambda f: f.__name__)
def test_pixels_are_the_same_from_every_library(library, layout):
    array = LAYOUTS[layout]
    plain, other = Pixels.from_array(array), Pixels.from_array(library(array))
    if layout != "RGBA":  # whose alpha is known by its 8 bits
        assert (other.description, other.kind) == (plain.description, plain.kind)
        assert np.array_equal(other.read(BOX), plain.read(BOX))
        assert np.array_equal(other.prior(BOX, 3), plain.prior(BOX, 3))
    said = Pixels.from_array(library(array), rgb=layout.startswith("RGB"), box=BOX)
    assert said.shape[1:] == (85, 93)
    assert said.frame == plain.frame


def test_only_the_region_is_read():
    array = Sliced(np.tile(RGB, (20, 20, 1)))
    pixels = Pixels.from_array(array, box=(0, 0, 100, 100))
    pixels.read((0, 0, 100, 100))
    assert array.values <= 3 * 3 * 100 * 100


def test_axes_are_known_by_their_names():
    xarray = pytest.importorskip("xarray")
    array = np.random.default_rng(0).integers(0, 99, (12, 70, 80))
    pixels = Pixels.from_array(xarray.DataArray(array, dims=("channel", "y", "x")))
    assert pixels.shape == (12, 70, 80)
    with pytest.raises(ImageError, match="one plane"):
        Pixels.from_array(xarray.DataArray(array[:3], dims=("time", "y", "x")))


def test_masked_pixels_are_left_out():
    mask = np.zeros(RGB.shape, bool)
    mask[:40, :, 1] = True
    odd = np.where(mask, 255, RGB)
    pixels = Pixels.from_array(np.ma.MaskedArray(odd, mask))
    assert pixels.valid is not None
    assert not pixels.valid[:40].any()
    assert pixels.valid[40:].all()
    assert pixels.warnings == ["4480 pixels are masked and left out."]
    seen = pixels.read((0, 0, 96, 112))
    assert np.ptp(seen[:, :40], axis=(1, 2)).max() == 0
    with pytest.raises(ImageError, match="All pixels are masked"):
        Pixels.from_array(np.ma.MaskedArray(RGB, np.ones(RGB.shape, bool)))


def test_masked_pixels_of_dask_are_left_out():
    dask = pytest.importorskip("dask.array")
    masked = np.ma.MaskedArray(RGB[..., 0], np.arange(112) < 20 + np.zeros((96, 1)))
    pixels = Pixels.from_array(dask.from_array(masked, chunks=50, asarray=False))
    assert pixels.valid is not None
    assert not pixels.valid[:, :20].any()
    assert pixels.valid[:, 20:].all()


class Broken(Sliced):
    def __getitem__(self, key):
        raise OSError("chunk 3 is gone")


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (Broken(RGB), "cannot be read: chunk 3 is gone"),
        ([[1, 2], [3]], "is no image"),
        (object(), "cannot be segmented"),
        (np.zeros((70, 70), "M8[s]"), "cannot be segmented"),
        (np.zeros((70, 70), [("r", "u1")]), "cannot be segmented"),
    ],
    ids=["broken", "ragged", "object", "dates", "records"],
)
def test_what_no_library_can_read_is_a_sentence(array, says):
    with pytest.raises(ImageError, match=says):
        Pixels.from_array(array)


def test_tensors_without_pixels_are_a_sentence():
    torch = pytest.importorskip("torch")
    for tensor in (
        torch.zeros((70, 70), dtype=torch.bool),
        torch.zeros((70, 70), dtype=torch.complex64),
        torch.empty((70, 70), device="meta"),
        torch.zeros((70, 70)).to_sparse(),
        torch.empty((0, 70)),
    ):
        with pytest.raises(ImageError):
            Pixels.from_array(tensor)

"""The default on changed copies of real slides: pale, dark, 20x, glass, pen, blood, grey, blurred.

    python benchmarks/robustness.py --images DIR --labels DIR [--same] [--side 400] [--every 6]
        [--start 0] [--limit N] [--write]

Each copy is segmented as any image would be and scored against the same true labels, moved and
halved along with it. What lies under the pen, the blood or the glass has no label and is left out
of the score; beside it stands how much of it was taken for nuclei, and how much of the tissue was
excluded as ink. ``--same`` takes copies that show the same: dimmed, beside black, of other types,
layouts and files; each should be as good as the first. Figures are per cent. Fixed seeds.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image as Picture
from scipy import ndimage as ndi
from skimage.draw import disk, line
from skimage.transform import downscale_local_mean

from common import Image, Labels, arguments, chosen, segmented, table, truth_of, write
from metrics import agreement
from napari_patchseg import Pixels, Settings
from napari_patchseg.files.images import read_image

Mask = NDArray[np.bool_]
#: The changed image, and where something lies on the tissue.
Change = Callable[[Image], tuple[Image, Mask]]


def _untouched(image: Image) -> Mask:
    return np.zeros(image.shape[:2], bool)


def _density(image: Image) -> NDArray[np.float64]:
    return -np.log((image.astype(float) + 1) / 256)


def _light(density: NDArray[np.float64]) -> Image:
    return (256 * np.exp(-density) - 1).clip(0, 255).round().astype(np.uint8)


def stained(strength: float) -> Change:
    """The optical density that many times."""
    return lambda image: (_light(_density(image) * strength), _untouched(image))


def at_20x(image: Image) -> tuple[Image, Mask]:
    """Half the size."""
    small = downscale_local_mean(image, (2, 2, 1)).round().astype(np.uint8)
    return small, _untouched(small)


def blurred(image: Image) -> tuple[Image, Mask]:
    """Out of focus, sigma 2 px."""
    return ndi.gaussian_filter(image, (2, 2, 0)), _untouched(image)


def grey(image: Image) -> tuple[Image, Mask]:
    """One channel."""
    return image.mean(-1).round().astype(np.uint8), _untouched(image)


def on_glass(image: Image) -> tuple[Image, Mask]:
    """The left half is glass."""
    mask = _untouched(image)
    mask[:, : image.shape[1] // 2] = True
    mask = _wavy(mask)
    glass = np.random.default_rng(0).normal(243, 1.5, image.shape)
    return np.where(mask[..., None], glass, image).clip(0, 255).astype(np.uint8), mask


def _wavy(mask: Mask) -> Mask:
    waves = ndi.gaussian_filter(np.random.default_rng(1).normal(size=mask.shape), 25)
    soft = ndi.gaussian_filter(mask.astype(float), 30) + 0.15 * waves / waves.std()
    return np.asarray(soft > 0.5)


def penned(ink: tuple[float, float, float]) -> Change:
    """A felt pen's stroke across, as wide as a fifteenth of the image; ink is its density."""

    def draw(image: Image) -> tuple[Image, Mask]:
        height, width = image.shape[:2]
        mask = _untouched(image)
        rows, columns = line(int(0.1 * height), int(0.15 * width), height - 1, int(0.6 * width))
        mask[rows, columns] = True
        mask = np.asarray(ndi.distance_transform_edt(~mask) < height / 30)
        uneven = ndi.gaussian_filter(np.random.default_rng(2).normal(size=mask.shape), 12)
        strength = ndi.gaussian_filter(mask.astype(float), 1) * (1 + 0.15 * uneven / uneven.std())
        return _light(_density(image) + strength[..., None] * np.array(ink)), mask

    return draw


def bloody(image: Image) -> tuple[Image, Mask]:
    """A pool of red cells in one corner, some 30 px wide each."""
    height, width = image.shape[:2]
    pool = _untouched(image)
    pool[disk((0, 0), 0.5 * height, shape=pool.shape)] = True
    random = np.random.default_rng(3)
    density = np.full(image.shape, (0.08, 0.25, 0.15))
    for _ in range(height * width // 600):
        spot = disk((random.uniform(0, height), random.uniform(0, width)), 14, shape=pool.shape)
        density[spot] = np.array((0.15, 0.9, 0.6)) * random.uniform(0.8, 1.2)
    blood = _light(ndi.gaussian_filter(density, (1, 1, 0)))
    return np.where(pool[..., None], blood, image), pool


CHANGES: dict[str, Change] = {
    "as it is": lambda image: (image, _untouched(image)),
    "pale, density x 1/2": stained(0.5),
    "dark, density x 8/5": stained(1.6),
    "20x": at_20x,
    "blurred, sigma 2": blurred,
    "grey": grey,
    "half glass": on_glass,
    "blue pen": penned((1.6, 1.0, 0.3)),
    "black pen": penned((2.2, 2.2, 2.2)),
    "blood": bloody,
}


def dimmed(light: float) -> Change:
    """So much of the lamp's light."""
    return lambda image: ((light * image).round().astype(np.uint8), _untouched(image))


def on_black(image: Image) -> tuple[Image, Mask]:
    """Black beside the image, 60 % of what is there then."""
    missing = round(1.5 * image.shape[1])
    return np.pad(image, ((0, 0), (0, missing), (0, 0))), _beside(image, missing)


def _beside(image: Image, missing: int) -> Mask:
    return np.pad(_untouched(image), ((0, 0), (0, missing)), constant_values=True)


def transparent(image: Image) -> tuple[Image, Mask]:
    """The same with an alpha channel."""
    black, mask = on_black(image)
    return np.dstack([black, np.where(mask, 0, 255).astype(np.uint8)]), mask


def of_type(factor: float, dtype: type) -> Change:
    """Other numbers for the same light."""
    return lambda image: ((image * dtype(factor)).astype(dtype), _untouched(image))


def as_planes(image: Image) -> tuple[Image, Mask]:
    """(3, H, W)."""
    return np.moveaxis(image, -1, 0), _untouched(image)


def ycbcr(path: Path, image: Image) -> None:
    """TIFF of luminance and colour differences."""
    samples = np.asarray(Picture.fromarray(image).convert("YCbCr"))
    tifffile.imwrite(path, samples, photometric="ycbcr", compression="zlib")


def palette(path: Path, image: Image) -> None:
    """TIFF of 256 colours."""
    indexed = Picture.fromarray(image).quantize(256, dither=Picture.Dither.NONE)
    colours = np.zeros((256, 3), np.uint16)
    given = np.array(indexed.getpalette(), np.uint16).reshape(-1, 3)
    colours[: len(given)] = given
    tifffile.imwrite(
        path, np.asarray(indexed), photometric="palette", colormap=257 * colours.T, tile=(256, 256)
    )


def through_file(write: Callable[[Path, Image], None]) -> Change:
    """What the reader makes of a file."""

    def change(image: Image) -> tuple[Image, Mask]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "copy.tif"
            write(path, image)
            return read_image(path).array, _untouched(image)

    return change


#: The same section: Dice should be that of the first within 0.03.
SAME: dict[str, Change] = {
    "as it is": lambda image: (image, _untouched(image)),
    "light x 7/10": dimmed(0.7),
    "light x 1/2": dimmed(0.5),
    "on 60 % black": on_black,
    "60 % transparent": transparent,
    "16 bits": of_type(257, np.uint16),
    "bytes in 16 bits": of_type(1, np.uint16),
    "float": of_type(1 / 255, np.float32),
    "planes (3, H, W)": as_planes,
    "YCbCr TIFF": through_file(ycbcr),
    "palette TIFF": through_file(palette),
}


def score(image: Image, truth: Labels, change: Change) -> tuple[float, float, float, float]:
    """Dice and AJI beside what covers the tissue; shares of the cover taken, of the rest excluded.

    The shares are NaN where nothing covers the tissue, and 0 where nothing is excluded.
    """
    changed, covered = change(image)
    if covered.shape[0] < truth.shape[0]:
        truth = truth[::2, ::2]
    height, width = covered.shape
    truth = np.pad(truth, ((0, 0), (0, max(0, width - truth.shape[1]))))[:height, :width]
    pixels = Pixels.from_array(changed)
    labels = segmented(pixels, Settings.create()).labels
    found = agreement(np.where(covered, 0, truth), np.where(covered, 0, labels))
    taken = (labels[covered] > 0).mean() if covered.any() else np.nan
    excluded = 0.0 if pixels.valid is None else 1 - pixels.valid[~covered].mean()
    return found.dice, found.aji, float(taken), float(excluded)


def per_cent(value: float) -> str:
    return "" if np.isnan(value) else f"{100 * value:.0f}"


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], every=6)
    parser.add_argument("--same", action="store_true", help="copies that show the same")
    parser.add_argument("--side", type=int, help="only the upper left, so many pixels a side")
    options = parser.parse_args()
    side = slice(options.side)
    rows = []
    for name, change in (SAME if options.same else CHANGES).items():
        scores = []
        for path in chosen(options):
            image = read_image(path).array[side, side, :3]
            scores.append(score(image, truth_of(path, options)[side, side], change))
            print(name, path.stem, *map(per_cent, scores[-1]), file=sys.stderr, flush=True)
        dice, aji, taken, excluded = np.array(scores).T
        figures = (dice.mean(), dice.min(), aji.mean(), taken.mean(), excluded.max())
        rows.append([name, *map(per_cent, figures)])
    columns = ("copy", "Dice", "worst Dice", "AJI", "cover taken for nuclei", "tissue excluded")
    text = table(columns, rows)
    print(text)
    if options.write:
        write(f"robustness {options.images.parent.name}{' same' * options.same}", text)


if __name__ == "__main__":
    main()

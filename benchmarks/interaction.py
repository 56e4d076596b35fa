"""What strokes of a user are worth: a robot that paints where the labels are most wrong.

    python benchmarks/interaction.py --images DIR --labels DIR [--methods hints,local,objects,peer]
        [--rounds 20] [--stems A,B,...] [--jobs 2] [--json results.json] [--write]

Per round one stroke of 20 px, 5 px wide, in the middle of the largest wrong region of the current
labels, of the colour that the truth says. Borders that are out by up to 2 px are not wrong.

Methods: "hints" (what is painted counts, and teaches its like), "local" (it counts at its own
place), "objects" (no stroke: the largest wrong object is deleted, added, merged or split), "peer"
(scikit-image's trainable segmentation, which starts from nothing and needs scikit-learn; its
objects are made as the product's are). All begin with the default's labels.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import astuple, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage as ndi
from skimage.feature import multiscale_basic_features
from skimage.measure import label, regionprops
from skimage.morphology import dilation, disk

from common import Image, Kept, Labels, arguments, chosen, code_version, segmented, table, write
from metrics import agreement
from napari_patchseg import Pixels, Settings
from napari_patchseg.corrections import Add, Delete, Edit, Merge, Split
from napari_patchseg.files.images import read_image
from napari_patchseg.method import hints as method
from napari_patchseg.method.hardware import resolve_machine
from napari_patchseg.method.hints import NOT_NUCLEUS, NUCLEUS, Hints
from napari_patchseg.method.maps import ConfidenceMap
from napari_patchseg.method.scale import NetworkInput
from napari_patchseg.objects import (
    ResolvedObjects,
    apply_edits,
    change_of,
    grow,
    label_nuclei,
    with_additions,
)

#: Length and width of a stroke in pixels, and by how many borders may be out.
LENGTH, WIDTH, TOLERANCE = 20, 5, 2
#: Rounds that the table tells of.
TOLD = (1, 3, 5, 10, 20)


# -- the robot


def with_stroke(hints: Hints, labels: Labels, truth: Labels) -> Hints | None:
    """Hints and one stroke more; None where all that is wrong has been painted."""
    found, true, near = labels > 0, truth > 0, disk(TOLERANCE)
    wrong = np.zeros(labels.shape, np.uint8)
    wrong[true & ~dilation(found, near)] = NUCLEUS
    wrong[found & ~dilation(true, near)] = NOT_NUCLEUS
    regions = regionprops(label(wrong, connectivity=1))
    for region in sorted(regions, key=lambda one: -one.area):
        value = wrong[tuple(region.coords[0])]
        painted = stroke(region, labels.shape) & (true == (value == NUCLEUS))
        if (hints[painted] != value).any():
            return np.where(painted, value, hints)
    return None


def stroke(region: Any, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Along a region's longer axis, through its innermost pixel: (H, W)."""
    depth = ndi.distance_transform_edt(np.pad(region.image, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    down, right = rows - region.bbox[0] - row, columns - region.bbox[1] - column
    along_row, along_column = math.cos(region.orientation), math.sin(region.orientation)
    half = (LENGTH - WIDTH) / 2
    share = (down * along_row + right * along_column).clip(-half, half)
    away = np.hypot(down - share * along_row, right - share * along_column)
    return np.asarray(away <= WIDTH / 2)


def corrected(start: Start, labels: Labels, truth: Labels) -> Labels | None:
    """Labels after the correction of the largest object that is wrong; None where none is."""
    for _, edit in sorted(wrong_objects(start, labels, truth), key=lambda one: -one[0]):
        if edit is not None and change_of(labels, edit, start.objects.min_area) is not None:
            return apply_edits(labels, [edit], start.objects.min_area)
    return None


def wrong_objects(
    start: Start, labels: Labels, truth: Labels
) -> Iterator[tuple[float, Edit | None]]:
    """Areas of what is wrong, and what mends it."""
    shared = np.zeros((labels.max() + 1, truth.max() + 1), int)
    np.add.at(shared, (labels.ravel(), truth.ravel()), 1)
    found_areas, true_areas = shared.sum(1), shared.sum(0)
    for found, area in enumerate(found_areas[1:], 1):
        within = 1 + np.flatnonzero(2 * shared[found, 1:] > true_areas[1:])
        within = within[np.argsort(-true_areas[within])]
        if area and 2 * shared[found, 0] > area:
            yield area, Delete.of(np.nonzero(labels == found))
        elif len(within) > 1:
            first, second = (centre_of(truth == one) for one in within[:2])
            middle, across = (first + second) / 2, (second - first)[::-1] * (1, -1)
            across = across * start.objects.diameter / np.hypot(*across)
            ends = np.round([middle - across, middle + across]).astype(int)
            ends = ends.clip(0, np.array(labels.shape) - 1)
            yield true_areas[within[1]], Split(path=[tuple(map(int, end)) for end in ends])
    for true, area in enumerate(true_areas[1:], 1):
        parts = 1 + np.flatnonzero(2 * shared[1:, true] > found_areas[1:])
        parts = parts[np.argsort(-found_areas[parts])]
        if len(parts) > 1:
            path = [tuple(map(int, centre_of(labels == part))) for part in parts[:2]]
            yield found_areas[parts[1]], Merge(path=path)
        elif area and 2 * shared[0, true] > area:
            row, column = map(int, centre_of((truth == true) & (labels == 0)))
            grew = grow(start.confidence.nuclei, labels, (row, column), start.objects.diameter)
            yield area, None if grew is None else Add.of(grew)


def centre_of(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The innermost pixel of a mask (H, W): its row and column."""
    rows, columns = (slice(one.start, one.stop) for one in ndi.find_objects(mask.astype(int))[0])
    depth = ndi.distance_transform_edt(np.pad(mask[rows, columns], 1))[1:-1, 1:-1]
    inner = np.array(np.unravel_index(depth.argmax(), depth.shape))
    return np.add(inner, (rows.start, columns.start))


# -- what it paints on


@dataclass(frozen=True)
class Start:
    """What the default makes of an image, and what strokes go by."""

    image: Image
    confidence: ConfidenceMap
    labels: Labels
    objects: ResolvedObjects
    least: float | None
    valid: NDArray[np.bool_] | None
    density: NDArray[np.float32]
    surroundings: method.Surroundings

    @classmethod
    def of(cls, image: Image) -> Start:
        pixels = Pixels.from_array(image)
        result = segmented(pixels, Settings.create(threads=1))
        assert result.confidence is not None
        assert result.model is not None
        assert result.report.objects is not None
        made = result.report.objects.model_dump(exclude={"count"})
        least = made.pop("marker_threshold")
        resolved = result.report.settings
        seen = NetworkInput(pixels.as_rgb(), "pretrained")
        embedding = method.embedding(
            result.model.network(),
            seen,
            resolve_machine(resolved.machine, "pretrained"),
            rescale=Fraction(resolved.training.rescale),
            views=resolved.training.test_time_augmentation,
        )
        light = seen.source.read((0, 0, *pixels.shape[1:]))
        diameter = made["diameter"]
        return cls(
            image,
            result.confidence,
            result.labels,
            ResolvedObjects(**made),
            least,
            pixels.valid,
            method.optical_density(light, diameter),
            method.Surroundings.of(light, embedding, result.confidence, diameter),
        )

    def labels_of(self, confidence: ConfidenceMap) -> Labels:
        """Objects are made as at the start: no choice follows the changed map."""
        labels = label_nuclei(
            confidence.nuclei, self.objects, self.valid, confidence.interiors, self.least
        )
        return with_additions(labels, self.confidence.nuclei > self.objects.threshold)


def local(start: Start, hints: Hints) -> Labels:
    """Strokes count at their own place."""
    diameter = start.objects.diameter
    return start.labels_of(method.paint(start.confidence, hints, start.density, diameter))


def taught(start: Start, hints: Hints) -> Labels:
    """Strokes teach their like, too."""
    head = method.learn(start.confidence, hints, start.surroundings, seed=0)
    spread = start.confidence
    if head is not None:
        spread = method.spread(start.confidence, start.surroundings, head)
    return start.labels_of(method.paint(spread, hints, start.density, start.objects.diameter))


def peer(start: Start, hints: Hints) -> Labels:
    """`skimage.future.TrainableSegmenter` with its own features and forest."""
    from sklearn.ensemble import RandomForestClassifier

    features = multiscale_basic_features(start.image[..., :3], channel_axis=-1, sigma_max=8)
    forest = RandomForestClassifier(50, max_depth=10, random_state=0)
    forest.fit(features[hints > 0], hints[hints > 0])
    if NUCLEUS not in forest.classes_:
        return np.zeros_like(start.labels)
    share = forest.predict_proba(features.reshape(-1, features.shape[-1]))
    nuclei = share[:, list(forest.classes_).index(NUCLEUS)].reshape(hints.shape)
    return label_nuclei(nuclei.astype(np.float32), start.objects, start.valid)


METHODS: dict[str, Callable[[Start, Hints], Labels]] = {
    "hints": taught,
    "local": local,
    "peer": peer,
}


# -- figures


def play(path: Path, labels: Path, methods: Sequence[str], rounds: int) -> dict[str, Any]:
    """Of every method: Dice, AJI and PQ before and after every stroke, and seconds a stroke."""
    torch.set_num_threads(1)
    truth = read_image(labels / f"{path.stem}.png").array
    start = Start.of(read_image(path).array)
    rows: dict[str, Any] = {}
    for name in methods:
        hints: Hints | None = np.zeros(truth.shape, np.uint8)
        found, seconds = start.labels, []
        scores = [astuple(agreement(truth, found))[:3]]
        for _ in range(rounds):
            if name == "objects":
                mended = corrected(start, found, truth)
                found = found if mended is None else mended
            elif hints is not None:
                hints = with_stroke(hints, found, truth)
            if hints is not None and name != "objects":
                began = time.perf_counter()
                found = METHODS[name](start, hints)
                seconds.append(time.perf_counter() - began)
            scores.append(astuple(agreement(truth, found))[:3])
        rows[name] = {"scores": scores, "seconds": float(np.median(seconds or 0))}
    return rows


def summary(method: str, rows: Sequence[Mapping[str, Any]]) -> list[object]:
    """A row of the table: changes against the start."""
    scores = np.array([row["scores"] for row in rows])
    change = scores - scores[:, :1]
    told = [" / ".join(f"{value:+.3f}" for value in mean) for mean in change.mean(0)]
    worst = change[..., :2].min((0, 1))
    return [
        method,
        *(told[number] if number < len(told) else "" for number in TOLD),
        f"{worst[0]:+.3f}, {worst[1]:+.3f}",
        f"{np.mean([row['seconds'] for row in rows]):.1f}",
    ]


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--methods", default="hints,local,objects,peer")
    parser.add_argument("--stems", help="names of the images taken, without their endings")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=1, help="images at a time")
    parser.add_argument("--json", type=Path, help="keeps results")
    options = parser.parse_args()
    methods = options.methods.split(",")
    paths = chosen(options)
    if options.stems:
        paths = [path for path in paths if path.stem in options.stems.split(",")]
    kept = Kept(options.json)

    def key(path: Path, name: str) -> str:
        return f"{path.stem}, {name}, {options.rounds} rounds@{code_version()}"

    with ProcessPoolExecutor(options.jobs) as pool:
        under_way = {
            pool.submit(play, path, options.labels, missing, options.rounds): path
            for path in paths
            if (missing := [name for name in methods if key(path, name) not in kept.figures])
        }
        for done in as_completed(under_way):
            path = under_way[done]
            print(path.stem, file=sys.stderr, flush=True)
            for name, row in done.result().items():
                kept.keep(key(path, name), row)
    rows = {name: [kept.figures[key(path, name)] for path in paths] for name in methods}
    first = np.mean([row["scores"][0] for row in rows[methods[0]]], 0)
    columns = [*(f"after {number}" for number in TOLD), "worst Dice, AJI", "s a stroke"]
    text = table(
        [f"{len(paths)} images: " + " / ".join(f"{value:.3f}" for value in first), *columns],
        [summary(name, rows[name]) for name in methods],
    )
    print(text)
    if options.write:
        write(f"interaction {options.images.parent.name}", text)


if __name__ == "__main__":
    main()

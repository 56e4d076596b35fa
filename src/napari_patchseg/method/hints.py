"""Hints: what a user paints changes a map at its own place, and wherever the image is like it.

All of it is a function of the map, of what the image looks like, and of the hints as they stand:
an erased stroke leaves nothing behind.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage as ndi
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, interpolate

from napari_patchseg.corrections import NOT_NUCLEUS, NUCLEUS
from napari_patchseg.geometry import EIGHT, Box, grown, window
from napari_patchseg.settings import DEFAULT_DIAMETER, ResolvedMachine

from .events import Control
from .inference import predict_tiles
from .maps import INTERIOR, ConfidenceMap
from .network import AS_IT_IS, WIDTH, ConfidenceNetwork
from .scale import NetworkInput
from .training import Adam

#: (H, W) uint8, of these values; 0 says nothing.
Hints = NDArray[np.uint8]

#: Log-odds of what is painted.
PAINTED = 7.0
#: How far a stroke reaches: a standard deviation in expected diameters, and how many of them count.
_REACH, _FARTHEST = 4 / 24, 3
#: A step is longer by one for every standard deviation of the stroke's optical density that a pixel
#: is away from it, beyond the first and up to so many; that is no less than so much.
_STRANGEST, _LEAST_DEVIATION = 4, 0.05

#: Standard deviations of what is seen around a pixel, in expected diameters.
_AROUND = (1 / 24, 2 / 24, 4 / 24, 8 / 24)
#: Features beside the network's: colours, roughness, and nuclei around.
_BESIDE = 3 * len(_AROUND) + len(_AROUND[1:]) + len(_AROUND[2:])
#: What the map is sure of is a lesson too, or strokes would carry it away: at so many places, which
#: together weigh as much as so many strokes. Sure is what is that much nearer to 0 or 1 than 1/2.
_PLACES, _MASS, _SURE = 2000, 60, 0.8
#: Networks whose mean counts, their hidden units, and their training.
_NETWORKS, _HIDDEN, _STEPS, _RATE = 4, 24, 80, 0.02
#: Labels keep so far from 0 and 1.
_SOFT = 0.02
#: How far towards what was learnt a map goes after many strokes, how many take it half as far, and
#: the share of that which other images take.
_FARTHEST_BLEND, _HALFWAY, _ELSEWHERE = 0.6, 4, 0.25
#: Log-odds of the map count up to so much, so that what is unlike all strokes stays.
_SUREST = 3.0
#: Confidence is told from 0 and 1 by so much.
_TINY = 1e-6


def strokes(hints: Hints) -> Iterator[tuple[int, NDArray[np.bool_], Box]]:
    """What is painted, stroke by stroke: strokes of one value that touch are one.

    Yields
    ------
    value : int
        1 or 2.
    painted : ndarray
        (h, w) bool, the stroke within its box.
    box : Box
        The smallest around it.
    """
    for value in (NUCLEUS, NOT_NUCLEUS):
        parts, _ = ndi.label(hints == value, EIGHT)
        for number, (rows, columns) in enumerate(ndi.find_objects(parts), 1):
            box = (rows.start, columns.start, rows.stop, columns.stop)
            yield value, parts[rows, columns] == number, box


# -- its own place


def paint(
    confidence: ConfidenceMap,
    hints: Hints,
    density: NDArray[np.float32],
    diameter: float,
) -> ConfidenceMap:
    """A map that says what is painted, and fades to what it said before around it.

    Confidence in nuclei and in their interiors is drawn to a stroke's, the less the farther away a
    pixel is. Ways are longer over what looks otherwise than the stroke, so that it ends at the
    nucleus's border. Between two strokes the nearer one counts.

    Parameters
    ----------
    confidence : ConfidenceMap
        At full size.
    hints : ndarray
        (h, w) uint8, of the map's box: 1 nucleus, 2 not nucleus, 0 nothing.
    density : ndarray
        (h, w) float32, see `optical_density`.
    diameter : float
        Expected nucleus diameter in pixels.
    """
    if not hints.any():
        return confidence
    weight = _pull(hints, density, diameter)
    return _moved(
        confidence, lambda logits: (1 - abs(weight)) * logits + np.float32(PAINTED) * weight
    )


def optical_density(light: NDArray[np.float32], diameter: float) -> NDArray[np.float32]:
    """Mean optical density (h, w) float32 of pixels (C, h, w) in [0, 1], a little smoothed."""
    dense = -np.log(light.clip(1 / 255, 1)).mean(0)
    return np.asarray(ndi.gaussian_filter(dense, diameter / DEFAULT_DIAMETER), np.float32)


def _pull(hints: Hints, density: NDArray[np.float32], diameter: float) -> NDArray[np.float32]:
    """How strongly strokes draw at pixels, (h, w) in [-1, 1]; negative from nuclei."""
    reach = _REACH * diameter
    margin = math.ceil(_FARTHEST * reach)
    shape = (hints.shape[0], hints.shape[1])
    # Of the nearest stroke, one more than its distance; negative where it says "not nucleus".
    nearest = np.full(shape, np.inf, np.float32)
    for value, painted, box in strokes(hints):
        wide = grown(box, margin, shape)
        at = np.zeros((wide[2] - wide[0], wide[3] - wide[1]), bool)
        at[window(box, wide)] = painted
        seen = density[window(wide)]
        deviation = max(float(seen[at].std()), _LEAST_DEVIATION)
        strange = abs(seen - seen[at].mean()) / deviation - 1
        far = 1 + _distances(1 + strange.clip(0, _STRANGEST), at, margin)
        inner = nearest[window(wide)]
        np.copyto(inner, far if value == NUCLEUS else -far, where=far < abs(inner))
    distance = (abs(nearest) - 1) / reach
    weight = np.sign(nearest) * np.exp(-(distance**2) / 2)
    return np.where(distance > _FARTHEST, np.float32(0), weight)


def _distances(cost: NDArray[np.float32], at: NDArray[np.bool_], most: int) -> NDArray[np.float32]:
    """Lengths of the shortest ways (h, w) to some pixels, right as far as ``most``.

    A step to one of the eight neighbours takes the mean of both costs, which are 1 and more, times
    its length.
    """
    height, width = cost.shape
    ways = np.pad(np.where(at, np.float32(0), np.float32(np.inf)), 1, constant_values=np.inf)
    costs = np.pad(cost, 1, mode="edge")
    steps = []
    for row, column in np.argwhere(EIGHT):
        if (row, column) != (1, 1):
            beside = slice(row, row + height), slice(column, column + width)
            length = math.hypot(row - 1, column - 1) / 2
            steps.append((beside, (length * (cost + costs[beside])).astype(np.float32)))
    found = ways[1:-1, 1:-1]
    for _ in range(most):
        before = found.copy()
        for beside, step in steps:
            np.minimum(found, ways[beside] + step, out=found)
        if np.array_equal(before, found):
            break
    return found


# -- its like


def embedding(
    network: ConfidenceNetwork,
    image: NetworkInput,
    machine: ResolvedMachine,
    *,
    rescale: Fraction = AS_IT_IS,
    views: int = 1,
    control: Control | None = None,
) -> NDArray[np.float16]:
    """What the last layer of a network makes its maps of: (8, H, W), the mean over views.

    Parameters are those of `predict`.
    """
    headless = copy.deepcopy(network)
    headless.head = nn.Identity()  # type: ignore[assignment] # a layer like any other
    out = np.empty((WIDTH, *image.source.shape[1:]), np.float16)
    for _ in predict_tiles(
        headless,
        image,
        machine,
        out,
        rescale=rescale,
        views=views,
        control=control,
        activation=nn.Identity(),
    ):
        pass
    return out


def features_of(classes: int) -> int:
    """How many features a head goes by, beside a network with so many classes."""
    return WIDTH + classes + _BESIDE


@dataclass(frozen=True)
class Surroundings:
    """What hints are learnt by: how every second pixel of every second row looks, and around it.

    Attributes
    ----------
    features : Tensor
        (F, ceil(h / 2), ceil(w / 2)) float16.
    """

    features: Tensor

    @classmethod
    def of(
        cls,
        light: NDArray[np.float32],
        embedding: NDArray[np.float16],
        confidence: ConfidenceMap,
        diameter: float,
    ) -> Surroundings:
        """Of an image (C, h, w), what its network sees (8, h, w) and the map that it makes of that.

        Colours are optical densities, in standard deviations of the image's from their mean.
        """
        dense = _halved(torch.from_numpy(-np.log(light.clip(1 / 255, 1))))
        spread, mean = torch.std_mean(dense, (1, 2), keepdim=True)
        dense = (dense - mean) / spread.clamp_min(_LEAST_DEVIATION)
        grey = dense.mean(0, keepdim=True)
        sigmas = [scale * diameter / 2 for scale in _AROUND]
        colours = [_blurred(dense, sigma) for sigma in sigmas]
        roughness = [
            (_blurred(grey**2, sigma) - _blurred(grey, sigma) ** 2).clamp_min(0).sqrt()
            for sigma in sigmas[1:]
        ]
        logits = torch.from_numpy(_log_odds(confidence.data)).clamp(-6, 6)
        nuclei = _halved(torch.from_numpy(confidence.nuclei)[None])
        around = [_blurred(nuclei, sigma) for sigma in sigmas[2:]]
        seen = _halved(torch.from_numpy(embedding).float())
        return cls(torch.cat([seen, _halved(logits), *colours, *roughness, *around]).half())


class HintHead(nn.Module):
    """What strokes taught: small networks beside the network's own head, which see more than that.

    They say "nucleus" where a pixel is like strokes of nuclei or like what the map is sure of, and
    how far a map follows them is a matter of how many strokes there were.

    Parameters
    ----------
    features : int
        See `features_of`.
    """

    mean: Tensor
    deviation: Tensor
    blend: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("deviation", torch.ones(features))
        self.register_buffer("blend", torch.zeros(()))
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(features, _HIDDEN), nn.ELU(), nn.Linear(_HIDDEN, 1))
            for _ in range(_NETWORKS)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Log-odds of nuclei (networks, n), of features (n, F)."""
        seen = (features - self.mean) / self.deviation
        return torch.stack([network(seen)[:, 0] for network in self.networks])

    @torch.inference_mode()
    def log_odds(self, surroundings: Surroundings) -> Tensor:
        """Log-odds (h, w) of nuclei, at half the resolution: the mean over the networks."""
        features = surroundings.features
        parts = features.flatten(1).split(2**16, 1)
        found = torch.cat([self(part.T.float()).mean(0) for part in parts])
        return found.view(features.shape[1:])

    def fit(self, features: Tensor, nuclei: Tensor, weight: Tensor, seed: int) -> None:
        """Minimise the weighted cross-entropy of samples by Adam, all of them at every step.

        Parameters
        ----------
        features : Tensor
            (n, F) float32.
        nuclei, weight : Tensor
            (n,) float32: 1 for nucleus, 0 for not, and how much each counts.
        seed : int
            Of the first weights.
        """
        random = torch.Generator().manual_seed(seed)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=layer.in_features**-0.5, generator=random)
                nn.init.zeros_(layer.bias)
        optimiser = Adam(self.parameters(), _RATE, weight_decay=0)
        target = (nuclei * (1 - 2 * _SOFT) + _SOFT).expand(_NETWORKS, -1)
        share = (weight / weight.sum()).expand(_NETWORKS, -1)
        for _ in range(_STEPS):
            binary_cross_entropy_with_logits(
                self(features), target, share, reduction="sum"
            ).backward()
            optimiser.step()


def learn(
    confidence: ConfidenceMap, hints: Hints, surroundings: Surroundings, seed: int
) -> HintHead | None:
    """What strokes teach, each of which counts the same; without any there is None.

    Parameters
    ----------
    confidence : ConfidenceMap
        At full size, before any hint.
    hints : ndarray
        (h, w) uint8, see `paint`.
    surroundings : Surroundings
        Of the same part of the image.
    seed : int
        Of every random draw.
    """
    if not hints.any():
        return None
    width = surroundings.features.shape[2]
    places: list[NDArray[np.intp]] = []
    nuclei: list[NDArray[np.bool_]] = []
    weights: list[NDArray[np.float32]] = []
    for value, painted, box in strokes(hints):
        rows, columns = np.nonzero(painted)
        at = (rows + box[0]) // 2 * width + (columns + box[1]) // 2
        at, counts = np.unique(at, return_counts=True)
        places.append(at)
        nuclei.append(np.full(len(at), value == NUCLEUS))
        weights.append((counts / len(rows)).astype(np.float32))
    count = len(places)
    said = _halved(torch.from_numpy(confidence.nuclei)[None])[0].flatten().numpy()
    sure = abs(2 * said - 1) > _SURE
    sure[np.concatenate(places)] = False
    if sure.any():
        at = np.random.default_rng(seed).choice(np.flatnonzero(sure), _PLACES)
        places.append(at)
        nuclei.append(said[at] > 0.5)
        weights.append(np.full(_PLACES, _MASS / _PLACES, np.float32))
    features = surroundings.features.flatten(1)
    head = HintHead(len(features))
    deviation, mean = torch.std_mean(features.float(), 1)
    head.mean, head.deviation = mean, deviation.clamp_min(_LEAST_DEVIATION)
    head.blend = torch.tensor(_FARTHEST_BLEND * count / (count + _HALFWAY))
    head.fit(
        features[:, torch.from_numpy(np.concatenate(places))].T.float(),
        torch.from_numpy(np.concatenate(nuclei)).float(),
        torch.from_numpy(np.concatenate(weights)),
        seed,
    )
    return head.requires_grad_(requires_grad=False)


def spread(
    confidence: ConfidenceMap,
    surroundings: Surroundings,
    head: HintHead,
    *,
    is_elsewhere: bool = False,
) -> ConfidenceMap:
    """A map that goes towards what strokes taught.

    Parameters
    ----------
    confidence : ConfidenceMap
        At full size.
    surroundings : Surroundings
        Of the same image.
    head : HintHead
        What they taught.
    is_elsewhere : bool
        Whether the strokes were on another image: then it goes a quarter as far.
    """
    height, width = confidence.nuclei.shape
    half = head.log_odds(surroundings)[None, None]
    learnt = interpolate(half, scale_factor=2.0, mode="bilinear")[0, 0, :height, :width].numpy()
    known = _log_odds(confidence.nuclei).clip(-_SUREST, _SUREST)
    change = float(head.blend) * (_ELSEWHERE if is_elsewhere else 1) * (learnt - known)
    return _moved(confidence, lambda logits: logits + change)


def _moved(
    confidence: ConfidenceMap, move: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> ConfidenceMap:
    """A map whose log-odds (h, w) of nuclei, and of their interiors, are moved."""
    data = confidence.data.copy()
    moved = _confidence(move(_log_odds(confidence.nuclei)))
    data[confidence.nucleus.index] = 1 - moved if confidence.nucleus.inverted else moved
    if confidence.interiors is not None:
        index = list(confidence.channels).index(INTERIOR)
        data[index] = _confidence(move(_log_odds(confidence.interiors)))
    return replace(confidence, data=data)


def _log_odds(confidence: NDArray[np.float32]) -> NDArray[np.float32]:
    sure = confidence.clip(_TINY, 1 - _TINY)
    return np.asarray(np.log(sure / (1 - sure)), np.float32)


def _confidence(log_odds: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(1 / (1 + np.exp(-log_odds)), np.float32)


def _halved(maps: Tensor) -> Tensor:
    """Maps (N, h, w) of half the resolution: (N, ceil(h / 2), ceil(w / 2)) float32."""
    return avg_pool2d(maps[None], 2, ceil_mode=True)[0]


def _blurred(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian of maps (N, h, w)."""
    return torch.from_numpy(
        ndi.gaussian_filter(maps.numpy(), (0, sigma, sigma), mode="nearest", truncate=3)
    )

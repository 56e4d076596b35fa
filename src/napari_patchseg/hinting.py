"""What hints make of an image's map, for every door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from napari_patchseg.corrections import NOT_NUCLEUS
from napari_patchseg.geometry import Box, window
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.events import Control
from napari_patchseg.method.hints import (
    HintHead,
    Surroundings,
    embedding,
    learn,
    optical_density,
    paint,
    spread,
)
from napari_patchseg.method.inference import prepare
from napari_patchseg.method.maps import ConfidenceMap
from napari_patchseg.method.network import Model
from napari_patchseg.method.scale import NetworkInput
from napari_patchseg.objects import expected_diameter
from napari_patchseg.settings import Resolved, Weights


def network_input(image: Pixels, weights: Weights) -> NetworkInput:
    """An image as a network takes it that began with these weights."""
    return NetworkInput(image if weights == "random" else image.as_rgb(), weights)


@dataclass(frozen=True)
class Place:
    """Where strokes count at their own place alone: on maps of a box at a reduction, as previews.

    Attributes
    ----------
    box : Box
        In pixels of the image.
    reduction : int
        Image pixels per map pixel.
    density : ndarray
        (h, w) float32, smoothed optical density at that reduction.
    diameter : float
        Expected nucleus diameter in pixels of the image.
    """

    box: Box
    reduction: int
    density: NDArray[np.float32]
    diameter: float

    @classmethod
    def of(cls, pixels: Pixels, confidence: ConfidenceMap, diameter: float) -> Place:
        """The place of a map of an image."""
        box, reduction = confidence.box, confidence.reduction
        light = pixels.as_rgb().read(box, reduction)
        return cls(box, reduction, optical_density(light, diameter / reduction), diameter)

    def fits(self, confidence: ConfidenceMap, diameter: float) -> bool:
        """Whether it is that of another map, too."""
        here = (confidence.box, confidence.reduction, diameter)
        return here == (self.box, self.reduction, self.diameter)

    def painted(self, confidence: ConfidenceMap, hints: NDArray[np.uint8]) -> ConfidenceMap:
        """The map with hints (H, W) of the whole image: 1 nucleus, 2 not nucleus, 0 nothing."""
        seen = hints[window(self.box)]
        rows, columns = np.nonzero(seen)
        counts = np.zeros((2, *self.density.shape), np.int32)
        at = (seen[rows, columns] - 1, rows // self.reduction, columns // self.reduction)
        np.add.at(counts, at, 1)
        small = np.where(counts[1] > counts[0], NOT_NUCLEUS, counts[0] > 0).astype(np.uint8)
        return paint(confidence, small, self.density, self.diameter / self.reduction)


class Hinted(NamedTuple):
    """A map with its hints, and what these taught; None where they taught nothing."""

    confidence: ConfidenceMap
    head: HintHead | None


@dataclass(frozen=True)
class Ground:
    """What hints are laid on: the full map of an image before any, and how the image looks.

    Attributes
    ----------
    confidence : ConfidenceMap
        With what the hints of another image taught the model.
    density : ndarray
        (H, W) float32, smoothed optical density.
    surroundings : Surroundings
        What hints are learnt by.
    diameter : float
        Expected nucleus diameter in pixels.
    """

    confidence: ConfidenceMap
    density: NDArray[np.float32]
    surroundings: Surroundings
    diameter: float

    @classmethod
    def of(
        cls,
        pixels: Pixels,
        model: Model,
        resolved: Resolved,
        confidence: ConfidenceMap,
        *,
        diameter: float | None = None,
        control: Control | None = None,
    ) -> Ground:
        """The ground of an image.

        Parameters
        ----------
        pixels : Pixels
            The image.
        model : Model
            That the map was made with; what it learnt from hints is applied.
        resolved : Resolved
            How the map was made.
        confidence : ConfidenceMap
            Of the whole image at full size, before any hint.
        diameter : float or None
            Expected nucleus diameter in pixels; None: it is estimated.
        control : Control or None
            The host's wishes.

        Raises
        ------
        Cancelled
            If the control asks for the end.
        """
        seen = network_input(pixels, model.settings.training.weights)
        embedded = embedding(
            prepare(model.network(), resolved.machine),
            seen,
            resolved.machine,
            rescale=resolved.rescale,
            views=resolved.test_time_augmentation,
            control=control,
        )
        diameter = diameter or expected_diameter(confidence.nuclei)
        light = pixels.as_rgb().read((0, 0, *pixels.shape[1:]))
        surroundings = Surroundings.of(light, embedded, confidence, diameter)
        for head in model.heads:
            confidence = spread(confidence, surroundings, head, is_elsewhere=True)
        return cls(confidence, optical_density(light, diameter), surroundings, diameter)

    def hinted(self, hints: NDArray[np.uint8], *, learns: bool, seed: int) -> Hinted:
        """The map with hints.

        Parameters
        ----------
        hints : ndarray
            (H, W) uint8: 0 nothing, 1 nucleus, 2 not nucleus.
        learns : bool
            Whether hints teach their like; else they count at their own place alone.
        seed : int
            Of every random draw.
        """
        confidence, head = self.confidence, None
        if learns:
            head = learn(confidence, hints, self.surroundings, seed)
        if head is not None:
            confidence = spread(confidence, self.surroundings, head)
        return Hinted(paint(confidence, hints, self.density, self.diameter), head)

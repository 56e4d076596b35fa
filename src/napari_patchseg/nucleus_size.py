"""How large nuclei are in an image, and how much it is rescaled for the network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi
from torch import Tensor

from napari_patchseg.method.inference import evaluating, prepare, to_batch
from napari_patchseg.method.maps import INTERIOR, channel_names
from napari_patchseg.method.network import ConfidenceNetwork, rescaled
from napari_patchseg.method.scale import NetworkInput, crops
from napari_patchseg.objects import typical_diameter
from napari_patchseg.settings import Rescale, ResolvedMachine

#: Diameter in pixels of the nuclei that the pretrained weights were taught; half of it is interior.
_TYPICAL = 29.4
#: Interiors that are seen 1.5 times larger must grow by this factor at least.
_GROWN = 1.1
#: Interiors above this diameter in pixels at half the size ask for that. Crowded nuclei may have
#: large ones, but at half the size those of nuclei too large are larger.
_LARGE = 16.0


def rescale_for(diameter: float) -> Rescale:
    """The factor that brings nuclei of a diameter in pixels next to what the network was taught."""
    wanted = math.log(_TYPICAL / diameter)
    factors: tuple[Rescale, ...] = ("1/4", "1/2", "1", "3/2", "2")
    return min(factors, key=lambda factor: abs(math.log(Fraction(factor)) - wanted))


def choose_rescale(
    image: NetworkInput,
    machine: ResolvedMachine,
    weights: Mapping[str, Tensor],
    between: Callable[[], None] = lambda: None,
) -> Rescale:
    """The rescale factor that an image asks for, by the interiors of nuclei in a sample of it.

    Parameters
    ----------
    image : NetworkInput
        Three channels, as the pretrained weights take them.
    machine : ResolvedMachine
        Where to compute.
    weights : mapping of str to Tensor
        Of a network that knows interiors: the pretrained ones.
    between : callable
        Called before each look at the image; may raise, to give up.
    """
    network = prepare(ConfidenceNetwork.of(weights), machine)
    channel = channel_names("pretrained", network.classes).index(INTERIOR)

    @cache
    def interior_at(factor: Rescale) -> float:
        between()
        rescale = Fraction(factor)
        sample = np.stack(crops(image.source, round(200 / rescale)))
        seen = rescaled(image.scale(to_batch(sample, machine)), rescale)
        with evaluating(network, machine):
            maps = network(seen)[:, channel]
        return interior_diameter(maps.float().cpu().numpy())

    interior = interior_at("1")
    if interior == 0:
        return "1"
    factor = rescale_for(2 * interior)
    if Fraction(factor) < 1 and interior_at("1/2") > _LARGE:
        return "1/4" if interior_at("1/4") > _LARGE else "1/2"
    if interior_at("3/2") < _GROWN * interior:  # large, pale nuclei: their interiors fall to pieces
        return "2/3"
    return factor if Fraction(factor) > 1 else "1"


def interior_diameter(interiors: NDArray[np.float32]) -> float:
    """Diameter in pixels of the nuclei's inner parts, from crops (N, h, w) of confidence in them.

    Their area-weighted median, specks left out; 0 where there are none. Nuclei that touch, and then
    read as one, have inner parts that do not.
    """
    within_crop = np.zeros((3, 3, 3), bool)
    within_crop[1] = ndi.generate_binary_structure(2, 1)
    parts, _count = ndi.label(ndi.gaussian_filter(interiors, (0, 1, 1)) > 0.6, within_crop)
    areas = np.bincount(parts.flat)[1:]
    areas = areas[areas >= 12]
    return typical_diameter(areas) if len(areas) else 0.0

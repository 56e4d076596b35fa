"""How large nuclei are in an image, and what magnification that asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache

import numpy as np
import torch
from torch import Tensor

from napari_patchseg.image.content import core_diameter
from napari_patchseg.method.inference import autocast, input_scale, prepare, to_batch
from napari_patchseg.method.magnification import AS_IT_IS, magnified
from napari_patchseg.method.maps import INTERIOR, channel_names
from napari_patchseg.method.network import ConfidenceNetwork
from napari_patchseg.method.scale import crops
from napari_patchseg.method.source import PixelSource
from napari_patchseg.settings import Rescale, ResolvedMachine

#: What the network sees of an image for this: crops of so many pixels a side, so many of them.
_SIDE, _CROPS = 200, 9
#: Cores below these diameters in pixels are seen larger (docs/method.md).
_TINY, _SMALL = 8.5, 12.0
#: Cores above the former are seen smaller, if at half the size they are still above the latter:
#: crowded nuclei may have large cores, but at half the size those of nuclei too large are larger.
_LARGE, _STILL = 18.5, 16.0
#: Magnified 1.5 times, whole cores are 1.5 times as wide; below the former they fall to pieces, and
#: the image is reduced to 2/3, if they are below the latter there: cores of several nuclei are not.
_GROWN, _SHRUNK = 1.1, 0.9
#: A core's diameter as a share of its nucleus's; the largest nuclei that are seen as they are.
_CORE_SHARE, _LARGEST = 0.5, 48.0


def rescale_for(diameter: float) -> Rescale:
    """The magnification at which nuclei of a diameter in pixels are like those of the start."""
    core = _CORE_SHARE * diameter
    if core < _SMALL:
        return "2" if core < _TINY else "3/2"
    return "1" if diameter <= _LARGEST else "1/2" if diameter <= 2 * _LARGEST else "1/4"


def choose_rescale(
    source: PixelSource, machine: ResolvedMachine, weights: Mapping[str, Tensor]
) -> Rescale:
    """The magnification that an image asks for, by the cores that weights find in a sample of it.

    Parameters
    ----------
    source : PixelSource
        Three channels, as the pretrained weights take them.
    machine : ResolvedMachine
        Where to compute.
    weights : mapping of str to Tensor
        Of a network that knows cores: the pretrained ones.
    """
    channels = channel_names("pretrained", 2)
    network = ConfidenceNetwork(source.shape[0], len(channels))
    network.load_state_dict(dict(weights))
    network = prepare(network, machine).eval()
    scale = input_scale(source, "pretrained")

    @cache
    def cores_at(magnification: Fraction) -> float:
        sample = np.stack(crops(source, round(_SIDE / magnification), _CROPS))
        seen = magnified(scale(to_batch(sample, machine)), magnification)
        with torch.inference_mode(), autocast(machine):
            return core_diameter(network(seen)[:, channels.index(INTERIOR)].float().cpu().numpy())

    core = cores_at(AS_IT_IS)
    if core == 0:
        return "1"
    if core < _SMALL:
        larger: Rescale = "2" if core < _TINY else "3/2"
        if cores_at(Fraction(larger)) >= core:  # or they fall to pieces
            return larger
    chosen: Rescale = "1"
    smaller: tuple[Rescale, ...] = ("1/2", "1/4")
    for magnification in smaller:
        if core <= _LARGE or (core := cores_at(Fraction(magnification))) <= _STILL:
            break
        chosen = magnification
    if chosen == "1" and _fall_to_pieces(cores_at):
        return "2/3"
    return chosen


def _fall_to_pieces(cores_at: Callable[[Fraction], float]) -> bool:
    """Whether cores do not grow with the magnification, as those of large, pale nuclei."""
    core = cores_at(AS_IT_IS)
    return cores_at(Fraction(3, 2)) < _GROWN * core and cores_at(Fraction(2, 3)) < _SHRUNK * core

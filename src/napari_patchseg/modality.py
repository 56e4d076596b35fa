"""What differs between kinds of image: a section, dark nuclei on light, light that glows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

#: What a user may say of an image: a section in colour, dark nuclei on light, bright ones on dark.
ImageKind = Literal["stained", "grey", "fluorescence"]


@dataclass(frozen=True)
class Modality:
    """How images of one kind are read, seen by the network and labelled.

    Attributes
    ----------
    kind : str
        Its name.
    looks : str
        What nuclei look like, for the user.
    is_bright : bool
        Whether nuclei are brighter than their surroundings.
    least_contrast : float
        Standard deviation that structure must have, in units of stain or as a share of the value
        range. Fluorescence may use a few of 255 grey values only.
    pretrained_weights : str
        File of the weights that training starts from; made by tools/pretrain.py.
    test_time_augmentation : int
        Views averaged for labels; nuclei that glow and touch become one where seen smaller.
    threshold : float
        Confidence from which a pixel is nucleus. Blurred edges belong to a nucleus that glows.
    split_depth : float
        Depth between two nuclei's peaks in expected radii. Nuclei that glow are smooth: a shallow
        saddle between them is one; in stained ones it may be chromatin.
    """

    kind: ImageKind
    looks: str
    is_bright: bool
    least_contrast: float
    pretrained_weights: str
    test_time_augmentation: int
    threshold: float
    split_depth: float


STAINED = Modality(
    kind="stained",
    looks="stained section, nuclei take the haematoxylin",
    is_bright=False,
    least_contrast=0.0015,
    pretrained_weights="pretrained-stained.safetensors",
    test_time_augmentation=3,
    threshold=0.5,
    split_depth=0.2,
)
GREY = Modality(
    kind="grey",
    looks="nuclei are darker than their surroundings",
    is_bright=False,
    least_contrast=0.01,
    pretrained_weights="pretrained-stained.safetensors",
    test_time_augmentation=3,
    threshold=0.5,
    split_depth=0.2,
)
FLUORESCENCE = Modality(
    kind="fluorescence",
    looks="nuclei are brighter than their surroundings",
    is_bright=True,
    least_contrast=0.002,
    pretrained_weights="pretrained-fluorescence.safetensors",
    test_time_augmentation=1,
    threshold=0.35,
    split_depth=0.12,
)

MODALITIES: Mapping[ImageKind, Modality] = MappingProxyType(
    {modality.kind: modality for modality in (STAINED, GREY, FLUORESCENCE)}
)

"""The confidence network, trained or not, and the featuriser (paper section 3.1 and 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from napari_patchseg.modality import ImageKind
from napari_patchseg.settings import Settings

from .maps import NucleusClass

if TYPE_CHECKING:
    from napari_patchseg.corrections import Corrections

    from .hints import HintHead

WIDTH = 8
#: Rescale factor of an image that the network sees as it is.
AS_IT_IS = Fraction(1)
#: Side of the smallest patch in pixels that the featuriser takes.
FEATURISED = 16
DILATIONS = (1, 2, 3, 5, 10, 20)

#: Pixels on each side that a confidence depends on: the first block sees 1, each residual block
#: twice its dilation.
HALO = 1 + 2 * sum(DILATIONS)


class _Block(nn.Sequential):
    """Convolution without bias, batch normalisation, ELU.

    In evaluation mode the normalisation is folded into the convolution: with g = weight /
    sqrt(variance + eps), conv(x, w) normalised is conv(x, g w) + bias - g mean. Gradients pass
    through the fold, and no map is read or written for the normalisation's sake.
    """

    def __init__(self, channels_in: int, channels_out: int, dilation: int) -> None:
        super().__init__(
            nn.Conv2d(
                channels_in, channels_out, 3, padding=dilation, dilation=dilation, bias=False
            ),
            nn.BatchNorm2d(channels_out),
            nn.ELU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        convolution, norm = self[0], self[1]
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        if self.training:
            return functional.elu(norm(convolution(x)), inplace=True)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        out = functional.conv2d(
            x,
            convolution.weight * gain[:, None, None, None],
            norm.bias - norm.running_mean * gain,
            padding=convolution.padding,
            dilation=convolution.dilation,
        )
        return functional.elu(out, inplace=True)


class _Residual(nn.Module):
    """Two blocks of one dilation and the identity around them."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.first = _Block(width, width, dilation)
        self.second = _Block(width, width, dilation)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(self.first(x))
        return out


class ConfidenceNetwork(nn.Module):
    """Fully convolutional network f: (C, H, W) → (K, H, W) of confidences in (0, 1).

    One convolution block, six residual blocks with dilations 1, 2, 3, 5, 10 and 20, a 1x1
    convolution and a sigmoid; eight channels throughout, no down-sampling (section 3.1).
    7,345 parameters for three channels and one class, 7,372 for four classes.

    Parameters
    ----------
    channels : int
        Channels C of the image.
    classes : int
        Number K of confidence maps.
    """

    def __init__(self, channels: int = 3, classes: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.classes = classes
        self.stem = _Block(channels, WIDTH, 1)
        self.residuals = nn.Sequential(*(_Residual(WIDTH, d) for d in DILATIONS))
        self.head = nn.Conv2d(WIDTH, classes, 1)

    @classmethod
    def of(cls, weights: Mapping[str, Tensor]) -> ConfidenceNetwork:
        """With the weights of one that was trained."""
        network = cls(weights["stem.0.weight"].shape[1], weights["head.weight"].shape[0])
        network.load_state_dict(dict(weights))
        return network

    def logits(
        self,
        image: Tensor,
        between: Callable[[], None] | None = None,
        rescale: Fraction = AS_IT_IS,
    ) -> Tensor:
        """Confidence before the sigmoid, (N, K, H, W).

        ``between`` is called before every residual block; it may raise, to give the pass up. At a
        rescale factor the image is resampled for the network, and what it finds back again.
        """
        out: Tensor = self.stem(rescaled(image, rescale))
        for residual in self.residuals:
            if between is not None:
                between()
            out = residual(out)
        logits: Tensor = self.head(out)
        return restored(logits, rescale, *image.shape[2:])

    def forward(self, image: Tensor) -> Tensor:
        """Confidence (N, K, H, W) float32 of a batch (N, C, H, W) in [0, 1]."""
        return torch.sigmoid(self.logits(image).float())


@dataclass(frozen=True)
class Model:
    """A trained confidence network.

    Attributes
    ----------
    weights : mapping of str to Tensor
        State dict of `ConfidenceNetwork`, on the CPU, float32 (and int64 counters).
    channels : int
        Channels of the images it takes.
    settings : Settings
        The resolved settings it was trained with.
    steps : int
        Training steps behind the weights.
    stop_reason : str
        Why its training ended.
    nucleus : NucleusClass or None
        Which class is nuclei on the image it was trained on.
    image_kind : str or None
        What that image was.
    heads : tuple of HintHead
        What hints taught it, image by image.
    corrections : Corrections or None
        The hints on the image it was trained on, and corrections of objects beside them.
    """

    weights: Mapping[str, Tensor]
    channels: int
    settings: Settings
    steps: int
    stop_reason: str
    nucleus: NucleusClass | None = None
    image_kind: ImageKind | None = None
    heads: tuple[HintHead, ...] = ()
    corrections: Corrections | None = None

    def network(self) -> ConfidenceNetwork:
        """The network with these weights, in evaluation mode, on the CPU."""
        return ConfidenceNetwork.of(self.weights).eval()


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """A copy of a network's state dict on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in network.state_dict().items()}


class Featuriser(nn.Module):
    """Patch (C, S, S) → 32 numbers, for the featurised cosine similarity (section 3.3).

    3,530 parameters for three channels and patches of 50 px.

    Parameters
    ----------
    channels : int
        Channels C of a patch.
    patch_size : int
        Side S in pixels, at least 16.
    """

    def __init__(self, channels: int = 3, patch_size: int = 50) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels, WIDTH, 3, bias=True),
            nn.BatchNorm2d(WIDTH),
            nn.ELU(),
            nn.Conv2d(WIDTH, WIDTH, 3, stride=2, dilation=2, bias=False),
            nn.BatchNorm2d(WIDTH),
            nn.ELU(),
            nn.Conv2d(WIDTH, 1, 3, stride=2, dilation=2, bias=False),
            nn.BatchNorm2d(1),
            nn.ELU(),
        )
        side = patch_size - 2
        for _ in range(2):  # kernel 3, dilation 2, stride 2, no padding
            side = (side - 5) // 2 + 1
        self.linear = nn.Linear(side * side, 32)

    def forward(self, patches: Tensor) -> Tensor:
        """Features (N, 32) of patches (N, C, S, S)."""
        out: Tensor = self.linear(self.convolutions(patches).flatten(1))
        return out


def rescaled(images: Tensor, factor: Fraction) -> Tensor:
    """Images (N, C, H, W) as the network sees them: (N, C, H f, W f), bilinear.

    Sides that are no whole number of the network's pixels are first continued to the next one.
    """
    if factor == 1:
        return images
    height, width = images.shape[2:]
    unit = factor.denominator
    images = functional.pad(images, (0, -width % unit, 0, -height % unit), mode="replicate")
    size = [int(side * factor) for side in images.shape[2:]]
    return functional.interpolate(images, size, mode="bilinear", antialias=factor < 1)


def restored(maps: Tensor, factor: Fraction, height: int, width: int) -> Tensor:
    """What `rescaled` images gave, (N, K, H f, W f), in the image's pixels: (N, K, H, W).

    Resampled as float32, and without filtering, which some devices have no gradient of: at a factor
    of 2 it is the mean of 2 x 2 all the same.
    """
    if factor == 1:
        return maps
    size = [int(side / factor) for side in maps.shape[2:]]
    maps = functional.interpolate(maps.float(), size, mode="bilinear")
    return maps[:, :, :height, :width]

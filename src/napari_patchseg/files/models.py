"""Trained models in and out: safetensors for the weights, JSON for what belongs to them.

safetensors and not pickle: a model from a stranger can be opened without running their code.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_patchseg import __version__
from napari_patchseg.corrections import Corrections
from napari_patchseg.errors import ModelError, SettingsError
from napari_patchseg.method.maps import NucleusClass
from napari_patchseg.modality import ImageKind, Modality
from napari_patchseg.settings import Settings

from .atomic import atomic_write, reading

if TYPE_CHECKING:
    from torch import Tensor

    from napari_patchseg.method.hints import HintHead
    from napari_patchseg.method.network import Model

FORMAT = "napari-patchseg model"
FORMAT_VERSION = "3"


class _Header(BaseModel):
    """What the file says about its weights."""

    # A correlation is NaN where the user chose the class.
    model_config = ConfigDict(strict=True, extra="ignore", ser_json_inf_nan="constants")

    channels: Annotated[int, Field(ge=1, le=1024)]
    steps: Annotated[int, Field(ge=0)]
    stop_reason: str
    settings: dict[str, Any]
    nucleus: NucleusClass | None
    image_kind: ImageKind | None
    heads: Annotated[int, Field(ge=0, le=1000)] = 0
    corrections: Corrections | None = None
    package_version: str


def save_model(path: str | os.PathLike[str], model: Model, *, overwrite: bool = True) -> Path:
    """Write a trained model.

    Parameters
    ----------
    path : path-like
        The file; should end in ``.safetensors``.
    model : Model
        Weights, settings, steps, stop reason and nucleus class are kept, hints and what they
        taught.
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    FileError
        If the file cannot be written.
    """
    from safetensors.torch import save

    header = _Header.model_validate(
        {
            **vars(model),
            "settings": model.settings.to_dict(),
            "heads": len(model.heads),
            "package_version": __version__,
        }
    )
    tensors = dict(model.weights)
    for number, head in enumerate(model.heads):
        tensors |= {f"hints.{number}.{name}": held for name, held in head.state_dict().items()}
    content = save(
        # A GPU's or channels_last's layout is not the file's business.
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        {"format": FORMAT, "format_version": FORMAT_VERSION, "model": header.model_dump_json()},
    )
    with atomic_write(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(_ordered(content))
    return Path(path)


def _ordered(content: bytes) -> bytes:
    """The same safetensors with its description in order: one model is always the same bytes.

    safetensors writes metadata in the order of a hash map, another in each process.
    """
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # as the format aligns its tensors
    return len(header).to_bytes(8, "little") + header + content[end:]


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a trained model.

    Raises
    ------
    FileError
        If there is no such file or it may not be read.
    ModelError
        If it is truncated, of another version, or not a model of this package.
    """
    from napari_patchseg.method.network import Model

    path = Path(path)
    metadata, weights = _read(path)
    version = metadata.get("format_version", "")
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} is a PatchSeg model of format {version[:20]!r}, and this version reads format "
            f"{FORMAT_VERSION!r}; install the napari-patchseg that wrote it or train anew."
        )
    try:
        header = _Header.model_validate_json(metadata.get("model", ""))
        settings = Settings.from_dict(header.settings)
    except ValidationError as error:
        raise ModelError(f"{path} is damaged: its description cannot be read.") from error
    except SettingsError as error:
        wrong = str(error).rstrip(".").replace(".\n", "; ")
        raise ModelError(
            f"{path} has settings that this version does not take ({wrong}); "
            f"it was written by napari-patchseg {header.package_version[:20]}."
        ) from error
    if header.nucleus and not 0 <= header.nucleus.index < settings.training.classes:
        raise ModelError(f"{path} is damaged: its nucleus class does not exist.")
    classes = settings.training.classes
    heads = tuple(_head(path, weights, one, classes) for one in range(header.heads))
    _check_weights(path, weights, header.channels, settings.training.classes)
    return Model(
        weights=weights,
        channels=header.channels,
        settings=settings,
        steps=header.steps,
        stop_reason=header.stop_reason,
        nucleus=header.nucleus,
        image_kind=header.image_kind,
        heads=heads,
        corrections=header.corrections,
    )


@cache
def pretrained_weights(modality: Modality) -> Mapping[str, Tensor]:
    """Weights that training starts from: learnt on synthetic images with generated masks.

    State dict of a `ConfidenceNetwork` for images of a modality. Three channels, as
    `napari_patchseg.image.pixels.RGBPixels` has them; two classes, nucleus and its interior.
    """
    from safetensors.torch import load

    return load(files("napari_patchseg.files").joinpath(modality.pretrained_weights).read_bytes())


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and weights of a model of ours."""
    from safetensors import SafetensorError, safe_open

    with reading(path), path.open("rb") as opened:
        start = opened.read(9)
    if len(start) == 9 and not start.endswith(b"{"):
        if start.startswith((b"PK", b"\x80")):
            raise ModelError(
                f"{path} is a pickled PyTorch file, which could run code; "
                "give a model that PatchSeg saved."
            )
        raise ModelError(f"{path} is not a PatchSeg model.")
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") == FORMAT:
                return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    # torch lacks some of the types that safetensors has, and says so in several ways.
    except (SafetensorError, OSError, ValueError, RuntimeError, AttributeError, KeyError) as error:
        raise ModelError(f"{path} is damaged or truncated; get it anew.") from error
    raise ModelError(f"{path} is not a PatchSeg model.")


def _head(path: Path, weights: dict[str, Tensor], number: int, classes: int) -> HintHead:
    """What hints taught, taken out of the weights."""
    import torch

    from napari_patchseg.method.hints import HintHead, features_of

    start = f"hints.{number}."
    state = {name: weights.pop(name) for name in list(weights) if name.startswith(start)}
    state = {name.removeprefix(start): tensor for name, tensor in state.items()}
    head = HintHead(features_of(classes))
    try:
        head.load_state_dict(state)
    except RuntimeError as error:
        raise ModelError(f"{path} holds hints of another version; train anew.") from error
    is_sound = head.deviation.min() > 0 and 0 <= head.blend <= 1
    if not is_sound or not all(torch.isfinite(held).all() for held in state.values()):
        raise ModelError(f"{path} is damaged: what hints taught makes no sense; train anew.")
    return head.requires_grad_(requires_grad=False)


def _check_weights(path: Path, weights: dict[str, Tensor], channels: int, classes: int) -> None:
    import torch

    from napari_patchseg.method.network import ConfidenceNetwork

    with torch.device("meta"):  # shapes only
        expected = ConfidenceNetwork(channels, classes).state_dict()
    same = weights.keys() == expected.keys() and all(
        weights[name].shape == tensor.shape and weights[name].dtype == tensor.dtype
        for name, tensor in expected.items()
    )
    if not same:
        raise ModelError(f"{path} holds the weights of another network; train anew.")
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise ModelError(f"{path} is damaged: some weights are not finite; train anew.")

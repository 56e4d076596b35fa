"""The Python front door: an image in, labels or a model out, in one call each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any, Unpack

import numpy as np

from napari_patchseg.errors import ImageError, ModelError, SettingsError
from napari_patchseg.geometry import Box
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.network import Model
from napari_patchseg.pipeline import NOTHING_SEPARATED, run
from napari_patchseg.report import Finished, Labels
from napari_patchseg.settings import Changes, Settings


def segment(
    image: Any,
    *,
    preset: str | None = None,
    settings: Settings | None = None,
    pixel_size: float | None = None,
    rgb: bool | None = None,
    channel_axis: int | None = None,
    box: Box | None = None,
    model: Model | None = None,
    **changes: Unpack[Changes],
) -> Labels:
    """Label the nuclei of an image, in one call and without any labels to learn from.

    Parameters
    ----------
    image : array
        (H, W), (H, W, 3 | 4) or with a channel axis; see `Pixels.from_array`.
    preset : str, optional
        "default", which it is without any, or "paper".
    settings : Settings, optional
        All settings, instead of a preset; not both.
    pixel_size : float, optional
        µm per pixel.
    rgb, channel_axis, box
        See `Pixels.from_array`.
    model : Model, optional
        Trained weights to use instead of training.
    **changes
        Settings to change, such as ``seed=3`` or ``nucleus_diameter=30``.

    Returns
    -------
    ndarray
        (H, W) uint16, or uint32 from 65,536 objects on; 0 is background. With ``box``, of the whole
        image, zero outside the box.

    Raises
    ------
    PatchSegError
        With one sentence.

    Examples
    --------
    >>> import napari_patchseg
    >>> image, truth = napari_patchseg.synthetic_field((128, 128))
    >>> labels = napari_patchseg.segment(image, max_steps=2)
    >>> labels.shape, labels.dtype
    ((128, 128), dtype('uint16'))
    """
    chosen = _settings(preset, settings, changes)
    if pixel_size is not None and not _is_size(pixel_size):
        raise SettingsError(f"pixel_size should be a number of µm above 0, not {pixel_size!r}.")
    if model is not None and not isinstance(model, Model):
        raise ModelError(
            f"model should be a Model, not {type(model).__name__}; "
            "load_model reads one from its file."
        )
    pixels = Pixels.from_array(
        image, rgb=rgb, channel_axis=channel_axis, box=box, image_kind=chosen.image_kind
    )
    *_, last = run(pixels, chosen, model=model, pixel_size=pixel_size)
    assert isinstance(last, Finished)
    labels = last.result.labels
    assert labels is not None
    if box is None:
        return labels
    whole = np.zeros(pixels.frame, labels.dtype)
    whole[box[0] : box[2], box[1] : box[3]] = labels
    return whole


def train_model(
    images: Sequence[Any],
    *,
    preset: str | None = None,
    settings: Settings | None = None,
    rgb: bool | None = None,
    channel_axis: int | None = None,
    **changes: Unpack[Changes],
) -> Model:
    """Train one confidence network on several images (the paper's data-set mode).

    Parameters are those of `segment`. Raises `PatchSegError`, also where nothing could be
    separated.

    Examples
    --------
    >>> import napari_patchseg
    >>> images = [napari_patchseg.synthetic_field((128, 128), seed=seed)[0] for seed in (0, 1)]
    >>> model = napari_patchseg.train_model(images, max_steps=2)
    >>> labels = napari_patchseg.segment(images[0], model=model)
    """
    chosen = _settings(preset, settings, changes)
    if not isinstance(images, Iterable) or _is_one_image(images):
        raise ImageError("images should be a list of images, also if there is only one: [image].")
    pixels = [
        Pixels.from_array(image, rgb=rgb, channel_axis=channel_axis, image_kind=chosen.image_kind)
        for image in images
    ]
    *_, last = run(pixels, chosen, make_labels=False)
    assert isinstance(last, Finished)
    if last.result.model is None:
        raise ImageError(NOTHING_SEPARATED)
    return last.result.model


def _is_one_image(images: Any) -> bool:
    shape = getattr(images, "shape", None)
    if shape is None:
        return isinstance(images, str | PurePath | Mapping)
    return len(shape) < 3 or (len(shape) == 3 and shape[-1] in (3, 4))


def _is_size(value: object) -> bool:
    try:
        return 0 < float(value) < math.inf  # type: ignore[arg-type] # that is the question
    except (TypeError, ValueError):
        return False


def _settings(preset: str | None, settings: Settings | None, changes: Changes) -> Settings:
    if settings is None:
        return Settings.create("default" if preset is None else preset, **changes)
    if preset is not None:
        raise SettingsError("Give a preset or settings, not both: settings hold their preset.")
    if not isinstance(settings, Settings):
        raise SettingsError(
            f"settings should be Settings, not {type(settings).__name__}; "
            "Settings.create(**values) makes them."
        )
    return settings.replace(**changes)

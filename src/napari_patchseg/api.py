"""The Python front door: an image in, labels or a model out, in one call each."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal, Unpack

import numpy as np

from napari_patchseg.corrections import Corrections
from napari_patchseg.errors import ImageError, ModelError, SettingsError
from napari_patchseg.files.labels import checked_labels
from napari_patchseg.files.pixel_size import both_sizes
from napari_patchseg.files.results import format_of
from napari_patchseg.files.results import save as save_result
from napari_patchseg.geometry import Box
from napari_patchseg.image.pixels import Pixels
from napari_patchseg.method.network import Model
from napari_patchseg.modality import ImageKind
from napari_patchseg.objects import measure as measure_objects
from napari_patchseg.pipeline import NOTHING_SEPARATED, run
from napari_patchseg.report import Finished, Labels, Report
from napari_patchseg.settings import Changes, Settings

if TYPE_CHECKING:
    import pandas as pd


def segment(
    image: Any,
    *,
    preset: str | None = None,
    settings: Settings | None = None,
    pixel_size: float | tuple[float, float] | None = None,
    rgb: bool | None = None,
    channel_axis: int | None = None,
    box: Box | None = None,
    model: Model | None = None,
    start: Model | None = None,
    hints: Any = None,
    corrections: Corrections | None = None,
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
    pixel_size : float or tuple of float, optional
        µm per pixel, one number or (y, x).
    rgb, channel_axis, box
        See `Pixels.from_array`.
    model : Model, optional
        Trained weights to use instead of training.
    start : Model, optional
        Trained weights that training on the image begins with.
    hints : array, optional
        (H, W) of the image's height and width, integer: 0 nothing, 1 nucleus, 2 not nucleus. What
        is painted is so, and teaches its like.
    corrections : Corrections, optional
        Corrections of objects, and hints where `hints` gives none: `load_corrections` reads those
        that the panel saved. Of the box, where there is one.
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
    if pixel_size is not None:
        pixel_size = both_sizes(pixel_size)
    _check_model("model", model)
    _check_model("start", start)
    pixels = Pixels.from_array(
        image, rgb=rgb, channel_axis=channel_axis, box=box, image_kind=chosen.image_kind
    )
    corrected = _corrections(hints, corrections, pixels, box)
    *_, last = run(
        pixels, chosen, model=model, start=start, pixel_size=pixel_size, corrections=corrected
    )
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
    start: Model | None = None,
    hints: Any = None,
    **changes: Unpack[Changes],
) -> Model:
    """Train one confidence network on several images (the paper's data-set mode).

    Parameters are those of `segment`, but that `hints` is a list with an array or None for each
    image, or one array if there is one image. What hints teach is kept in the model. Raises
    `PatchSegError`, also where nothing could be separated.

    Examples
    --------
    >>> import napari_patchseg
    >>> images = [napari_patchseg.synthetic_field((128, 128), seed=seed)[0] for seed in (0, 1)]
    >>> model = napari_patchseg.train_model(images, max_steps=2)
    >>> labels = napari_patchseg.segment(images[0], model=model)
    """
    chosen = _settings(preset, settings, changes)
    _check_model("start", start)
    if not isinstance(images, Iterable) or _is_one_image(images):
        raise ImageError("images should be a list of images, also if there is only one: [image].")
    pixels = [
        Pixels.from_array(image, rgb=rgb, channel_axis=channel_axis, image_kind=chosen.image_kind)
        for image in images
    ]
    if hints is None:
        hints = [None] * len(pixels)
    elif _is_one_image(hints):
        hints = [hints]
    if not isinstance(hints, Sequence) or len(hints) != len(pixels):
        raise ImageError("hints should be a list with an array or None for each image.")
    corrected = [
        _corrections(painted, None, image, None)
        for painted, image in zip(hints, pixels, strict=True)
    ]
    *_, last = run(pixels, chosen, start=start, make_labels=False, corrections=corrected)
    assert isinstance(last, Finished)
    if last.result.model is None:
        raise ImageError(NOTHING_SEPARATED)
    return last.result.model


def measure(
    labels: Any,
    image: Any = None,
    *,
    pixel_size: float | tuple[float, float] | None = None,
    confidence: Any = None,
    rgb: bool | None = None,
    channel_axis: int | None = None,
    image_kind: ImageKind | Literal["auto"] | None = None,
) -> pd.DataFrame:
    """Measure every object of a label image.

    Parameters
    ----------
    labels : array
        (H, W), integer, 0 is background. Pixels of one number are one object.
    image : array, optional
        Of the same height and width: what the objects' channels and stains are measured on.
    pixel_size : float or tuple of float, optional
        µm per pixel, one number or (y, x). With it there are columns in µm as well.
    confidence : array, optional
        (H, W) in [0, 1]: how sure the network is.
    rgb, channel_axis, image_kind
        See `Pixels.from_array`.

    Returns
    -------
    DataFrame
        A row an object, in ascending label; docs/measurements.md says what the columns are.

    Raises
    ------
    PatchSegError
        With one sentence.

    Examples
    --------
    >>> import napari_patchseg
    >>> image, labels = napari_patchseg.synthetic_field((128, 128))
    >>> table = napari_patchseg.measure(labels, image, pixel_size=0.25)
    >>> list(table.columns[:3])
    ['Label', 'Centroid X px', 'Centroid X µm']
    """
    sizes = None if pixel_size is None else both_sizes(pixel_size)
    pixels = None
    if image is not None:
        pixels = Pixels.from_array(
            image,
            rgb=rgb,
            channel_axis=channel_axis,
            image_kind=image_kind,
            to_segment=False,
        )
    return measure_objects(labels, pixels, pixel_size=sizes, confidence=confidence)


def save(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    measurements: pd.DataFrame | None = None,
    pixel_size: float | tuple[float, float] | None = None,
    report: Report | Mapping[str, Any] | None = None,
    name: str | None = None,
    overwrite: bool = False,
) -> Path:
    """Save labels in the kind of file that the name ends in.

    ``.ome.tif``, ``.ome.zarr`` and ``.png`` are label images, ``.geojson`` and ``.geojson.gz``
    outlines with measurements that QuPath opens as detections, ``.zip`` ROIs for ImageJ, and
    ``.csv`` measurements. All but the last of them come back by `load_labels`.

    Parameters
    ----------
    path : path-like
        The file.
    labels : array
        (H, W), integer, 0 is background.
    measurements : DataFrame, optional
        What `measure` made; by default it is called where the file holds measurements.
    pixel_size : float or tuple of float, optional
        µm per pixel, one number or (y, x). ImageJ does not look for it among ROIs.
    report : Report or mapping, optional
        Where the labels come from; in a CSV it stands in the first row's last column.
    name : str, optional
        Name of the image; the file's name by default, and in a CSV no column "Image".
    overwrite : bool
        Whether an existing file may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    PatchSegError
        With one sentence; nothing is written then.

    Examples
    --------
    >>> import napari_patchseg
    >>> image, labels = napari_patchseg.synthetic_field((128, 128))
    >>> path = napari_patchseg.save("nuclei.geojson", labels, pixel_size=0.25)
    >>> bool((napari_patchseg.load_labels(path).labels == labels).all())
    True
    """
    sizes = None if pixel_size is None else both_sizes(pixel_size)
    array = checked_labels(labels)
    if measurements is None and format_of(path).measured:
        measurements = measure_objects(array, pixel_size=sizes)
    return save_result(
        path,
        array,
        measurements=measurements,
        pixel_size=sizes,
        report=report.to_dict() if isinstance(report, Report) else report,
        name=name,
        overwrite=overwrite,
    )


def _check_model(name: str, model: object) -> None:
    if model is not None and not isinstance(model, Model):
        raise ModelError(
            f"{name} should be a Model, not {type(model).__name__}; "
            "load_model reads one from its file."
        )


def _is_one_image(images: Any) -> bool:
    shape = getattr(images, "shape", None)
    if shape is None:
        return isinstance(images, str | PurePath | Mapping)
    return len(shape) < 3 or (len(shape) == 3 and shape[-1] in (3, 4))


def _corrections(
    hints: Any, corrections: Corrections | None, pixels: Pixels, box: Box | None
) -> Corrections | None:
    """Hints and corrections of objects as one, of the box."""
    if corrections is not None and not isinstance(corrections, Corrections):
        raise SettingsError(
            f"corrections should be Corrections, not {type(corrections).__name__}; "
            "load_corrections reads them from their file."
        )
    if hints is None:
        return corrections
    painted = np.asarray(hints)
    if box is not None and painted.shape == pixels.frame:
        painted = painted[box[0] : box[2], box[1] : box[3]]
    return Corrections.of_hints(painted, () if corrections is None else corrections.edits)


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

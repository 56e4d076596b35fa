"""The one way from an image to labels, which every front door walks."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from napari_patchseg.errors import DeviceError, ImageError, ModelError, TrainingError
from napari_patchseg.files import preferences
from napari_patchseg.files.pretrained import NAMES, pretrained_weights
from napari_patchseg.image.content import has_structure
from napari_patchseg.image.instances import Labels
from napari_patchseg.image.pixels import Box, Pixels
from napari_patchseg.method import hardware
from napari_patchseg.method.inference import VIEWS, input_scale, predict_tiles, prepare
from napari_patchseg.method.model import Model
from napari_patchseg.method.settings import Magnification, Settings
from napari_patchseg.method.snapshot import (
    Cancelled,
    ConfidenceMap,
    Control,
    NucleusClass,
    Snapshot,
)
from napari_patchseg.method.source import PixelSource
from napari_patchseg.method.training import train
from napari_patchseg.nucleus_size import choose_magnification, magnification_for
from napari_patchseg.objects import ClassChooser, labelling
from napari_patchseg.provenance import nucleus_class, provenance
from napari_patchseg.results import Progress, Segmentation

#: A chosen class that goes with the prior less than this is not nuclei.
LEAST_CORRELATION = 0.15
_LOOKS = {
    "stained": "stained",
    "dark on light": "darker than their surroundings",
    "bright on dark": "brighter than their surroundings",
}
#: What a run does before it learns.
MEASURING = "measuring nuclei"
NOTHING_SEPARATED = "Nothing could be separated in this image: it shows no nuclei."


def resolve(settings: Settings, *, timed: bool = True) -> Settings:
    """Replace "auto" among device, precision, memory format and threads, once per machine.

    Parameters
    ----------
    settings : Settings
        As the user chose them.
    timed : bool
        Whether the ways of a machine that has no remembered one are timed, which takes half a
        second. Else the usual one is taken, and not remembered.

    Raises
    ------
    DeviceError
        If the device asked for is not there.
    """
    capabilities = hardware.capabilities()
    remembered = preferences.machine_choice(capabilities)
    resolved = hardware.resolve(settings, remembered, timed=timed)
    automatic = all(getattr(settings, name) == "auto" for name in hardware.MACHINE_FIELDS)
    if timed and remembered is None and automatic:
        preferences.remember_machine_choice(
            capabilities, {name: getattr(resolved, name) for name in hardware.MACHINE_FIELDS}
        )
    return resolved


def run(
    pixels: Pixels | Sequence[Pixels],
    settings: Settings,
    *,
    control: Control | None = None,
    model: Model | None = None,
    make_labels: bool = True,
    pixel_size: float | None = None,
) -> Iterator[Snapshot | Progress | Segmentation]:
    """Train on an image, predict its confidence and label its nuclei.

    Parameters
    ----------
    pixels : Pixels or sequence of Pixels
        The image; further ones are trained on as well (the paper's data-set mode).
    settings : Settings
        "auto" is resolved here.
    control : Control or None
        The host's wishes.
    model : Model or None
        Trained weights to use instead of training.
    make_labels : bool
        Whether to end with labels.
    pixel_size : float or None
        µm per pixel; needed where the expected diameter is given in µm.

    Yields
    ------
    Snapshot, Progress
        While it runs.
    Segmentation
        Last.

    Raises
    ------
    PatchSegError
        With one sentence for the user. Nothing else that torch or the machine does gets out.
    """
    try:
        yield from _Run(pixels, settings, control, model, pixel_size).steps(make_labels)
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"Device {settings.device!r} ran out of memory; choose device 'cpu' or smaller crops."
        ) from error
    except MemoryError as error:
        raise DeviceError("The computer ran out of memory; segment a region instead.") from error
    except RuntimeError as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TrainingError(f"Training failed: {reason}") from error


class _Run:
    def __init__(
        self,
        pixels: Pixels | Sequence[Pixels],
        settings: Settings,
        control: Control | None,
        model: Model | None,
        pixel_size: float | None,
    ) -> None:
        images = [pixels] if isinstance(pixels, Pixels) else list(pixels)
        self.images = [image.understood_as(settings.image_kind) for image in images]
        if not self.images:
            raise ImageError("There is no image; give at least one.")
        if len({image.shape[0] for image in self.images}) > 1:
            raise ImageError("The images differ in their number of channels; train on like images.")
        self.first = self.images[0]
        settings = settings.replace(image_kind=self.first.image_kind)
        if settings.start == "synthetic" and len({NAMES[image.kind] for image in self.images}) > 1:
            raise ImageError(
                "Some of the images are fluorescence and some are not; train on like images."
            )
        if model is not None:
            channels = self.sources(model.settings)[0].shape[0]
            if model.channels != channels:
                raise ModelError(
                    f"The model takes images of {model.channels} channel(s), this one has "
                    f"{channels}; choose another model or train on this image."
                )
        self.settings = settings
        self.control = control or Control()
        self.model = model
        self.pixel_size = pixel_size
        self.choose = ClassChooser(self.first, settings)
        self.shown = False
        self.seconds: dict[str, float] = {}
        self.history: list[tuple[int, float, float, float]] = []
        self.warnings = [text for image in self.images for text in image.warnings]

    @cached_property
    def start(self) -> Mapping[str, torch.Tensor]:
        """The synthetic start for the kind of image."""
        return pretrained_weights(self.first.kind)

    def sources(self, settings: Settings) -> list[PixelSource]:
        """The images as the settings' start takes them."""
        if settings.start == "random":
            return list(self.images)
        return [image.as_rgb() for image in self.images]

    def steps(self, labelled: bool) -> Iterator[Snapshot | Progress | Segmentation]:
        yield Progress("starting", 0, 1, MEASURING)
        start = time.perf_counter()
        # A wrong unit should fail before training.
        diameter = self.settings.diameter_in_pixels(self.pixel_size)
        wished, self.settings = self.settings, resolve(self.settings, timed=False)
        promising = [image for image in self.images if self.model or has_structure(image)]
        if promising and self._is_measured(diameter):
            yield from self._first_map()  # to look at while machine and nuclei are measured
        self.settings = resolve(wished, timed=not self.control.cancelled)
        if promising:
            self._suit(promising[0], diameter)
        yield Progress("starting", 1, 1, MEASURING, self.settings)
        self.seconds["starting"] = time.perf_counter() - start
        if not promising:
            yield self._nothing(None, 0, labelled)
            return
        if self.model is None:
            confidence = yield from self._train()
        else:
            if self.model.kind not in (None, self.first.kind):
                self.warnings.append(
                    f"The model was trained on an image with nuclei {_LOOKS[self.model.kind]}, "
                    f"here they are {_LOOKS[self.first.kind]}; train on this image instead."
                )
            confidence = yield from self._predict(self.model)
        assert self.model is not None
        reason = self.model.stop_reason
        steps = self.history[-1][0] if self.history else self.model.steps
        if reason == "nothing separated" or (
            confidence is not None and abs(confidence.nucleus.correlation) < LEAST_CORRELATION
        ):
            yield self._nothing(confidence, steps, labelled)
            return
        labels: Labels | None = None
        objects: dict[str, Any] = {}
        if labelled and confidence is not None and not self.control.cancelled:
            labels, objects = yield from self._label(confidence)
        yield self._result(labels, confidence, steps, reason, objects)

    @property
    def _trained(self) -> Settings:
        """What the network is trained with."""
        return self.settings if self.model is None else self.model.settings

    def _views(self) -> int:
        if self._trained.start == "random" or self.first.kind == "bright on dark":
            return 1  # seen smaller, nuclei that glow and touch become one
        return len(VIEWS)

    def _magnification(self, image: Pixels, diameter: float | None) -> Magnification:
        """The one that nuclei of the expected diameter need, or what an image shows."""
        trained = self._trained
        if trained.start == "random":  # bound to the size of nuclei that it was trained at
            return "1" if trained.magnification == "auto" else trained.magnification
        if diameter is not None:
            return magnification_for(diameter)
        if self.control.cancelled:
            return "1"
        if self.settings.device == "cpu":
            torch.set_num_threads(int(self.settings.threads))
        settings = self.settings.replace(classes=trained.classes, start=trained.start)
        # By the start's weights for a model too: what it was trained on is seen as then.
        return choose_magnification(image.as_rgb(), settings, self.start)

    def _is_measured(self, diameter: float | None) -> bool:
        """Whether the size of the nuclei is looked for before training."""
        automatic = self.settings.magnification == "auto" and diameter is None
        return automatic and self.model is None and self.settings.start == "synthetic"

    def _suit(self, image: Pixels, diameter: float | None) -> None:
        """Fill in the settings that depend on the image."""
        if self.settings.views is None:
            self.settings = self.settings.replace(views=self._views())
        if self.settings.magnification == "auto":
            chosen = self._magnification(image, diameter)
            self.settings = self.settings.replace(magnification=chosen)

    def _first_map(self) -> Iterator[Snapshot]:
        """A map of the start's own weights, where previews are wanted."""
        if self.control.previews and not self.control.cancelled:
            settings = self.settings.replace(magnification="1", views=1)
            first = next(self._training(settings, first_map=True))
            self.shown = first.step == 0
            if first.confidence is not None and self.shown:
                inexact = replace(first.confidence, is_exact=False)
                yield replace(first, confidence=inexact, message=MEASURING)

    def _training(self, settings: Settings, *, first_map: bool) -> Iterator[Snapshot]:
        return train(
            self.sources(settings),
            settings,
            start=self.start if settings.start == "synthetic" else None,
            choose_class=self.choose,
            control=self.control,
            first_map=first_map,
        )

    def _train(self) -> Generator[Snapshot | Progress, None, ConfidenceMap | None]:
        start = time.perf_counter()
        last: Snapshot | None = None
        for last in self._training(self.settings, first_map=not self.shown):
            if last.patches is not None:
                self.history.append(
                    (last.step, last.loss, last.positive_separation, last.negative_separation)
                )
            yield last
        assert last is not None
        assert last.model is not None
        self.seconds["training"] = time.perf_counter() - start
        self.model = replace(last.model, kind=self.first.kind)
        self.warnings += [f"Training recovered from a {text}." for text in last.recoveries]
        if self.control.cancelled:
            return None
        confidence = yield from self._predict(self.model)
        return confidence

    def _predict(self, model: Model) -> Generator[Progress, None, ConfidenceMap | None]:
        start = time.perf_counter()
        yield Progress("predicting", 0, 1, "predicting confidence")
        settings = self.settings.replace(classes=model.settings.classes, start=model.settings.start)
        source = self.sources(settings)[0]
        if settings.device == "cpu":
            torch.set_num_threads(int(settings.threads))
        network = prepare(model.network(), settings)
        data = np.empty((settings.classes, *self.first.shape[1:]), np.float32)
        try:
            for done, total in predict_tiles(
                network,
                source,
                settings,
                input_scale(source, settings),
                data,
                control=self.control,
            ):
                yield Progress("predicting", done, total, "predicting confidence")
        except Cancelled:
            return None
        box: Box = (0, 0, *self.first.shape[1:])
        nucleus = self._nucleus_of(model, data, box)
        self.model = replace(model, nucleus=nucleus)
        self.seconds["predicting"] = time.perf_counter() - start
        return ConfidenceMap(model.steps, data, box, 1, nucleus, settings.start)

    def _label(
        self, confidence: ConfidenceMap
    ) -> Generator[Progress, None, tuple[Labels | None, dict[str, Any]]]:
        yield Progress("instances", 0, 1, "labelling nuclei")
        start = time.perf_counter()
        steps = labelling(confidence, self.first, self.settings, pixel_size=self.pixel_size)
        try:
            while not self.control.cancelled:
                yield Progress("instances", *next(steps), "labelling nuclei")
        except StopIteration as end:
            labels, objects = end.value
            self.seconds["instances"] = time.perf_counter() - start
            if objects["count"] == 0:
                self.warnings.append("No nuclei were found; try a lower threshold or diameter.")
            return labels, objects
        return None, {}

    def _nucleus_of(self, model: Model, data: NDArray[np.float32], box: Box) -> NucleusClass:
        chosen = self.settings.nucleus_class is not None
        if self.history or chosen or model.nucleus is None:
            return self.choose(data, box, 1)
        return model.nucleus  # a loaded model knows its class

    def _nothing(
        self, confidence: ConfidenceMap | None, steps: int, labelled: bool
    ) -> Segmentation:
        self.warnings.append(NOTHING_SEPARATED)
        labels = np.zeros(self.first.shape[1:], np.uint16) if labelled else None
        return self._result(labels, confidence, steps, "nothing separated", {"count": 0})

    def _result(
        self,
        labels: Labels | None,
        confidence: ConfidenceMap | None,
        steps: int,
        reason: str,
        objects: dict[str, Any],
    ) -> Segmentation:
        finite = [row for row in self.history if math.isfinite(row[2]) and math.isfinite(row[3])]
        last = finite[-1] if finite else (0, None, None, None)
        report = {
            **provenance(self.settings),
            "image": {
                "description": self.first.description,
                "shape": list(self.first.shape),
                "pixel_size_um": self.pixel_size,
            },
            "steps": steps,
            "weights_of_step": None if self.model is None else self.model.steps,
            "stop_reason": reason,
            "loss": last[1],
            "positive_separation": last[2],
            "negative_separation": last[3],
            "nucleus_class": None if confidence is None else nucleus_class(confidence.nucleus),
            "objects": objects,
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "warnings": list(self.warnings),
        }
        return Segmentation(
            labels, confidence, self.model, report, list(self.warnings), tuple(self.history)
        )

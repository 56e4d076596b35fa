"""The one way from an image to labels, which every front door walks."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_patchseg.conditions import conditions_of
from napari_patchseg.corrections import NUCLEUS as HINTED
from napari_patchseg.corrections import Corrections
from napari_patchseg.errors import DeviceError, ImageError, ModelError, TrainingError, reason_of
from napari_patchseg.files.models import pretrained_weights
from napari_patchseg.files.pixel_size import both_sizes
from napari_patchseg.geometry import Box
from napari_patchseg.hinting import Ground, network_input
from napari_patchseg.image.pixels import Pixels, has_structure
from napari_patchseg.method.events import Cancelled, Control, MapMade, Step, Trained
from napari_patchseg.method.hardware import resolve_machine
from napari_patchseg.method.inference import predict_tiles, prepare
from napari_patchseg.method.maps import ConfidenceMap, NucleusClass, channel_names
from napari_patchseg.method.network import ConfidenceNetwork, Model
from napari_patchseg.method.objective import Anchored, Contrastive, Objective
from napari_patchseg.method.previews import Previews
from napari_patchseg.method.scale import NetworkInput
from napari_patchseg.method.training import train
from napari_patchseg.nucleus_size import choose_rescale, rescale_for
from napari_patchseg.objects import ClassChooser, header_of, labelling, table_headers
from napari_patchseg.report import (
    Finished,
    HistoryRow,
    ImageReport,
    Labelled,
    Labels,
    NucleusReport,
    ObjectsReport,
    Progress,
    Report,
    Segmentation,
    Started,
    versions,
)
from napari_patchseg.settings import (
    Changes,
    Rescale,
    Resolved,
    ResolvedMachine,
    Settings,
    Weights,
)
from napari_patchseg.words import pluralize

if TYPE_CHECKING:
    from napari_patchseg.report import Event

#: Correlation with the prior below which no map is taken for nuclei.
LEAST_CORRELATION = 0.15
#: What a run does before it learns.
MEASURING = "measuring nuclei"
NOTHING_SEPARATED = "Nothing could be separated in this image: it shows no nuclei."


def resolve(
    settings: Settings,
    image: Pixels,
    machine: ResolvedMachine,
    *,
    model: Model | None = None,
    pixel_size: float | None = None,
    seen: NetworkInput | None = None,
    control: Control | None = None,
) -> Resolved:
    """Make every automatic choice that is not read off a confidence map.

    Parameters
    ----------
    settings : Settings
        As the user wished.
    image : Pixels
        Its modality and the size of its nuclei decide.
    machine : ResolvedMachine
        From `resolve_machine`.
    model : Model or None
        Used instead of training: how it was trained counts, not what the settings say.
    pixel_size : float or None
        µm per pixel.
    seen : NetworkInput or None
        The image as the network takes it, where there is one already.
    control : Control or None
        Where it asks for the end, the image is not measured: it is seen as it is.

    Raises
    ------
    SettingsError
        If the diameter is given in µm and the image has no pixel size.
    """
    diameter = settings.objects.diameter_in_pixels(pixel_size)
    training = settings.training if model is None else model.settings.training
    random = training.weights == "random"
    factor: Rescale | None = settings.training.rescale
    if factor is None and random:  # bound to the size of nuclei that it was trained at
        factor = "1" if model is None else model.settings.training.rescale or "1"
    elif factor is None and diameter is not None:
        factor = rescale_for(diameter)
    elif factor is None:
        # By the pretrained weights for a model too: what it was trained on is seen as then.
        seen = seen or NetworkInput(image.as_rgb(), "pretrained")
        taught = pretrained_weights(image.modality)
        try:
            factor = choose_rescale(seen, machine, taught, (control or Control()).checkpoint)
        except Cancelled:
            factor = "1"
    views = settings.training.test_time_augmentation or (
        1 if random else image.modality.test_time_augmentation
    )
    update = {"rescale": factor, "test_time_augmentation": views}
    filled = settings.model_copy(
        update={"training": training.model_copy(update=update), "image_kind": image.kind}
    ).replace(**vars(machine))
    return Resolved(filled, image.modality, machine, Fraction(factor), views)


def run(
    pixels: Pixels | Sequence[Pixels],
    settings: Settings,
    *,
    control: Control | None = None,
    model: Model | None = None,
    start: Model | None = None,
    make_labels: bool = True,
    pixel_size: float | tuple[float, float] | None = None,
    corrections: Corrections | Sequence[Corrections | None] | None = None,
) -> Iterator[Event]:
    """Train on an image, predict its confidence and label its nuclei.

    Parameters
    ----------
    pixels : Pixels or sequence of Pixels
        The image; further ones are trained on as well (the paper's data-set mode).
    settings : Settings
        As the user wished; resolved here.
    control : Control or None
        The host's wishes.
    model : Model or None
        Trained weights to use instead of training.
    start : Model or None
        Trained weights to begin with, in place of those that the settings say; what hints taught it
        counts, too.
    make_labels : bool
        Whether to end with labels.
    pixel_size : float, tuple of float or None
        µm per pixel, one number or (y, x); needed where something is given in µm.
    corrections : Corrections, sequence of Corrections or None, or None
        What the user corrected by hand, on the image or on each of several.

    Yields
    ------
    Progress, Started, Step, MapMade, Trained, Labelled
        While it runs.
    Finished
        Last.

    Raises
    ------
    PatchSegError
        With one sentence for the user. Nothing else that torch or the machine does gets out.

    Examples
    --------
    To watch a run, in a notebook for example:

    >>> from napari_patchseg import Pixels, Settings, run, synthetic_field
    >>> from napari_patchseg.method.events import Step
    >>> from napari_patchseg.report import Finished
    >>> pixels = Pixels.from_array(synthetic_field((128, 128))[0])
    >>> for event in run(pixels, Settings.create(max_steps=2)):
    ...     match event:
    ...         case Step():
    ...             print(f"step {event.step} of {event.max_steps}")
    ...         case Finished():
    ...             labels = event.result.labels
    step 1 of 2
    step 2 of 2
    >>> labels.shape
    (128, 128)
    """
    threads = torch.get_num_threads()  # the process's, which may be napari's
    try:
        run = _Run(pixels, settings, control, model, start, pixel_size, corrections)
        yield from run.events(make_labels)
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            "The graphics card ran out of memory; choose device 'cpu' or smaller crops."
        ) from error
    except MemoryError as error:
        raise DeviceError("The computer ran out of memory; segment a region instead.") from error
    except RuntimeError as error:
        raise TrainingError(f"Training failed: {reason_of(error)}.") from error
    finally:
        torch.set_num_threads(threads)


def _from_start(settings: Settings, start: Model) -> Settings:
    """The settings with those of a network that training goes on from."""
    known = start.settings.training
    changes: Changes = {"weights": known.weights, "classes": known.classes}
    if known.weights == "random":  # bound to the size of nuclei that it was trained at
        changes["rescale"] = settings.training.rescale or known.rescale
    return settings.replace(**changes)


class _Run:
    def __init__(
        self,
        pixels: Pixels | Sequence[Pixels],
        settings: Settings,
        control: Control | None,
        model: Model | None,
        start: Model | None,
        pixel_size: float | tuple[float, float] | None,
        corrections: Corrections | Sequence[Corrections | None] | None,
    ) -> None:
        images = [pixels] if isinstance(pixels, Pixels) else list(pixels)
        self.images = [image.understood_as(settings.image_kind) for image in images]
        if not self.images:
            raise ImageError("There is no image; give at least one.")
        if len({image.shape[0] for image in self.images}) > 1:
            raise ImageError("The images differ in their number of channels; train on like images.")
        self.first = self.images[0]
        if start is not None:
            if model is not None:
                raise ModelError("A model is used, or training starts from it; not both.")
            settings = _from_start(settings, start)
        self.random = (settings if model is None else model.settings).training.weights == "random"
        if not self.random and len({image.modality.is_bright for image in self.images}) > 1:
            raise ImageError(
                "Some of the images are fluorescence and some are not; train on like images."
            )
        weights: Weights = "random" if self.random else "pretrained"
        self.inputs = [network_input(image, weights) for image in self.images]
        given = [corrections] if isinstance(corrections, Corrections) else (corrections or [])
        self.corrections = [*given, *[None] * (len(self.images) - len(given))]
        for image, corrected in zip(self.images, self.corrections, strict=True):
            if corrected is not None:
                corrected.check_shape((image.shape[1], image.shape[2]))
        known, channels = model or start, self.inputs[0].source.shape[0]
        if known is not None and known.channels != channels:
            raise ModelError(
                f"The model takes images of {pluralize(known.channels, 'channel')}, this one "
                f"has {channels}; choose another model or train on this image."
            )
        self.settings = settings
        self.control = control or Control()
        self.model, self.start = model, start
        self.sizes = None if pixel_size is None else both_sizes(pixel_size)
        self.pixel_size = None if self.sizes is None else math.sqrt(math.prod(self.sizes))
        self.choose = ClassChooser(self.first, settings.objects)
        self.nucleus: NucleusClass | None = None  # on the latest map
        self.seconds: dict[str, float] = {}
        self.history: list[HistoryRow] = []
        self.warnings = [text for image in self.images for text in image.warnings]

    def events(self, labelled: bool) -> Iterator[Event]:
        yield Progress("starting", 0, 1, MEASURING)
        start = time.perf_counter()
        self._check_objects()
        weights: Weights = "random" if self.random else "pretrained"
        machine = resolve_machine(self.settings.machine, weights)
        if machine.device == "cpu":
            torch.set_num_threads(machine.threads)
        promising = [i for i, image in enumerate(self.images) if self.model or has_structure(image)]
        self.previews = Previews(self.inputs[0], machine, self.control, self.choose)
        if promising and not self.random and self.model is None:
            yield from self._first_map(machine)  # to look at while nuclei are measured
        measured = promising[0] if promising else 0
        self.resolved = resolve(
            self.settings,
            self.images[measured],
            machine,
            model=self.model,
            pixel_size=self.pixel_size,
            seen=self.inputs[measured],
            control=self.control,
        )
        yield Progress("starting", 1, 1, MEASURING)
        yield Started(self.resolved)
        self.seconds["starting"] = time.perf_counter() - start
        if not promising:
            yield self._nothing(None, 0, labelled)
            return
        steps = 0
        if self.model is None:
            steps = yield from self._train()
        elif self.model.image_kind not in (None, self.first.kind):
            self.warnings.append(
                f"The model was trained on another kind of image ({self.model.image_kind}) than "
                f"this one ({self.first.kind}); train on this image instead."
            )
        assert self.model is not None
        steps = steps or self.model.steps
        reason = self.model.stop_reason
        confidence = None
        if not (self.history and self.control.cancelled):
            confidence = yield from self._predict(self.model, 0)
        if reason == "nothing separated" or (
            confidence is not None and abs(confidence.nucleus.correlation) < LEAST_CORRELATION
        ):
            yield self._nothing(confidence, steps, labelled)
            return
        hinted: ConfidenceMap | None = None
        if confidence is not None:
            confidence, hinted = yield from self._learn_from_hints(confidence)
        labels: Labels | None = None
        objects: ObjectsReport | None = None
        if labelled and confidence is not None and not self.control.cancelled:
            made = yield from self._label(confidence, hinted)
            if made is not None:
                yield made
                labels, objects = made.labels, made.objects
        yield self._finished(labels, hinted or confidence, steps, reason, objects)

    def _check_objects(self) -> None:
        """What cannot be fulfilled should fail now, and not after training."""
        objects, image = self.settings.objects, self.first
        objects.diameter_in_pixels(self.pixel_size)
        if objects.keep:
            headers = table_headers(image, self.sizes, confidence=True)
            for condition in conditions_of(objects.keep):
                header_of(condition.measurement, headers)

    def _first_map(self, machine: ResolvedMachine) -> Iterator[Event]:
        """A map of the pretrained weights as they are, on the image as it is."""
        network = ConfidenceNetwork.of(self._first_weights())
        made = self.previews.first(prepare(network, machine))
        if made is not None:
            self.nucleus = made.nucleus
            yield MapMade(made)

    def _first_weights(self) -> Mapping[str, Tensor]:
        """Those that training begins with, unless they are random."""
        if self.start is not None:
            return self.start.weights
        return pretrained_weights(self.first.modality)

    def _train(self) -> Generator[Event, None, int]:
        start = time.perf_counter()
        steps = 0
        objective: Objective
        if not self.random:
            objective = Anchored(self.resolved, self._first_weights())
        else:
            weights = None if self.start is None else self.start.weights
            objective = Contrastive(self.resolved, weights)
        for event in train(
            self.inputs, self.resolved, objective, previews=self.previews, control=self.control
        ):
            if isinstance(event, Step):
                self.history.append(HistoryRow.of(event))
            elif isinstance(event, MapMade):
                self.nucleus = event.confidence.nucleus
            elif isinstance(event, Trained):
                self.model = replace(
                    event.model,
                    image_kind=self.first.kind,
                    nucleus=self.nucleus,
                    heads=() if self.start is None else self.start.heads,
                )
                steps = event.steps
                self.warnings += [f"Training recovered from a {text}." for text in event.recoveries]
            yield event
        self.seconds["training"] = time.perf_counter() - start
        return steps

    def _predict(self, model: Model, index: int) -> Generator[Event, None, ConfidenceMap | None]:
        """The full map of one of the images."""
        start = time.perf_counter()
        yield Progress("predicting", 0, 1, "predicting confidence")
        network = prepare(model.network(), self.resolved.machine)
        image, shape = self.inputs[index], self.images[index].shape[1:]
        data = np.empty((network.classes, *shape), np.float32)
        try:
            for done, total in predict_tiles(
                network,
                image,
                self.resolved.machine,
                data,
                rescale=self.resolved.rescale,
                views=self.resolved.test_time_augmentation,
                control=self.control,
            ):
                yield Progress("predicting", done, total, "predicting confidence")
        except Cancelled:
            return None
        channels = channel_names(image.weights, network.classes)
        box: Box = (0, 0, *shape)
        if index == 0:
            self.nucleus = self._nucleus_of(model, data, channels, box)
            self.model = replace(model, nucleus=self.nucleus)
            self.seconds["predicting"] = time.perf_counter() - start
        assert self.nucleus is not None
        return ConfidenceMap(model.steps, data, channels, box, 1, self.nucleus)

    def _learn_from_hints(
        self, confidence: ConfidenceMap
    ) -> Generator[Event, None, tuple[ConfidenceMap, ConfidenceMap | None]]:
        """The first image's map with what the model knew, and with its hints; None without any."""
        first, hinted = confidence, None
        objects, seed = self.settings.objects, self.settings.training.seed
        for index, corrected in enumerate(self.corrections):
            assert self.model is not None
            hints = None if corrected is None else corrected.hints
            has_hints = hints is not None and bool(hints.any())
            if not has_hints and (index > 0 or not self.model.heads):
                continue
            start = time.perf_counter()
            yield Progress("predicting", 0, 1, "learning from hints")
            try:
                if index > 0:
                    another = yield from self._predict(self.model, index)
                    if another is None:
                        raise Cancelled
                    confidence = another
                ground = Ground.of(
                    self.images[index],
                    self.model,
                    self.resolved,
                    confidence,
                    diameter=objects.diameter_in_pixels(self.pixel_size),
                    control=self.control,
                )
            except Cancelled:
                return first, hinted
            if index == 0:
                first = ground.confidence
            if hints is not None and has_hints:
                found, head = ground.hinted(hints, learns=objects.learn_from_hints, seed=seed)
                if head is not None:
                    self.model = replace(self.model, heads=(*self.model.heads, head))
                if index == 0:
                    hinted = found
            self.seconds["hints"] = time.perf_counter() - start + self.seconds.get("hints", 0)
        assert self.model is not None
        if self.corrections[0]:
            self.model = replace(self.model, corrections=self.corrections[0])
        return first, hinted

    def _label(
        self, confidence: ConfidenceMap, hinted: ConfidenceMap | None
    ) -> Generator[Event, None, Labelled | None]:
        yield Progress("labelling", 0, 1, "labelling nuclei")
        start = time.perf_counter()
        corrected = self.corrections[0]
        steps = labelling(
            confidence,
            self.first,
            self.settings.objects,
            pixel_size=self.pixel_size,
            sizes=self.sizes,
            hinted=hinted,
            painted=None if corrected is None else corrected.hints == HINTED,
            edits=() if corrected is None else corrected.edits,
        )
        try:
            while not self.control.cancelled:
                yield Progress("labelling", *next(steps), "labelling nuclei")
                self.control.wait_while_paused()
        except StopIteration as end:
            labels, objects = end.value
            self.seconds["labelling"] = time.perf_counter() - start
            if objects.count == 0:
                self.warnings.append("No nuclei were found; try a lower threshold or diameter.")
            return Labelled(labels, objects)
        return None

    def _nucleus_of(
        self, model: Model, data: NDArray[np.float32], channels: Sequence[str], box: Box
    ) -> NucleusClass:
        chosen = self.settings.objects.nucleus_class is not None
        if self.history or chosen or model.nucleus is None:
            return self.choose(data, channels, box, 1)
        return model.nucleus  # a loaded model knows its class

    def _nothing(self, confidence: ConfidenceMap | None, steps: int, labelled: bool) -> Finished:
        self.warnings.append(NOTHING_SEPARATED)
        labels = np.zeros(self.first.shape[1:], np.uint16) if labelled else None
        objects = ObjectsReport(count=0)
        return self._finished(labels, confidence, steps, "nothing separated", objects)

    def _finished(
        self,
        labels: Labels | None,
        confidence: ConfidenceMap | None,
        steps: int,
        reason: str,
        objects: ObjectsReport | None,
    ) -> Finished:
        finite = [row for row in self.history if all(map(math.isfinite, row[2:]))]
        last = finite[-1] if finite else None
        report = Report(
            settings=self.resolved.settings,
            versions=versions(),
            image=ImageReport(
                description=self.first.description,
                shape=self.first.shape,
                pixel_size_um=self.pixel_size,
            ),
            start_steps=0 if self.start is None else self.start.steps,
            steps=steps,
            weights_of_step=None if self.model is None else self.model.steps,
            stop_reason=reason,
            loss=None if last is None or not math.isfinite(last.loss) else last.loss,
            positive_separation=None if last is None else last.positive_separation,
            negative_separation=None if last is None else last.negative_separation,
            nucleus_class=None if confidence is None else NucleusReport.of(confidence.nucleus),
            objects=objects,
            warnings=tuple(self.warnings),
            corrections=self.corrections[0] or None,
        ).took(**self.seconds)
        return Finished(Segmentation(labels, confidence, self.model, report, tuple(self.history)))

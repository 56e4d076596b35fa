"""The panel: puts views, session and preferences together."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QEvent, QObject, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDockWidget,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_patchseg.errors import PatchSegError
from napari_patchseg.files import preferences
from napari_patchseg.report import Report
from napari_patchseg.settings import AUTOMATIC, Objects, Settings

from ._layers import image_of
from ._run_state import RunState
from .curves_plot import CurvesPlot
from .dock import settle_in
from .editors import NumberBox, take_typed
from .hover import watch_hover
from .image_kind_combo import ImageKindCombo
from .layer_combo import ChannelsCombo, ImageCombo
from .layer_source import METADATA_KEY, Region, is_preview, source_of, unwrap
from .model_panel import ModelPanel
from .objects_panel import ObjectsPanel
from .pixel_size_field import PixelSizeField
from .preload import preload
from .question import ask_to_close, ask_to_stop
from .run_panel import RunPanel
from .save_dialog import ask_for_file, folder_of, last_folder, offered_name
from .script import notice, script_of
from .session import TrainingSession, running_session
from .settings_form import PRESET_LEAVES, SettingsForm
from .view_switch import ViewSwitch
from .wheel import WheelScrolls

if TYPE_CHECKING:
    from napari.layers import Labels, Layer
    from napari.viewer import Viewer

    from napari_patchseg.method.model import Model

LOG = logging.getLogger(__name__)

#: Formats of labels, and the endings that they give.
_LABELS_FORMATS = {"OME-TIFF (*.ome.tif *.ome.tiff)": ".ome.tif", "16-bit PNG (*.png)": ".png"}
_LABELS_ENDINGS = (".tif", ".tiff", ".png")
#: Milliseconds after the last change at which settings are remembered.
_SAVE_MS = 400
#: What belongs to one image, or to one run of it: not to be remembered.
_NOT_REMEMBERED = ("image_kind", "nucleus_class", "nucleus_polarity")


class PatchSegWidget(QWidget):
    """Segment nuclei in an open image, without labels, while you watch.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer, or napari's proxy of it.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = unwrap(napari_viewer)
        self.session = TrainingSession(self._viewer)
        #: The labels that *Save labels* names, held weakly.
        #: Labels whose names and visibility decide about what is saved.
        self._watched: weakref.WeakSet[Labels] = weakref.WeakSet()
        self._had_parent = False
        self._make_views()
        self._lay_out()
        self._save_timer = QTimer(self)
        self._save_timer.setSingleShot(True)
        self._save_timer.setInterval(_SAVE_MS)
        self._save_timer.timeout.connect(self._remember)
        self._show_remembered()
        self._connect()
        self._show_image()
        self._end_hover = watch_hover(self._viewer)
        # Not a method of ours: by then Qt's half of this object is gone.
        shutdown = self.session.shutdown
        self.destroyed.connect(lambda *_: shutdown())
        self._refresh()
        QTimer.singleShot(0, preload)  # nothing was asked for yet: the panel comes first

    # -- what one can ask for

    def settings(self) -> Settings:
        """All settings as shown; raises `SettingsError` where they do not go together."""
        values = {**self.form.values(), **self._object_values()}
        values["image_kind"] = self.image_kind.currentText()
        return Settings.create(values.pop("preset"), **values)

    def _object_values(self) -> dict[str, Any]:
        diameter = self.diameter.value()
        return {
            **self.objects.values(),
            "nucleus_diameter": diameter if diameter > 0 else None,
            "diameter_unit": self.unit.currentText(),
            "prior_weight": self.form.values()["prior_weight"],
        }

    def _objects(self) -> Objects:
        """What the controls say about nuclei, whatever the other settings are."""
        return Objects(**self._object_values())

    def show_settings(self, settings: Settings) -> None:
        """Show settings, and use them from now on; only what the user changes is remembered."""
        to_be_saved = self._save_timer.isActive()
        self.form.show_settings(settings)
        self._show_objects(settings)
        self._show_changed()
        if not to_be_saved:
            self._save_timer.stop()

    def _show_objects(self, settings: Settings) -> None:
        """Show the settings about objects alone."""
        self.objects.show_settings(settings)
        self.image_kind.setCurrentText(settings.image_kind or AUTOMATIC)
        self.diameter.setValue(settings.objects.nucleus_diameter or 0)
        self.unit.setCurrentText(settings.objects.diameter_unit)

    def train(self) -> None:
        """Train on the chosen image and region."""
        self._begin(self.image.layer, self._region(), make_labels=False)

    def segment(self, layer: Layer) -> None:
        """Train on the chosen region of a layer until convergence and add its labels."""
        self._begin(layer, self._region(), make_labels=True)

    def segment_with_model(self) -> None:
        """Segment the chosen image with the model at hand."""
        if self.models.model is None:
            self._tell("There is no model yet; train one or load one.", True)
            return
        self._begin(self.image.layer, self._region(), make_labels=True, model=self.models.model)

    def make_labels(self) -> None:
        """Add or renew the labels."""
        take_typed(self)
        self._guarded(lambda: self.session.make_labels(self._objects()))

    def save_labels(self, path: str) -> None:
        """Write the labels to a file."""
        from .writer import write_ome_tiff, write_png

        layer = self._labels_to_save()
        if layer is None:
            self._tell("There are no labels to save; make some first.", True)
            return
        data, meta, _ = layer.as_layer_data_tuple()
        write = write_png if path.lower().endswith(".png") else write_ome_tiff

        def save() -> None:
            show_info(f"Saved the labels as {write(path, data, meta)[0]}.")

        self._guarded(save)

    def script(self) -> str:
        """Python that reproduces the last labels, or would make those of the run so far."""
        layer = self.session.labels
        report = None if layer is None else layer.metadata.get(METADATA_KEY, {})
        is_open = self.session.has_image
        return script_of(self.session.run, report, self.models.path, is_open=is_open)

    # -- building

    def _make_views(self) -> None:
        self.image = ImageCombo(self._viewer, self)
        self.channels = ChannelsCombo(self)
        self.image_kind = ImageKindCombo(self)
        self.region = QComboBox()
        for region in Region:
            self.region.addItem(str(region), region)
        self.region.setToolTip(
            "What to train on and to segment: all of the image, what the canvas shows now,\n"
            "or the selected rectangle of a Shapes layer."
        )
        self.region.setAccessibleName("region")
        self.region.setObjectName("region")
        self.pixel_size = PixelSizeField()
        self.diameter = NumberBox()
        self.diameter.setRange(0, 1000)
        self.diameter.setDecimals(1)
        self.diameter.setSpecialValueText("auto")
        self.diameter.setToolTip(
            "Expected diameter of a nucleus; auto estimates it from the image."
        )
        self.diameter.setAccessibleName("nucleus diameter")
        self.diameter.setObjectName("nucleus_diameter")
        self.unit = QComboBox()
        self.unit.addItems(["px", "µm"])
        self.unit.setToolTip("Unit of the diameter; µm needs the pixel size.")
        self.unit.setAccessibleName("unit of the diameter")
        self.form = SettingsForm()
        self.run = RunPanel(self.session)
        self.curves = CurvesPlot()
        self.objects = ObjectsPanel()
        self.view_switch = ViewSwitch(self.session)
        self.models = ModelPanel()

    def _lay_out(self) -> None:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.setSpacing(5)
        self._top = top = QFormLayout()
        top.setContentsMargins(0, 0, 0, 0)
        top.setVerticalSpacing(3)
        top.addRow("image", self.image)
        top.addRow("channels", self.channels)
        top.addRow("image kind", self.image_kind)
        top.addRow("region", self.region)
        top.addRow("pixel size", self.pixel_size)
        pair = QHBoxLayout()
        pair.addWidget(self.diameter, 1)
        pair.addWidget(self.unit)
        top.addRow("diameter", pair)  # short: what it is estimated to be needs the room
        layout.addLayout(top)
        nuclei = (self.view_switch, self.objects)
        for part in (self.form, self.run, self.curves, _line(), *nuclei, _line(), self.models):
            layout.addWidget(part)
        layout.addStretch(1)
        scroll = _VerticalScroll(content)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
        self._wheel = WheelScrolls(self)

    def _connect(self) -> None:
        self.form.changed.connect(self._on_settings)
        self.form.preset_chosen.connect(self._show_objects)
        self.objects.changed.connect(self._on_objects)
        self.diameter.valueChanged.connect(self._on_objects)
        self.unit.currentTextChanged.connect(self._on_objects)
        self.image.layer_changed.connect(self._refresh)
        self.image.layer_changed.connect(self._show_image)
        self.pixel_size.entered.connect(self._on_pixel_size)
        self.run.train_clicked.connect(self.train)
        self.objects.make_clicked.connect(self.make_labels)
        self.objects.save_clicked.connect(self._on_save_labels)
        self.models.apply_clicked.connect(self.segment_with_model)
        self.models.copy_clicked.connect(self._on_copy)
        self.models.failed.connect(show_error)
        self.models.saved.connect(show_info)
        self.models.folder = lambda: folder_of(self.image.layer) or last_folder()
        for event in self._layer_events():
            event.connect(self._show_labels_to_save)
        session = self.session
        session.told.connect(self._tell)
        session.state_changed.connect(self._on_state)
        session.labelled.connect(self._show_report)

    def _layer_events(self) -> tuple[Any, ...]:
        """Those that may change which labels are to be saved."""
        layers = self._viewer.layers
        return layers.events.inserted, layers.events.removed, layers.selection.events.active

    # -- starting

    def _region(self) -> Region:
        return Region(self.region.currentData())

    def _begin(
        self, layer: Layer | None, region: Region, *, make_labels: bool, model: Model | None = None
    ) -> None:
        take_typed(self)

        def begin() -> None:
            together = self.channels.together(layer)
            source = source_of(self._viewer, layer, region, together=together)
            if source.layer is not None:
                source = replace(source, pixel_size=self.pixel_size.size_of(source.layer))
            settings = self.settings().replace(image_kind=self.image_kind.kind_of(source.layer))
            settings.objects.diameter_in_pixels(source.pixel_size)  # µm need a pixel size
            if make_labels and model is None:
                settings = settings.replace(stop_at_convergence=True)
            running = running_session()
            if running is not None:
                ask_to_stop(self, running, source.name, lambda: self._guarded(begin))
                return
            previous = self.session.run
            if previous is not None and previous.source.layer is not source.layer:
                self.objects.forget_class()
                settings = settings.replace(nucleus_class=None, nucleus_polarity=None)
            self.objects.forget_report()
            self.diameter.setSpecialValueText("auto")
            self.image.layer = source.layer
            self.run.show_notice("")
            self.session.start(source, settings, model=model, make_labels=make_labels)
            if source.channel_axis is not None and not self.channels.was_chosen:
                self._tell(
                    f"'{source.name}' is taken as channels; choose 'the plane shown only' beside "
                    "channels if it is a stack of planes.",
                    False,
                )

        self._guarded(begin)

    # -- reactions

    def _on_settings(self) -> None:
        self.objects.set_classes(self.form.classes)
        self._on_objects()

    def _show_changed(self) -> None:
        """Say whether the settings are still the preset's."""
        try:
            # what kind an image is belongs to the image
            changes = set(self.settings().changes()) - PRESET_LEAVES - {"image_kind"}
        except PatchSegError:  # of a preset they go together
            changes = {"all"}
        if not self.diameter.value():  # then its unit is of no matter
            changes.discard("diameter_unit")
        self.form.show_changed(bool(changes))

    def _show_report(self, report: Report) -> None:
        """Show what "auto" came to in the labels made last."""
        run = self.session.run
        size = None if run is None else run.source.pixel_size
        self.objects.show_report(report, size)
        diameter = None if report.objects is None else report.objects.diameter
        if diameter is not None and not self.diameter.value():
            also = "" if size is None else f", {diameter * size:.3g} µm"
            self.diameter.setSpecialValueText(f"auto ({diameter:.0f} px{also})")

    def _on_objects(self, *_: object) -> None:
        self._save_timer.start()
        self._show_changed()
        self._guarded(lambda: self.session.set_objects(self._objects()))

    def _show_image(self) -> None:
        """Show what is known of the chosen image, and offer what it may be."""
        layer = self.image.layer
        self.pixel_size.show_layer(layer)
        self.image_kind.show_layer(layer)
        self._top.setRowVisible(self.channels, self.channels.show_layer(layer))

    def _on_pixel_size(self) -> None:
        layer, run = self.pixel_size.layer, self.session.run
        if layer is not None and run is not None and run.source.layer is layer:
            self.session.set_pixel_size(self.pixel_size.size_of(layer))

    def _on_state(self, state: RunState) -> None:
        run = self.session.run
        self.image.hold(state.is_busy)
        self.curves.show_history([] if run is None else run.history)
        if run is not None and run.trained is not None and not state.is_busy:
            if run.model is None and run.trained is not self.models.model:
                self.models.take(run.trained)
            self.objects.set_classes(run.trained.settings.training.classes)
        self._refresh()

    def _on_save_labels(self) -> None:
        layer = self._labels_to_save()
        if layer is None:
            self._tell("There are no labels to save; make some first.", True)
            return
        folder = folder_of(image_of(layer)) or folder_of(layer) or last_folder()
        start = folder / f"{offered_name(layer.name)}.ome.tif"
        path = ask_for_file(self, "Save labels", start, _LABELS_FORMATS, _LABELS_ENDINGS)
        if path is not None:
            self.save_labels(path)

    def _on_copy(self) -> None:
        def copy() -> None:
            clipboard = QApplication.clipboard()
            assert clipboard is not None
            script = self.script()
            clipboard.setText(script)
            show_info(notice(script))

        self._guarded(copy)

    def _labels_to_save(self) -> Labels | None:
        from napari.layers import Labels

        active = unwrap(self._viewer.layers.selection.active)
        chosen = isinstance(active, Labels) and not is_preview(active)
        ours = [layer for layer in map(unwrap, self._viewer.layers) if _are_nuclei(layer)]
        made = [layer for layer in (self.session.labels, *reversed(ours)) if layer is not None]
        for layer in [active, *made] if chosen else made:
            if layer.visible:  # hidden ones are not what the user sees
                return layer
        return made[0] if made else None  # beside live layers labels are hidden

    def _show_labels_to_save(self, _event: object = None) -> None:
        from napari.layers import Labels

        for layer in map(unwrap, self._viewer.layers):
            if isinstance(layer, Labels) and layer not in self._watched:
                self._watched.add(layer)
                layer.events.name.connect(self._show_labels_to_save)
                layer.events.visible.connect(self._show_labels_to_save)
        saved = self._labels_to_save()
        self.objects.show_saved(None if saved is None else saved.name)

    def _refresh(self) -> None:
        session = self.session
        self.objects.make_button.setEnabled(session.can_label)
        self.models.apply_button.setEnabled(self.models.model is not None)
        self.models.copy_button.setEnabled(session.run is not None)
        self._show_labels_to_save()

    # -- telling and remembering

    def _guarded(self, action: Callable[[], None]) -> None:
        try:
            action()
        except PatchSegError as error:
            self._tell(str(error), True)

    def _tell(self, sentence: str, is_error: bool) -> None:
        LOG.info(sentence)
        self.run.show_notice(sentence)  # napari's notification goes, and is cut in small windows
        (show_error if is_error else show_warning)(sentence)

    def _show_remembered(self) -> None:
        try:
            self.show_settings(Settings.create(**preferences.load_settings()))
        except PatchSegError:
            LOG.info("The remembered settings are not used.", exc_info=True)
            self.show_settings(Settings.create())

    def _remember(self) -> None:
        self._save_timer.stop()
        try:
            settings = self.settings()
        except PatchSegError:
            return
        changes = {k: v for k, v in settings.changes().items() if k not in _NOT_REMEMBERED}
        preferences.save_settings({"preset": settings.preset, **changes})

    # -- the end

    def event(self, event: QEvent | None) -> bool:
        """Notice that the panel was removed: napari takes it out of its dock and forgets it."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            dock = self.parentWidget()
            if dock is not None:
                self._had_parent = True
                if isinstance(dock, QDockWidget):
                    settle_in(dock, self._may_close)
            elif self._had_parent:
                self._close_down()
        return super().event(event)

    def _may_close(self, close: Callable[[], None]) -> None:
        if self.session.is_busy:
            ask_to_close(self, self.session, close)
        else:
            close()

    def _close_down(self) -> None:
        self._had_parent = False
        if self._save_timer.isActive():
            self._remember()
        self.session.shutdown()
        self._end_hover()
        self.image.disconnect_viewer()
        for event in self._layer_events():
            event.disconnect(self._show_labels_to_save)
        for layer in list(self._watched):
            layer.events.name.disconnect(self._show_labels_to_save)
            layer.events.visible.disconnect(self._show_labels_to_save)
        self.pixel_size.show_layer(None)
        self.deleteLater()


def _are_nuclei(layer: Layer) -> bool:
    return bool(layer.metadata.get(METADATA_KEY, {}).get("role") == "nuclei")


def _line() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.HLine)
    line.setFrameShadow(QFrame.Shadow.Sunken)
    return line


class _VerticalScroll(QScrollArea):
    """Scrolls up and down alone; as wide as its content needs, whatever the theme makes of that."""

    def __init__(self, content: QWidget) -> None:
        super().__init__()
        self._content = content
        self.setWidget(content)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def sizeHint(self) -> QSize:
        """As high as its content, if there is room."""
        return QSize(self.minimumWidth(), self._content.sizeHint().height())

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow the content's width."""
        if event is not None and event.type() == QEvent.Type.LayoutRequest:
            bar = self.verticalScrollBar()
            room = 0 if bar is None else bar.sizeHint().width()
            self.setMinimumWidth(self._content.minimumSizeHint().width() + room)
        return super().eventFilter(watched, event)

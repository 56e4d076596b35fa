"""The panel: puts its parts, the session and the preferences together."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import QEvent, QObject, QPoint, QSize, Qt, QTimer
from qtpy.QtGui import QShortcut
from qtpy.QtWidgets import (
    QApplication,
    QDockWidget,
    QFrame,
    QLabel,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import create_worker, qdebounced

from napari_patchseg.errors import PatchSegError
from napari_patchseg.files import preferences
from napari_patchseg.report import Report
from napari_patchseg.settings import FIELDS, Polarity, Settings

from ._circle import Circle
from ._controls import Folds, NumberBox, WheelScrolls
from ._editors import Editors
from ._folder_panel import FolderPanel
from ._folder_run import check_no_folder, running_folder
from ._forms import ObjectsForm, SettingsForm
from ._hand_panel import HandPanel
from ._image_panel import ImagePanel
from ._measuring import Measurements
from ._plots import CurvesPlot
from ._results_panel import LabelsPanel, ModelPanel, folder_of, last_folder
from ._run import Run, RunState
from ._run_panel import RunPanel
from .layer_source import METADATA_KEY, unwrap
from .preload import preload
from .question import ask_to_close, ask_to_stop, on_image
from .script import notice, script_of
from .session import TrainingSession, running_session
from .view_switch import ViewSwitch, watch_hover

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_patchseg.method.network import Model

LOG = logging.getLogger(__name__)

_TITLE = "PatchSeg"


class PatchSegWidget(QWidget):
    """Segment nuclei in an open image, without labels, while you watch.

    Parameters
    ----------
    napari_viewer : Viewer
        The viewer, or napari's proxy of it.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer = unwrap(napari_viewer)
        self._had_parent = False
        self.session = TrainingSession(viewer)
        self.editors = Editors()
        self.editors.show(Settings.create(**preferences.load_settings()))
        self.diameter = self.editors["nucleus_diameter"].widget
        self.image = ImagePanel(viewer, self.editors)
        self.circle = Circle(viewer)
        self.run = RunPanel(self.session)
        self.curves = CurvesPlot()
        self.view_switch = ViewSwitch(self.session)
        self.objects = ObjectsForm(self.editors)
        self.measurements = Measurements(
            viewer, self.session, self.objects.measurements, self.circle
        )
        learn_box = self.editors["learn_from_hints"].widget
        self.hand = HandPanel(self.session.hand, learn_box, self._folder)
        self.form = SettingsForm(self.editors, self.run.image_label, self.hand.class_button)
        self.labels = LabelsPanel(viewer, self.session, self.measurements.measure_now)
        self.models = ModelPanel(self._folder)
        self.folder = FolderPanel(viewer, self._settings_typed, self.models, self._folder)
        self.folds = Folds()
        self._reached: Model | None = None  # of the run; another one may be loaded since
        self._lay_out()
        self._connect()
        self._end_hover = watch_hover(viewer)
        # Not a method of ours: by then Qt's half of this object is gone.
        shutdown = self.session.shutdown
        self.destroyed.connect(lambda *_: shutdown())
        self._on_settings_shown()
        self._on_state(self.session.run_state)
        session = self.session
        # Nothing was asked for yet: the panel comes first.
        QTimer.singleShot(
            0, lambda: preload(lambda: session.is_busy or running_folder() is not None)
        )

    # -- what one can ask for

    def settings(self) -> Settings:
        """All settings as shown; raises `SettingsError` where they do not go together."""
        return self.editors.settings

    def show_settings(self, settings: Settings) -> None:
        """Show settings, and use them from now on; only what the user changes is remembered."""
        self.editors.show(settings)
        self.image.take_kind()
        self._on_settings_shown()

    def train(self) -> None:
        """Train on the chosen image and region."""
        self._begin(self.image.layer, make_labels=False)

    def segment(self, layer: Layer | None = None) -> None:
        """Train on the chosen region of a layer, or of the image shown, and add its labels."""
        self._begin(layer or self.image.layer, make_labels=True)

    def segment_with_model(self) -> None:
        """Segment the chosen image with the model at hand."""
        if self.models.model is None:
            self._tell("There is no model yet; train one or load one.", True)
        else:
            self._begin(self.image.layer, make_labels=True, model=self.models.model)

    def take_model(self, path: str) -> None:
        """Have the model of a file at hand, and show that."""
        self.folds.buttons["Model"].setChecked(True)
        self.models.load(path)

    def make_labels(self) -> None:
        """Add or renew the labels."""
        self._take_typed()
        with self._guarded():
            self.session.make_labels(self.editors.objects)

    def save_labels(self, path: str) -> None:
        """Write the labels to a file."""
        self.labels.save(path)

    def script(self) -> str:
        """Python that reproduces the last labels, or would make those of the run so far."""
        labels, session = self.session.labels, self.session
        report = None if labels is None else labels.metadata.get(METADATA_KEY, {})
        run = session.run
        path = None if run is None else self.models.path_of(run.model or run.start)
        return script_of(run, report, path, is_open=session.has_image)

    # -- building

    def _lay_out(self) -> None:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(6, 4, 6, 0)
        layout.setSpacing(4)
        self.folds.add(
            "Training", "Train, pause, live layers and curves", self.run.more, self.curves
        )
        self.folds.add("Settings", "Preset, network, optimisation and machine", self.form)
        self.folds.add(
            "Model",
            "Save what was learnt or corrected, and use it on other images",
            *(self.models, self.hand.files),
        )
        self.folds.add(
            "Folder", "Segment all images of a folder with the settings of this panel", self.folder
        )
        nuclei = (self.objects, self.view_switch)
        for section in ((self.image, self.run), nuclei, (self.hand,), (self.labels, self.folds)):
            for part in section:
                layout.addWidget(part)
            layout.addSpacing(4)
        layout.addStretch(1)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        scroll = _VerticalScroll(content)
        outer.addWidget(scroll)
        self.folds.turned.connect(scroll.show_part)
        QShortcut("F6", self, self.run.pause_button.click)
        self._wheel = WheelScrolls(self)

    def _connect(self) -> None:
        self._viewer.layers.events.connect(self._on_layers)
        self._viewer.layers.selection.events.active.connect(self._on_active)
        self._viewer.dims.events.ndisplay.connect(self._on_ndisplay)
        self.editors.changed.connect(self._on_settings)
        self.editors.changed.connect(self.folder.show_settings)
        self.image.pixel_size_entered.connect(self._on_pixel_size)
        self.editors["nucleus_diameter"].changed.connect(self._show_circle)
        self.editors["diameter_unit"].changed.connect(self._show_circle)
        self.run.segment_button.clicked.connect(lambda: self.segment())
        self.run.train_button.clicked.connect(self.train)
        self.folds.turned.connect(lambda *_: self._on_state(self.session.run_state))
        self.labels.make_button.clicked.connect(self.make_labels)
        self.models.apply_button.clicked.connect(self.segment_with_model)
        self.labels.copy_button.clicked.connect(self._on_copy)
        for part in (self.session, self.labels, self.models, self.hand, self.measurements):
            part.told.connect(self._tell)
        self.session.state_changed.connect(self._on_state)
        self.session.labelled.connect(self._show_report)
        self.session.hand.class_chosen.connect(self._on_class_chosen)
        self.session.returned.connect(self._on_returned)

    # -- starting

    def _begin(self, layer: Layer | None, *, make_labels: bool, model: Model | None = None) -> None:
        self._take_typed()
        with self._guarded():
            check_no_folder()
            source = self.image.source(layer)
            image = source.layer
            assert image is not None
            settings = self.settings().replace(image_kind=self.image.kind_of(image))
            settings.objects.diameter_in_pixels(source.pixel_size)  # µm need a pixel size
            if make_labels and model is None:
                settings = settings.replace(stop_at_convergence=True)
            running = running_session()
            if running is not None:
                begin = partial(self._begin, image, make_labels=make_labels, model=model)
                ask_to_stop(self, running, source.name, begin)
                return
            previous = self.session.run
            if previous is not None and previous.source.layer is not image:
                self.objects.forget_class()
                settings = settings.replace(nucleus_class=None, nucleus_polarity=None)
            self.objects.show_report(None)
            self.image.choose(image)
            self.run.show_notice("")
            start = None if model else self.models.start
            self.session.start(source, settings, model=model, start=start, make_labels=make_labels)
            self._reached = model or self._reached
            if self.image.is_guess(source):
                self._tell(
                    f"'{source.name}' is taken as channels; choose 'the plane shown only' beside "
                    "channels if it is a stack of planes.",
                    False,
                )

    def _settings_typed(self) -> Settings:
        self._take_typed()
        return self.settings()

    def _take_typed(self) -> None:
        """Take over the number in a field that is still being edited: a key may start a run."""
        for box in self.findChildren(NumberBox):
            box.interpretText()

    # -- reactions

    def _on_settings(self) -> None:
        """The user has changed a setting."""
        self._remember()
        self._on_settings_shown()
        with self._guarded():
            self.session.set_objects(self.editors.objects)

    def _on_class_chosen(self, index: int | None, polarity: Polarity | None) -> None:
        """A click on the canvas has chosen, or that was taken back."""
        run = self.session.run
        if run is not None:  # the field may offer as many as the next run is to have
            self.editors.offer_classes(run.settings.training.classes)
        self.editors["nucleus_class"].set(index)
        self.editors["nucleus_polarity"].set(polarity)
        self.editors.changed.emit()

    def _on_settings_shown(self) -> None:
        self.form.show_changed(self.editors.differ)

    def _show_report(self, report: Report) -> None:
        """Show what automatic choices came to in the labels made last."""
        run = self.session.run
        size = None if run is None else run.source.pixel_size
        self.objects.show_report(report, size)
        self.measurements.follow()

    def _show_circle(self) -> None:
        """Show the diameter that was just typed, where the image says what it is in pixels."""
        layer = self.image.layer
        if layer is None:
            return
        diameter = None
        with suppress(PatchSegError):  # is said when a run begins
            size = self.image.pixel_size_of(layer)
            diameter = self.editors.objects.diameter_in_pixels(size)
        if diameter is None:
            self.circle.remove()
        else:
            self.circle.show(layer, diameter)

    def _on_layers(self, event: Any) -> None:
        """Something of the layer list or of one of its layers has changed."""
        if event.type in ("inserted", "removed", "reordered", "name"):
            self.image.refresh()
            self._show_name()
        if event.type in ("inserted", "removed", "name", "visible"):
            self.labels.refresh()
        if event.type == "removed" and self.measurements.labels is not self.session.labels:
            self.measurements.follow()
        elif event.type in ("scale", "units", "affine"):
            self.image.show_pixel_size()

    def _on_active(self) -> None:
        self.image.follow()
        self.labels.refresh()
        self._show_name()

    def _show_name(self) -> None:
        """The run stays with its image: say so where the panel shows another one."""
        run = self.session.run
        is_other = run is not None and self.image.layer is not run.source.layer
        self.objects.measurements.show_name(run.source.name if run and is_other else "")

    def _on_ndisplay(self, _event: object) -> None:
        self.hand.refresh()

    def _folder(self) -> Path:
        """Where dialogs begin."""
        return folder_of(self.image.layer) or last_folder()

    def _on_pixel_size(self) -> None:
        layer, run = self.image.layer, self.session.run
        if layer is not None and run is not None and run.source.layer is layer:
            with self._guarded():
                self.session.set_pixel_size(self.image.pixel_size_of(layer))
            self.measurements.follow()

    def _on_state(self, state: RunState) -> None:
        run = self.session.run
        self.image.hold(state.is_busy)
        if self.curves.isVisibleTo(self):
            self.curves.show_history([] if run is None else run.history)
        if run is not None and run.trained is not None and not state.is_busy:
            reached = run.reached if run.model is None or run.taught else run.model
            if reached is not self._reached:
                self._reached = reached
                self.models.take(reached)
            self.editors.offer_classes(run.trained.settings.training.classes)
        if self.session.shown_class is not None:
            self.objects.show_class(self.session.shown_class)
        if self.session.labels is not self.measurements.labels:  # the first ones have no report yet
            self.measurements.follow()
        self._show_name()
        if not state.is_busy:
            self.measurements.catch_up()
        self.labels.copy_button.setEnabled(run is not None)
        self.hand.refresh()
        self.labels.refresh()

    def _on_returned(self, run: Run, asked: bool) -> None:
        """The run before is back: show what its labels were made with."""
        if asked:  # else what the user has just set is to be mended
            self.image.choose(run.source.layer)
            self.editors.show_objects(run.objects, run.settings.training.classes)
            self._on_settings_shown()
        self.objects.show_report(run.report_of_labels, run.source.pixel_size)
        self.measurements.follow()

    def _on_copy(self) -> None:
        # Not here: the image's file is read again, to see whether the run's pixels are in it.
        create_worker(self.script, _connect={"returned": self._copy, "errored": self._on_error})

    def _copy(self, script: str) -> None:
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(script)
        show_info(notice(script))

    # -- telling and remembering

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except PatchSegError as error:
            self._on_error(error)

    def _on_error(self, error: Exception) -> None:
        self._tell(str(error), True)

    def _tell(self, sentence: str, is_error: bool) -> None:
        LOG.info(sentence)
        self.run.show_notice(sentence)  # napari's notification goes, and is cut in small windows
        (show_error if is_error else show_warning)(sentence)

    @qdebounced(timeout=400)  # ms after the last change
    def _remember(self) -> None:
        try:
            settings = self.settings()
        except PatchSegError:
            return
        changes = settings.changes()
        kept = {name: changes[name] for name in changes if not FIELDS[name].of_one_image}
        preferences.save_settings({"preset": settings.preset, **kept})

    # -- the end

    def event(self, event: QEvent | None) -> bool:
        """Notice that the panel was removed: napari takes it out of its dock and forgets it."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            dock = self.parentWidget()
            if dock is not None:
                self._had_parent = True
                if isinstance(dock, QDockWidget):
                    _settle_in(dock, self._may_close)
            elif self._had_parent:
                self._close_down()
        return super().event(event)

    def _may_close(self, close: Callable[[], None]) -> None:
        if self.session.is_busy:
            run = f"A run{on_image(self.session)} is under way"
            ask_to_close(self, f"{run}; without this panel it ends, and its result is lost.", close)
        elif self.folder.is_busy:
            ask_to_close(
                self,
                f"A folder is being segmented, {self.folder.told_so_far} so far; without this "
                "panel that ends, and what is done is kept.",
                close,
            )
        else:
            close()

    def _close_down(self) -> None:
        self._had_parent = False
        self._remember.flush(restart_timer=False)
        self.session.shutdown()
        self.folder.shutdown()
        self._end_hover()
        self.measurements.close()
        self.circle.close()
        self._viewer.layers.events.disconnect(self._on_layers)
        self._viewer.layers.selection.events.active.disconnect(self._on_active)
        self._viewer.dims.events.ndisplay.disconnect(self._on_ndisplay)
        self.deleteLater()


def _settle_in(dock: QDockWidget, may_close: Callable[[Callable[[], None]], None]) -> None:
    """Give napari's dock the panel's own title, and be asked before its button closes it for good.

    napari calls docks "Widget (Plugin)", finds them again by that, and writes it on their bar,
    which it makes anew wherever a dock is moved. Closing the window goes its own way: napari asks
    there itself.
    """
    name = dock.windowTitle()

    def write_title() -> None:
        with suppress(RuntimeError):  # it has gone
            for label in dock.findChildren(QLabel):
                if label.text() == name:
                    label.setText(_TITLE)

    def soon(*_: object) -> None:
        QTimer.singleShot(0, write_title)  # napari makes the bar after this

    dock.setWindowTitle(_TITLE)
    dock.topLevelChanged.connect(soon)
    dock.dockLocationChanged.connect(soon)
    soon()
    close = getattr(dock, "destroyOnClose", None)  # of napari's own class
    if close is not None:
        dock.destroyOnClose = lambda: may_close(close)  # type: ignore[attr-defined]


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

    def show_part(self, part: QWidget, shown: bool) -> None:
        """Scroll to a part that was just unfolded, once it has its place, and to its button."""
        bar = self.verticalScrollBar()
        if shown and bar is not None:
            top = QPoint(0, -40)
            QTimer.singleShot(0, lambda: bar.setValue(part.mapTo(self._content, top).y()))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Follow the content's width, and the height that its sentences need in it."""
        kinds, layout = (QEvent.Type.LayoutRequest, QEvent.Type.Resize), self._content.layout()
        if event is not None and event.type() in kinds and layout is not None:
            # Qt would cut them: it takes a layout's least height without the lines of a sentence.
            self._content.setMinimumHeight(layout.totalHeightForWidth(self._content.width()))
            bar = self.verticalScrollBar()
            room = 0 if bar is None else bar.sizeHint().width()
            self.setMinimumWidth(self._content.minimumSizeHint().width() + room)
        return super().eventFilter(watched, event)

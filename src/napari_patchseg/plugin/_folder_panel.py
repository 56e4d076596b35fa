"""A folder of images, all segmented with the panel's settings."""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_error, show_info, show_warning
from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices, QShowEvent
from qtpy.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QVBoxLayout,
    QWidget,
)
from superqt.utils import create_worker

from napari_patchseg.errors import PatchSegError
from napari_patchseg.files.pixel_size import PLAUSIBLE
from napari_patchseg.files.results import CSV, FORMATS, GEOJSON, IMAGEJ_ROIS, OME_TIFF
from napari_patchseg.settings import FIELDS, Settings
from napari_patchseg.words import layer_name, pluralize, time_left

from ._controls import NumberBox, button, caption, form, narrow
from ._folder_run import Ended, FolderRun, Listed, Moved, Wish
from ._layers import thickness
from ._results_panel import FOR, ModelPanel
from ._run import Phase, RunState
from .layer_source import METADATA_KEY
from .question import ask_to_stop
from .session import Activity, running_session

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer

    from napari_patchseg.batch import BatchEvent, Job
    from napari_patchseg.files.images import ImageFile
    from napari_patchseg.files.labels import SavedLabels

LOG = logging.getLogger(__name__)

#: The folder of the results, in that of the images, until the user has another one.
_RESULTS = "nuclei"
#: Which files are wanted at first: what napari and a spreadsheet open.
_AT_FIRST = (OME_TIFF, CSV)
#: Formats by what opens them, where their names alone say that to few.
_NAMES = {GEOJSON: "GeoJSON, QuPath", CSV: "CSV, Excel", IMAGEJ_ROIS: "ROIs, Fiji"}
_EACH, _FIRST, _CHOSEN = "each image", "the first image", "the images chosen below"
_MODEL = "no image: the model at hand"
#: Text of the bar of all images.
_IMAGES = "%v of %m images"
#: Before the name of the image under way.
_AT_WORK = "▸ "
#: Most images that are named as failed; the list and the report name them all.
_NAMED = 5
#: Rows of the list of images.
_ROWS = 5


class FolderPanel(QWidget):
    """Choose folders and files, segment, and look at what came of it.

    Parameters
    ----------
    viewer : Viewer
        Where results are opened.
    settings : callable
        Gives the panel's settings; raises `SettingsError` where they do not go together.
    models : ModelPanel
        Has the model at hand.
    folder : callable
        Where dialogs begin.
    """

    def __init__(
        self,
        viewer: Viewer,
        settings: Callable[[], Settings],
        models: ModelPanel,
        folder: Callable[[], Path],
    ) -> None:
        super().__init__()
        self._viewer, self._settings, self._models, self._folder = viewer, settings, models, folder
        self._run: FolderRun | None = None
        self._jobs: tuple[Job, ...]
        self._page: Path | None
        self._done: set[int]  # numbers of images, from 1
        self._failed: list[str]
        self._why: str  # the last thing that failed
        self._activity = Activity(self.stop)
        self._layers: dict[Path, list[weakref.ref[Layer]]] = {}
        self._build()
        self._lay_out()
        self._forget()
        self._show_busy()

    # -- what one can ask for

    @property
    def is_busy(self) -> bool:
        """Whether this panel's folder is being segmented."""
        return self._run is not None

    @property
    def told_so_far(self) -> str:
        """What is done of the folder under way, in words."""
        return f"{len(self._done)} of {pluralize(len(self._jobs), 'image')}"

    def choose(self, images: str) -> None:
        """Take a folder of images; results go into one inside it, until there is another one."""
        self.images_field.setText(images)
        self.results_field.setText(str(Path(images, _RESULTS)) if images else "")
        self._look()

    def start(self) -> None:
        """Segment the images; what was done before with the same settings is left as it is."""
        try:
            wish = self._wish()
            running = running_session()
            if running is not None:
                ask_to_stop(self, running, wish.images.name, self.start)
                return
            run = FolderRun(wish)
            run.told.connect(self._take)
            run.begin()
        except PatchSegError as error:
            self._tell(str(error))
            return
        self._run = run
        self._forget()
        self._move(Moved(0, "looking at the images", 0, 0, None))
        self._show_busy()

    def stop(self) -> None:
        """Give up the image under way; what is done is kept."""
        if self._run is not None:
            self._run.cancel()
            self._show_busy()

    def shutdown(self) -> None:
        """The panel goes away: end the run, and wait for nobody."""
        run, self._run = self._run, None
        if run is not None:
            run.cancel()
        self._activity.close()

    # -- building

    def _build(self) -> None:
        self.images_field, self.results_field = QLineEdit(), QLineEdit()
        self.images_field.setPlaceholderText("a folder of images")
        self.results_field.setPlaceholderText("a folder in it")
        self.images_field.setToolTip("The folder of the images; folders inside it are left alone.")
        self.results_field.setToolTip(
            "The folder of the results; it is made if need be. Each run adds a table of all images "
            "(summary.csv)\nand a page with pictures and histograms (report.html)."
        )
        self.images_field.editingFinished.connect(self._on_typed)
        self.results_field.editingFinished.connect(self._on_typed)
        self.format_boxes: Mapping[str, QCheckBox] = {
            kind.endings[0].removeprefix("."): QCheckBox(_NAMES.get(kind, kind.name))
            for kind in FORMATS
        }
        for kind, box in zip(FORMATS, self.format_boxes.values(), strict=True):
            box.setChecked(kind in _AT_FIRST)
            box.setToolTip(FOR[kind])
        self.train_combo = QComboBox()
        self.train_combo.addItems([_EACH, _FIRST, _CHOSEN, _MODEL])
        self.train_combo.setToolTip(
            "Each image by itself takes longest and suits each one. One model for all is faster\n"
            "where they are alike: of the first image, of those chosen in the list (several with\n"
            "Ctrl or Shift), or the one that Model shows."
        )
        narrow(self.train_combo, 12)
        self.pixel_size = NumberBox(0, PLAUSIBLE[1], 4, unit="µm/px", word="as the files say")
        self.pixel_size.setSingleStep(0.05)
        self.pixel_size.setToolTip(
            "Of all images, instead of what their files say. Without one there are\n"
            "no areas in µm² and no densities."
        )
        self.settings_label = QLabel()
        self.settings_label.setWordWrap(True)
        self.settings_label.setToolTip("What this panel says about nuclei holds for all images.")
        self.overwrite_box = QCheckBox("overwrite")
        self.overwrite_box.setToolTip(
            "Replace what the folder of the results holds of other settings, another model\n"
            "or images that have changed since. Off: they stay, and that is said."
        )
        self.start_button = button(
            "Segment folder",
            "Segment all images with the settings of this panel. What is done already\n"
            "with the same settings is left as it is: it goes on where it was stopped.",
            self.start,
        )
        self.stop_button = button(
            "Stop", "Give up the image under way; those before it are kept.", self.stop
        )
        self.images_bar, self.image_bar = QProgressBar(), QProgressBar()
        for bar, name in ((self.images_bar, "images"), (self.image_bar, "this image")):
            bar.setAccessibleName(f"progress of {name}")
            bar.setFixedHeight(18)
        self.state_label = QLabel()
        self.state_label.setWordWrap(True)
        self.state_label.setAlignment(Qt.AlignmentFlag.AlignTop)
        self.state_label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.list = QListWidget()
        self.list.setToolTip("Double-click shows an image with its nuclei.")
        self.list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setFixedHeight(_ROWS * (self.list.fontMetrics().height() + 4))
        self.list.itemActivated.connect(lambda _item: self.show_chosen())
        self.list.currentRowChanged.connect(lambda _row: self._show_busy())
        self.show_button = button(
            "Show in viewer", "Open the chosen image with its nuclei.", self.show_chosen
        )
        self.report_button = button(
            "Open report", "All images, with pictures and histograms, in the browser.", self._report
        )
        self.results_button = button(
            "Open folder", "The results, in the system's file manager.", self._open_results
        )

    def _lay_out(self) -> None:
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        fields = QWidget()
        boxes = QWidget()
        grid = QGridLayout(boxes)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(3)
        for number, box in enumerate(self.format_boxes.values()):
            grid.addWidget(box, *divmod(number, 2))
        self.browse_buttons = [
            button("…", f"Choose the folder of the {what}.", browse)
            for what, browse in (("images", self._browse_images), ("results", self._browse_results))
        ]
        for one in self.browse_buttons:
            one.setMaximumWidth(28)
        form(
            fields,
            (caption("images", self.images_field), self.images_field, self.browse_buttons[0]),
            (caption("results", self.results_field), self.results_field, self.browse_buttons[1]),
            (QLabel("files"), boxes),
            (caption("pixel size", self.pixel_size), self.pixel_size),
            (caption("train on", self.train_combo), self.train_combo, self.overwrite_box),
        )
        layout.addWidget(fields)
        layout.addWidget(self.settings_label)
        self._row(layout, (self.start_button, 2), (self.stop_button, 1))
        for widget in (self.images_bar, self.image_bar, self.state_label, self.list):
            layout.addWidget(widget)
        self._row(layout, (self.show_button, 1), (self.report_button, 1), (self.results_button, 1))

    def _row(self, layout: QVBoxLayout, *widgets: tuple[QWidget, int]) -> None:
        row = QHBoxLayout()
        row.setSpacing(3)
        for widget, stretch in widgets:
            row.addWidget(widget, stretch)
        layout.addLayout(row)

    def showEvent(self, event: QShowEvent | None) -> None:
        """Leave room for two lines, so that nothing below moves; now the theme's font is known."""
        super().showEvent(event)
        self.show_settings()
        label, text = self.state_label, self.state_label.text()
        label.ensurePolished()
        label.setText("1\n2")
        label.setMinimumHeight(label.sizeHint().height())
        label.setText(text)

    def show_settings(self) -> None:
        """Say what of the panel's settings is not automatic: it holds for all images."""
        try:
            changes = self._settings().changes()
        except PatchSegError:  # is said when a run begins
            changes = {}
        said = [
            f"{FIELDS[name].label} {value}"
            for name, value in changes.items()
            if FIELDS[name].group == "objects" and name not in ("nucleus_class", "nucleus_polarity")
        ]
        text = "; ".join(said).replace("^2", "²")
        self.settings_label.setText(f"with {text}" if text else "")
        self.settings_label.setVisible(bool(text))

    # -- choosing

    def _browse_images(self) -> None:
        start = self.images_field.text() or str(self._folder())
        folder = QFileDialog.getExistingDirectory(self, "Folder of images", start)
        if folder:
            self.choose(folder)

    def _browse_results(self) -> None:
        start = self.results_field.text() or str(self._folder())
        folder = QFileDialog.getExistingDirectory(self, "Folder of results", start)
        if folder:
            self.results_field.setText(folder)
            self._look()

    def _on_typed(self) -> None:
        if self.images_field.isModified():  # this is told whenever the focus goes, too
            self.choose(self.images_field.text().strip())
        elif self.results_field.isModified():
            self.results_field.setModified(False)
            self._look()

    def _look(self) -> None:
        """Show the images of the folder chosen, and whether work on them goes on."""
        from napari_patchseg.batch import Records, images_in

        if self.is_busy:
            return
        images, results = self.images_field.text().strip(), self.results_field.text().strip()
        self._forget()
        said = ""
        if images:
            try:
                found = images_in(Path(images).expanduser())
            except PatchSegError as error:
                said = str(error)
            else:
                self._list(path.name for path in found)
                said = f"{pluralize(len(found), 'image')}."
                if results and Records(Path(results).expanduser()).folder.is_dir():
                    said += " There are results: what the same settings gave is left as it is."
        self.state_label.setText(said)
        self._show_busy()

    def _list(self, names: Iterable[str]) -> None:
        """List images; their names stay with them, whatever is said of them later."""
        for name in names:
            item = QListWidgetItem(name)
            item.setData(Qt.ItemDataRole.UserRole, name)
            self.list.addItem(item)

    def _forget(self) -> None:
        """Nothing is known of the images."""
        self._jobs, self._page = (), None
        self._done, self._failed, self._why = set(), [], ""
        self._before = self._nuclei = 0
        self.list.clear()
        for bar in (self.images_bar, self.image_bar):
            _show(bar, 0, 0, "")

    def _wish(self) -> Wish:
        images, results = self.images_field.text().strip(), self.results_field.text().strip()
        ends = tuple(end for end, box in self.format_boxes.items() if box.isChecked())
        if not images:
            raise PatchSegError("No folder of images is chosen; choose one.")
        if not results:  # as the field says
            results = str(Path(images, _RESULTS))
            self.results_field.setText(results)
        if not ends:
            raise PatchSegError("No kind of file is chosen; tick at least one.")
        trains = self.train_combo.currentText()
        items = self.list.selectedItems() if trains == _CHOSEN else []
        chosen = tuple(str(item.data(Qt.ItemDataRole.UserRole)) for item in items)
        if trains == _CHOSEN and not chosen:
            raise PatchSegError("No image to train on is chosen; click one or several in the list.")
        model, path = self._models.model, self._models.path
        if trains != _MODEL:
            model = path = None
        elif model is None:
            raise PatchSegError("There is no model yet; train one or load one.")
        settings = self._settings().replace(stop_at_convergence=True)
        if model is None:  # they are those of the image that was segmented last
            settings = settings.replace(nucleus_class=None, nucleus_polarity=None)
        return Wish(
            Path(images).expanduser(),
            Path(results).expanduser(),
            ends,
            settings,
            trains == _FIRST,
            chosen,
            model,
            None if path is None else Path(path),
            self.overwrite_box.isChecked(),
            self.pixel_size.value() or None,
        )

    # -- what comes of it

    def _take(self, event: BatchEvent | Listed | Moved | Ended) -> None:
        from napari_patchseg.batch import Done, Failed, ModelMade, SummedUp

        run = self._run
        if run is None:
            return
        match event:
            case Listed(jobs):
                self._jobs = jobs
                self._list(job.image.name for job in jobs)
                _show(self.images_bar, 0, len(jobs), _IMAGES)
            case Moved():
                self._move(event)
            case ModelMade():
                self._move(Moved(0, "the model is there", 0, 0, None))
            case Done():
                self._on_done(event)
            case Failed():
                self._on_failed(event)
            case SummedUp(files):
                self._page = files[-1]
            case Ended(error):
                self._on_end(run, error)

    def _move(self, moved: Moved) -> None:
        """Show where the run is."""
        name = ""
        if moved.number:
            item = self.list.item(moved.number - 1)
            name = self._jobs[moved.number - 1].image.name
            if item is not None and item.text() == name:
                item.setText(_AT_WORK + name)
                self.list.scrollToItem(item)
        elif self._jobs and self._run is not None and self._run.wish.train_on_first:
            name = f"model of {self._jobs[0].image.name}"
        elif self._run is not None and (taught := self._run.wish.train_on):
            name = f"model of {pluralize(len(taught), 'image')}"
        left = ""
        if moved.remaining is not None:
            left = time_left(moved.remaining, may_end_sooner=False)
        text = ": ".join(filter(None, (name, moved.text)))
        self.state_label.setText(" · ".join(filter(None, (text, left))))
        _show(self.image_bar, moved.done, moved.total, "%v of %m" if moved.total > 1 else "")
        done, total = self.images_bar.value(), self.images_bar.maximum()
        if self._run is not None:
            state = RunState(Phase.STARTING, text, done=done, total=total)
            self._activity.show(self._run.wish.images.name, state)

    def _on_done(self, event: Any) -> None:
        outcome = event.outcome
        count = int(outcome.values["Nuclei"])
        self._done.add(event.number)
        self._nuclei += count
        self._before += not event.seconds
        warnings = " ".join(outcome.report.warnings)
        text = pluralize(count, "nucleus", "nuclei")
        text += ", done before" if not event.seconds else ""
        self._say(
            event.number,
            "!" if warnings else "✓",
            f"{event.path.name}: {text}. {warnings}".rstrip(". "),
        )

    def _on_failed(self, event: Any) -> None:
        self._why = event.sentence
        if not event.number:  # of the summary
            return
        name = event.path.name
        self._failed.append(name)
        sentence = event.sentence.replace(str(event.path), name)
        self._say(event.number, "✗", sentence if name in sentence else f"{name}: {sentence}")

    def _say(self, number: int, sign: str, text: str) -> None:
        """Say in the list what came of an image."""
        item = self.list.item(number - 1)
        if isinstance(item, QListWidgetItem):
            item.setText(f"{sign} {text}")
            item.setToolTip(text)
        _show(self.images_bar, number, len(self._jobs), _IMAGES)
        self._show_busy()

    def _on_end(self, run: FolderRun, error: PatchSegError | None) -> None:
        self._run = None
        self._activity.close()
        _show(self.image_bar, 0, 0, "")
        if error is not None:
            self._tell(f"Failed. {error}")
        else:
            text = f"{self.told_so_far}, {pluralize(self._nuclei, 'nucleus', 'nuclei')}"
            if self._before:
                text += f"; {self._before} done before"
            if self._failed:
                more = len(self._failed) - _NAMED
                names = ", ".join(self._failed[:_NAMED]) + (f" and {more} more" if more > 0 else "")
                text += f"; {len(self._failed)} failed: {names}"
            if self._page is None and not run.is_stopping:  # results cannot be written any more
                self._tell(f"{text}. {self._why}")
            elif self._page is None:
                self.state_label.setText(f"Stopped: {text}. Segment folder goes on with the rest.")
            else:
                self.overwrite_box.setChecked(False)  # asked for once
                self.state_label.setText(f"{text}.")
                (show_warning if self._failed else show_info)(f"Segmented {text}.")
        for number, job in enumerate(self._jobs, 1):
            if (item := self.list.item(number - 1)) and item.text() == _AT_WORK + job.image.name:
                item.setText(job.image.name)
        self._show_busy()

    def _tell(self, sentence: str) -> None:
        """An error's sentence; napari's notification goes, this stays to be read."""
        LOG.info(sentence)
        self.state_label.setText(sentence)
        show_error(sentence)

    def _show_busy(self) -> None:
        """Say what can be asked for now."""
        run = self._run
        stops = run is not None and run.is_stopping
        self.start_button.setEnabled(run is None)
        self.stop_button.setEnabled(run is not None and not stops)
        self.stop_button.setText("Stopping…" if stops else "Stop")
        self.show_button.setEnabled(self.list.currentRow() + 1 in self._done)
        self.report_button.setEnabled(self._page is not None)
        results = self.results_field.text().strip()
        self.results_button.setEnabled(bool(results) and os.path.isdir(Path(results).expanduser()))

    # -- looking at it

    def _report(self) -> None:
        if self._page is not None:
            self._open(self._page)

    def _open_results(self) -> None:
        self._open(Path(self.results_field.text().strip()).expanduser())

    def _open(self, path: Path) -> None:
        """Open in the system's program for it."""
        if not QDesktopServices.openUrl(QUrl.fromLocalFile(str(path))):
            self._tell(f"The system has no program that opens {path}.")

    def show_chosen(self) -> None:
        """Open the image chosen in the list with its nuclei; those shown before are hidden."""
        number = self.list.currentRow() + 1
        if number not in self._done:
            return
        job = self._jobs[number - 1]
        there = self._open_layers(job)
        if there:
            self._show_only(job, there)
            return
        self.show_button.setEnabled(False)
        create_worker(
            _read,
            job,
            _connect={
                "returned": lambda read: self._add(job, *read),
                "errored": lambda error: self._tell(str(error)),
                "finished": self._show_busy,
            },
        )

    def _open_layers(self, job: Job) -> list[Layer]:
        """The image's layers that are still in the viewer."""
        layers = [there() for there in self._layers.get(job.image, ())]
        return [layer for layer in layers if layer is not None and layer in self._viewer.layers]

    def _add(self, job: Job, file: ImageFile, saved: SavedLabels | None) -> None:
        size, place = file.pixel_size_yx, {}
        if size is not None:
            place = {"scale": size, "units": ("µm", "µm")}
        added = self._viewer.add_image(
            file.array, rgb=file.rgb, channel_axis=file.channel_axis, name=file.name, **place
        )
        layers = added if isinstance(added, list) else [added]
        if saved is not None:
            labels = self._viewer.add_labels(
                saved.labels,
                name=layer_name("nuclei", file.name),
                metadata={METADATA_KEY: saved.report},
                **place,
            )
            labels.contour = thickness(labels)
            labels.opacity = 1
            layers.append(labels)
        self._layers[job.image] = [weakref.ref(layer) for layer in layers]
        self._show_only(job, layers)
        self._viewer.reset_view()

    def _show_only(self, job: Job, layers: list[Layer]) -> None:
        for image in self._layers:
            for layer in self._open_layers(replace(job, image=image)):
                layer.visible = layer in layers
        self._viewer.layers.selection.active = layers[0]


def _read(job: Job) -> tuple[ImageFile, SavedLabels | None]:
    """An image, and its nuclei where one of its files has them."""
    from napari_patchseg.files.images import read_image
    from napari_patchseg.files.results import format_of, load_labels

    file = read_image(job.image)
    target = next((path for path in job.targets if format_of(path) is not CSV), None)
    return file, None if target is None else load_labels(target)


def _show(bar: QProgressBar, done: int, total: int, text: str) -> None:
    """Move a bar; where nobody knows how far it is, it stands still."""
    bar.setRange(0, max(1, total))
    bar.setValue(done)
    bar.setFormat(text)

"""From confidence to nuclei: class, threshold, size and split, redrawn at once."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel, QLabeledDoubleSlider

from napari_patchseg.report import Report
from napari_patchseg.settings import Settings

from .editors import NumberBox, understand_numbers

_POLARITIES = (
    ("auto", None),
    ("high", "direct"),
    ("low (inverted)", "inverted"),
)


class ObjectsPanel(QWidget):
    """Controls of the labels, and the buttons that make and save them."""

    #: The user moved a control.
    changed = Signal()
    make_clicked = Signal()
    save_clicked = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.class_box = QComboBox()
        self.class_box.setToolTip(
            "Which of the K confidence maps is nuclei; auto lets the stain choose."
        )
        self.class_box.setAccessibleName("nucleus class")
        self.class_box.setObjectName("nucleus_class")
        self.polarity_box = QComboBox()
        for words, value in _POLARITIES:
            self.polarity_box.addItem(words, value)
        self.polarity_box.setToolTip("Whether high or low confidence of that class is nuclei.")
        self.polarity_box.setAccessibleName("nucleus polarity")
        self.polarity_box.setObjectName("nucleus_polarity")
        for box in (self.class_box, self.polarity_box):  # long words must not widen the panel
            box.setSizeAdjustPolicy(
                QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
            )
            box.setMinimumContentsLength(6)
        self.threshold_auto = QCheckBox("auto")
        self.threshold_auto.setChecked(True)
        self.threshold_auto.setToolTip("0.5, or Otsu's threshold after a random start.")
        self.threshold = QLabeledDoubleSlider(Qt.Orientation.Horizontal)
        self.threshold.setRange(0.01, 0.99)
        self.threshold.setSingleStep(0.01)  # type: ignore[arg-type] # a slider of floats
        self.threshold.setDecimals(2)
        self.threshold.setValue(0.5)
        understand_numbers(self.threshold)
        self.threshold.setToolTip(
            "Confidence from which a pixel is nucleus; every nucleus must have a surer core."
        )
        self.threshold.setAccessibleName("threshold")
        self.min_area = _spin(
            -1,
            1e7,
            "px²",
            "Smaller objects are left out, those cut by the border below half of it; auto follows "
            "the diameter.",
        )
        self.min_area.setSpecialValueText("auto")
        self.min_area.setDecimals(0)
        self.min_area.setSingleStep(5)
        self.min_area.setAccessibleName("minimum area")
        self.split = QCheckBox("split touching")
        self.split.setToolTip("Cut objects that look like several nuclei.")
        self.split_depth = _spin(
            0, 2, "radii", "How far apart two nuclei in one object must stand; less cuts more."
        )
        self.split_depth.setSpecialValueText("auto")
        self.split_depth.setSingleStep(0.05)
        self.split_depth.setAccessibleName("split depth")
        self.make_button = QPushButton("Make labels")
        self.make_button.setShortcut("F8")
        self.make_button.setToolTip(
            "Add the nuclei as a Labels layer, at any moment; training goes on. (F8)"
        )
        self.save_button = QPushButton("Save labels…")
        self.saved_label = QElidingLabel()
        self.saved_label.setElideMode(Qt.TextElideMode.ElideMiddle)
        self.saved_label.setObjectName("labels_to_save")
        self.show_saved(None)
        self._lay_out()
        self._connect()
        self.show_settings(Settings.create())

    def values(self) -> dict[str, Any]:
        """The fields of `Settings` that these controls stand for."""
        return {
            "nucleus_class": self.class_box.currentData(),
            "nucleus_polarity": self.polarity_box.currentData(),
            "threshold": None if self.threshold_auto.isChecked() else self.threshold.value(),
            "min_area": None if self.min_area.value() < 0 else self.min_area.value(),
            "split": "distance" if self.split.isChecked() else "none",
            "split_depth": self.split_depth.value() or None,
        }

    def show_settings(self, settings: Settings) -> None:
        """Show the settings' values, without saying that they changed."""
        self.blockSignals(True)
        self.set_classes(settings.training.classes)
        objects = settings.objects
        self.class_box.setCurrentIndex(self.class_box.findData(objects.nucleus_class))
        self.polarity_box.setCurrentIndex(self.polarity_box.findData(objects.nucleus_polarity))
        self.threshold_auto.setChecked(objects.threshold is None)
        if objects.threshold is not None:
            self.threshold.setValue(objects.threshold)
        self.min_area.setValue(-1 if objects.min_area is None else objects.min_area)
        self.split.setChecked(objects.split == "distance")
        self.split_depth.setValue(objects.split_depth or 0)
        self.blockSignals(False)

    def set_classes(self, count: int) -> None:
        """Offer this many classes; a choice that is no longer there becomes auto."""
        if self.class_box.count() == count + 1:
            return
        chosen = self.class_box.currentData()
        self.class_box.blockSignals(True)
        self.class_box.clear()
        self.class_box.addItem("auto", None)
        for number in range(count):
            self.class_box.addItem(f"class {number}", number)
        self.class_box.setCurrentIndex(max(0, self.class_box.findData(chosen)))
        self.class_box.blockSignals(False)

    def forget_class(self) -> None:
        """Class numbers mean nothing for another image."""
        self.blockSignals(True)
        self.class_box.setCurrentIndex(0)
        self.polarity_box.setCurrentIndex(0)
        self.blockSignals(False)

    def show_report(self, report: Report, pixel_size: float | None) -> None:
        """Show what "auto" came to; `pixel_size` in µm where it is known."""
        nucleus, objects = report.nucleus_class, report.objects
        if nucleus is not None:
            self.class_box.setItemText(0, f"auto: {nucleus.index}")
            self.polarity_box.setItemText(0, f"auto: {'low' if nucleus.inverted else 'high'}")
        if objects is None:
            return
        if self.threshold_auto.isChecked() and objects.threshold is not None:
            self.blockSignals(True)
            self.threshold.setValue(objects.threshold)
            self.blockSignals(False)
        if objects.min_area is not None:
            also = "" if pixel_size is None else f", {objects.min_area * pixel_size**2:.3g} µm²"
            self.min_area.setSpecialValueText(f"auto ({objects.min_area:.0f} px²{also})")

    def forget_report(self) -> None:
        """Another run begins: nothing is known of what "auto" comes to."""
        self.class_box.setItemText(0, "auto")
        self.polarity_box.setItemText(0, "auto")
        self.min_area.setSpecialValueText("auto")

    def show_saved(self, name: str | None) -> None:
        """Say which layer *Save labels* writes; None: there is none, and it is off."""
        self.save_button.setEnabled(name is not None)
        how = "As OME-TIFF, with pixel size and report, or 16-bit PNG."
        if name is None:
            self.saved_label.setText("no labels to save yet")
            self.save_button.setToolTip(f"There are no labels to save yet.\n{how}")
        else:
            self.saved_label.setText(f"saves: {name}")
            self.save_button.setToolTip(f"Save the labels '{name}'.\n{how}")
        self.saved_label.setToolTip(self.save_button.toolTip())

    # -- inside

    def _lay_out(self) -> None:
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        pair = QHBoxLayout()
        pair.addWidget(self.class_box, 1)
        pair.addWidget(self.polarity_box, 1)
        line = QHBoxLayout()
        line.addWidget(self.threshold_auto)
        line.addWidget(self.threshold, 1)
        cuts = QHBoxLayout()
        cuts.addWidget(self.split)
        cuts.addWidget(self.split_depth, 1)
        size = QHBoxLayout()
        size.addWidget(self.min_area, 1)
        for row, (text, content, buddy) in enumerate(
            (
                ("nuclei are", pair, self.class_box),
                ("threshold", line, self.threshold),
                ("minimum area", size, self.min_area),
                ("", cuts, None),
            )
        ):
            label = QLabel(text)
            if buddy is not None:
                label.setBuddy(buddy)
                label.setToolTip(buddy.toolTip())
            grid.addWidget(label, row, 0)
            grid.addLayout(content, row, 1)
        grid.setColumnStretch(1, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(self.make_button)
        buttons.addWidget(self.save_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(grid)
        layout.addLayout(buttons)
        layout.addWidget(self.saved_label)

    def _connect(self) -> None:
        self.class_box.currentIndexChanged.connect(self._on_change)
        self.polarity_box.currentIndexChanged.connect(self._on_change)
        self.threshold_auto.toggled.connect(self._on_change)
        self.threshold.valueChanged.connect(self._on_threshold)
        self.min_area.valueChanged.connect(self._on_change)
        self.split.toggled.connect(self._on_change)
        self.split.toggled.connect(self.split_depth.setEnabled)
        self.split_depth.valueChanged.connect(self._on_change)
        self.make_button.clicked.connect(self.make_clicked)
        self.save_button.clicked.connect(self.save_clicked)

    def _on_threshold(self) -> None:
        if self.signalsBlocked():
            return
        if self.threshold_auto.isChecked():  # whoever moves the slider wants its value
            self.threshold_auto.setChecked(False)
        else:
            self._on_change()

    def _on_change(self, *_: object) -> None:
        self.changed.emit()


def _spin(low: float, high: float, unit: str, tooltip: str) -> NumberBox:
    box = NumberBox()
    box.setRange(low, high)
    box.setSuffix(f" {unit}")
    box.setToolTip(tooltip)
    return box

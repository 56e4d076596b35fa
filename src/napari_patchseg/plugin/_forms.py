"""Where the settings' editors stand: the form of training and machine, and that of the nuclei."""

from __future__ import annotations

from qtpy.QtWidgets import QAbstractSpinBox, QLabel, QPushButton, QSizePolicy, QWidget

from napari_patchseg.method.maps import NucleusClass
from napari_patchseg.report import NucleusReport, Report
from napari_patchseg.settings import FIELDS

from ._controls import button, caption, form
from ._editors import Editors
from ._measurement_panel import MeasurementPanel

#: Those that people ask for, before those of the method.
_FIRST = ("max_steps", "seed", "image_kind", "nucleus_class", "nucleus_polarity")


class SettingsForm(QWidget):
    """Preset, and all settings that stand nowhere else.

    Parameters
    ----------
    editors : Editors
        Those of all settings.
    understood : QLabel
        How the image was understood, to stand beside its kind.
    class_button : QPushButton
        To stand beside the class.
    """

    def __init__(self, editors: Editors, understood: QLabel, class_button: QPushButton) -> None:
        super().__init__()
        self.preset = editors["preset"].widget
        self.preset.activated.connect(editors.reset)  # also the same once more
        self.reset_button = button(
            "Reset", "Back to the preset; the seed and the machine stay.", editors.reset
        )
        self.reset_button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        class_button.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        beside = {"nucleus_class": (class_button,)}
        names = [*_FIRST, *(name for name in FIELDS if name not in _FIRST)]
        layout = form(
            self,
            (editors["preset"].caption(), self.preset, self.reset_button),
            *(
                (editors[name].caption(), editors[name].widget, *beside.get(name, ()))
                for name in names
                if not FIELDS[name].in_view
            ),
        )
        layout.insertRow(1 + _FIRST.index("image_kind") + 1, understood)

    def show_changed(self, changed: bool) -> None:
        """Say whether any setting differs from the preset's."""
        for index in range(self.preset.count()):
            name = str(self.preset.itemData(index))
            mark = changed and index == self.preset.currentIndex()
            self.preset.setItemText(index, f"{name}, changed" if mark else name)
        self.reset_button.setEnabled(changed)


class ObjectsForm(QWidget):
    """How many nuclei of which size; threshold, sizes and split, which redraw them at once.

    The diameter stands beside the image's pixel size.

    Parameters
    ----------
    editors : Editors
        Those of all settings.
    """

    def __init__(self, editors: Editors) -> None:
        super().__init__()
        self._editors = editors
        self.class_box = editors["nucleus_class"].widget
        self.measurements = MeasurementPanel(editors)
        self.measurements.setParent(self)  # the tab key comes there first
        self.threshold = editors["threshold"].box
        self.threshold_auto = editors["threshold"].automatic
        self.min_area = editors["min_area"].widget
        self.max_area = editors["max_area"].widget
        self.max_area.setSpecialValueText("no limit")
        for box in (self.min_area, self.max_area):  # the handles do what these would
            box.setButtonSymbols(QAbstractSpinBox.ButtonSymbols.NoButtons)
        self.split = editors["split"].widget
        self.split_depth = editors["split_depth"].widget
        self.split.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.split.toggled.connect(self.split_depth.setEnabled)
        #: The diameter that the last labels were made with, in pixels, and µm per pixel.
        self._diameter: tuple[float | None, float | None] = None, None
        layout = form(
            self,
            (editors["threshold"].caption(), editors["threshold"].widget),
            (caption("area", self.min_area), self.min_area, QLabel("to"), self.max_area),
            ("", self.split, self.split_depth),
        )
        layout.insertRow(0, self.measurements)
        editors.changed.connect(self._show_diameter)

    def _show_diameter(self) -> None:
        diameter, pixel_size = self._diameter
        text = "" if diameter is None else f"{diameter:.0f} px"
        if self._editors["diameter_unit"].get() == "µm" and diameter and pixel_size:
            text = f"{diameter * pixel_size:.3g} µm"
        self._editors["nucleus_diameter"].show_automatic(text)

    def forget_class(self) -> None:
        """Class numbers mean nothing for another image."""
        self._editors["nucleus_class"].set(None)
        self._editors["nucleus_polarity"].set(None)

    def show_class(self, nucleus: NucleusClass | NucleusReport | None) -> None:
        """Show what class and polarity came to, where they are automatic; None: nothing yet."""
        index = "" if nucleus is None else str(nucleus.index)
        polarity = "" if nucleus is None else "inverted" if nucleus.inverted else "direct"
        for name, choice in (("nucleus_class", index), ("nucleus_polarity", polarity)):
            if nucleus is None or self._editors[name].get() is None:
                self._editors[name].show_automatic(choice)

    def show_report(self, report: Report | None, pixel_size: float | None = None) -> None:
        """Show what automatic choices came to.

        Parameters
        ----------
        report : Report or None
            Of the labels made last; None as long as there are none.
        pixel_size : float or None
            µm per pixel, where it is known.
        """
        self.show_class(None if report is None else report.nucleus_class)
        objects = None if report is None else report.objects
        min_area = None if objects is None else objects.min_area
        self._diameter = None if objects is None else objects.diameter, pixel_size
        editors = self._editors
        editors["min_area"].show_automatic("" if min_area is None else f"{min_area:.0f} px²")
        if objects is not None and objects.threshold is not None:
            editors["threshold"].show_automatic(objects.threshold)
        if report is None:
            self.measurements.clear()
        if min_area is not None and editors["min_area"].get() is None:
            self.measurements.show_least(min_area)
        self._show_diameter()

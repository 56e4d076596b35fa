"""Where the settings' editors stand: the form of training and machine, and that of the nuclei."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

from napari_patchseg.report import Report
from napari_patchseg.settings import FIELDS

from ._controls import button, caption, form, narrow
from ._editors import Editors


class SettingsForm(QWidget):
    """Preset and training; the few settings that matter in view, the rest folded away.

    Parameters
    ----------
    editors : Editors
        Those of all settings.
    """

    def __init__(self, editors: Editors) -> None:
        super().__init__()
        self.preset = editors["preset"].widget
        self.preset.activated.connect(editors.reset)  # also the same once more
        self.reset_button = button(
            "Reset", "Back to the preset; the seed and the machine stay.", editors.reset
        )

        grid = QGridLayout()
        chosen = QHBoxLayout()
        chosen.addWidget(self.preset, 1)
        chosen.addWidget(self.reset_button)
        grid.addWidget(editors["preset"].caption(), 0, 0)
        grid.addLayout(chosen, 0, 1, 1, 3)
        content = QWidget()
        folded = QFormLayout(content)
        folded.setContentsMargins(8, 0, 0, 0)
        folded.setVerticalSpacing(2)
        column = 0
        for name, field in FIELDS.items():
            editor = editors[name]
            if not field.in_view:
                folded.addRow(editor.caption(), editor.widget)
            elif field.group == "training":
                grid.addWidget(editor.caption(), 1, column)
                grid.addWidget(editor.widget, 1, column + 1)
                grid.setColumnStretch(column + 1, 1)
                column += 2
        self.folded = QCollapsible("More settings")
        self.folded.setDuration(0)
        self.folded.setContent(content)
        self.folded.collapse(animate=False)
        self.folded.toggleButton().setToolTip("Network, patches, optimisation and machine")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(grid)
        layout.addWidget(self.folded)

    def show_changed(self, changed: bool) -> None:
        """Say whether any setting differs from the preset's."""
        for index in range(self.preset.count()):
            name = str(self.preset.itemData(index))
            mark = changed and index == self.preset.currentIndex()
            self.preset.setItemText(index, f"{name}, changed" if mark else name)
        self.reset_button.setEnabled(changed)


class ObjectsForm(QWidget):
    """From confidence to nuclei: class, threshold, size and split, redrawn at once.

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
        polarity = editors["nucleus_polarity"].widget
        for box in (self.class_box, polarity):
            narrow(box, 6)
        self.threshold = editors["threshold"].box
        self.threshold_auto = editors["threshold"].automatic
        self.min_area = editors["min_area"].widget
        self.split = editors["split"].widget
        self.split_depth = editors["split_depth"].widget
        self.split.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.split.toggled.connect(self.split_depth.setEnabled)
        form(
            self,
            (caption("nuclei are", self.class_box), self.class_box, polarity),
            (editors["threshold"].caption(), editors["threshold"].widget),
            (editors["min_area"].caption(), self.min_area),
            ("", self.split, self.split_depth),
        )

    def forget_class(self) -> None:
        """Class numbers mean nothing for another image."""
        self._editors["nucleus_class"].set(None)
        self._editors["nucleus_polarity"].set(None)

    def show_report(self, report: Report | None, pixel_size: float | None = None) -> None:
        """Show what automatic choices came to.

        Parameters
        ----------
        report : Report or None
            Of the labels made last; None as long as there are none.
        pixel_size : float or None
            µm per pixel, where it is known.
        """

        def measure(value: float | None, power: int, unit: str) -> str:
            if value is None:
                return ""
            also = "" if pixel_size is None else f", {value * pixel_size**power:.3g} µm{unit}"
            return f"{value:.0f} px{unit}{also}"

        nucleus = None if report is None else report.nucleus_class
        objects = None if report is None else report.objects
        index = "" if nucleus is None else str(nucleus.index)
        polarity = "" if nucleus is None else "inverted" if nucleus.inverted else "direct"
        diameter = None if objects is None else objects.diameter
        min_area = None if objects is None else objects.min_area
        editors = self._editors
        editors["nucleus_class"].show_automatic(index)
        editors["nucleus_polarity"].show_automatic(polarity)
        editors["nucleus_diameter"].show_automatic(measure(diameter, 1, ""))
        editors["min_area"].show_automatic(measure(min_area, 2, "²"))
        if objects is not None and objects.threshold is not None:
            editors["threshold"].show_automatic(objects.threshold)

"""From confidence to nuclei: class, threshold, size and split, redrawn at once."""

from __future__ import annotations

from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QWidget

from napari_patchseg.report import NucleusReport, ObjectsReport
from napari_patchseg.settings import Objects

from ._editors import Editors, caption, narrow


class ObjectsPanel(QWidget):
    """The form of `Objects`, but for the diameter, which stands beside the image's pixel size.

    Parameters
    ----------
    editors : Editors
        Those of all settings.
    """

    def __init__(self, editors: Editors) -> None:
        super().__init__()
        self._editors = editors
        self.class_box = editors["nucleus_class"].widget
        self.polarity_box = editors["nucleus_polarity"].widget
        for box in (self.class_box, self.polarity_box):
            narrow(box, 6)
        self.threshold = editors["threshold"].slider
        self.threshold_auto = editors["threshold"].automatic
        self.min_area = editors["min_area"].widget
        self.split = editors["split"].widget
        self.split_depth = editors["split_depth"].widget
        self.split.toggled.connect(self.split_depth.setEnabled)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        rows = (
            (caption("nuclei are", self.class_box), self.class_box, self.polarity_box),
            (editors["threshold"].caption(), editors["threshold"].widget),
            (editors["min_area"].caption(), self.min_area),
            (QLabel(), self.split, self.split_depth),
        )
        for number, (label, *widgets) in enumerate(rows):
            line = QHBoxLayout()
            line.setSpacing(3)
            for widget in widgets:
                line.addWidget(widget, widget is not self.split)
            grid.addWidget(label, number, 0)
            grid.addLayout(line, number, 1)
        grid.setColumnStretch(1, 1)

    @property
    def value(self) -> Objects:
        """What counts as a nucleus, the diameter included."""
        return self._editors.objects

    def forget_class(self) -> None:
        """Class numbers mean nothing for another image."""
        self._editors["nucleus_class"].set(None)
        self._editors["nucleus_polarity"].set(None)

    def show_report(
        self, nucleus: NucleusReport | None, objects: ObjectsReport | None, pixel_size: float | None
    ) -> None:
        """Show what automatic choices came to.

        Parameters
        ----------
        nucleus, objects : NucleusReport and ObjectsReport, or None
            Of the labels made last; None as long as there are none.
        pixel_size : float or None
            µm per pixel, where it is known.
        """

        def measure(value: float | None, power: int) -> str:
            if value is None:
                return ""
            unit = "²" if power == 2 else ""
            also = "" if pixel_size is None else f", {value * pixel_size**power:.3g} µm{unit}"
            return f"{value:.0f} px{unit}{also}"

        index = "" if nucleus is None else str(nucleus.index)
        polarity = "" if nucleus is None else "inverted" if nucleus.inverted else "direct"
        self._editors["nucleus_class"].show_automatic(index)
        self._editors["nucleus_polarity"].show_automatic(polarity)
        diameter = None if objects is None else objects.diameter
        min_area = None if objects is None else objects.min_area
        self._editors["nucleus_diameter"].show_automatic(measure(diameter, 1))
        self._editors["min_area"].show_automatic(measure(min_area, 2))
        if objects is not None and objects.threshold is not None:
            self._editors["threshold"].show_automatic(objects.threshold)

"""The table of the nuclei: a row a nucleus, sorted by any measurement, copied to a spreadsheet."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt, QTimer
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QHBoxLayout,
    QLabel,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from napari_patchseg.words import pluralize

from ._controls import button
from ._features import places_last, without_pixels

if TYPE_CHECKING:
    import pandas as pd
    from napari.viewer import Viewer

_NAME = "nuclei, measured"
#: Least, in pixels: a few rows.
_HEIGHT = 150


class _Model(QAbstractTableModel):
    """A table in the order of one of its columns."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.names: list[str] = []
        self.columns: list[Any] = []
        self.numbers = np.empty(0, int)
        self._order = np.empty(0, np.intp)
        self._rows: dict[int, int] = {}
        self._by: tuple[str, bool] | None = None

    def take(self, table: pd.DataFrame | None) -> None:
        self.beginResetModel()
        self.names = [] if table is None else list(table.columns)
        self.columns = [] if table is None else [table[name].to_numpy() for name in self.names]
        self.numbers = self.columns[0] if self.columns else np.empty(0, int)
        self._arrange()
        self.endResetModel()

    def _arrange(self) -> None:
        order = np.arange(len(self.numbers))
        if self._by is not None and self._by[0] in self.names:
            name, descends = self._by
            values = self.columns[self.names.index(name)]
            order = np.argsort(-values if descends else values, kind="stable")
        self._order = order
        self._rows = {int(number): row for row, number in enumerate(self.numbers[order])}

    def row_of(self, number: int) -> int | None:
        return self._rows.get(number)

    def number_at(self, row: int) -> int:
        return int(self.numbers[self._order[row]])

    def text(self, row: int, column: int, digits: int = 4) -> str:
        value = self.columns[column][self._order[row]]
        if isinstance(value, np.floating):
            return "" if np.isnan(value) else f"{value:.{digits}g}"
        return str(value)

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self._order)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        return 0 if parent is not None and parent.isValid() else len(self.names)

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.DisplayRole:
            return self.text(index.row(), index.column())
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        return None

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        is_name = role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole)
        if is_name and orientation == Qt.Orientation.Horizontal:
            from napari_patchseg.objects import pretty

            return pretty(self.names[section])
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        if column not in range(len(self.names)):  # nothing was measured yet
            return
        self.layoutAboutToBeChanged.emit()
        self._by = self.names[column], order == Qt.SortOrder.DescendingOrder
        self._arrange()
        self.layoutChanged.emit()


class ObjectsTable(QWidget):
    """All nuclei with all measurements."""

    #: The user chose a row: the nucleus' number.
    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.model = _Model(self)
        self.view = QTableView()
        self.view.setModel(self.model)
        self.view.setSortingEnabled(True)
        self.view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.view.setAccessibleName(_NAME)
        self.view.setMinimumHeight(_HEIGHT)
        header = self.view.verticalHeader()
        if header is not None:
            header.hide()
        selection = self.view.selectionModel()
        assert selection is not None
        selection.currentRowChanged.connect(self._on_row)
        self.view.pressed.connect(self._on_pressed)
        self.count = QLabel()
        self.copy_button = button(
            "Copy", "Put the rows chosen on the clipboard, else all, for a spreadsheet", self.copy
        )
        row = QHBoxLayout()
        row.addWidget(self.count, 1)
        row.addWidget(self.copy_button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 0, 4, 4)
        layout.addLayout(row)
        layout.addWidget(self.view)
        copy = QShortcut(QKeySequence(QKeySequence.StandardKey.Copy), self.view, self.copy)
        copy.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self._is_marking, self._told = False, -1
        self.show_table(None)

    def show_table(self, table: pd.DataFrame | None, image: str = "") -> None:
        """Show what was measured on an image; what was chosen stays so if it is still there."""
        names, bar = self.model.names, self.view.verticalScrollBar()
        scrolled = 0 if bar is None else bar.value()
        chosen = [self.model.number_at(row) for row in self._chosen_rows()]
        self._is_marking = True
        try:
            if table is not None:
                table = table[places_last(without_pixels(table.columns))]
            self.model.take(table)
            self._choose_rows(self.model.row_of(number) for number in chosen)
        finally:
            self._is_marking = False
        if bar is not None:
            bar.setValue(scrolled)
        if self.model.names != names:
            self._fit()
        count = pluralize(len(self.model.numbers), "nucleus", "nuclei")
        self.count.setText(f"{image}: {count}" if image else count)
        if table is None:
            self.count.setText("measured as soon as there are labels and nothing is learnt")
        self.copy_button.setEnabled(len(self.model.numbers) > 0)

    def mark(self, number: int) -> None:
        """Show the row of a nucleus."""
        row = self.model.row_of(number)
        if row is None or row == self.view.currentIndex().row():
            return
        self._is_marking = True
        try:
            self.view.selectRow(row)
            self.view.scrollTo(self.model.index(row, 0))
        finally:
            self._is_marking = False

    def copy(self) -> None:
        """Put the rows chosen on the clipboard, or all, with their headers."""
        model, rows = self.model, self._chosen_rows()
        rows = sorted(rows) if len(rows) > 1 else list(range(model.rowCount()))
        columns = range(model.columnCount())
        lines = [model.names, *([model.text(row, one, 10) for one in columns] for row in rows)]
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText("\n".join("\t".join(line) for line in lines))

    def _chosen_rows(self) -> list[int]:
        selection = self.view.selectionModel()
        return [] if selection is None else [index.row() for index in selection.selectedRows()]

    def _choose_rows(self, rows: Iterable[int | None]) -> None:
        selection = self.view.selectionModel()
        assert selection is not None
        flags = selection.SelectionFlag
        for row in rows:
            if row is not None:
                index = self.model.index(row, 0)
                selection.setCurrentIndex(index, flags.Select | flags.Rows)

    def _fit(self) -> None:
        """Make room for every header; looking at all rows would take seconds."""
        header = self.view.horizontalHeader()
        if header is None:
            return
        for section, name in enumerate(self.model.names):
            self.view.setColumnWidth(section, header.fontMetrics().horizontalAdvance(name) + 28)

    def _on_row(self, index: QModelIndex, _before: QModelIndex) -> None:
        if index.isValid() and not self._is_marking:
            self._told = index.row()
            QTimer.singleShot(0, self._forget_told)
            self.chosen.emit(self.model.number_at(index.row()))

    def _on_pressed(self, index: QModelIndex) -> None:
        """The row that was chosen before is clicked once more."""
        if index.row() != self._told:
            self.chosen.emit(self.model.number_at(index.row()))

    def _forget_told(self) -> None:
        self._told = -1


def show_table(
    viewer: Viewer, known: ObjectsTable | None, on_row: Callable[[int], None]
) -> ObjectsTable:
    """The table in its dock below the canvas, made if it is not there."""
    dock = None if known is None else _DOCKS.get(known)
    if known is not None and dock is not None:
        try:
            dock.show()
            dock.raise_()
        except RuntimeError:  # the user has closed it
            pass
        else:
            return known
    table = ObjectsTable()
    table.chosen.connect(on_row)
    _DOCKS[table] = viewer.window.add_dock_widget(table, name=_NAME, area="bottom")
    return table


#: napari's docks of the tables.
_DOCKS: weakref.WeakKeyDictionary[ObjectsTable, Any] = weakref.WeakKeyDictionary()

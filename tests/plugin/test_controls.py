"""Controls of the panel: numbers typed with real keys in several locales, and a real wheel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from qtpy.QtCore import QLocale, QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import (
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QGraphicsView,
    QLineEdit,
    QScrollArea,
    QScrollBar,
    QWidget,
)

from napari_patchseg.plugin._controls import NumberBox, number_in
from napari_patchseg.plugin.dock_widget import PatchSegWidget

LOCALES = ["en_GB", "de_DE", "fr_FR", "ar_EG"]


@pytest.fixture(params=LOCALES)
def locale(request: pytest.FixtureRequest) -> Iterator[str]:
    before = QLocale()
    QLocale.setDefault(QLocale(request.param))
    yield request.param
    QLocale.setDefault(before)


@pytest.fixture
def many(locale: str, panel: Any) -> Any:
    """The panel, made in a locale."""
    return panel


def line_of(field: QWidget) -> QLineEdit:
    line = field.findChild(QLineEdit)
    assert line is not None
    return line


def enter(field: QWidget, text: str, *, paste: bool = False) -> None:
    """Replace what a field holds by keys or from the clipboard, and press Enter."""
    line = line_of(field)
    line.setFocus()
    line.selectAll()
    QTest.keyClick(line, Qt.Key.Key_Delete)
    if paste:
        clipboard = QApplication.clipboard()
        assert clipboard is not None
        clipboard.setText(text)
        line.paste()
    elif text.isascii():
        QTest.keyClicks(line, text)
    else:  # QTest knows no keys of other scripts
        line.insert(text)
    QTest.keyClick(line, Qt.Key.Key_Return)


def test_both_signs_are_the_decimal_sign_in_every_field(many: Any, viewer: Any, image: Any) -> None:
    viewer.add_image(image, rgb=True)  # some fields are an image's
    fields = list(many.findChildren(QAbstractSpinBox))
    assert len(fields) > 10
    for field in fields:
        assert isinstance(field, NumberBox), field.objectName()
        low = field.minimum() + 10.0 ** -field.decimals()
        wanted = round(min(low + (field.maximum() - low) / 7, 123.4), field.decimals())
        for sign in ".,":
            for paste in (False, True):
                field.setValue(field.maximum())
                enter(field, f"{wanted:.6f}".replace(".", sign), paste=paste)
                assert field.value() == pytest.approx(wanted, abs=1e-9), field.accessibleName()
                shown = line_of(field).text()
                assert "," not in shown
                assert shown.isascii() or "µ" in shown or "²" in shown


def test_both_signs_in_the_sliders_field(many: Any) -> None:
    slider = many.objects.threshold
    for text in ("0.3", "0,3", ",3", " 0,30 "):
        for paste in (False, True):
            slider.setValue(0.8)
            enter(slider, text, paste=paste)
            assert slider.value() == pytest.approx(0.3)
            assert line_of(slider).text() == "0.30"
    for text in ("", "0,3,4", "x", "1 000"):
        enter(slider, text, paste=True)
        assert slider.value() == pytest.approx(0.3), text
    enter(slider, "3")
    assert slider.value() == pytest.approx(0.99)


def test_what_is_no_number_leaves_the_value_before(many: Any) -> None:
    many.diameter.setValue(21)
    groups = ("1.234,5", "1,234.5", "1 234,5", "1\u202f234,5", "1\u00a0234", "1'234", "1_234")
    for text in (*groups, "x", "1e", "nan"):
        for paste in (False, True):
            enter(many.diameter, text, paste=paste)
            assert many.diameter.value() == 21, text
            assert line_of(many.diameter).text() == "21.0"


def test_numbers_of_other_scripts_units_and_words(many: Any) -> None:
    for text, wanted in (
        ("\u0661\u0662\u066b\u0665", 12.5),
        ("\u200f12,5\u200f", 12.5),
        ("\u00a012.5\u202f", 12.5),
        ("1.25e1", 12.5),
        ("12345", 1000),
        ("\u22123", 0),
        ("auto", 0),
        ("", 0),
    ):
        many.diameter.setValue(21)
        enter(many.diameter, text)
        assert many.diameter.value() == wanted, text
    for text in ("45", "45px²", "45 px²", "44,9"):
        enter(many.objects.min_area, text)
        assert many.objects.min_area.value() == 45
    enter(many.objects.min_area, "auto")
    assert many.settings().objects.min_area is None


def test_a_whole_number_is_rounded_not_multiplied(many: Any) -> None:
    steps = many.editors["max_steps"]
    for text, wanted in (("12.4", 12), ("12,6", 13), ("1.000", 1), ("2000", 2000)):
        enter(steps.widget, text)
        assert steps.get() == wanted
        assert isinstance(steps.get(), int)
        assert line_of(steps.widget).text() == str(wanted)


def test_nothing_changes_before_the_number_is_complete(many: Any) -> None:
    seen: list[float] = []
    many.diameter.setValue(21)
    many.diameter.valueChanged.connect(seen.append)
    line = line_of(many.diameter)
    line.setFocus()
    line.selectAll()
    QTest.keyClicks(line, "12,5")
    assert seen == []
    QTest.keyClick(line, Qt.Key.Key_Return)
    assert seen == [12.5]


def test_a_run_started_by_key_takes_the_number_still_being_typed(
    many: Any, viewer: Any, image: Any, wait: Any
) -> None:
    viewer.add_image(image, rgb=True)
    line = line_of(many.diameter)
    line.setFocus()
    line.selectAll()
    QTest.keyClicks(line, "12,5")
    many.train()
    assert many.session.run.settings.objects.nucleus_diameter == 12.5
    many.session.stop()
    wait(lambda: not many.session.is_busy)


def test_words_of_other_programs_are_no_numbers() -> None:
    for text in ("inf", "Infinity", "1__0", "--1", "0x1f", "1.2.3", ".", "e5"):
        assert number_in(text) is None, text


# -- the wheel


def turn(widget: QWidget, delta: int = -120) -> None:
    """One notch over a widget; as Qt does it, the parents get what it leaves."""
    over: QWidget | None = widget
    while over is not None and not over.isWindow():
        centre = over.rect().center()
        event = QWheelEvent(
            QPointF(centre),
            QPointF(over.mapToGlobal(centre)),
            QPoint(),
            QPoint(0, delta),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        if QApplication.sendEvent(over, event) and event.isAccepted():
            return
        over = over.parentWidget()


def state(widget: QWidget) -> Any:
    if isinstance(widget, QComboBox):
        return widget.currentIndex()
    return widget.value()  # type: ignore[attr-defined]


def scrolls(bar: QScrollBar, widget: QWidget) -> bool:
    """Whether the wheel over a widget moves the panel, there and back."""
    bar.setValue(0)
    turn(widget)
    down = bar.value()
    turn(widget, 120)
    return down > 0 and bar.value() == 0


@pytest.fixture
def small(viewer: Any, image: Any, qtbot: Any) -> Any:
    """A panel with an image, all its settings and curves, and room for a part of it."""
    viewer.add_image(image, rgb=True)
    panel = PatchSegWidget(viewer)
    qtbot.addWidget(panel)
    for fold in panel.folds.buttons.values():
        fold.click()
    panel.curves.show_history([(1, 1.0, 0.1, 0.2), (2, 0.5, 0.1, 0.3)])
    panel.resize(400, 300)
    with qtbot.waitExposed(panel):
        panel.show()
    return panel


def test_the_wheel_scrolls_and_changes_nothing(small: Any) -> None:
    area = small.findChild(QScrollArea)
    bar = area.verticalScrollBar()
    kinds = (QComboBox, QAbstractSpinBox, QAbstractSlider)
    controls = [
        control
        for kind in kinds
        for control in small.findChildren(kind)
        if not isinstance(control, QScrollBar) and control.isEnabled()
    ]
    assert len(controls) > 25
    before = {control: state(control) for control in controls}
    for control in controls:
        assert control.focusPolicy() != Qt.FocusPolicy.WheelFocus
        assert scrolls(bar, control), control.objectName()
    assert {control: state(control) for control in controls} == before
    bar.setValue(bar.maximum())
    (view,) = small.curves.findChildren(QGraphicsView)
    under = small.curves.childAt(view.geometry().center()) or small.curves
    assert not view.isAncestorOf(under)
    assert scrolls(bar, under)


def test_with_the_focus_the_wheel_changes_a_control(small: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(QApplication, "focusWidget", lambda: small.diameter)
    small.diameter.setValue(20)
    turn(small.image.unit)
    turn(small.diameter)
    assert small.image.unit.currentText() == "px"
    assert small.diameter.value() < 20

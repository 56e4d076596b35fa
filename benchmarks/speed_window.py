"""Section "window" of `speed.py`: what the user of a window waits for.

    python benchmarks/speed_window.py [--images DIR] [--parts beside,command,lateness,threshold]

command: from the right-click command to the first map, the first and the last labels, torch not
imported before.
beside: the window beside the command line on the same images, in turns, torch imported before the
clock starts in both; from the right-click command to the labels and the end of the run, or from
`cli.main` to its end, files included. lateness: that of a 10 ms timer of Qt, the time between two
ticks beyond 10 ms. threshold: from a move of the slider to outline and labels. strokes: a robot
paints hints, from the end of a stroke to the map and to the labels, and lateness meanwhile.

Everything happens in fresh processes with a real window, each in a configuration of its own, as on
a machine's first run; under Xvfb where `xvfb-run` is there. One image is synthetic, the first two
of `--images` are added. The window is used as a user does: buttons and sliders are found by what
they say, layers by what their metadata says.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

#: Fresh processes of which the median counts.
ROUNDS = 3
#: Seconds that a state of the window is watched.
WATCHED = 8.0
THRESHOLDS = (0.4, 0.6, 0.45, 0.55)
PARTS = ("beside", "command", "lateness", "threshold", "strokes")
BESIDE = ("window", "quiet window", "line")


def measure(folder: Path | None = None, parts: Sequence[str] = PARTS) -> dict[str, Any]:
    """All figures; seconds and milliseconds as their names say."""
    images: list[Path | None] = [None]
    if folder is not None:
        images += sorted(path for path in folder.iterdir() if path.is_file())[:2]
    measures: dict[str, Callable[[], Any]] = {
        "beside": lambda: [
            [{what: child(what, image) for what in BESIDE} for _ in range(ROUNDS)]
            for image in images
        ],
        "command": lambda: [[child("command", image) for _ in range(ROUNDS)] for image in images],
        "lateness": lambda: child("lateness"),
        "threshold": lambda: {side: child("threshold", side=side) for side in (1000, 4000)},
        "strokes": lambda: child("strokes"),
    }
    return {part: measures[part]() for part in parts}


def report(figures: Mapping[str, Any]) -> dict[str, str]:
    """Tables by name."""
    makers = {
        "beside": beside_table,
        "command": command_table,
        "lateness": lateness_table,
        "threshold": threshold_table,
        "strokes": strokes_table,
    }
    return {f"window {part}": makers[part](rows) for part, rows in figures.items()}


def beside_table(images: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    from common import short, table

    rows = []
    for turns in images:
        line = statistics.median(turn["line"]["seconds"] for turn in turns)
        cells = [turns[0]["line"]["image"], short(line)]
        for what in ("window", "quiet window"):
            ratios = sorted(turn[what]["seconds"] / turn["line"]["seconds"] for turn in turns)
            low, *_, high = map("{:.2f}".format, ratios)
            cells.append(f"{statistics.median(ratios):.2f} ({low} to {high})")
        rows.append(cells)
    columns = ("image", "command line, s", "window, times that", "without live layers, times that")
    return table(columns, rows)


def command_table(images: Sequence[Sequence[Mapping[str, Any]]]) -> str:
    from common import short, table

    columns = ("panel", "first map", "first labels", "last labels")
    rows = [
        [rounds[0]["image"]]
        + [short(statistics.median(one[column] for one in rounds)) for column in columns]
        for rounds in images
    ]
    return table(("image", *(f"{column}, s" for column in columns)), rows)


def lateness_table(states: Mapping[str, Mapping[str, float]]) -> str:
    from common import short, table

    rows = [
        (name, f"{row['p99']:.0f}", f"{row['worst']:.0f}", short(row["maps"]))
        for name, row in states.items()
    ]
    return table(("state", "99th percentile, ms", "worst, ms", "maps a second"), rows)


def threshold_table(sides: Mapping[Any, Sequence[Mapping[str, float]]]) -> str:
    from common import table

    rows = []
    for side, moves in sides.items():
        cells = [
            f"{statistics.median(row[what] for row in moves):.0f} ({moves[0][what]:.0f})"
            for what in ("outline", "labels")
        ]
        rows.append((side, *cells))
    return table(("side, px", "outline, ms (first)", "labels, ms (first)"), rows)


def strokes_table(figures: Mapping[str, Any]) -> str:
    from common import short, table

    first, *others = figures["strokes"]
    late = figures["lateness"]
    rows = [
        [f"{what} after a stroke, s", short(statistics.median(row[what] for row in others)),
         short(first[what])]
        for what in ("map", "labels")
    ]  # fmt: skip
    rows.append(["lateness while painting, 99th percentile, ms", f"{late['p99']:.0f}", ""])
    rows.append(["the same, worst, ms", f"{late['worst']:.0f}", ""])
    return table(("", "median", "first"), rows)


def child(what: str, image: Path | None = None, side: int = 1000) -> Any:
    """What a function of `CHILDREN` finds in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, str(Path(__file__).resolve()), "--child", what]
        command += ["--side", str(side), "--json", str(out)]
        if image is not None:
            command += ["--image", str(image.resolve())]
        if shutil.which("xvfb-run"):
            command = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", *command]
        environment = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, "XDG_CONFIG_HOME": folder}
        # What is installed is not compiled anew at every start.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
        return json.loads(out.read_text())


# -- in the fresh process


def synthetic() -> Any:
    from napari_patchseg import synthetic_field

    return synthetic_field((1000, 1000))[0]


def import_all() -> None:
    """What a run needs, beforehand."""
    for module in ("napari_patchseg.pipeline", "safetensors.torch", "pandas"):
        importlib.import_module(module)


class Window:
    """A viewer with an image, as a user has it who has just opened one."""

    def __init__(self, options: argparse.Namespace) -> None:
        import napari
        import numpy as np
        from qtpy.QtWidgets import QApplication

        if options.image:
            from napari_patchseg.files.images import read_image

            array, self.name = read_image(options.image).array, options.image.stem
        else:
            times = options.side // 1000
            array, self.name = np.tile(synthetic(), (times, times, 1)), "synthetic"
        self.viewer = napari.Viewer()
        self.layer = self.viewer.add_image(array, name=self.name)
        self._process = QApplication.processEvents
        self.wait(1.0)

    # -- waiting

    def until(self, condition: Callable[[], Any]) -> None:
        """Run the event loop until something holds and is drawn."""
        while not condition():
            self._process()
            time.sleep(0.001)
        self._process()

    def wait(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        self.until(lambda: time.perf_counter() > end)

    def run_until(self, condition: Callable[[], Any]) -> None:
        """Leave the window to Qt, as napari does, until something holds; it is asked now and then.

        `until` asks all the time, which a run beside it would feel.
        """
        from qtpy.QtCore import QEventLoop, QTimer

        loop, timer = QEventLoop(), QTimer()
        timer.timeout.connect(lambda: condition() and loop.quit())
        timer.start(20)
        loop.exec()
        timer.stop()

    # -- what a user sees and uses

    def segment(self) -> None:
        """The command of the right-click menu, as napari executes it."""
        from napari._app_model import get_app_model  # noqa: TID251 - the menu's own way

        self.viewer.layers.selection.active = self.layer
        get_app_model().commands.execute_command("napari-patchseg.segment").result()

    def open_panel(self) -> Any:
        _, self.panel = self.viewer.window.add_plugin_dock_widget("napari-patchseg")
        import_all()
        self.wait(1)
        return self.panel

    def find_panel(self) -> None:
        """The panel that the command opened."""
        from napari_patchseg.plugin.layer_menu import find_panel

        self.panel = find_panel(self.viewer)

    def _find(self, name: str, of: Callable[[Any], str]) -> Any:
        from qtpy.QtWidgets import QWidget

        return next(child for child in self.panel.findChildren(QWidget) if of(child) == name)

    def button(self, shortcut: str) -> Any:
        """By its key, since what it says changes."""
        return self._find(shortcut, lambda w: w.shortcut().toString() if _is_button(w) else "")

    @property
    def live_box(self) -> Any:
        return self._find("live layers", lambda w: w.text() if _is_button(w) else "")

    def is_busy(self) -> bool:
        stop = self.button("F7")
        return stop.isEnabled() or stop.text() != "Stop"

    def layer_of(self, role: str) -> Any:
        """The layer of ours that shows this; None if there is none yet."""
        for layer in self.viewer.layers:
            if layer.metadata.get("napari_patchseg", {}).get("role") == role:
                return layer
        return None

    def shows(self, role: str) -> bool:
        layer = self.layer_of(role)
        return layer is not None and layer.visible


def _is_button(widget: Any) -> bool:
    from qtpy.QtWidgets import QAbstractButton

    return isinstance(widget, QAbstractButton)


def whole_run(window: Window, *, live: bool) -> dict[str, Any]:
    """From the right-click to the labels and the end of the run; torch is there before."""
    window.open_panel()
    window.live_box.setChecked(live)
    window.wait(0.5)
    start = time.perf_counter()
    window.segment()
    window.run_until(lambda: window.layer_of("nuclei") and not window.is_busy())
    window.until(lambda: True)  # drawn
    return {"image": window.name, "seconds": time.perf_counter() - start}


def line(options: argparse.Namespace) -> dict[str, Any]:
    """The same by the command line, in a process that has imported what it needs."""
    import tifffile

    from napari_patchseg.cli import main as command

    import_all()
    path = options.image or options.json.parent / "synthetic.tif"
    if not options.image:
        tifffile.imwrite(path, synthetic(), photometric="rgb")
    start = time.perf_counter()
    code = command(["segment", str(path), "-o", str(options.json.parent / "labels.ome.tif")])
    assert not code
    return {"image": path.stem, "seconds": time.perf_counter() - start}


def from_command(window: Window) -> dict[str, Any]:
    """From the command to panel, first map and labels."""
    assert "torch" not in sys.modules
    start = time.perf_counter()
    window.segment()
    panel = time.perf_counter() - start
    window.find_panel()
    window.until(lambda: window.layer_of("confidence"))
    first = time.perf_counter() - start
    window.until(lambda: window.layer_of("nuclei"))
    first_labels = time.perf_counter() - start
    window.until(lambda: not window.is_busy())
    last_labels = time.perf_counter() - start
    seconds = window.layer_of("nuclei").metadata["napari_patchseg"]["seconds"]
    return {
        "image": window.name,
        "panel": panel,
        "first map": first,
        "first labels": first_labels,
        "last labels": last_labels,
        "phases": seconds,
    }


def lateness(window: Window) -> dict[str, Any]:
    """The same window idle, training without live layers, and with them."""
    from napari_patchseg import Settings

    panel = window.open_panel()
    states = {"idle": watch(window)}
    panel.show_settings(Settings.create(stop_at_convergence=False, max_steps=1000))
    panel.train()
    window.until(lambda: window.layer_of("negative patches"))
    window.wait(1)
    states["training and streaming"] = watch(window)
    window.live_box.setChecked(False)
    window.wait(1)
    states["training without live layers"] = watch(window)
    window.button("F7").click()
    window.until(lambda: not window.is_busy())
    return states


def watch(window: Window) -> dict[str, float]:
    from qtpy.QtCore import QEventLoop, Qt, QTimer

    gaps: list[float] = []
    steps = set()
    loop, timer, last = QEventLoop(), QTimer(), [time.perf_counter()]

    def tick() -> None:
        now = time.perf_counter()
        gaps.append(1000 * max(0.0, now - last[0] - 0.01))
        last[0] = now
        layer = window.layer_of("confidence")
        if layer is not None:
            steps.add(layer.metadata["napari_patchseg"].get("step"))

    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.timeout.connect(tick)
    timer.start(10)
    QTimer.singleShot(int(1000 * WATCHED), loop.quit)
    loop.exec()
    timer.stop()
    ordered = sorted(gaps)
    return {
        "p99": ordered[int(0.99 * (len(ordered) - 1))],
        "worst": ordered[-1],
        "maps": max(0, len(steps) - 1) / WATCHED,
    }


def threshold(window: Window) -> list[dict[str, float]]:
    """A slider of the panel, from the move to the outline and to the labels."""
    from napari_patchseg import Settings

    panel = window.open_panel()
    panel.show_settings(Settings.create(max_steps=1))
    window.segment()
    window.until(lambda: window.layer_of("nuclei") and not window.is_busy())
    window.wait(0.5)
    labels = window.layer_of("nuclei")
    rows = []
    for value in THRESHOLDS[: 4 if max(labels.data.shape) <= 1000 else 2]:
        start = time.perf_counter()
        panel.objects.threshold.setValue(value)
        window.until(lambda: window.shows("outline"))
        outline = time.perf_counter() - start
        window.until(
            lambda v=value: (
                labels.metadata["napari_patchseg"]["objects"]["threshold"] == v
                and not window.shows("outline")
            )
        )
        rows.append({"outline": 1000 * outline, "labels": 1000 * (time.perf_counter() - start)})
        window.wait(0.3)
    return rows


def strokes(window: Window) -> dict[str, Any]:
    """Hints painted after a run: what follows, and how late the window is."""
    import numpy as np
    from qtpy.QtCore import QTimer

    panel = window.open_panel()
    window.segment()
    window.until(lambda: window.layer_of("nuclei") and not window.is_busy())
    window.wait(0.5)
    panel.session.hand.paint(1)
    hints = window.layer_of("hints")
    random = np.random.default_rng(0)
    changes: dict[str, float] = {}
    for role, name in (("confidence", "map"), ("nuclei", "labels")):
        layer = window.layer_of(role)
        layer.events.data.connect(
            lambda _, name=name: changes.setdefault(name, time.perf_counter())
        )
        layer.events.set_data.connect(
            lambda _, name=name: changes.setdefault(name, time.perf_counter())
        )

    def stroke() -> None:
        start = random.integers(50, 900, 2)
        hints.selected_label = int(random.integers(1, 3))
        for step in range(10):
            hints.paint(start + 2 * step, hints.selected_label)

    rows = []
    for _ in range(6):
        stroke()
        changes.clear()
        ended = time.perf_counter()
        window.run_until(lambda: len(changes) == 2 and not panel.session.is_relabelling)
        rows.append({name: at - ended for name, at in changes.items()})
        window.wait(0.3)
    timer = QTimer()
    timer.timeout.connect(stroke)
    timer.start(1500)
    late = watch(window)
    timer.stop()
    return {"strokes": rows, "lateness": late}


CHILDREN: dict[str, Callable[[Window], Any]] = {
    "window": lambda window: whole_run(window, live=True),
    "quiet window": lambda window: whole_run(window, live=False),
    "command": from_command,
    "lateness": lateness,
    "threshold": threshold,
    "strokes": strokes,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="a folder; the first two are used")
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--json", type=Path, help="keeps the figures")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--image", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, default=1000, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child == "line":
        options.json.write_text(json.dumps(line(options)))
        return
    if options.child:
        options.json.write_text(json.dumps(CHILDREN[options.child](Window(options))))
        os._exit(0)  # the window is not what is measured
    figures = measure(options.images, options.parts.split(","))
    for name, text in report(figures).items():
        print(f"{name}\n\n{text}\n", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()

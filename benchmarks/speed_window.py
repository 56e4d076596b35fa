"""What the user of a window waits for: first map, labels, redrawn labels, a window that answers.

    python benchmarks/speed_window.py [--images DIR] [--json results.json] [--parts beside,...]

"beside" runs the window beside the command line on the same images: default settings, fresh
processes in turn, torch imported before the clock starts in both. The window's clock runs from the
right-click command to the labels and the end of the run, the command line's from `cli.main` to its
end, reading and writing files included.

Everything happens in fresh processes with a real window, each in a configuration of its own, as on
a machine's first run; under Xvfb where `xvfb-run` is there. Lateness is that of a 10 ms timer of
Qt: the time between two ticks beyond 10 ms. Without `--images` the image is synthetic.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BEGAN = time.perf_counter()

#: Fresh processes of which the median counts, for the first map.
ROUNDS = 3
#: Seconds that a state of the window is watched.
WATCHED = 8.0
THRESHOLDS = (0.4, 0.6, 0.45, 0.55)
PARTS = ("beside", "command", "lateness", "threshold")
#: Runs of window, window without live layers and command line, in turn, whose ratios are taken.
TURNS = 3
BESIDE = ("window", "quiet window", "line")


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All figures; seconds and milliseconds as their names say."""
    folder = getattr(options, "images", None)
    images: list[Path | None] = [None]
    if folder is not None:
        images += sorted(path for path in Path(folder).iterdir() if path.is_file())[:2]
    parts = (getattr(options, "parts", None) or ",".join(PARTS)).split(",")
    figures: dict[str, Any] = {}
    if "beside" in parts:
        figures["beside"] = _beside(images)
    if "command" in parts:
        figures["command"] = []
        for image in images:
            rounds = [_child("command", image) for _ in range(ROUNDS if image is None else 1)]
            figures["command"].append(_middle(rounds))
    if "lateness" in parts:
        figures["lateness"] = _child("lateness")
    if "threshold" in parts:
        figures["threshold"] = {side: _child("threshold", side=side) for side in (1000, 4000)}
    return figures


def _beside(images: list[Path | None]) -> list[dict[str, Any]]:
    """Window and command line in turn, with one machine choice for all."""
    rows = []
    with tempfile.TemporaryDirectory() as home:
        _child("line", home=home)  # chooses what is best for the machine, which all then share
        for image in images:
            turns = [
                {what: _child(what, image, home=home) for what in BESIDE} for _ in range(TURNS)
            ]
            rows.append({"image": "synthetic" if image is None else image.stem, "turns": turns})
    return rows


def report(figures: dict[str, Any]) -> str:
    """Markdown."""
    makers = {
        "beside": _report_beside,
        "command": _report_command,
        "lateness": _report_lateness,
        "threshold": _report_threshold,
    }
    return "\n\n".join(
        "\n".join(make(figures[part])) for part, make in makers.items() if part in figures
    )


def _report_beside(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["### The window beside the command line, medians", ""]
    columns = ["image", "command line, s", "window / command line: s", "CPU s"]
    columns += ["without live layers: s", "CPU s", "steps", "main thread, CPU s: live, not live"]
    lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]

    def ratio(turns: list[dict[str, Any]], what: str, key: str) -> str:
        each = sorted(turn[what][key] / turn["line"][key] for turn in turns)
        return f"{statistics.median(each):.2f} ({each[0]:.2f} to {each[-1]:.2f})"

    for row in rows:
        turns = row["turns"]
        middle = {
            (what, key): statistics.median(turn[what][key] for turn in turns)
            for what in BESIDE
            for key in ("seconds", "main", "steps")
        }
        cells = [row["image"], f"{middle['line', 'seconds']:.2f}"]
        for what in ("window", "quiet window"):
            cells += [ratio(turns, what, key) for key in ("seconds", "cpu")]
        cells.append(", ".join(f"{middle[what, 'steps']:.0f}" for what in BESIDE))
        cells.append(f"{middle['window', 'main']:.2f}, {middle['quiet window', 'main']:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _report_command(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["### From the command to the first map and to labels, seconds", ""]
    phases = list(rows[0]["phases"])
    columns = ["image", "process start to command", "panel", "first map", "labels", *phases]
    lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for row in rows:
        cells = [row["image"]]
        cells += [f"{row[k]:.2f}" for k in ("before", "panel", "first_map", "labels")]
        cells += [f"{row['phases'].get(phase, 0):.2f}" for phase in phases]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _report_lateness(late: dict[str, Any]) -> list[str]:
    lines = ["### Lateness of a 10 ms timer, milliseconds", ""]
    lines += [
        "| state | median | 99th percentile | worst | maps a second |",
        "|---|---|---|---|---|",
    ]
    for state, row in late.items():
        lines.append(
            f"| {state} | {row['median']:.1f} | {row['p99']:.1f} | {row['worst']:.1f} "
            f"| {row['maps']:.2f} |"
        )
    beyond = late["training and streaming"]["p99"] - late["repainting"]["p99"]
    lines += ["", f"99th percentile beyond that of the repainting window: {beyond:.1f} ms."]
    return lines


def _report_threshold(rows: dict[Any, Any]) -> list[str]:
    lines = ["### From moving the threshold, milliseconds", ""]
    lines += ["| side | outline (first) | labels (first) |", "|---|---|---|"]
    for side, moves in rows.items():
        cells = [
            f"{statistics.median(row[key] for row in moves):.0f} ({moves[0][key]:.0f})"
            for key in ("outline", "labels")
        ]
        lines.append(f"| {side} | {' | '.join(cells)} |")
    return lines


def _middle(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of several processes the one whose first map came in the median time."""
    ordered = sorted(rounds, key=lambda row: row["first_map"])
    middle = ordered[(len(ordered) - 1) // 2]
    return {**middle, "all_first_maps": [row["first_map"] for row in rounds]}


def _child(
    what: str, image: Path | None = None, side: int = 1000, *, home: str | None = None
) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [sys.executable, str(Path(__file__).resolve())]
        command += ["--child", what, "--side", str(side), "--json", str(out)]
        if image is not None:
            command += ["--image", str(image.resolve())]
        if shutil.which("xvfb-run"):
            command = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", *command]
        environment = {
            "OMP_WAIT_POLICY": "PASSIVE",
            **os.environ,
            "XDG_CONFIG_HOME": home or folder,
        }
        # What is installed is not compiled anew at every start.
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        subprocess.run(command, check=True, env=environment, stdout=sys.stderr)
        return json.loads(out.read_text())


# -- in the fresh process


class _Window:
    """A viewer with an image, as a user has it who has just opened one."""

    def __init__(self, options: argparse.Namespace) -> None:
        import napari
        import numpy as np
        from qtpy.QtWidgets import QApplication

        if options.image:
            from napari_patchseg.files.images import read_image

            array, self.name = read_image(Path(options.image)).array, Path(options.image).stem
        else:
            array, self.name = _synthetic(), "synthetic"
            times = options.side // 1000
            array = np.tile(array, (times, times, 1))
        self.viewer = napari.Viewer()
        self.layer = self.viewer.add_image(array, name=self.name)
        self._process = QApplication.processEvents
        self.wait(1.0)

    def until(self, condition: Callable[[], Any]) -> None:
        """Run the event loop until something holds and is drawn."""
        while not condition():
            self._process()
            time.sleep(0.001)
        self._process()

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

    def wait(self, seconds: float) -> None:
        end = time.perf_counter() + seconds
        self.until(lambda: time.perf_counter() > end)

    def panel(self) -> Any:
        from napari_patchseg.plugin.layer_menu import find_panel

        panel = find_panel(self.viewer)
        from napari_patchseg.plugin.preload import preload

        self.wait(0.5)
        self.until(lambda: not preload().is_alive())
        return panel

    def layer_of(self, role: str) -> Any:
        """The layer of ours that shows this; None if there is none yet."""
        for layer in self.viewer.layers:
            if layer.metadata.get("napari_patchseg", {}).get("role") == role:
                return layer
        return None

    def shows(self, role: str) -> bool:
        return self.layer_of(role) is not None


def _synthetic() -> Any:
    from napari_patchseg import synthetic_field

    return synthetic_field((1000, 1000))[0]


class _Clock:
    """Seconds, and those of all cores and of the main thread, since it was made."""

    def __init__(self) -> None:
        self._began = self._now()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        return time.perf_counter(), time.process_time(), time.thread_time()

    def read(self) -> dict[str, float]:
        seconds, cpu, main = (
            now - began for now, began in zip(self._now(), self._began, strict=True)
        )
        return {"seconds": seconds, "cpu": cpu, "main": main}


def _whole_run(window: _Window, *, live: bool) -> dict[str, Any]:
    """From the right-click to the labels and the end of the run; torch is there before."""
    from napari._app_model import get_app_model  # noqa: TID251 - the menu's own way

    panel = window.panel()
    panel.run.stream_box.setChecked(live)
    window.viewer.layers.selection.active = window.layer
    window.wait(0.5)
    clock = _Clock()
    get_app_model().commands.execute_command("napari-patchseg.segment").result()
    window.run_until(lambda: window.shows("nuclei") and not panel.session.is_busy)
    window.until(lambda: True)  # drawn
    figures = clock.read()
    labels = window.layer_of("nuclei")
    report = labels.metadata["napari_patchseg"]
    return {
        **figures,
        "steps": report["steps"],
        "phases": report["seconds"],
        "count": int(labels.data.max()),
    }


def _line(options: argparse.Namespace) -> dict[str, Any]:
    """The same by the command line, in a process that has imported what it needs."""
    import tifffile

    from napari_patchseg.cli import main as command
    from napari_patchseg.plugin.preload import import_pipeline

    import_pipeline()
    folder = options.json.parent
    path = options.image or folder / "synthetic.tif"
    if not options.image:
        tifffile.imwrite(path, _synthetic(), photometric="rgb")
    out, report = folder / "labels.ome.tif", folder / "report.json"
    clock = _Clock()
    code = command(["segment", str(path), "-o", str(out), "--report", str(report)])
    figures = clock.read()
    assert not code
    told = json.loads(report.read_text())
    return {
        **figures,
        "steps": told["steps"],
        "phases": told["seconds"],
        "count": told["objects"]["count"],
    }


def _command(window: _Window) -> dict[str, Any]:
    """The command of the right-click menu, as napari executes it."""
    from napari._app_model import get_app_model  # noqa: TID251 - the menu's own way

    assert "torch" not in sys.modules
    start = time.perf_counter()
    get_app_model().commands.execute_command("napari-patchseg.segment").result()
    panel = time.perf_counter() - start
    window.until(lambda: window.shows("confidence"))
    first = time.perf_counter() - start
    step = window.layer_of("confidence").metadata["napari_patchseg"]["step"]
    window.until(lambda: window.shows("nuclei"))
    labels = time.perf_counter() - start
    seconds = window.layer_of("nuclei").metadata["napari_patchseg"]["seconds"]
    return {
        "image": window.name,
        "before": start - BEGAN,
        "panel": panel,
        "first_map": first,
        "first_map_step": step,
        "labels": labels,
        "phases": {"panel, imports, reading": labels - sum(seconds.values()), **seconds},
    }


def _lateness(window: _Window) -> dict[str, Any]:
    """The same window in four states."""
    from qtpy.QtCore import QEventLoop, Qt, QTimer

    from napari_patchseg import Settings

    gaps: list[float] = []

    def watch() -> dict[str, float]:
        loop, timer, last = QEventLoop(), QTimer(), [time.perf_counter()]

        def tick() -> None:
            now = time.perf_counter()
            gaps.append(1000 * max(0.0, now - last[0] - 0.01))
            last[0] = now

        gaps.clear()
        timer.setTimerType(Qt.TimerType.PreciseTimer)
        timer.timeout.connect(tick)
        timer.start(10)
        QTimer.singleShot(int(1000 * WATCHED), loop.quit)
        loop.exec()
        timer.stop()
        ordered = sorted(gaps)
        return {
            "median": statistics.median(ordered),
            "p99": ordered[int(0.99 * (len(ordered) - 1))],
            "worst": ordered[-1],
            "maps": 0.0,
        }

    panel = window.panel()
    session = panel.session
    states = {"idle": watch()}
    panel.show_settings(Settings.create(stop_at_convergence=False, max_steps=1000))
    panel.train()
    window.until(lambda: window.shows("negative patches"))
    window.wait(1)
    live = session.presenter.live
    written: list[tuple[float, str, Any]] = []
    writers = {name: getattr(live, name) for name in _WRITERS}
    for name, writer in writers.items():
        setattr(
            live,
            name,
            lambda shown, n=name, w=writer: (
                written.append((time.perf_counter(), n, shown)),
                w(shown),
            ),
        )
    began = time.perf_counter()
    streaming = watch()
    maps = sum(name == "write_map" for _, name, _ in written)
    streaming["maps"] = maps / WATCHED
    panel.run.stream_box.setChecked(False)
    window.wait(1)
    quiet = watch()
    session.stop()
    window.until(lambda: not session.is_busy)
    window.wait(1)
    for when, name, shown in written:  # the same once more, at the same times
        QTimer.singleShot(int(1000 * (when - began)), lambda w=writers[name], data=shown: w(data))
    states["repainting"] = {**watch(), "maps": maps / WATCHED}
    return {**states, "training, not streaming": quiet, "training and streaming": streaming}


_WRITERS = ("write_map", "write_positive", "write_negative")


def _threshold(window: _Window) -> list[dict[str, float]]:
    """A slider of the panel, from the move to the outline and to the labels."""
    from napari_patchseg import Settings

    panel = window.panel()
    panel.show_settings(Settings.create(max_steps=1))
    panel.segment(window.layer)
    window.until(lambda: window.shows("nuclei") and not panel.session.is_busy)
    window.wait(0.5)
    labels = window.layer_of("nuclei")
    rows = []
    for threshold in THRESHOLDS[: 4 if max(labels.data.shape) <= 1000 else 2]:
        start = time.perf_counter()
        panel.objects.threshold.setValue(threshold)
        window.until(lambda: window.shows("outline") and window.layer_of("outline").visible)
        outline = time.perf_counter() - start
        objects = labels.metadata["napari_patchseg"]["objects"]
        assert objects["threshold"] != threshold
        window.until(
            lambda t=threshold: (
                labels.metadata["napari_patchseg"]["objects"]["threshold"] == t
                and not panel.session.presenter.is_drawing
            )
        )
        rows.append({"outline": 1000 * outline, "labels": 1000 * (time.perf_counter() - start)})
        window.wait(0.3)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=Path, help="a folder; the first two are used")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    parser.add_argument("--child", help="internal")
    parser.add_argument("--image", help="internal")
    parser.add_argument("--side", type=int, default=1000, help="internal")
    options = parser.parse_args()
    if options.child == "line":
        options.json.write_text(json.dumps(_line(options)))
        return
    if options.child:
        child = {
            "window": lambda window: _whole_run(window, live=True),
            "quiet window": lambda window: _whole_run(window, live=False),
            "command": _command,
            "lateness": _lateness,
            "threshold": _threshold,
        }
        options.json.write_text(json.dumps(child[options.child](_Window(options))))
        os._exit(0)  # the window is not what is measured
    figures = measure(options)
    print(report(figures))
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

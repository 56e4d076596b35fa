"""Speed: every figure a ratio, or beside its yardstick, measured in one run.

    python benchmarks/speed.py [--json results.json] [--sections step,scale,window] [--images DIR]

A section is a module ``speed_<section>.py`` beside this one, with ``measure(options) -> dict``
(JSON-ready) and ``report(figures) -> str`` (markdown); it runs in a process of its own. Results
are kept in the JSON file by section: a second call replaces what it measures and leaves the rest.
Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from napari_patchseg.files.atomic import atomic_write

SECTIONS = ("step", "scale", "window")


def run_section(name: str, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Figures of a section and the markdown that shows them."""
    module = importlib.import_module(f"speed_{name}")
    figures = module.measure(options)
    return figures, module.report(figures)


def in_fresh_process(name: str, options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """`run_section` in a new interpreter: nothing that another section has loaded or allocated."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
        return pool.submit(run_section, name, options).result()


def keep(path: Path, name: str, figures: dict[str, Any]) -> None:
    """Put a section's figures among those that the file has."""
    kept = json.loads(path.read_text()) if path.exists() else {}
    kept[name] = figures
    with atomic_write(path) as part:
        part.write_text(json.dumps(kept, indent=1))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="keeps figures, by section")
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"of {','.join(SECTIONS)}")
    parser.add_argument("--images", type=Path, help="real images, for sections that take some")
    options = parser.parse_args(arguments)
    wanted = options.sections.split(",")
    if unknown := [name for name in wanted if name not in SECTIONS]:
        parser.error(f"no section {', '.join(unknown)}; choose of {', '.join(SECTIONS)}")
    for name in wanted:
        if importlib.util.find_spec(f"speed_{name}") is None:
            print(f"Section {name} is not here.\n", file=sys.stderr)
            continue
        figures, text = in_fresh_process(name, options)
        print(f"## {name.capitalize()}\n\n{text}\n", flush=True)
        if options.json is not None:
            keep(options.json, name, figures)


if __name__ == "__main__":
    main()

"""Speed: every figure a ratio, or beside its yardstick, measured in one run.

    python benchmarks/speed.py [--sections step,scale,window,measure] [--images DIR]
        [--json results.json] [--write]

A section is a module ``speed_<section>.py`` beside this one, with ``measure(images) -> dict``
(JSON-ready) and ``report(figures)``, which makes tables of them by name; it runs in a process of
its own. Results are kept in the JSON file by section: a second call replaces what it measures and
leaves the rest. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from common import Kept, write

SECTIONS = ("step", "scale", "window", "measure")


def measured(name: str, images: Path | None) -> tuple[dict[str, Any], dict[str, str]]:
    """Figures of a section, and its tables."""
    module = importlib.import_module(f"speed_{name}")
    figures = module.measure(images)
    return figures, module.report(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="keeps figures, by section")
    parser.add_argument("--sections", default=",".join(SECTIONS), help=f"of {','.join(SECTIONS)}")
    parser.add_argument("--images", type=Path, help="real images, for sections that take some")
    parser.add_argument("--write", action="store_true", help="put the tables into the docs")
    options = parser.parse_args()
    sections, kept = options.sections.split(","), Kept(options.json)
    if unknown := [name for name in sections if name not in SECTIONS]:
        parser.error(f"no section {', '.join(unknown)}; choose of {', '.join(SECTIONS)}")
    for section in sections:
        # In a new interpreter: nothing that another section has loaded or allocated.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(max_workers=1, mp_context=spawn) as pool:
            figures, tables = pool.submit(measured, section, options.images).result()
        kept.keep(section, figures)
        for name, text in tables.items():
            print(f"{name}\n\n{text}\n", flush=True)
            if options.write:
                write(f"speed {name}", text)


if __name__ == "__main__":
    main()

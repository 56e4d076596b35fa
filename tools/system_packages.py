"""Find the Debian packages that Qt and a test X server need and that are missing.

Python's standard library only: tox runs this before anything else.

    python tools/system_packages.py            install what is missing as root, or say how
    python tools/system_packages.py --check    only look: exit code 1 if something is missing

On a system without dpkg there is nothing to look up, and it says so.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence

# What the wheels of PyQt6 and PySide6 load from the system, and what pytest-xvfb starts.
PACKAGES = (
    "libdbus-1-3",
    "libegl1",
    "libfontconfig1",
    "libgl1",
    "libgl1-mesa-dri",
    "libglib2.0-0",
    "libglx-mesa0",
    "libopengl0",
    "libxcb-cursor0",
    "libxcb-icccm4",
    "libxcb-image0",
    "libxcb-keysyms1",
    "libxcb-randr0",
    "libxcb-render-util0",
    "libxcb-shape0",
    "libxcb-xfixes0",
    "libxcb-xinerama0",
    "libxcb-xinput0",
    "libxi6",
    "libxkbcommon-x11-0",
    "libxrender1",
    "xauth",
    "xvfb",
)

# A line of dpkg-query: name, status, and the names that it stands for ("libglib2.0-0 (= 2.84)").
QUERY = "${Package}\t${db:Status-Status}\t${Provides}\n"


def installed(listing: str) -> set[str]:
    """Names that a dpkg listing (lines of `QUERY`) has installed, provided names included.

    Debian 13 has libglib2.0-0t64, which provides libglib2.0-0.
    """
    names: set[str] = set()
    for line in listing.splitlines():
        name, status, provides = line.split("\t")
        if status == "installed":
            names.add(name)
            names.update(part.split()[0] for part in provides.split(",") if part.strip())
    return names


def missing(listing: str, wanted: Iterable[str] = PACKAGES) -> list[str]:
    """Wanted packages that a dpkg listing does not have installed, in the given order."""
    have = installed(listing)
    return [name for name in wanted if name not in have]


def commands(packages: Sequence[str]) -> list[list[str]]:
    """The two commands that install packages."""
    return [
        ["apt-get", "update"],
        ["apt-get", "install", "-y", "--no-install-recommends", *packages],
    ]


def line_to_type(packages: Sequence[str]) -> str:
    """One line that installs packages, for a user who is not root."""
    return " && ".join("sudo " + shlex.join(command) for command in commands(packages))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the script; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="install nothing, only look")
    check: bool = parser.parse_args(arguments).check

    if not sys.platform.startswith("linux") or shutil.which("dpkg-query") is None:
        print("system packages: no dpkg here, nothing to look up")
        return 0
    listing = subprocess.run(
        ["dpkg-query", "-W", "-f", QUERY], check=True, capture_output=True, text=True
    ).stdout
    packages = missing(listing)
    if not packages:
        print("system packages: all there")
        return 0
    if check or os.geteuid() != 0 or shutil.which("apt-get") is None:
        print("Packages for Qt and X are missing. Type this line, then start again:")
        print("    " + line_to_type(packages))
        return 1
    print("system packages: installing " + " ".join(packages), flush=True)
    for command in commands(packages):
        code = subprocess.run(command, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        if code.returncode != 0:
            print(f"{shlex.join(command)} failed. Once it works, start again:")
            print("    " + line_to_type(packages))
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

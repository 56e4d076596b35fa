"""The command line: napari-patchseg segment, train and demo.

What is imported here is light: torch and the image libraries come when there is something to do, so
that ``--help`` answers at once, and after Ctrl-C is listened for.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from napari_patchseg.errors import PatchSegError

from ._arguments import parse
from ._console import Console


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments without the program's name; by default the process's.

    Returns
    -------
    int
        The exit code: 0, 1 if an image has no results, 2 for a mistake, 130 after Ctrl-C.

    Raises
    ------
    SystemExit
        For ``--help``, ``--version``, no arguments, and a command that is none.
    """
    # Or OpenMP's idle threads spin, and a busy machine takes several times as long. torch's reads
    # the variable when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    console = Console()  # before the help: it sees to what a terminal cannot show
    args = parse(sys.argv[1:] if argv is None else argv)
    console.quiet, console.mistakes = args.quiet, args.mistakes
    with console:
        try:
            module = importlib.import_module(f"._{args.command}", __name__)
            return int(getattr(module, args.command)(args, console))
        except BaseException as error:
            if not console.signal:  # an interrupted library may raise anything
                if not isinstance(error, PatchSegError):
                    raise
                for line in str(error).splitlines():  # several mistakes have a line each
                    console.error(line)
                return 2  # as argparse has it for what the user can put right
    written = ", ".join(str(path) for path in console.written())
    console.error(
        f"Stopped; written before: {written}" if written else "Stopped; nothing was written."
    )
    return 128 + console.signal

"""``python -m napari_patchseg``: the command line."""

from __future__ import annotations

import sys

from napari_patchseg.cli import main

if __name__ == "__main__":
    sys.exit(main())

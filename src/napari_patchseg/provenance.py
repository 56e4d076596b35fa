"""What a result came from, as plain values that go into files, layers and reports."""

from __future__ import annotations

import math
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from napari_patchseg.method.settings import Settings
from napari_patchseg.method.snapshot import NucleusClass

PACKAGES = ("napari-patchseg", "torch", "numpy", "scipy", "scikit-image")


def provenance(settings: Settings) -> dict[str, Any]:
    """Settings, seed and versions, JSON-ready."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "unknown"
    return {"settings": settings.to_dict(), "seed": settings.seed, "versions": versions}


def nucleus_class(nucleus: NucleusClass) -> dict[str, Any]:
    """The class taken for nuclei, JSON-ready."""
    correlation = None if math.isnan(nucleus.correlation) else round(nucleus.correlation, 4)
    return {"index": nucleus.index, "inverted": nucleus.inverted, "correlation": correlation}

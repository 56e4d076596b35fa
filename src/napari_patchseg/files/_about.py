"""What files of ours say about their objects: which image they are of, where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import PurePath
from typing import Any

from numpy.typing import NDArray

from napari_patchseg.words import image_name

from .labels import SavedLabels, sizes_of, to_json


@dataclass(frozen=True)
class About:
    """Said about labels.

    Attributes
    ----------
    name : str or None
        Of the image.
    shape : (int, int) or None
        Its height and width.
    pixel_size : tuple of float or None
        Size of a pixel in µm, (y, x).
    report : mapping
        Where the labels come from.
    origin : (int, int)
        Row and column of the labels' first pixel in the image.
    """

    name: str | None = None
    shape: tuple[int, int] | None = None
    pixel_size: tuple[float, ...] | None = None
    report: Mapping[str, Any] = field(default_factory=dict)
    origin: tuple[int, int] = (0, 0)

    @classmethod
    def read(cls, value: Any) -> About:
        """From what a file says: `to_json`'s, or whatever others have made of it."""
        value = value if isinstance(value, Mapping) else {}
        name, shape, report = value.get("name"), value.get("shape"), value.get("report")
        is_shape = _is_pair(shape) and 0 not in shape
        origin = value.get("origin")
        try:
            sizes = sizes_of(value.get("pixel_size"))
        except (TypeError, ValueError):
            sizes = ()
        return cls(
            name=name if isinstance(name, str) and name else None,
            shape=(shape[0], shape[1]) if is_shape else None,
            pixel_size=sizes or None,
            report=report if isinstance(report, Mapping) else {},
            origin=(origin[0], origin[1]) if _is_pair(origin) else (0, 0),
        )

    def to_json(self) -> str:
        """As JSON, in ASCII."""
        return to_json(asdict(self))

    def labels(
        self, labels: NDArray[Any], path: PurePath, warnings: tuple[str, ...] = ()
    ) -> SavedLabels:
        """Labels with what is said about them."""
        name = self.name or image_name(path)
        told = self.shape is not None
        return SavedLabels(labels, self.pixel_size, name, dict(self.report), warnings, told)


def _is_pair(value: Any) -> bool:
    is_pair = isinstance(value, list) and len(value) == 2
    return is_pair and all(type(number) is int and 0 <= number < 2**32 for number in value)

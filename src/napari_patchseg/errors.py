"""The one family of errors that a user can cause.

This module is the ground floor: every room may import it, and it imports none.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class PatchSegError(Exception):
    """A mistake that the user can put right; its text is one sentence that says how."""


class SettingsError(PatchSegError, ValueError):
    """A setting is unknown or out of range.

    Attributes
    ----------
    sentences : tuple of str
        What is wrong apart from single settings.
    wrong : mapping of str to str
        What is wrong with each setting, by its name.
    """

    def __init__(self, *sentences: str, wrong: Mapping[str, str] = MappingProxyType({})) -> None:
        self.sentences = sentences
        self.wrong = wrong
        super().__init__(
            "\n".join([*sentences, *(f"Setting {name}: {what}" for name, what in wrong.items())])
        )


class ImageError(PatchSegError, ValueError):
    """The image cannot be segmented: its shape, type or content does not allow it."""


class FileError(PatchSegError, OSError):
    """A file could not be read or written, or is not what it should be."""


class ModelError(PatchSegError):
    """A model file is damaged, of another version, or does not fit the image."""


class DeviceError(PatchSegError):
    """The chosen device is unknown, absent, or ran out of memory."""


class TrainingError(PatchSegError):
    """Training failed for a reason that is not the user's; the cause is chained."""


def reason_of(error: BaseException) -> str:
    """First line of what an error of a library says, to be put into a sentence of ours."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")[:200]

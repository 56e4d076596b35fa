"""The one family of errors that a user can cause.

This module is the ground floor: every room may import it, and it imports nothing.
"""

from __future__ import annotations


class PatchSegError(Exception):
    """A mistake that the user can put right; its text is one sentence that says how."""


class SettingsError(PatchSegError, ValueError):
    """A setting is unknown or out of range."""


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

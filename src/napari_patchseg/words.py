"""Numbers in sentences for the user."""

from __future__ import annotations


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number and its noun; `many` where the plural is not `one` with an s."""
    return f"{count} {one if count == 1 else many or one + 's'}"

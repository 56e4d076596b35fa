"""Freed memory goes back to the system where the C library can be asked for it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

import pytest

from napari_patchseg.method.memory import give_back

MIB = 2**20


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries hold nothing back")
def test_what_was_freed_below_a_block_in_use_goes_back() -> None:
    blocks = [b"\1" * 100_000 for _ in range(1_000)]  # too small to be mapped one by one
    last = blocks.pop()  # lies above the others, so that the C library keeps what they leave
    full = _resident()
    del blocks
    give_back()
    assert _resident() < full - 50 * MIB
    assert len(last) == 100_000


def test_elsewhere_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ctypes, "CDLL", asked.append)
    monkeypatch.setattr(sys, "platform", "win32")
    give_back()
    assert not asked

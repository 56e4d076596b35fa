"""What README and docstrings show, run as it stands there."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from pathlib import Path

import pytest

import napari_patchseg
from napari_patchseg.cli._arguments import parse

README = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """README's fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """README's calls of the command line, as lists of words."""
    lines = [line for block in blocks("sh") for line in re.split(r"\n|&&", block)]
    words = [shlex.split(line, comments=True) for line in lines]
    return [call[1:] for call in words if call[:1] == ["napari-patchseg"]]


def test_python_in_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    image, truth = napari_patchseg.synthetic_field((64, 64))
    another, _ = napari_patchseg.synthetic_field((64, 64), seed=1)
    names = {"image": image, "another": another}
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), names)
    assert names["labels"].shape == truth.shape
    assert names["labels"].max() > 0
    assert (tmp_path / "liver.safetensors").is_file()


@pytest.mark.parametrize("call", commands(), ids=" ".join)
def test_commands_in_the_readme_are_understood(call: list[str]) -> None:
    assert not parse(call).mistakes


def test_examples_in_public_docstrings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    public = [getattr(napari_patchseg, name) for name in napari_patchseg.__all__ if name[0] != "_"]
    results = [
        doctest.testmod(importlib.import_module(module))
        for module in sorted({item.__module__ for item in public})
    ]
    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0

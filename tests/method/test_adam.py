"""The optimiser, beside torch's class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from napari_patchseg.method.training import Adam


@pytest.mark.parametrize("decay", [0.0, 0.01])
def test_it_moves_the_weights_as_torchs_class_does(decay: float) -> None:
    torch.manual_seed(0)
    ours, theirs = (
        [torch.ones(3, 4, requires_grad=True), torch.ones(5, requires_grad=True)] for _ in range(2)
    )
    adam = Adam(ours, 1e-2, decay)
    reference = torch.optim.Adam(theirs, lr=1e-2, weight_decay=decay, fused=True)
    for _ in range(5):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = torch.randn_like(mine)
            its.grad = mine.grad.clone()
        adam.step()
        reference.step()
    for mine, its in zip(ours, theirs, strict=True):
        assert not torch.equal(mine, torch.ones_like(mine))
        assert torch.equal(mine, its)


def test_what_has_no_gradient_stays() -> None:
    moved, left = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    adam = Adam([left, moved], 0.1, 0.5)
    moved.grad = torch.ones(2)
    adam.step()
    assert torch.equal(left, torch.ones(2))
    assert (moved < 1).all()
    assert moved.grad is None


def test_training_does_not_wait_for_torchs_compiler(fresh_python: Callable[..., Any]) -> None:
    fresh_python(
        "-c",
        "import sys, napari_patchseg as n;"
        "n.segment(n.synthetic_field((160, 160))[0], max_steps=2);"
        "assert 'torch' in sys.modules and not {'torch._dynamo', 'sympy'} & set(sys.modules)",
    )

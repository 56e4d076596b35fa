"""Adam (Kingma and Ba, arXiv 1412.6980), without the second of imports that torch's class costs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam


class Adam:
    """Torch's fused Adam, called as a function.

    `torch.optim.Optimizer` imports torch's compiler, as long as it takes for torch itself, before
    its first instance: a user who waits for the first nuclei need not wait for that. The state is
    all that the class would add here.

    Parameters
    ----------
    parameters : iterable of Tensor
        What is learnt, float32.
    rate : float
        Learning rate.
    weight_decay : float
        Factor of the L2 penalty, added to the gradients.
    """

    def __init__(self, parameters: Iterable[Tensor], rate: float, weight_decay: float) -> None:
        self.rate = rate
        self.weight_decay = weight_decay
        self._parameters = list(parameters)
        self._means = [torch.zeros_like(one) for one in self._parameters]
        self._squares = [torch.zeros_like(one) for one in self._parameters]
        self._steps = [
            torch.zeros((), dtype=torch.float32, device=one.device) for one in self._parameters
        ]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for one in self._parameters:
            one.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        moved = [i for i, one in enumerate(self._parameters) if one.grad is not None]
        with torch.no_grad():
            adam(
                [self._parameters[i] for i in moved],
                [grad for one in self._parameters if (grad := one.grad) is not None],
                [self._means[i] for i in moved],
                [self._squares[i] for i in moved],
                [],
                [self._steps[i] for i in moved],
                fused=True,
                amsgrad=False,
                beta1=0.9,
                beta2=0.999,
                lr=self.rate,
                weight_decay=self.weight_decay,
                eps=1e-8,
                maximize=False,
            )

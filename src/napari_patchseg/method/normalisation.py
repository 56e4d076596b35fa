"""Batch normalisation and ELU of maps whose channels are the last in memory."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

#: torch works through channels-last maps a pixel's channels at a time, and eight are less than its
#: vectors hold: pixels side by side are taken as one with that many times the channels.
_SIDE_BY_SIDE = 32


def channels_are_last(maps: Tensor) -> bool:
    """Whether `normalise_elu` is for these maps (N, C, H, W): torch's own way is fast on others."""
    if maps.device.type != "cpu" or maps.is_contiguous():
        return False
    return maps.is_contiguous(memory_format=torch.channels_last)


def normalise_elu(maps: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """What ``elu(norm(maps))`` gives in training mode, running statistics and gradients included.

    Parameters
    ----------
    maps : Tensor
        (N, C, H, W), channels last, on the CPU; float32 or bfloat16, statistics in float32 in
        either case.
    norm : BatchNorm2d
        Affine, with running statistics, which are updated.
    """
    applied = _NormaliseELU.apply(  # type: ignore[no-untyped-call]
        maps, norm.weight, norm.bias, norm.eps
    )
    out: Tensor
    out, mean, variance = applied
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    count = maps.numel() // maps.shape[1]
    with torch.no_grad():
        norm.num_batches_tracked += 1
        # As torch has it: no momentum means the plain mean of all batches so far.
        share = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        norm.running_mean.lerp_(mean, share)
        norm.running_var.lerp_(variance * (count / max(1, count - 1)), share)
    return out


class _NormaliseELU(torch.autograd.Function):
    """Each pass over the maps is one of torch's kernels on the rows' wider view."""

    @staticmethod
    def forward(
        ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        rows, fold = _rows(maps)
        wide = weight.repeat(fold)
        part_mean, part_variance = torch.batch_norm_update_stats(
            rows, torch.zeros_like(wide), torch.zeros_like(wide), 1.0
        )
        part_mean, part_variance = part_mean.view(fold, -1), part_variance.view(fold, -1)
        mean = part_mean.mean(0)
        variance = part_variance.mean(0) + (part_mean - mean).square().mean(0)
        out = _affine(rows, mean, variance, weight, bias, eps)
        out = torch.nn.functional.elu(out, inplace=True).view(maps.permute(0, 2, 3, 1).shape)
        out = out.permute(0, 3, 1, 2)
        ctx.eps = eps
        ctx.save_for_backward(maps, out, mean, variance, weight)
        ctx.mark_non_differentiable(mean, variance)
        return out, mean, variance

    @staticmethod
    def backward(
        ctx: Any, grad: Tensor, _mean: Tensor, _variance: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, None]:
        maps, out, mean, variance, weight = ctx.saved_tensors
        eps = ctx.eps
        rows, fold = _rows(maps)
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad = torch.ops.aten.elu_backward(grad, 1, 1, 1, True, out)
        grad_rows, _ = _rows(grad)
        wide_mean, wide_variance = mean.repeat(fold), variance.repeat(fold)
        # Against statistics that stand still: per channel, the sums of grad and grad x normalised.
        _, slope, shift = torch.ops.aten.native_batch_norm_backward(
            grad_rows,
            rows,
            torch.ones_like(wide_mean),
            wide_mean,
            wide_variance,
            wide_mean,
            torch.rsqrt(wide_variance + eps),
            False,
            eps,
            [False, True, True],
        )
        slope, shift = slope.view(fold, -1).sum(0), shift.view(fold, -1).sum(0)
        # They do not stand still: gain (grad - mean(grad) - normalised mean(grad x normalised)).
        # Written over what elu_backward gave, which nobody else holds: a map less is made.
        gain = weight * torch.rsqrt(variance + eps)
        count = len(rows) * fold
        tilt = -gain * slope / count * torch.rsqrt(variance + eps)
        level = -gain * shift / count - tilt * mean
        nothing = torch.zeros_like(mean)
        _affine(grad_rows, nothing, nothing + 1, gain, level, 0.0, out=grad_rows)
        # Beside the gradient a small term: in the maps' precision it is exact enough.
        grad_rows.addcmul_(rows, tilt.repeat(fold).to(rows.dtype))
        moved = grad_rows.view(maps.permute(0, 2, 3, 1).shape).permute(0, 3, 1, 2)
        return moved, slope, shift, None


def _rows(maps: Tensor) -> tuple[Tensor, int]:
    """(N, C, H, W) as (pixels / fold, fold x C) without a copy, and the fold."""
    channels = maps.shape[1]
    fold = math.gcd(maps.numel() // channels, _SIDE_BY_SIDE)
    return maps.permute(0, 2, 3, 1).reshape(-1, fold * channels), fold


def _affine(
    rows: Tensor,
    mean: Tensor,
    variance: Tensor,
    weight: Tensor,
    bias: Tensor,
    eps: float,
    out: Tensor | None = None,
) -> Tensor:
    """Per channel (rows - mean) / sqrt(variance + eps) x weight + bias; into the rows if wanted."""
    fold = rows.shape[1] // len(mean)
    out = torch.empty_like(rows) if out is None else out
    unused = mean.new_empty(0)
    torch.ops.aten.native_batch_norm.out(
        rows,
        weight.repeat(fold),
        bias.repeat(fold),
        mean.repeat(fold),
        variance.repeat(fold),
        False,
        0.0,
        eps,
        out=out,
        save_mean=unused,
        save_invstd=torch.empty_like(unused),
    )
    return out

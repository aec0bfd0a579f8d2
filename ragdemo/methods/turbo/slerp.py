"""Spherical interpolation of features (ImageRAGTurbo, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

NEARLY = 1e-4
"""Angle in radians below which the way on the sphere is a straight line."""


def slerp(retrieved: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """h = slerp(h_ret, h_tgt; w): from `retrieved` (w = 0) to `target` (w = 1), with the norm of `target`.

    Both `(B, C, h, w)`, `weight` `(B,)` in [0, 1]. The angle is that of a sample's features as one vector.
    """
    whole = target.flatten(1).float()
    start, length = retrieved.flatten(1).float(), whole.norm(dim=1, keepdim=True)
    start = start / start.norm(dim=1, keepdim=True).clamp(min=1e-12)
    end = whole / length.clamp(min=1e-12)
    share = weight.to(end)[:, None]
    angle = torch.arccos((start * end).sum(1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6))
    sine = angle.sin()
    near = angle < NEARLY
    first = torch.where(near, 1 - share, torch.sin((1 - share) * angle) / sine)
    second = torch.where(near, share, torch.sin(share * angle) / sine)
    mixed = first * start + second * end
    mixed = mixed / mixed.norm(dim=1, keepdim=True).clamp(min=1e-12) * length
    mixed = torch.where(share == 1, whole, mixed)  # to the last bit
    return mixed.view_as(target).to(target.dtype)

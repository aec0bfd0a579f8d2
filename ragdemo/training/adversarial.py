"""A small patch discriminator that teaches a decoder clean lines.

Hinge loss (Lim & Ye 2017), spectral norm (Miyato et al. 2018).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

FLAT = 0.03
"""Finite difference below which a true picture counts as flat, in units of [-1, 1]."""
FLAT_WEIGHT = 3.0
"""How much more the reconstruction weighs where the true picture is flat: a discriminator alone draws tiles there."""


class PatchDiscriminator(nn.Module):
    """Pictures `(B, 3, H, W)` in [-1, 1] to logits `(B, 1, H/4, W/4)` and the features behind them."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        sizes = ((3, width, 4, 2), (width, 2 * width, 4, 2), (2 * width, 4 * width, 3, 1))
        self.layers = nn.ModuleList(spectral_norm(nn.Conv2d(i, o, k, s, 1)) for i, o, k, s in sizes)
        self.verdict = spectral_norm(nn.Conv2d(4 * width, 1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        features = []
        for layer in self.layers:
            images = F.leaky_relu(layer(images), 0.2)
            features.append(images)
        return self.verdict(images), features


def careful_reconstruction_loss(restored: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """L1, L2 and L1 on finite differences, which weigh `1 + FLAT_WEIGHT` times where the target is flat."""
    loss = F.l1_loss(restored, target) + F.mse_loss(restored, target)
    for axis in (2, 3):
        true = target.diff(dim=axis)
        flat = (F.max_pool2d(true.abs().amax(1, keepdim=True), 3, 1, 1) < FLAT).float()
        loss = loss + 0.5 * ((restored.diff(dim=axis) - true).abs() * (1 + FLAT_WEIGHT * flat)).mean()
    return loss


def adversarial_losses(
    discriminator: PatchDiscriminator, restored: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The decoder's loss (verdict near edges, feature matching) and the discriminator's own (hinge).

    Each reaches only the weights that it is meant for, so that one backward pass over their sum trains both.
    """
    discriminator.requires_grad_(False)
    verdict, features = discriminator(restored)
    with torch.no_grad():
        _, wanted = discriminator(target)
        near = _edges(target, verdict.shape[-2:])
    matching = sum(F.l1_loss(one, other) for one, other in zip(features, wanted, strict=True))
    for_decoder = 4 * matching - (verdict * near).mean()
    discriminator.requires_grad_(True)
    real, _ = discriminator(target)
    fake, _ = discriminator(restored.detach())
    return for_decoder, F.relu(1 - real).mean() + F.relu(1 + fake).mean()


def _edges(images: torch.Tensor, size: torch.Size) -> torch.Tensor:
    """1 where pictures `(B, 3, 4h, 4w)` have an edge within four pixels, else 0: `(B, 1, h, w)` of `size` (h, w)."""
    rows = F.pad(images.diff(dim=2).abs().amax(1, keepdim=True), (0, 0, 0, 1))
    columns = F.pad(images.diff(dim=3).abs().amax(1, keepdim=True), (0, 1))
    near = F.max_pool2d(rows + columns, 5, 4, 2)[..., : size[0], : size[1]]
    return (near > FLAT).float()

"""A discriminator of latents that looks through the teacher's eyes (ImageRAGTurbo, section 3.1).

Latents are given noise again and read by the frozen encoder half of the teacher's UNet; at several of its stages a head
of two convolutions with spectral norm (Miyato et al. 2018) says how real they look. Hinge loss (Lim & Ye 2017).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ragdemo.models.features import unet_features
from ragdemo.training.hardware import autocast

STAGES = ("down_blocks.0", "down_blocks.1", "down_blocks.2", "mid_block")
WIDTH = 64
NOISED = (50, 800)
"""Between which timesteps latents are given noise."""


class Heads(nn.Module):
    """A verdict `(B, 1, h, w)` on the features of each stage."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.heads = nn.ModuleList(
            nn.Sequential(
                spectral_norm(nn.Conv2d(count, WIDTH, 3, 1, 1)),
                nn.LeakyReLU(0.2),
                spectral_norm(nn.Conv2d(WIDTH, 1, 1)),
            )
            for count in channels
        )

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        return [head(one.float()) for head, one in zip(self.heads, features, strict=True)]


class LatentCritic:
    """The heads on a frozen teacher; the teacher is none of the critic's modules, so it is neither trained nor kept."""

    def __init__(self, teacher: nn.Module, noise_levels: Tensor, heads: Heads) -> None:
        """`noise_levels` `(T,)` are ᾱ by timestep."""
        self._teacher, self._levels, self._heads = teacher, noise_levels, heads

    def losses(self, drawn: Tensor, real: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        """The student's loss and the heads' own, for latents `(B, c, h, w)` of the same captions' `states`.

        Each reaches only the weights that it is meant for, so that one backward pass over their sum trains both.
        """
        self._heads.requires_grad_(False)
        for_student = -_mean(self._verdicts(drawn, states))
        self._heads.requires_grad_(True)
        with torch.no_grad():
            features = [self._seen(latents, states) for latents in (real, drawn.detach())]
        seen_real, seen_drawn = (self._heads(one) for one in features)
        hinge = [F.relu(1 - one).mean() for one in seen_real] + [F.relu(1 + one).mean() for one in seen_drawn]
        return for_student, torch.stack(hinge).mean()

    def _verdicts(self, latents: Tensor, states: Tensor) -> list[Tensor]:
        return self._heads(self._seen(latents, states))

    def _seen(self, latents: Tensor, states: Tensor) -> list[Tensor]:
        """The teacher's features of latents that were given noise."""
        t = torch.randint(*NOISED, (len(latents),), device=latents.device)
        level = self._levels[t].view(-1, 1, 1, 1)
        noisy = level.sqrt() * latents + (1 - level).sqrt() * torch.randn_like(latents)
        with autocast(latents.device):
            found = unet_features(self._teacher, noisy, t, states, STAGES)
        return [found[stage] for stage in STAGES]


def stage_channels(unet: nn.Module) -> list[int]:
    """The channels of each stage's features."""
    widths = list(unet.config.block_out_channels)  # type: ignore[union-attr]
    return [*widths, widths[-1]]


def _mean(verdicts: Sequence[Tensor]) -> Tensor:
    return torch.stack([verdict.mean() for verdict in verdicts]).mean()

"""Pictures of single things with numbered facts, and the damage that training does to pictures for robustness."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from ragdemo.world.oracle import world_answers
from ragdemo.world.pool import Pool, PoolSpec

SPECIES_POOL = PoolSpec("species", "train/species", 31_200)
GENERATOR_POOL = PoolSpec("generator", "train/generator", 24_000)
VALIDATION_POOL = PoolSpec("species", "validate/species", 1_560)
FACTS = tuple(world_answers())
"""What is known of a picture, in the order of the columns of `LabelledPool.labels`; "species" first."""
UNSTATED = -1
"""In labels: the species of a nameless thing. In a text's claims: a fact that the text leaves out."""

_NUMBERS = {fact: {word: i for i, word in enumerate(words)} for fact, words in world_answers().items()}


class LabelledPool:
    """The single things of a pool: `rows` (descriptions), `labels` int64 `(N, facts)`, pictures by position."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        rows = [row[0] for row in pool.rows[: len(pool)]]
        self._single = np.array([i for i, row in enumerate(rows) if len(row["looks"]) == 1])
        self.rows = [rows[i] for i in self._single]
        self.labels = np.array(
            [[number(fact, words[fact]) for fact in FACTS] for words in map(facts_of, self.rows)]
        )

    def __len__(self) -> int:
        return len(self._single)

    def images(self, positions: np.ndarray) -> np.ndarray:
        """uint8 `(N, 128, 128, 3)`."""
        return self._pool.images(self._single[positions])[:, 0]


def number(fact: str, word: str) -> int:
    """The number of a word among the answers of its fact; `UNSTATED` for a species that has no name."""
    return _NUMBERS[fact].get(word, UNSTATED)


def facts_of(row: dict[str, Any]) -> dict[str, str]:
    """The facts of a pool's description of one thing; the species of a nameless thing is ""."""
    look = row["looks"][0]
    facts = {"species": row["names"][0] or "", "kind": look["kind"], "scene": row["scene"]}
    return facts | {key: look[key] for key in ("shape", "pattern", "main", "second", "third")}


def damage(pixels: torch.Tensor) -> torch.Tensor:
    """What autoencoders and samplers do to a picture: softness (half of a batch), noise (a quarter), other light (all).

    `(N, 3, H, W)` in [-1, 1] to the same; draws from torch's global generator.
    """
    n, side, device = len(pixels), pixels.shape[-1], pixels.device
    soft, noisy = slice(0, n // 2), slice(n * 3 // 8, n * 5 // 8)
    small = int(torch.randint(side * 3 // 8, side * 7 // 8, ()))
    shrunk = F.interpolate(pixels[soft], size=small, mode="bilinear")
    pixels[soft] = F.interpolate(shrunk, size=side, mode="bilinear")
    strength = 0.15 * torch.rand(len(pixels[noisy]), 1, 1, 1, device=device)
    pixels[noisy] += strength * torch.randn_like(pixels[noisy])
    gain = 1 + 0.2 * (torch.rand(n, 1, 1, 1, device=device) - 0.5)
    shift = 0.16 * (torch.rand(n, 3, 1, 1, device=device) - 0.5)
    return (pixels * gain + shift).clamp_(-1, 1).contiguous(memory_format=torch.channels_last)

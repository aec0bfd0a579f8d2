"""Training stages at a size that fits a test: tiny pools, tiny batches, a few steps."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from ragdemo.training import encoder, encoder_tail, labelled, loop, oracle
from ragdemo.training.loop import Context
from ragdemo.world.pool import PoolSpec

STEPS = 6


def shrink(species: int) -> None:
    """Make all pools and batches of both stages small; for a process of its own.

    A pool of species goes round the roster: with fewer than 121 there is none of the long tail.
    """
    labelled.SPECIES_POOL = PoolSpec("species", "test/species", species)
    labelled.GENERATOR_POOL = PoolSpec("generator", "test/generator", 16)
    labelled.VALIDATION_POOL = PoolSpec("species", "test/validate", 8)
    oracle.BATCH, oracle.NAMELESS, oracle.WIDTHS = 8, 2, (4, 8, 8, 8, 8)
    encoder.BATCH = encoder_tail.BATCH = 8
    encoder_tail.CACHE = {"common": 10, "nameless": 10}
    loop.SAVE_EVERY_SECONDS = 0.0  # save after each step


def context(workdir: Path, steps: int = STEPS) -> Context:
    """A context of one thread on the CPU that writes below `workdir`."""
    torch.set_num_threads(1)
    return Context(workdir, workdir / "assets", torch.device("cpu"), steps, workers=1)


if __name__ == "__main__":
    shrink(16 if sys.argv[2:] == ["oracle"] else 260)
    stages = {
        "oracle": oracle.train_oracle,
        "encoder": encoder.train_encoder,
        "encoder-tail": encoder_tail.train_tail,
    }
    for name in sys.argv[2:]:
        stages[name](context(Path(sys.argv[1])))

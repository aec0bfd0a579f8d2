"""Caches of what frozen models make of a pool, as memory maps whose names hold pool and weights."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ragdemo.training.keys import weights_fingerprint
from ragdemo.world.pool import Pool

CHUNK = 64


def cached(
    name: str, pool: Pool, model: nn.Module, folder: Path, encode: Callable[[np.ndarray], torch.Tensor]
) -> np.ndarray:
    """`encode` of every picture of a pool: float16 `(count, per_item, …)`, computed once per model.

    `encode` maps uint8 `(N, 128, 128, 3)` to `(N, …)`; `name` tells encodings of one model apart.
    """
    file = folder / f"{name}-{pool.spec.folder}-{pool.spec.count}-{weights_fingerprint(model)}.npy"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial, out = file.with_suffix(".part"), None
        for start in range(0, len(pool), CHUNK):
            images = pool.images(np.arange(start, min(start + CHUNK, len(pool))))
            with torch.inference_mode():
                values = encode(images.reshape(-1, *images.shape[2:])).float().cpu().numpy()
            values = values.reshape(*images.shape[:2], *values.shape[1:])
            if out is None:
                shape = (len(pool), *values.shape[1:])
                out = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
            out[start : start + len(values)] = values
        assert out is not None, "a pool is never empty"
        out.flush()
        os.replace(partial, file)
    return np.load(file, mmap_mode="r")


def save_array(file: Path, array: np.ndarray) -> None:
    """Write an array atomically as .npy."""
    partial = file.with_suffix(".part")
    with partial.open("wb") as stream:
        np.save(stream, array)
    os.replace(partial, file)

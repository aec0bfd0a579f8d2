"""Stage `oracle`: a classifier of all species, kinds, scenes and attributes, for measuring only."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from ragdemo.training import labelled
from ragdemo.training.export import write_card
from ragdemo.training.keys import constants
from ragdemo.training.labelled import UNSTATED, LabelledPool, damage, facts_of
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.world.oracle import (
    Oracle,
    OracleConfig,
    OracleNet,
    load_oracle,
    save_oracle,
    to_pixels,
    world_answers,
)
from ragdemo.world.pool import render_pool
from ragdemo.world.species import by_name

WIDTHS = (16, 32, 64, 128, 160)
FEATURES = 64
BATCH = 64
NAMELESS = 16
"""How many pictures of a batch come from the generators' pool: looks between species teach the attribute heads."""
SPECIES_WEIGHT = 2.0
SMOOTHING = 0.05


def train_oracle(context: Context) -> None:
    """Train on clean and on damaged renders of single things, and write `oracle`."""
    specs = (labelled.SPECIES_POOL, labelled.GENERATOR_POOL)
    inputs = {"pools": specs, "damage": constants(labelled)}
    torch.manual_seed(0)
    config = OracleConfig(WIDTHS, FEATURES, world_answers())
    net = OracleNet(config).to(memory_format=torch.channels_last)
    loop = Loop(
        "oracle", context, {"net": net}, 1_250, 3e-3, weight_decay=0.02, ema_decay=0.995, inputs=inputs
    )
    pools = [LabelledPool(render_pool(spec, context.pools, context.workers)) for spec in specs]

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        images, labels = _batch(pools, step_rng("oracle", step))
        pixels = damage(to_pixels(images, context.device))
        with autocast(context.device):
            _, logits = net(pixels)
        return _loss(logits, torch.from_numpy(labels).to(context.device))

    loop.run(step_loss)
    export_oracle(context, loop, config)


def export_oracle(context: Context, loop: Loop, config: OracleConfig) -> None:
    """Write the averaged classifier, with its accuracies on renders that no training saw."""
    folder = context.assets / "oracle"
    save_oracle(folder, loop.averaged["net"], config)
    pool = LabelledPool(render_pool(labelled.VALIDATION_POOL, context.pools, context.workers))
    images = [Image.fromarray(image) for image in pool.images(np.arange(len(pool)))]
    figures = measure_oracle(load_oracle(folder, context.device), images, pool.rows)
    data = f"{labelled.SPECIES_POOL.folder}, {labelled.GENERATOR_POOL.folder}"
    write_card(
        folder,
        {"data": data, "validation": labelled.VALIDATION_POOL.folder, **loop.card(), "figures": figures},
    )
    print(f"oracle {figures}", flush=True)


def measure_oracle(
    oracle: Oracle, images: Sequence[Image.Image], rows: Sequence[dict[str, Any]]
) -> dict[str, float]:
    """Share of correct answers by head, and of correct species by tier; `rows` describe the named things."""
    right: dict[str, list[bool]] = {}
    for judgement, row in zip(oracle.judge(images), rows, strict=True):
        truth = facts_of(row)
        for head, answer in truth.items():
            right.setdefault(head, []).append(getattr(judgement, head) == answer)
        tier = by_name()[truth["species"]].tier
        right.setdefault(f"species_{tier}", []).append(judgement.species == truth["species"])
    return {name: round(float(np.mean(hits)), 4) for name, hits in right.items()}


def _batch(pools: Sequence[LabelledPool], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """uint8 `(BATCH, 128, 128, 3)` and labels `(BATCH, facts)`, shuffled, because damage depends on the position."""
    images, labels = [], []
    for pool, count in zip(pools, (BATCH - NAMELESS, NAMELESS), strict=True):
        chosen = rng.integers(0, len(pool), count)
        images.append(pool.images(chosen))
        labels.append(pool.labels[chosen])
    order = rng.permutation(BATCH)
    return _recompress(np.concatenate(images)[order], rng), np.concatenate(labels)[order]


def _loss(logits: dict[str, torch.Tensor], target: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
    total = torch.zeros((), device=target.device)
    for column, (head, values) in enumerate(logits.items()):
        loss = F.cross_entropy(
            values.float(), target[:, column], ignore_index=UNSTATED, label_smoothing=SMOOTHING
        )
        total = total + (SPECIES_WEIGHT if head == "species" else 0.5) * loss
    named = target[:, 0] != UNSTATED
    right = logits["species"].detach().argmax(1)[named] == target[named, 0]
    return total, {"species": float(right.float().mean())}


def _recompress(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The last eighth of a batch goes through JPEG of low quality."""
    for i in range(len(images) - len(images) // 8, len(images)):
        buffer = io.BytesIO()
        Image.fromarray(images[i]).save(buffer, format="JPEG", quality=int(rng.integers(30, 80)))
        images[i] = np.asarray(Image.open(buffer))
    return images

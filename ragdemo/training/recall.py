"""How well an encoder finds the right species: recall@1 from words to pictures, by vectors alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ragdemo.library.index import VectorIndex
from ragdemo.library.store import Library
from ragdemo.models.base import JointEncoder
from ragdemo.world.captions import article

WORDINGS = ("a photo of {}", "{}", "{} in the snow")
"""Queries; "{}" is the species with its article. The first is the one that thresholds are set for."""


def recall_by_tier(
    encoder: JointEncoder,
    vectors: np.ndarray,
    names: Sequence[str],
    tiers: Mapping[str, str],
    wording: str = WORDINGS[0],
) -> dict[str, float]:
    """Share of the species in `tiers` (name → tier) whose nearest picture shows them, by tier.

    `vectors` float32 `(N, D)`, unit norm, are the pictures to choose from, `names` their species.
    """
    queries = encoder.embed_texts([wording.format(article(name)) for name in tiers])
    nearest = (queries @ vectors.T).argmax(1)
    right: dict[str, list[bool]] = {}
    for (name, tier), found in zip(tiers.items(), nearest, strict=True):
        right.setdefault(tier, []).append(names[found] == name)
    return {tier: round(float(np.mean(hits)), 4) for tier, hits in right.items()}


def library_recall(
    encoder: JointEncoder,
    library: Library,
    index: VectorIndex,
    split: str = "eval",
    wording: str = WORDINGS[0],
) -> dict[str, float]:
    """Recall@1 by tier in a split of a library whose rows name their `species`; without a `tier` all are of one."""
    rows = {row.id: row.extra for row in library.rows_of(split) if row.extra.get("species")}
    chosen = [i for i, image_id in enumerate(index.ids) if image_id in rows]
    extras = [rows[index.ids[i]] for i in chosen]
    tiers = {extra["species"]: extra.get("tier", "all") for extra in extras}
    names = [extra["species"] for extra in extras]
    return recall_by_tier(encoder, index.matrix[chosen], names, tiers, wording)

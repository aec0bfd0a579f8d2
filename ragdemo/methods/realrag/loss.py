"""The reflective contrastive loss (RealRAG, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor


def reflective_loss(
    queries: Tensor,
    positives: Tensor,
    negatives: Tensor | None,
    species: Tensor,
    negative_species: Tensor | None,
    temperature: float,
    mask_same_species: bool = True,
) -> Tensor:
    """Mean over a batch of −log( e^{q·p/τ} / (e^{q·p/τ} + Σ_{j≠pos} e^{q·z_j/τ} + e^{q·n/τ}) ).

    `queries`, `positives` and `negatives` are unit vectors `(B, D)`; row i of `positives` shows what query i names, the
    other rows are its in-batch negatives, row i of `negatives` is its self-reflective one (None: the loss without that
    term). `species` and `negative_species` are ids `(B,)`. With `mask_same_species` an in-batch or reflective negative
    of the query's own species is left out: it would be a true answer. The paper prints the reflective term without its
    temperature; at τ ≈ 0.01 it would vanish beside the others, so it has one here.
    """
    logits = queries @ positives.T / temperature  # (B, B), the diagonal holds the positives
    batch = len(logits)
    if mask_same_species:
        same = species[:, None] == species[None, :]
        others = same & ~torch.eye(batch, dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(others, -torch.inf)
    if negatives is not None:
        if negative_species is None:
            raise ValueError("reflective negatives need their species; pass negative_species")
        reflective = (queries * negatives).sum(1, keepdim=True) / temperature  # (B, 1)
        if mask_same_species:
            reflective = reflective.masked_fill((negative_species == species)[:, None], -torch.inf)
        logits = torch.cat([logits, reflective], dim=1)
    return torch.nn.functional.cross_entropy(logits, torch.arange(batch, device=logits.device))

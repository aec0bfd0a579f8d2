"""DAiD, distribution augmentation in decoding (AR-RAG, section 3.2): what is retrieved joins the model's distribution.

    p_ret(v) ∝ Σ exp(−s_k / τ) over the neighbours k whose code is v, at squared distance s_k
    D = (1 − λ) · D_model + λ · p_ret              arithmetic, as published
    D ∝ D_model · p̃_ret ^ (λ / (1 − λ))           geometric, our extension

`D_model` is after guidance and temperature. A geometric mixture draws what model and patches agree on, where an
arithmetic one tosses a coin between them; so that they can agree, p̃_ret shares each code's chance with those that look
like it. The paper gives no values for τ; here it is in units of the neighbours' median distance, so that it means the
same in a dense and in a sparse datastore. Neighbours of one code all count; the published code keeps the nearest only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ragdemo.methods.ar_rag.patches import Neighbours

SHARPNESS = 24.0
"""How much the cosine of two codes' vectors says of their being alike."""
_LEAST_DISTANCE = 1e-6
_LEAST_CHANCE = 1e-4
_MOST = 0.95  # of λ, beyond which nothing of the model would be left


def weights(distances: Tensor, temperature: float) -> Tensor:
    """The neighbours' shares `(k)`, of sum 1, by their squared distances `(k)`."""
    scale = distances.median().clamp(min=_LEAST_DISTANCE) * temperature
    return (-distances / scale).softmax(-1)


def retrieved_distribution(neighbours: Neighbours, temperature: float, codes: int) -> Tensor:
    """`p_ret` over all `codes`, `(V)`."""
    shares = weights(neighbours.distances, temperature)
    return torch.zeros(codes, dtype=shares.dtype, device=shares.device).index_add_(
        0, neighbours.values, shares
    )


def spread_distribution(neighbours: Neighbours, temperature: float, codebook: Tensor) -> Tensor:
    """`p̃_ret` over all codes, `(V)`, by unit vectors `(V, D)`."""
    return weights(neighbours.distances, temperature) @ likeness(neighbours.values, codebook)


def mixed(model: Tensor, retrieved: Tensor, weight: float) -> Tensor:
    """The arithmetic `D` of two distributions `(V)`."""
    return (1 - weight) * model + weight * retrieved


def agreed(model: Tensor, retrieved: Tensor, weight: float) -> Tensor:
    """The geometric `D` of two distributions `(V)`; `retrieved` is p̃_ret."""
    share = min(weight, _MOST)
    exponent = share / (1 - share)
    tiny = torch.finfo(model.dtype).tiny
    return (model.clamp(min=tiny).log() + exponent * (retrieved + _LEAST_CHANCE).log()).softmax(-1)


def likeness(values: Tensor, codebook: Tensor) -> Tensor:
    """How codes `(k)` share their chance with those that look like them, `(k, V)`, by unit vectors `(V, D)`."""
    return (SHARPNESS * codebook[values] @ codebook.T).softmax(-1)


def uncertainty(probabilities: Tensor) -> Tensor:
    """Entropy of distributions `(…, V)` as a share of the greatest possible, in [0, 1]."""
    entropy = torch.special.entr(probabilities).sum(-1)
    return entropy / torch.log(torch.tensor(float(probabilities.shape[-1])))

"""DAiD, distribution augmentation in decoding (AR-RAG, section 3.2): what is retrieved joins the model's distribution.

    p_ret(v) ∝ Σ exp(−s_k / τ) over the neighbours k whose code is v, at squared distance s_k
    D = (1 − λ) · D_model + λ · p_ret

`D_model` is after guidance and temperature. The paper gives no values for τ; here it is in units of the neighbours'
median distance, so that it means the same in a dense and in a sparse datastore. Neighbours of one code all count; the
published code keeps the nearest only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ragdemo.methods.ar_rag.patches import Neighbours

_LEAST_DISTANCE = 1e-6


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


def mixed(model: Tensor, retrieved: Tensor, weight: float) -> Tensor:
    """`D` of two distributions `(V)`."""
    return (1 - weight) * model + weight * retrieved


def uncertainty(probabilities: Tensor) -> Tensor:
    """Entropy of distributions `(…, V)` as a share of the greatest possible, in [0, 1]."""
    entropy = torch.special.entr(probabilities).sum(-1)
    return entropy / torch.log(torch.tensor(float(probabilities.shape[-1])))

"""How far two sets of pictures are from each other, in the oracle's features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import sqrtm

from ragdemo.evaluation.statistics import Estimate

RESAMPLES = 200

Distance = Callable[[np.ndarray, np.ndarray], float]


def frechet(one: np.ndarray, two: np.ndarray) -> float:
    """|μ₁−μ₂|² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) of two sets of features `(N, D)` (Heusel et al. 2017)."""
    means = one.mean(0) - two.mean(0)
    first, second = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    mixed = sqrtm(first @ second)
    return float(means @ means + np.trace(first + second - 2 * np.real(mixed)))


def kernel(one: np.ndarray, two: np.ndarray) -> float:
    """Unbiased squared MMD with the kernel (x·y/D + 1)³ (Bińkowski et al. 2018)."""

    def kernels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(one), len(two)
    same_one, same_two = kernels(one, one), kernels(two, two)
    within = (same_one.sum() - np.trace(same_one)) / (n * (n - 1))
    within += (same_two.sum() - np.trace(same_two)) / (m * (m - 1))
    return float(within - 2 * kernels(one, two).mean())


def distance(
    measure: Distance, one: np.ndarray, two: np.ndarray, groups: Sequence[str], seed: int = 0
) -> Estimate:
    """A distance of two sets whose rows belong to the same cases; basic bootstrap over species (`RESAMPLES`), 95 %."""
    rows: dict[str, list[int]] = {}
    for index, group in enumerate(groups):
        rows.setdefault(group, []).append(index)
    by_group = [np.array(indices) for indices in rows.values()]
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        chosen = np.concatenate([by_group[i] for i in rng.integers(0, len(by_group), len(by_group))])
        found.append(measure(one[chosen], two[chosen]))
    # Resampled species repeat, which makes any distance larger: the reflected (basic) interval takes that off again.
    mean = measure(one, two)
    low, high = np.quantile(found, [0.025, 0.975])
    return Estimate(mean, float(2 * mean - high), float(2 * mean - low))

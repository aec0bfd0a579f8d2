"""How far two sets of pictures are from each other, in the oracle's features."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ragdemo.evaluation.statistics import Estimate

Distance = Callable[[np.ndarray, np.ndarray], float]


def frechet(one: np.ndarray, two: np.ndarray) -> float:
    """|μ₁−μ₂|² + tr(Σ₁ + Σ₂ − 2(Σ₁Σ₂)^½) of two sets of features `(N, D)` (Heusel et al. 2017)."""
    means = one.mean(0) - two.mean(0)
    first, second = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    # the trace of a root is the sum of the eigenvalues' roots; those of a product of covariances are not negative
    roots = np.sqrt(np.clip(np.linalg.eigvals(first @ second).real, 0, None))
    return float(means @ means + np.trace(first + second) - 2 * roots.sum())


def kernel(one: np.ndarray, two: np.ndarray) -> float:
    """Unbiased squared MMD with the kernel (x·y/D + 1)³ (Bińkowski et al. 2018)."""

    def kernels(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / a.shape[1] + 1) ** 3

    n, m = len(one), len(two)
    same_one, same_two = kernels(one, one), kernels(two, two)
    within = (same_one.sum() - np.trace(same_one)) / (n * (n - 1))
    within += (same_two.sum() - np.trace(same_two)) / (m * (m - 1))
    return float(within - 2 * kernels(one, two).mean())


def distance(measure: Distance, one: np.ndarray, two: np.ndarray, groups: Sequence[str]) -> Estimate:
    """A distance of two sets `(N, D)` whose rows belong to the same cases, with its 95 % interval over `groups`."""
    return _jackknife(lambda rows: measure(one[rows], two[rows]), groups)


def distance_difference(
    measure: Distance, after: np.ndarray, before: np.ndarray, true: np.ndarray, groups: Sequence[str]
) -> Estimate:
    """How much farther `after` is from `true` than `before`; all `(N, D)`, rows of the same cases."""
    return _jackknife(
        lambda rows: measure(after[rows], true[rows]) - measure(before[rows], true[rows]), groups
    )


def _jackknife(statistic: Callable[[np.ndarray], float], groups: Sequence[str]) -> Estimate:
    """A statistic of rows with its 95 % interval, by leaving out one group (species) after the other.

    Resampling with replacement would repeat pictures, which by itself draws two sets apart; leaving out does not
    (Efron and Stein 1981).
    """
    labels = np.array(groups)
    whole = statistic(np.arange(len(labels)))
    without = np.array([statistic(np.flatnonzero(labels != group)) for group in sorted(set(groups))])
    spread = np.sqrt((len(without) - 1) * np.mean((without - without.mean()) ** 2))
    return Estimate(whole, float(whole - 1.96 * spread), float(whole + 1.96 * spread))

"""Means with intervals: bootstrap over species, because prompts of one species are not independent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % interval."""

    mean: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """The three figures, rounded to four digits."""
        return {"mean": round(self.mean, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def bootstrap(values: Sequence[float], groups: Sequence[str], seed: int = 0) -> Estimate:
    """The mean of `values` and its 95 % interval over `RESAMPLES` resamplings of whole groups (species)."""
    by_group: dict[str, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        by_group.setdefault(group, []).append(value)
    sums = np.array([sum(v) for v in by_group.values()], dtype=float)
    counts = np.array([len(v) for v in by_group.values()], dtype=float)
    draws = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(sums.sum() / counts.sum()), float(low), float(high))


def summarise(records: Sequence[Mapping[str, object]], metrics: Sequence[str]) -> dict[str, dict[str, float]]:
    """`bootstrap` of each metric over records that also hold their `species`."""
    groups = [str(record["species"]) for record in records]
    return {m: bootstrap([float(record[m]) for record in records], groups).to_json() for m in metrics}  # type: ignore[arg-type]


def paired(
    after: Sequence[Mapping[str, object]], before: Sequence[Mapping[str, object]], metrics: Sequence[str]
) -> dict[str, dict[str, float]]:
    """`summarise` of the differences of records that share species, scene and seed, in the same order."""
    keys = ("species", "scene", "seed")
    for a, b in zip(after, before, strict=True):
        if any(a[key] != b[key] for key in keys):
            raise ValueError(f"records {a} and {b} are not of the same prompt; sort both in the same order")
    differences = [
        {"species": a["species"], **{m: float(a[m]) - float(b[m]) for m in metrics}}  # type: ignore[arg-type]
        for a, b in zip(after, before, strict=True)
    ]
    return summarise(differences, metrics)

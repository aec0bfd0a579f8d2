"""What a linear probe reads out of features: how much of a look is there at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PROBED = ("kind", "scene", "main", "second", "third", "pattern", "shape")
TRAINED_ON = 0.8
RIDGE = 1e-2


def probe(features: np.ndarray, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The share of held-out pictures of which a linear probe of `features` `(N, …)` tells each of `PROBED`.

    `rows` describe the pictures (`ragdemo.world.pool.describe_sample`). A probe is ridge regression on the answers as
    one-hot vectors, trained on the first four fifths; "chance" is the mean over facts of always saying the commonest.
    """
    facts = [{**row["looks"][0], "scene": row["scene"]} for row in rows]
    flat = features.reshape(len(features), -1).astype(np.float64)
    cut = int(len(flat) * TRAINED_ON)
    flat = (flat - flat[:cut].mean(0)) / (flat[:cut].std(0) + 1e-6)
    flat = np.concatenate([flat, np.ones((len(flat), 1))], axis=1)
    solved = _solver(flat[:cut])
    found, chances = {}, []
    for fact in PROBED:
        answers = sorted({row[fact] for row in facts})
        numbers = np.array([answers.index(row[fact]) for row in facts])
        weights = solved @ np.eye(len(answers))[numbers[:cut]]
        found[fact] = round(float(((flat[cut:] @ weights).argmax(1) == numbers[cut:]).mean()), 4)
        chances.append(float((numbers[cut:] == np.bincount(numbers[:cut]).argmax()).mean()))
    return found | {"chance": round(float(np.mean(chances)), 4)}


def _solver(flat: np.ndarray) -> np.ndarray:
    """`(X'X + rI)⁻¹X'`, in the smaller of both ways to write it."""
    samples, width = flat.shape
    ridge = RIDGE * samples
    if samples < width:
        return flat.T @ np.linalg.inv(flat @ flat.T + ridge * np.eye(samples))
    return np.linalg.solve(flat.T @ flat + ridge * np.eye(width), flat.T)

"""AR-RAG: the plain model, both augmentations in both scopes, random patches at equal weight, true sources."""

from __future__ import annotations

from typing import Any

import numpy as np

from ragdemo.evaluation.distances import distance, distance_difference, frechet, kernel
from ragdemo.evaluation.judging import METRICS
from ragdemo.evaluation.measures import Measures
from ragdemo.evaluation.plans.rows import Groups, Records, difference, row
from ragdemo.evaluation.prompts import cases, first_seeds
from ragdemo.models.base import AUTOREGRESSIVE
from ragdemo.profiles import POCKET

LIMIT, SEEDS = 60, 17
FEW_SEEDS = 5
ENOUGH = 1000
"""Pictures below which a distance between sets of 64 features says more about their number than about them."""
ROLE = AUTOREGRESSIVE
SCOPES = ("prompt", "library")
FOUND = (*METRICS, "continued")
MEASURES = {"Fréchet distance": frechet, "kernel distance": kernel}
SWEEP: dict[str, tuple[float | int, ...]] = {
    "patch_weight": (0.1, 0.2, 0.3, 0.4, 0.5, 0.7),
    "patch_temperature": (0.03, 0.1, 0.3, 1.0),
    "neighbours": (4, 16, 64),
    "place_weight": (0.0, 0.1, 0.3, 1.0, 3.0),
    "entropy_gate": (0.0, 0.05, 0.1, 0.2, 0.3),
}
OTHERS: dict[str, dict[str, float | str]] = {
    "arithmetic": {"mixing": "arithmetic", "patch_weight": 0.5, "entropy_gate": 0.1},
    "as published": {"mixing": "arithmetic", "patch_weight": 0.5, "place_weight": 0.0},
}
"""Settings without some or all of this project's additions, by name."""
"""Values of one setting, the others at their defaults, measured on the tuning split."""


def augmentations() -> tuple[str, ...]:
    """Those that the shipped checkpoints can do."""
    return ("daid", "faid", "both") if "blenders" in POCKET.roles else ("daid",)


def groups(measures: Measures, limit: int, seeds: int) -> Groups:
    """Cases and how each is measured, by group; the rows whose sets are compared have all seeds."""
    rare, few = cases("rare", limit, seeds), min(seeds, FEW_SEEDS)
    common, tune = cases("common", limit, few), cases("rare", limit, 2, "tune")
    found: Groups = {
        "truth, rare": (rare, measures.truth),
        "plain, rare": (rare, measures.plain_codes),
        "plain, common": (common, measures.plain_codes),
        "plain, novel": (cases("novel", limit, few), measures.plain_codes),
    }
    for name in augmentations():
        for scope in SCOPES:
            settings = {"augmentation": name, "scope": scope}
            found[f"{name} {scope}, rare"] = (rare, measures.decoded(settings))
            found[f"{name} {scope}, common"] = (common, measures.decoded(settings))
    for name, changes in OTHERS.items():
        for scope in SCOPES:
            found[f"{name} {scope}, rare"] = (rare, measures.decoded({"scope": scope, **changes}))
    found["random prompt, rare"] = (rare, measures.decoded({}, at_random=True))
    found["true sources, rare"] = (first_seeds(rare, few), measures.decoded({}, true_sources=True))
    for setting, values in SWEEP.items():
        for value in values:
            found[f"{setting} {value}, tune"] = (tune, measures.decoded({setting: value}))
    return found


def rows(records: Records) -> list[dict[str, Any]]:
    """Every row: `name`, `n`, and per metric mean, low and high."""
    found_rows = [row(f"plain, {tier}", records[f"plain, {tier}"]) for tier in ("rare", "common", "novel")]
    for name, plain in _augmented(records):
        found_rows.append(row(name, records[name], FOUND))
        if len(records[name]) == len(records[plain]):
            found_rows.append(difference(f"{name} − plain, paired", records[name], records[plain]))
    found_rows += [row(name, found, FOUND) for name, found in records.items() if name.endswith(", tune")]
    if len(records["truth, rare"]) >= ENOUGH:
        sets = [name for name, _ in _augmented(records) if len(records[name]) == len(records["truth, rare"])]
        found_rows += [_distances(name, records) for name in ("plain, rare", *sets)]
        found_rows += [_nearer(name, records) for name in sets]
    return found_rows


def _augmented(records: Records) -> list[tuple[str, str]]:
    """The groups with retrieval, each with the plain model's of its tier."""
    tiers = {name: name.split(", ")[1] for name in records if name.split(",")[0] not in ("truth", "plain")}
    return [(name, f"plain, {tier}") for name, tier in tiers.items() if tier != "tune"]


def _distances(name: str, records: Records) -> dict[str, Any]:
    """How far the drawings are from true pictures of the same prompts."""
    drawn, true, species = _features(name, records), _features("truth, rare", records), _species(records)
    found = {title: distance(measure, drawn, true, species).to_json() for title, measure in MEASURES.items()}
    return {"name": f"{name}, to true pictures", "n": len(drawn), **found}


def _nearer(name: str, records: Records) -> dict[str, Any]:
    """The difference of that distance from the plain model's."""
    after, before, true = (_features(one, records) for one in (name, "plain, rare", "truth, rare"))
    found = {
        title: distance_difference(measure, after, before, true, _species(records)).to_json()
        for title, measure in MEASURES.items()
    }
    return {"name": f"{name} − plain, to true pictures", "n": len(after), **found}


def _species(records: Records) -> list[str]:
    return [str(record["species"]) for record in records["truth, rare"]]


def _features(name: str, records: Records) -> np.ndarray:
    return np.array([record["features"] for record in records[name]], dtype=float)

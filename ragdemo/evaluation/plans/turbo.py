"""ImageRAGTurbo: teacher, student, both ways to inject, the controls, and the best of nine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from ragdemo.evaluation.blends import BlendMeasures
from ragdemo.evaluation.distances import distance, kernel
from ragdemo.evaluation.judging import METRICS
from ragdemo.evaluation.measures import Measures
from ragdemo.evaluation.plans.rows import Groups, Record, Records, difference, row
from ragdemo.evaluation.prompts import cases, first_seeds, one_each
from ragdemo.models.base import ONE_STEP
from ragdemo.profiles import POCKET

LIMIT, SEEDS = 60, 5
FEW_SEEDS = 2
ROLE = ONE_STEP
TIERS = ("rare", "common")
PAIR = ("recall@1", *METRICS)
WEIGHTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
LEVELS = (1, 2, 3)
SPREAD = 4
"""Seeds of one prompt: cases have another scene with every seed."""
KINDS = {"w": "best of nine w", "seeds": "best of nine seeds", "seeds alone": "best of nine seeds, student"}


def injections() -> tuple[str, ...]:
    """Those that the shipped checkpoints can do; the last one is the best that they can."""
    return ("slerp", "adapter") if "h_space_adapter" in POCKET.roles else ("slerp",)


def groups(measures: Measures, limit: int, seeds: int) -> Groups:
    """Cases and how each is measured, by group."""
    blends = BlendMeasures.like(measures)
    found: Groups = {}
    best = {"injection": injections()[-1]}
    for tier in TIERS:
        chosen = cases(tier, limit, seeds)
        found[f"truth, {tier}"] = (chosen, blends.truth)
        found[f"teacher, {tier}"] = (chosen, blends.plain)
        found[f"student, {tier}"] = (chosen, blends.alone)
        for name in injections():
            found[f"{name}, {tier}"] = (chosen, blends.blended({"injection": name}))
    rare = cases("rare", limit, seeds)
    few, one = first_seeds(rare, FEW_SEEDS), first_seeds(rare, 1)
    found["nothing retrieved, rare"] = (rare, blends.blended(best, is_blank=True))
    found["random pair, rare"] = (rare, blends.blended(best, blends.random_pair))
    found["perfect pair, rare"] = (few, blends.blended(best, blends.true_pair))
    found["fused search, rare"] = (few, blends.blended({**best, "search": "fused"}))
    for name in injections():
        for weight in WEIGHTS:
            changes = {"injection": name, "blend": weight}
            found[f"{name} w {weight}, rare"] = (few, blends.blended(changes, blends.true_pair))
    spread = [
        replace(case, seed=case.seed + turn) for case in cases("common", limit, 1) for turn in range(SPREAD)
    ]
    found["teacher, between seeds"] = (spread, blends.plain)
    found["student, between seeds"] = (spread, blends.alone)
    found[f"{injections()[-1]}, between seeds"] = (spread, blends.blended(best))
    for count in LEVELS:
        changes = {"injection": "slerp", "levels": count, "blend": 0.0}
        found[f"depths {count}, rare"] = (few, blends.blended(changes, blends.true_pair))
    for kind, name in KINDS.items():
        found[f"{name}, rare"] = (one, blends.best_of(best, kind))
    for tier in (*TIERS, "novel"):
        for search in ("text", "fused"):
            found[f"found by {search}, {tier}"] = (one_each(tier), blends.recalled(search))
    return found


def rows(records: Records) -> list[dict[str, Any]]:
    """Every row: `name`, `n`, and per metric mean, low and high."""
    found_rows = []
    for tier in TIERS:
        found_rows += [row(f"{name}, {tier}", records[f"{name}, {tier}"]) for name in ("teacher", "student")]
        found_rows.append(_against(f"student − teacher, {tier}, paired", records, tier, "student", "teacher"))
        for name in injections():
            found_rows.append(row(f"{name}, {tier}", records[f"{name}, {tier}"], PAIR))
            found_rows.append(_against(f"{name} − student, {tier}, paired", records, tier, name, "student"))
    best = injections()[-1]
    for control in ("nothing retrieved", "random pair"):
        found_rows.append(row(f"{control}, rare", records[f"{control}, rare"]))
        found_rows.append(_against(f"{best} − {control}, rare, paired", records, "rare", best, control))
    apart = [record for record in records[f"{best}, rare"] if record["scene apart"]]
    found_rows.append(row(f"{best}, rare, pair of another scene", apart, PAIR))
    found_rows += [row(name, found, PAIR) for name, found in records.items() if _is_swept(name)]
    for name in KINDS.values():
        found_rows.append(row(f"{name}, rare", records[f"{name}, rare"]))
    by_weight, by_seed = (records[f"{KINDS[kind]}, rare"] for kind in ("w", "seeds"))
    found_rows.append(difference("best of nine w − best of nine seeds, paired", by_weight, by_seed))
    found_rows += [
        row(name, found, ("recall@1",)) for name, found in records.items() if name.startswith("found by ")
    ]
    return [*found_rows, *_diversity(records), *_distances(records)]


def _is_swept(name: str) -> bool:
    return name.startswith(("perfect", "fused", "depths")) or " w 0" in name or " w 1" in name


def _against(title: str, records: Records, tier: str, after: str, before: str) -> dict[str, Any]:
    return difference(title, records[f"{after}, {tier}"], records[f"{before}, {tier}"])


def _diversity(records: Records) -> list[dict[str, Any]]:
    """How far drawings of one prompt with several seeds are from each other, in the oracle's features."""
    return [
        row(f"{name}, between seeds", _spread(records[f"{name}, between seeds"]), ("seed distance",))
        for name in ("teacher", "student", injections()[-1])
    ]


def _spread(found: Sequence[Record]) -> list[Record]:
    by_prompt: dict[str, list[Record]] = {}
    for record in found:
        by_prompt.setdefault(str(record["prompt"]), []).append(record)
    return [
        {"species": same[0]["species"], "seed distance": _mean_distance([r["features"] for r in same])}
        for same in by_prompt.values()
        if len(same) > 1
    ]


def _mean_distance(features: Sequence[Sequence[float]]) -> float:
    arrays = np.array(features, dtype=float)
    return float(np.mean([np.linalg.norm(one - two) for one, two in combinations(arrays, 2)]))


def _distances(records: Records) -> list[dict[str, Any]]:
    """How far the drawings are from true pictures of the same prompts."""
    found = []
    for tier in TIERS:
        true = records[f"truth, {tier}"]
        wanted, species = _features(true), [str(record["species"]) for record in true]
        if len(set(species)) > 2:  # a jackknife over fewer says nothing
            for name in ("teacher", "student", *injections()):
                drawn = _features(records[f"{name}, {tier}"])
                far = distance(kernel, drawn, wanted, species).to_json()
                found.append(
                    {"name": f"{name}, {tier}, to true pictures", "n": len(drawn), "kernel distance": far}
                )
    return found


def _features(found: Sequence[Record]) -> np.ndarray:
    return np.array([record["features"] for record in found], dtype=float)

"""RealRAG: no reference, another species, three retrievers, the perfect reference, ImageRAG on the reflective one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ragdemo.evaluation.distances import distance, distance_difference, frechet, kernel
from ragdemo.evaluation.judging import METRICS
from ragdemo.evaluation.measures import Measures
from ragdemo.evaluation.plans.rows import Groups, Record, Records, difference, part, row
from ragdemo.evaluation.prompts import cases, first_seeds, one_each
from ragdemo.world.kinds import KINDS, NOVEL_KINDS

LIMIT, SEEDS = 60, 17
ENOUGH = 1000
"""Pictures below which a distance between sets of 64 features says more about their number than about them."""
FEW_SEEDS = 5
RETRIEVERS = ("zero", "normal", "real")
FOUND = ("recall@1", *METRICS)
MEASURES = {"Fréchet distance": frechet, "kernel distance": kernel}


def groups(measures: Measures, limit: int, seeds: int) -> Groups:
    """Cases and how each is measured, by group; the rows that compare retrievers on rare prompts have all seeds."""
    rare = cases("rare", limit, seeds)
    few = min(seeds, FEW_SEEDS)
    few_rare, common = first_seeds(rare, few), cases("common", limit, few)
    on_real = measures.of("imagerag", {"retriever": "real"})
    return {
        "truth, rare": (rare, measures.truth),
        "none, rare": (rare, measures.plain),
        **{f"{name}, rare": (rare, measures.retrieved(name)) for name in RETRIEVERS},
        "none, common": (common, measures.plain),
        **{f"{name}, common": (common, measures.retrieved(name)) for name in RETRIEVERS},
        "another, rare": (few_rare, measures.another),
        "perfect, rare": (few_rare, measures.perfect),
        "imagerag on real, rare": (few_rare, on_real.run),
        **{
            f"found by {name}, {tier}": (one_each(tier), measures.found(name))
            for tier in ("common", "rare", "novel")
            for name in RETRIEVERS
        },
    }


def rows(records: Records) -> list[dict[str, Any]]:
    """Every row: `name`, `n`, and per metric mean, low and high."""
    found_rows = []
    for tier in ("rare", "common"):
        found_rows.append(row(f"no reference, {tier}", records[f"none, {tier}"]))
        found_rows += [row(f"{name}, {tier}", records[f"{name}, {tier}"], FOUND) for name in RETRIEVERS]
        for after, before in (("real", "zero"), ("real", "normal"), ("normal", "zero")):
            found, compared = records[f"{after}, {tier}"], records[f"{before}, {tier}"]
            found_rows.append(difference(f"{after} − {before}, {tier}, paired", found, compared, FOUND))
        found_rows.append(
            difference(
                f"real − no reference, {tier}, paired", records[f"real, {tier}"], records[f"none, {tier}"]
            )
        )
    found_rows.append(row("another species of the kind, rare", records["another, rare"]))
    found_rows.append(row("perfect reference, rare", records["perfect, rare"]))
    found_rows.append(row("imagerag on real, rare", part(records["imagerag on real, rare"], "result")))
    found_rows += _class_prompts(records)
    if len(records["truth, rare"]) >= ENOUGH:
        found_rows += [_distances(name, records) for name in ("none", *RETRIEVERS)]
        found_rows += [_nearer("real", other, records) for other in ("none", "zero", "normal")]
    return [*found_rows, *_kinds(records)]


def _class_prompts(records: Records) -> list[dict[str, Any]]:
    """Recall@1 for "a photo of a [class]", the paper's query."""
    found_rows = []
    for tier in ("common", "rare", "novel"):
        found = {name: records[f"found by {name}, {tier}"] for name in RETRIEVERS}
        found_rows += [
            row(f"{name}, class prompt, {tier}", found[name], ("recall@1",)) for name in RETRIEVERS
        ]
        title = f"real − zero, class prompt, {tier}, paired"
        found_rows.append(difference(title, found["real"], found["zero"], ("recall@1",)))
    return found_rows


def _distances(name: str, records: Records) -> dict[str, Any]:
    """How far the drawings are from true pictures of the same prompts."""
    drawn, true = _features(records[f"{name}, rare"]), _features(records["truth, rare"])
    species = _species(records["truth, rare"])
    found = {title: distance(measure, drawn, true, species).to_json() for title, measure in MEASURES.items()}
    return {"name": f"{_title(name)}, rare, to true pictures", "n": len(drawn), **found}


def _nearer(name: str, other: str, records: Records) -> dict[str, Any]:
    """The difference of two such distances."""
    after, before, true = (_features(records[f"{part}, rare"]) for part in (name, other, "truth"))
    species = _species(records["truth, rare"])
    found = {
        title: distance_difference(measure, after, before, true, species).to_json()
        for title, measure in MEASURES.items()
    }
    return {"name": f"{_title(name)} − {_title(other)}, rare, to true pictures", "n": len(after), **found}


def _title(name: str) -> str:
    return "no reference" if name == "none" else name


def _kinds(records: Records) -> list[dict[str, Any]]:
    """The retrievers kind by kind."""
    return [
        row(f"{name}, rare, {kind}", _of_kind(records[f"{name}, rare"], kind), ("recall@1", "right species"))
        for kind in KINDS
        if kind not in NOVEL_KINDS
        for name in RETRIEVERS
    ]


def _of_kind(found: Sequence[Record], kind: str) -> list[Record]:
    return [record for record in found if str(record["species"]).endswith(f" {kind}")]


def _species(found: Sequence[Record]) -> list[str]:
    return [str(record["species"]) for record in found]


def _features(found: Sequence[Record]) -> np.ndarray:
    return np.array([record["features"] for record in found], dtype=float)

"""ImageRAG: base, method and controls, copying, and the critic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ragdemo.evaluation.judging import METRICS, is_right
from ragdemo.evaluation.measures import Measures
from ragdemo.evaluation.plans.rows import Groups, Record, Records, case_of, difference, part, row
from ragdemo.evaluation.prompts import cases, first_seeds, two_thing_cases

LIMIT, SEEDS, FEW_SEEDS = 60, 5, 4
DISTANCES = ("pixel distance", "feature distance")
CRITIC = ("critic says yes",)


def groups(measures: Measures, limit: int, seeds: int) -> Groups:
    """Cases and how each is measured, by group; all seeds if a part of the records becomes a row of its own."""
    few = min(seeds, FEW_SEEDS)
    common, rare = cases("common", limit, seeds), cases("rare", limit, seeds)
    few_rare = first_seeds(rare, few)
    questions = limit * few
    return {
        "run, common": (common, measures.run),
        "run, rare": (rare, measures.run),
        "run, novel": (cases("novel", limit, few), measures.run),
        "run, two rare": (two_thing_cases("rare", limit, few), measures.run),
        "perfect, rare": (few_rare, measures.perfect),
        "another, rare": (few_rare, measures.another),
        "described, rare": (few_rare, measures.described),
        "restored, rare": (few_rare, measures.restored),
        "critic": (measures.critic_cases(questions), measures.verdict),
        "missing": (measures.missing_cases(questions), measures.missing),
    }


def rows(records: Records) -> list[dict[str, Any]]:
    """Every row: `name`, `n`, and per metric mean, low and high."""
    found_rows = [row("true picture, rare", part(records["restored, rare"], "before"))]
    found_rows.append(row("true picture through the autoencoder, rare", records["restored, rare"]))
    for group in ("common", "rare", "novel", "two rare"):
        found = records[f"run, {group}"]
        drafts, results = part(found, "draft"), part(found, "result")
        found_rows.append(row(f"base, {group}", drafts, (*METRICS, *CRITIC)))
        found_rows.append(row(f"imagerag, {group}", results, (*METRICS, *CRITIC)))
        found_rows.append(difference(f"imagerag − base, {group}, paired", results, drafts))
    apart = [record for record in records["run, rare"] if record.get("scenes apart")]
    found_rows.append(row("imagerag, rare, reference of another scene", part(apart, "result")))
    found_rows.append(row("perfect reference, rare", records["perfect, rare"]))
    found_rows.append(row("another species of the kind, rare", records["another, rare"]))
    found_rows.append(row("described in words, rare", records["described, rare"]))
    described = records["described, rare"]
    asked = [(record["prompt"], record["seed"]) for record in described]
    runs = {(record["prompt"], record["seed"]): record for record in records["run, rare"]}
    same = [runs[case] for case in asked]
    title = "imagerag − described in words, rare, paired"
    found_rows.append(difference(title, part(same, "result"), described))
    found_rows.append(_retrieval(records))
    found_rows += _copying("perfect reference", records["perfect, rare"])
    found_rows += _copying("imagerag", [record for record in records["run, rare"] if "copying" in record])
    return [*found_rows, *_critic(records)]


def _retrieval(records: Records) -> dict[str, Any]:
    asked = [record for record in records["run, rare"] if "retrieved species" in record]
    return row("imagerag, rare, first reference", asked, ("retrieved species",))


def _copying(name: str, found: Sequence[Record]) -> list[dict[str, Any]]:
    """How near the drawing is to its reference, how near an unrelated true picture is, and the difference."""
    copied = [record["copying"] for record in found]
    drawn = [{**case_of(r), **c["drawn"]} for r, c in zip(found, copied, strict=True)]
    unrelated = [{**case_of(r), **c["unrelated"]} for r, c in zip(found, copied, strict=True)]
    title = f"copying, {name}, rare"
    return [
        row(f"{title}: drawing to reference", drawn, DISTANCES),
        row(f"{title}: unrelated true picture to reference", unrelated, DISTANCES),
        difference(f"{title}: drawing − unrelated, paired", drawn, unrelated, DISTANCES),
    ]


def _critic(records: Records) -> list[dict[str, Any]]:
    verdicts, missing = records["critic"], records["missing"]
    rows = [row("critic, all", verdicts, ("right verdict", "right verdict on grey"))]
    rows += _by_cell("critic", verdicts, "right verdict")
    known = [record for record in missing if record["cell"] != "unheard name"]
    rows.append(row("critic, what is missing", known, ("named exactly",)))
    rows += _by_cell("critic, what is missing", missing, "named exactly")
    for group in ("common", "rare"):
        judged = [
            {**case_of(record), "critic agrees with oracle": float(is_right(r) == bool(r["critic says yes"]))}
            for record in records[f"run, {group}"]
            for r in (record["result"],)
        ]
        rows.append(row(f"critic on imagerag's results, {group}", judged, ("critic agrees with oracle",)))
    return rows


def _by_cell(name: str, found: Sequence[Record], metric: str) -> list[dict[str, Any]]:
    cells = dict.fromkeys(record["cell"] for record in found)
    return [row(f"{name}, {cell}", [r for r in found if r["cell"] == cell], (metric,)) for cell in cells]

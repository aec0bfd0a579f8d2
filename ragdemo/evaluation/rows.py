"""From records to the rows of a report: means with intervals, differences paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ragdemo.evaluation.judging import METRICS, is_right
from ragdemo.evaluation.statistics import paired, summarise

Record = Mapping[str, Any]
Records = Mapping[str, Sequence[Record]]

DISTANCES = ("pixel distance", "feature distance")
CRITIC = ("critic says yes",)


def rows_of(method: str, records: Records) -> list[dict[str, Any]]:
    """Every row: `name`, `n`, and per metric mean, low and high."""
    rows = [_row("true picture, rare", _part(records["restored, rare"], "before"))]
    rows.append(_row("true picture through the autoencoder, rare", records["restored, rare"]))
    for group in ("common", "rare", "novel", "two rare"):
        found = records[f"run, {group}"]
        drafts, results = _part(found, "draft"), _part(found, "result")
        rows.append(_row(f"base, {group}", drafts, (*METRICS, *CRITIC)))
        rows.append(_row(f"{method}, {group}", results, (*METRICS, *CRITIC)))
        rows.append(_difference(f"{method} − base, {group}, paired", results, drafts))
    apart = [record for record in records["run, rare"] if record.get("scenes apart")]
    rows.append(_row(f"{method}, rare, reference of another scene", _part(apart, "result")))
    rows.append(_row("perfect reference, rare", records["perfect, rare"]))
    rows.append(_row("another species of the kind, rare", records["another, rare"]))
    rows.append(_row("described in words, rare", records["described, rare"]))
    results = _part(records["run, rare"], "result")
    rows.append(
        _difference(f"{method} − described in words, rare, paired", results, records["described, rare"])
    )
    rows.append(_retrieval(method, records))
    rows += _copying("perfect reference", records["perfect, rare"])
    rows += _copying(method, [record for record in records["run, rare"] if "copying" in record])
    return [*rows, *_critic(method, records)]


def _retrieval(method: str, records: Records) -> dict[str, Any]:
    asked = [record for record in records["run, rare"] if "retrieved species" in record]
    return _row(f"{method}, rare, first reference", asked, ("retrieved species",))


def _copying(name: str, found: Sequence[Record]) -> list[dict[str, Any]]:
    """How near the drawing is to its reference, an unrelated true picture beside it, and the difference."""
    copied = [record["copying"] for record in found]
    drawn = [{**_case(r), **c["drawn"]} for r, c in zip(found, copied, strict=True)]
    unrelated = [{**_case(r), **c["unrelated"]} for r, c in zip(found, copied, strict=True)]
    title = f"copying, {name}, rare"
    return [
        _row(f"{title}: drawing to reference", drawn, DISTANCES),
        _row(f"{title}: unrelated true picture to reference", unrelated, DISTANCES),
        _difference(f"{title}: drawing − unrelated, paired", drawn, unrelated, DISTANCES),
    ]


def _critic(method: str, records: Records) -> list[dict[str, Any]]:
    verdicts, missing = records["critic"], records["missing"]
    rows = [_row("critic, all", verdicts, ("right verdict", "right verdict on grey"))]
    rows += _by_cell("critic", verdicts, "right verdict")
    known = [record for record in missing if record["cell"] != "unheard name"]
    rows.append(_row("critic, what is missing", known, ("named exactly",)))
    rows += _by_cell("critic, what is missing", missing, "named exactly")
    for group in ("common", "rare"):
        judged = [
            {**_case(record), "critic agrees with oracle": float(is_right(r) == bool(r["critic says yes"]))}
            for record in records[f"run, {group}"]
            for r in (record["result"],)
        ]
        rows.append(_row(f"critic on {method}'s results, {group}", judged, ("critic agrees with oracle",)))
    return rows


def _by_cell(name: str, found: Sequence[Record], metric: str) -> list[dict[str, Any]]:
    cells = dict.fromkeys(record["cell"] for record in found)
    return [_row(f"{name}, {cell}", [r for r in found if r["cell"] == cell], (metric,)) for cell in cells]


def _row(name: str, found: Sequence[Record], metrics: Sequence[str] = METRICS) -> dict[str, Any]:
    return {"name": name, "n": len(found), **(summarise(found, metrics) if found else {})}


def _difference(
    name: str, after: Sequence[Record], before: Sequence[Record], metrics: Sequence[str] = METRICS
) -> dict[str, Any]:
    return {"name": name, "n": len(after), **(paired(after, before, metrics) if after else {})}


def _part(found: Sequence[Record], part: str) -> list[dict[str, Any]]:
    """One part of each record, with what names its case."""
    return [{**_case(record), **record[part]} for record in found]


def _case(record: Record) -> dict[str, Any]:
    return {key: record[key] for key in ("species", "scene", "seed")}

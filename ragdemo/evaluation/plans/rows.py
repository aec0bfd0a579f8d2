"""Rows of a report: means and paired differences of records, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ragdemo.evaluation.judging import METRICS
from ragdemo.evaluation.statistics import paired, summarise

Record = Mapping[str, Any]
Records = Mapping[str, Sequence[Record]]
Groups = dict[str, tuple[list[Any], Callable[[Any], dict[str, Any]]]]


def row(name: str, found: Sequence[Record], metrics: Sequence[str] = METRICS) -> dict[str, Any]:
    """A row of means with their intervals."""
    return {"name": name, "n": len(found), **(summarise(found, metrics) if found else {})}


def difference(
    name: str, after: Sequence[Record], before: Sequence[Record], metrics: Sequence[str] = METRICS
) -> dict[str, Any]:
    """A row of paired differences with their intervals."""
    return {"name": name, "n": len(after), **(paired(after, before, metrics) if after else {})}


def part(found: Sequence[Record], name: str) -> list[dict[str, Any]]:
    """One part of each record, with what identifies its case."""
    return [{**case_of(record), **record[name]} for record in found]


def case_of(record: Record) -> dict[str, Any]:
    """What identifies a record's case."""
    return {key: record[key] for key in ("species", "scene", "seed")}

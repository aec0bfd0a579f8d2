"""A benchmark's JSON as Markdown tables, one for each set of metrics."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any


def write_table(report: Mapping[str, Any], file: Path) -> None:
    """Write the rows' means with their 95 % intervals, the command above them."""
    rows = [row for row in report["rows"] if row["n"]]
    lines = [
        f"# {report['method']}",
        "",
        f"`{report['command']}` · {report['machine']} · {report['date']} · split: {report['split']}",
    ]
    if report.get("weights"):
        named = ", ".join(f"{role} `{mark}`" for role, mark in report["weights"].items())
        lines += ["", f"Weights: {named}"]
    for metrics, group in groupby(rows, key=_metrics):
        lines += ["", f"| row | n | {' | '.join(metrics)} |", f"|---|---|{'---|' * len(metrics)}"]
        for row in group:
            cells = " | ".join(_figure(metric, row[metric]) for metric in metrics)
            lines.append(f"| {row['name']} | {row['n']} | {cells} |")
    lines += ["", "Per cent, distances apart; 95 % intervals by bootstrap over species (1,000 resamples)."]
    if any("Fréchet distance" in row for row in rows):
        lines.append("Fréchet and kernel distance: jackknife over species.")
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _metrics(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(key for key in row if key not in ("name", "n"))


def _figure(metric: str, estimate: Mapping[str, float]) -> str:
    factor, digits = (1, 3) if metric.endswith("distance") else (100, 1)
    mean, low, high = (factor * estimate[key] for key in ("mean", "low", "high"))
    return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"

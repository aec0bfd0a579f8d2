"""A benchmark's JSON as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_table(report: Mapping[str, Any], file: Path) -> None:
    """Write the rows as a table of means in percent with their 95 % intervals, the command above it."""
    metrics = [key for key in report["rows"][0] if key not in ("name", "n")]
    lines = [
        f"# {report['method']}",
        "",
        f"`{report['command']}` · {report['machine']} · {report['date']} · split: {report['split']}",
        "",
        f"| row | n | {' | '.join(metrics)} |",
        f"|---|---|{'---|' * len(metrics)}",
    ]
    for row in report["rows"]:
        cells = " | ".join(_percent(row[metric]) for metric in metrics)
        lines.append(f"| {row['name']} | {row['n']} | {cells} |")
    lines += ["", "Per cent; 95 % intervals by bootstrap over species (1,000 resamples)."]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _percent(estimate: Mapping[str, float]) -> str:
    mean, low, high = (100 * estimate[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} ({low:.1f} to {high:.1f})"

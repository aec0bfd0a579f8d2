"""The benchmark of a method: its pictures, the base's and the controls', judged by the oracle.

What is measured of a case is kept as it comes (`<out>.rows/<group>.jsonl`), so that an interrupted run goes on where it
stopped; the records are removed when the report is written. The oracle measures; no method ever sees it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import torch

from ragdemo.backend.local import LocalBackend
from ragdemo.evaluation.batching import Together
from ragdemo.evaluation.measures import Measures
from ragdemo.evaluation.plans import get_plan
from ragdemo.evaluation.plans.making import Records
from ragdemo.evaluation.report import write_table
from ragdemo.pocket.oracle import load_oracle
from ragdemo.profiles import ASSETS
from ragdemo.types import UserError


def main(method: str, out: Path, limit: int | None = None, seeds: int | None = None) -> None:
    """Measure `method` on `limit` prompts a tier with `seeds` seeds each; write JSON to `out` and a table beside it."""
    plan = get_plan(method)
    limit, seeds = limit or plan.LIMIT, seeds or plan.SEEDS
    if out.suffix != ".json":
        raise UserError(f"The report {out} is no JSON file; choose a name that ends in .json.")
    folder = out.with_suffix(".rows")
    records = measure(method, folder, limit, seeds)
    packages = ("torch", "diffusers", "transformers", "open_clip_torch", "faiss-cpu")
    report = {
        "method": method,
        "split": "report",
        "command": f"python -m ragdemo bench --method {method} --limit {limit} --seeds {seeds} --out {out}",
        "rows": plan.rows(records),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        "date": date.today().isoformat(),
    }
    out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_table(report, out.with_suffix(".md"))
    shutil.rmtree(folder)


def measure(method: str, folder: Path, limit: int, seeds: int) -> Records:
    """The records of every group of cases, those already in `folder` read from there."""
    threads = torch.get_num_threads()
    toolbox = LocalBackend().toolbox()
    torch.set_num_threads(threads)  # a profile's own number is for one drawing; these are made many at a time
    trained = {k: v.fingerprint for k, v in toolbox.retrievers.items() if not isinstance(v, UserError)}
    mark = {
        "method": method,
        "limit": limit,
        "seeds": seeds,
        "generator": toolbox.generator.fingerprint,
        "retrievers": {"zero": toolbox.searcher.fingerprint, **trained},
        "versions": dict(toolbox.versions),
    }
    _same_run(folder, mark)
    with Together(toolbox) as together:
        measures = Measures(method, together.toolbox, load_oracle(ASSETS / "pocket" / "oracle", "cpu"))
        groups = get_plan(method).groups(measures, limit, seeds)
        return {name: _kept(folder, name, *group, together) for name, group in groups.items()}


def _same_run(folder: Path, mark: dict[str, Any]) -> None:
    """Empty a folder whose records belong to another run: other prompts, other models."""
    file = folder / "run.json"
    if folder.exists() and (not file.exists() or json.loads(file.read_text(encoding="utf-8")) != mark):
        print("the kept records are of another run and are measured anew", file=sys.stderr)
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(mark) + "\n", encoding="utf-8")


def _kept(
    folder: Path, name: str, chosen: list[Any], measured: Callable[[Any], dict[str, Any]], together: Together
) -> list[Mapping[str, Any]]:
    """Records of a group in order: those already on disk, then new ones, each written as it comes."""
    file = folder / f"{name.replace(', ', '-').replace(' ', '-')}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    records = [json.loads(line) for line in lines][: len(chosen)]
    with file.open("a", encoding="utf-8") as sink:
        for record in together.map(measured, chosen[len(records) :]):
            sink.write(json.dumps(record) + "\n")
            sink.flush()
            records.append(record)
            print(f"{name} {len(records)}/{len(chosen)}", file=sys.stderr)
    return records

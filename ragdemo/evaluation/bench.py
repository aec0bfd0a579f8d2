"""The benchmark of a method: its pictures, the base's and the controls', judged by the oracle.

Each case's record is kept at once (`<out>.rows/<group>.jsonl`), so that an interrupted run is resumed; the records are
removed when the report is written. The report names the weights that were measured by their hashes. Only the oracle
measures, and no method uses it.
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

from ragdemo.errors import UserError
from ragdemo.evaluation.batching import BatchedRuns
from ragdemo.evaluation.measures import Measures
from ragdemo.evaluation.plans import get_plan
from ragdemo.evaluation.plans.rows import Records
from ragdemo.evaluation.report import write_table
from ragdemo.models.base import GENERATOR
from ragdemo.models.fingerprints import weights_of
from ragdemo.profiles import ASSETS, Profile, get_profile
from ragdemo.run.inprocess import InProcess
from ragdemo.weights import weights_hash
from ragdemo.world.oracle import load_oracle

PROFILE = "pocket"


def main(
    method: str, out: Path, limit: int | None = None, seeds: int | None = None, library: str = "pocket"
) -> None:
    """Measure `method` on `limit` prompts a tier with `seeds` seeds each; write JSON to `out` and a table beside it."""
    plan = get_plan(method)
    limit, seeds = limit or plan.LIMIT, seeds or plan.SEEDS
    if out.suffix != ".json":
        raise UserError(f"The report {out} is no JSON file; choose a name that ends in .json.")
    folder = out.with_suffix(".rows")
    records = measure(method, folder, limit, seeds, library)
    of = "" if library == "pocket" else f" --library {library}"
    packages = ("torch", "diffusers", "transformers", "open_clip_torch", "faiss-cpu")
    report = {
        "method": method,
        "split": "report",
        "command": f"python -m ragdemo bench --method {method} --limit {limit} --seeds {seeds}{of} --out {out}",
        "rows": plan.rows(records),
        "weights": measured_weights(get_profile(PROFILE)),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        "date": date.today().isoformat(),
    }
    out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_table(report, out.with_suffix(".md"))
    shutil.rmtree(folder)


def measure(method: str, folder: Path, limit: int, seeds: int, library: str = "pocket") -> Records:
    """The records of every group of cases, those already in `folder` read from there."""
    threads, plan = torch.get_num_threads(), get_plan(method)
    tools = InProcess(profile=PROFILE, library=library).tools(PROFILE, library)
    _check_library(tools.library)
    torch.set_num_threads(threads)  # a profile's own number is for one drawing; these are made many at a time
    trained = {k: v.fingerprint for k, v in tools.retrievers.items() if not isinstance(v, UserError)}
    mark = {
        "method": method,
        "limit": limit,
        "seeds": seeds,
        "library": library,
        "retrievers": {"zero": tools.searcher.fingerprint, **trained},
        "versions": dict(tools.versions),
        "weights": measured_weights(tools.profile),
    }
    _same_run(folder, mark)
    role = getattr(plan, "ROLE", GENERATOR)
    with BatchedRuns(tools, role=role) as runs:
        measures = Measures(method, runs.tools, load_oracle(ASSETS / "pocket" / "oracle", "cpu"))
        groups = plan.groups(measures, limit, seeds)
        return {
            name: _kept(folder, name, chosen, measure, runs) for name, (chosen, measure) in groups.items()
        }


def measured_weights(profile: Profile) -> dict[str, str]:
    """Role → hash of its weights, oracle included."""
    return weights_of(profile) | {"oracle": weights_hash(ASSETS / "pocket" / "oracle")}


def _check_library(library: Any) -> None:
    """Raise `UserError` if a library's rows do not say what is measured: an `eval` split, species and scene."""
    rows = library.rows_of("eval") if "eval" in library.splits else ()
    if not rows or any(not {"species", "scene"} <= set(row.extra) for row in rows):
        raise UserError(
            f"The library {library.name} does not say which species and scene the pictures of its split 'eval' show; "
            "measure a library of the world, such as pocket, or one whose metadata have these columns."
        )


def _same_run(folder: Path, mark: dict[str, Any]) -> None:
    """Empty a folder if its records belong to another run, with other prompts or models."""
    file = folder / "run.json"
    if folder.exists() and (not file.exists() or json.loads(file.read_text(encoding="utf-8")) != mark):
        print("the kept records are of another run and are measured anew", file=sys.stderr)
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(mark) + "\n", encoding="utf-8")


def _kept(
    folder: Path, name: str, chosen: list[Any], measured: Callable[[Any], dict[str, Any]], runs: BatchedRuns
) -> list[Mapping[str, Any]]:
    """Records of a group in order: those already on disk, then new ones, each written as it comes."""
    file = folder / f"{name.replace(', ', '-').replace(' ', '-')}.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    records = [json.loads(line) for line in lines][: len(chosen)]
    with file.open("a", encoding="utf-8") as sink:
        for record in runs.map(measured, chosen[len(records) :]):
            sink.write(json.dumps(record) + "\n")
            sink.flush()
            records.append(record)
            print(f"{name} {len(records)}/{len(chosen)}", file=sys.stderr)
    return records

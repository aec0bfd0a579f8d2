"""The benchmark of a method: its pictures, the base's and the controls', judged by the oracle.

Every picture's verdict is kept as it comes (`<out>.rows/<row>.jsonl`), so that an interrupted run goes on where it
stopped; the rows are removed when the report is written. The oracle measures; no method ever sees it.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from ragdemo.backend.local import LocalBackend
from ragdemo.evaluation.prompts import Case, cases
from ragdemo.evaluation.report import write_table
from ragdemo.evaluation.statistics import paired, summarise
from ragdemo.events import Draft, References, Result
from ragdemo.library.store import Library
from ragdemo.methods.base import Toolbox
from ragdemo.models.interfaces import ImageGenerator
from ragdemo.pocket.oracle import Oracle, load_oracle
from ragdemo.profiles import ASSETS
from ragdemo.types import Request

METRICS = ("species", "kind", "scene")
LIMIT, SEEDS = 60, 4


def main(method: str, out: Path, limit: int = LIMIT, seeds: int = SEEDS) -> None:
    """Measure `method` on `limit` prompts a tier with `seeds` seeds each; write JSON to `out` and a table beside it."""
    bench = Bench(method, out)
    rows = {}
    for tier in ("common", "rare"):
        chosen = cases(tier, limit, seeds)
        before, after = bench.before_and_after(tier, chosen)
        rows |= {f"base, {tier}": before, f"{method}, {tier}": after}
        if tier == "rare":
            rows["another species of the kind, rare"] = bench.with_reference("another", chosen)
            rows["perfect reference, rare"] = bench.with_reference("perfect", chosen)
    report = _report(method, limit, seeds, out, rows)
    out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    write_table(report, out.with_suffix(".md"))
    shutil.rmtree(bench.folder)


class Bench:
    """Draws and judges; each record says species, scene and seed, and 1 or 0 for each of `METRICS`."""

    def __init__(self, method: str, out: Path) -> None:
        self.method = method
        self.folder = out.with_suffix(".rows")
        self.folder.mkdir(parents=True, exist_ok=True)
        self._backend = LocalBackend()
        self._oracle: Oracle = load_oracle(ASSETS / "pocket" / "oracle", "cpu")

    def before_and_after(self, tier: str, chosen: list[Case]) -> tuple[list[dict], list[dict]]:
        """Runs of the method: records of the drafts and of the results."""
        records = list(self._kept(f"{self.method}-{tier}", chosen, self._run))
        return [r["draft"] for r in records], [r["result"] for r in records]

    def with_reference(self, which: str, chosen: list[Case]) -> list[dict]:
        """Drawings with a given reference: "perfect" shows the species itself, "another" one of its kind."""
        return list(self._kept(f"{which}-rare", chosen, lambda case: self._draw_with(which, case)))

    def _run(self, case: Case) -> dict[str, Any]:
        request = Request(case.prompt, method=self.method, seed=case.seed)
        found: dict[str, Any] = {"references": []}
        for event in self._backend.run(request):
            if isinstance(event, Draft):
                found["draft"] = self._judge(case, event.image)
            elif isinstance(event, References):
                found["references"] = [reference.id for reference in event.used]
            elif isinstance(event, Result):
                found["result"] = self._judge(case, event.image)
        return found

    def _draw_with(self, which: str, case: Case) -> dict[str, Any]:
        toolbox = self._backend.toolbox()
        reference = _reference(toolbox, which, case)
        return self._judge(case, _last(toolbox.generator, case, reference))

    def _judge(self, case: Case, image: Image.Image) -> dict[str, Any]:
        seen = self._oracle.judge([image])[0]
        truth = case.species
        return {
            "species": truth.name,
            "scene": case.scene,
            "seed": case.seed,
            "right": {
                "species": int(seen.species == truth.name),
                "kind": int(seen.kind == truth.look.kind),
                "scene": int(seen.scene == case.scene),
            },
            "seen": asdict(seen),
        }

    def _kept(self, row: str, chosen: list[Case], measure: Any) -> Iterator[dict[str, Any]]:
        """Records of a row in order: those already on disk, then new ones, each written as it comes."""
        file = self.folder / f"{row}.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        done = [json.loads(line) for line in lines][: len(chosen)]
        yield from done
        with file.open("a", encoding="utf-8") as sink:
            for index in range(len(done), len(chosen)):
                record = measure(chosen[index])
                sink.write(json.dumps(record) + "\n")
                sink.flush()
                print(f"{row} {index + 1}/{len(chosen)}", file=sys.stderr)
                yield record


def _reference(toolbox: Toolbox, which: str, case: Case) -> Image.Image:
    library: Library = toolbox.library  # type: ignore[assignment]
    rng = Random(f"{which}/{case.prompt}/{case.seed}")
    kind, name = case.species.look.kind, case.species.name
    rows = [
        row
        for row in library.rows_of("eval")
        if row.extra["kind"] == kind
        and (row.extra["species"] == name) == (which == "perfect")
        and row.extra["scene"] != case.scene  # the scene must come from the prompt
    ]
    return library.image(rng.choice(rows).id)


def _last(generator: ImageGenerator, case: Case, reference: Image.Image) -> Image.Image:
    for item in generator.draw(case.prompt, case.seed, references=[reference]):
        image = item
    assert isinstance(image, Image.Image)
    return image


def _report(method: str, limit: int, seeds: int, out: Path, rows: dict[str, list[dict]]) -> dict[str, Any]:
    flat = {
        name: [{**r, **{f"right {m}": r["right"][m] for m in METRICS}} for r in found]
        for name, found in rows.items()
    }
    metrics = [f"right {m}" for m in METRICS]
    summary = [{"name": name, "n": len(found), **summarise(found, metrics)} for name, found in flat.items()]
    for tier in ("common", "rare"):
        after, before = flat[f"{method}, {tier}"], flat[f"base, {tier}"]
        summary.append(
            {"name": f"{method} − base, {tier}, paired", "n": len(after), **paired(after, before, metrics)}
        )
    packages = ("torch", "diffusers", "transformers", "open_clip_torch", "faiss-cpu")
    return {
        "method": method,
        "split": "report",
        "command": f"python -m ragdemo bench --method {method} --limit {limit} --seeds {seeds} --out {out}",
        "rows": summary,
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        "date": date.today().isoformat(),
    }

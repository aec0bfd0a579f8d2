"""Measure what the models make of species that are in nobody's training: invented looks under names of another rule.

    python -m scripts.bench_fresh --out docs/results/fresh.json [--species 24] [--pictures 10] [--seeds 2] [--rare 60]

A fresh library is drawn and built as anybody builds one, with pictures of each species in its scenes. Two figures, each
the share of drawings in which an oracle finds all attributes right:

    perfect reference    a true picture of the species in another scene is given; beside it the same of rare species
    end to end           ImageRAG from the typed prompt alone, searching the fresh library

The aims: the first within 0.05 of that of rare species, the second at least 0.85 of the first.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from ragdemo.evaluation.batching import BatchedRuns
from ragdemo.evaluation.measures import Measures
from ragdemo.evaluation.plans.rows import part, row
from ragdemo.evaluation.prompts import Case, cases
from ragdemo.invention import Inventor
from ragdemo.library.building import REPORT_FILE
from ragdemo.library.ingest import ingest
from ragdemo.library.metadata import line_of
from ragdemo.library.store import METADATA_FILE
from ragdemo.profiles import ASSETS
from ragdemo.run.inprocess import InProcess
from ragdemo.world.commands import fresh_look
from ragdemo.world.oracle import load_oracle
from ragdemo.world.sampling import species_sample
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import Species, common_kinds

METRICS = ("all attributes", "right kind", "right scene")
RETRIEVAL = "end to end, first reference"
NAME, STREAM = "fresh", "fresh"


def main() -> None:
    """Draw, build, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    for name, default in (("species", 24), ("pictures", 10), ("seeds", 2), ("rare", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    species = fresh_species(options.species)
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"RAGDEMO_LIBRARIES": folder, "RAGDEMO_CACHE": f"{folder}/.cache"}
        build(species, options.pictures, Path(folder))
        found = measure(species, options.seeds, options.rare)
    report = {
        "species": len(species),
        "pictures of each": options.pictures,
        "names": [one.name for one in species],
        "rows": [
            row(name, records, ("retrieved species",) if name == RETRIEVAL else METRICS)
            for name, records in found.items()
        ],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for one in report["rows"]:
        print(one["name"], one["n"], one.get("all attributes") or one.get("retrieved species"))


def fresh_species(count: int, seed: int = 0) -> list[Species]:
    """Species of the kinds in turn, far from all named ones, under names that the world's own rule does not give."""
    rng, inventor, kinds = Random(f"{STREAM}/{seed}"), Inventor(), common_kinds()
    names: dict[str, None] = {}
    while len(names) < count:
        names[inventor.surprise(rng)["name"]] = None
    return [
        Species(f"{name} {kinds[i % len(kinds)]}", "fresh", fresh_look(kinds[i % len(kinds)], rng))
        for i, name in enumerate(names)
    ]


def build(species: Sequence[Species], pictures: int, folder: Path) -> None:
    """The fresh library, by way of the image folder that a person would have."""
    source, rows = folder / ".source", []
    source.mkdir()
    for one in species:
        for index in range(pictures):
            sample = species_sample(one, STREAM, index)
            file = f"{one.name.replace(' ', '-')}-{index}.png"
            sample.image().save(source / file)
            said = {
                "species": one.name,
                "kind": one.look.kind,
                "scene": sample.picture.scene,
                "split": "eval",
            }
            rows.append({"file_name": file, "text": sample.caption, **said})
    (source / METADATA_FILE).write_text("".join(map(line_of, rows)), encoding="utf-8")
    library = ingest(source, folder / NAME, NAME).library
    assert len(library) == len(rows), (folder / NAME / REPORT_FILE).read_text(encoding="utf-8")


def measure(species: Sequence[Species], seeds: int, rare: int) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Records of each row, by its name."""
    fresh = [
        Case(one, Random(f"scene/{one.name}/{seed}").choice(SCENES), seed)
        for one in species
        for seed in range(seeds)
    ]
    known = cases("rare", rare, 1)
    found: dict[str, Sequence[Mapping[str, Any]]] = {}
    true = measured(NAME, lambda measures: measures.restored, fresh)
    found["true picture, fresh"] = part(true, "before")  # what the oracle can tell at all
    found["true picture through the autoencoder, fresh"] = true
    found["perfect reference, rare"] = measured("pocket", lambda measures: measures.perfect, known)
    found["perfect reference, fresh"] = measured(NAME, lambda measures: measures.perfect, fresh)
    runs = measured(NAME, lambda measures: measures.run, fresh)
    found["end to end, draft"] = part(runs, "draft")
    found["end to end, result"] = part(runs, "result")
    found[RETRIEVAL] = [record for record in runs if "retrieved species" in record]
    return found


def measured(
    library: str, which: Callable[[Measures], Callable[[Case], dict[str, Any]]], chosen: Iterable[Case]
) -> list[Mapping[str, Any]]:
    """The records of some cases on a library."""
    tools = replace(InProcess(library=library).tools("pocket", library), split="eval")
    oracle = load_oracle(ASSETS / "pocket" / "oracle", "cpu")
    with BatchedRuns(tools) as runs:
        return list(runs.map(which(Measures("imagerag", runs.tools, oracle)), list(chosen)))


if __name__ == "__main__":
    main()

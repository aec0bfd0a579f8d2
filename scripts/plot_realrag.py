"""Is it the reflective term? Recall@1 of Normal and Real over batch size, and over how near the negatives are.

    python -m scripts.plot_realrag [--seeds 3] [--out docs/results/realrag-open-question]

Trains heads on the pocket library's train split and measures them on eval, for rare species alone, with the paper's
class prompt. The control are heads that were trained without the species of the report half, and are measured on those,
also with whole prompts. Writes JSON and PNG. Bands are 95 % intervals by bootstrap over species.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch

from ragdemo.evaluation.prompts import split_of
from ragdemo.evaluation.statistics import bootstrap
from ragdemo.library.index import open_index
from ragdemo.library.store import open_library
from ragdemo.library.vectors import SHIPPED_FOLDER
from ragdemo.methods.realrag.head import VARIANTS, HeadedEncoder
from ragdemo.methods.realrag.mining import TrainingSet, class_prompt, without_classes
from ragdemo.methods.realrag.training import HeadSettings, train_head
from ragdemo.models.encoder import load_encoder
from ragdemo.profiles import ASSETS, get_profile
from ragdemo.training.loop import Context
from ragdemo.training.realrag import training_set
from ragdemo.world.captions import prompt_for
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import by_name

matplotlib.use("Agg")
from matplotlib import pyplot as plt

BATCHES = (16, 32, 64, 128, 256)
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
WORDINGS = {"class prompt": class_prompt, "whole prompt": lambda name: prompt_for(name, SCENES[0])}


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/realrag-open-question"))
    arguments = parser.parse_args()
    study = Study(arguments.workdir, arguments.seeds)
    found = {
        "command": f"python -m scripts.plot_realrag --seeds {arguments.seeds}",
        "batch": [study.point(variant, batch=batch) for batch in BATCHES for variant in VARIANTS],
        "near-species share": [study.point("real", kept=share) for share in SHARES],
        "control": [
            study.control(trained, wording) for wording in WORDINGS for trained in (None, "all", "others")
        ],
    }
    arguments.out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    draw(found, arguments.out.with_suffix(".png"))


class Study:
    """Heads over settings, measured on the eval split."""

    def __init__(self, workdir: Path, seeds: int) -> None:
        context = Context(workdir, ASSETS / "pocket", torch.device("cpu"))
        library = open_library("pocket")
        self._encoder = load_encoder(get_profile("pocket").spec("encoder"))
        index = open_index(library, self._encoder, library.folder / SHIPPED_FOLDER)
        self._data = training_set(context, library, self._encoder, index)
        self._seeds = seeds
        rows = {row.id: row.extra for row in library.rows_of("eval")}
        chosen = [i for i, image_id in enumerate(index.ids) if image_id in rows]
        extras = [rows[index.ids[i]] for i in chosen]
        self._vectors, self._shown = index.matrix[chosen], [extra["species"] for extra in extras]
        self._kind = {extra["species"]: extra["kind"] for extra in extras}
        tiers = {extra["species"]: extra["tier"] for extra in extras}
        self._asked = [name for name, tier in tiers.items() if tier == "rare"]
        self._queries = self._encoder.embed_texts([class_prompt(name) for name in self._asked])

    def point(self, variant: str, batch: int = HeadSettings.batch, kept: float = 1.0) -> dict[str, Any]:
        """Recall@1 of heads trained at a batch size, and how many reflective negatives were near: of the query's kind.

        Of the mined negatives the share `kept` stays; the others are replaced by pictures of other kinds.
        """
        hits, near = [], []
        for seed in range(self._seeds):
            settings = HeadSettings(batch=batch, seed=seed)
            data = self._data if kept == 1 else self._thinned(kept, seed)
            near.append(self._near(data))
            head = train_head(data, variant, settings)
            moved = HeadedEncoder(self._encoder, head).transform(self._vectors)
            first = (self._queries @ moved.T).argmax(1)
            hits += [float(self._shown[i] == name) for i, name in zip(first, self._asked, strict=True)]
        estimate = bootstrap(hits, self._asked * self._seeds).to_json()
        point = {"variant": variant, "batch": batch, "near": round(float(np.mean(near)), 3)}
        print(point, estimate, flush=True)
        return point | {"recall@1": estimate}

    def control(self, trained: str | None, wording: str) -> dict[str, Any]:
        """Recall@1 on the rare species of the report half: of the frozen encoder, or of heads trained on all species or
        on the others alone.
        """
        asked = [name for name in self._asked if split_of(by_name()[name]) == "report"]
        queries = self._encoder.embed_texts([WORDINGS[wording](name) for name in asked])
        data = without_classes(self._data, asked) if trained == "others" else self._data
        hits = []
        for seed in range(self._seeds if trained else 1):
            vectors = self._vectors
            if trained:
                head = train_head(data, "real", HeadSettings(seed=seed))
                vectors = HeadedEncoder(self._encoder, head).transform(vectors)
            first = (queries @ vectors.T).argmax(1)
            hits += [float(self._shown[i] == name) for i, name in zip(first, asked, strict=True)]
        estimate = bootstrap(hits, asked * (len(hits) // len(asked))).to_json()
        point = {"trained on": trained or "nothing", "query": wording}
        print(point, estimate, flush=True)
        return point | {"recall@1": estimate}

    def _near(self, data: TrainingSet) -> float:
        """The share of reflective negatives that show another species of the query's kind."""
        mined, names = data.image_species[data.reflective_negatives()], data.names
        pairs = [(names[query], names[negative]) for query, negative in enumerate(mined)]
        return float(np.mean([one != two and self._kind[one] == self._kind[two] for one, two in pairs]))

    def _thinned(self, kept: float, seed: int) -> TrainingSet:
        """The data with all but a share of the drawings replaced by pictures of other kinds."""
        rng = np.random.default_rng(seed)
        drawn = self._data.drawn.copy()
        for i in np.flatnonzero(rng.random(len(drawn)) >= kept):
            kinds = np.array([self._kind[self._data.names[j]] for j in self._data.image_species])
            others = np.flatnonzero(kinds != self._kind[self._data.names[i]])
            drawn[i] = self._data.images[rng.choice(others)]
        return dataclasses.replace(self._data, drawn=drawn)


def draw(found: dict[str, Any], file: Path) -> None:
    """Two panels with intervals."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
    for variant, colour in zip(VARIANTS, ("#67645c", "#b93c0a"), strict=True):
        points = [point for point in found["batch"] if point["variant"] == variant]
        _band(left, [point["batch"] for point in points], points, colour, variant)
    left.set_xscale("log", base=2)
    left.set_xticks(BATCHES, [str(batch) for batch in BATCHES])
    left.set_xlabel("batch")
    left.set_ylabel("recall@1 on eval, rare species")
    left.legend(frameon=False)
    points = found["near-species share"]
    normal = next(p for p in found["batch"] if p["variant"] == "normal" and p["batch"] == HeadSettings.batch)
    _band(right, [points[0]["near"], points[-1]["near"]], [normal, normal], "#67645c", "normal")
    _band(right, [point["near"] for point in points], points, "#b93c0a", "real")
    right.set_xlabel(f"share of reflective negatives of the query's kind (batch {HeadSettings.batch})")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(file, dpi=130)


def _band(axes: Any, x: list[float], points: list[dict[str, Any]], colour: str, label: str) -> None:
    values = [point["recall@1"] for point in points]
    axes.plot(x, [value["mean"] for value in values], "o-", color=colour, label=label)
    axes.fill_between(
        x, [value["low"] for value in values], [value["high"] for value in values], color=colour, alpha=0.15
    )


if __name__ == "__main__":
    main()

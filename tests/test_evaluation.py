"""Statistics, prompts and the benchmark's own bookkeeping."""

from __future__ import annotations

import numpy as np
import pytest

from ragdemo.evaluation.prompts import cases, split_of
from ragdemo.evaluation.report import write_table
from ragdemo.evaluation.statistics import bootstrap, paired, summarise
from ragdemo.pocket.scenes import SCENES
from ragdemo.pocket.species import of_tier


def test_the_interval_holds_the_mean_and_narrows_with_more_species() -> None:
    rng = np.random.default_rng(0)
    few = rng.integers(0, 2, 20).astype(float)
    many = rng.integers(0, 2, 2000).astype(float)
    narrow, wide = (bootstrap(v, [str(i) for i in range(len(v))]) for v in (many, few))
    assert wide.low <= few.mean() <= wide.high
    assert narrow.mean == pytest.approx(many.mean())
    assert narrow.high - narrow.low < (wide.high - wide.low) / 3


def test_whole_species_are_resampled_not_single_prompts() -> None:
    values, species = [1.0] * 50 + [0.0] * 50, ["a"] * 50 + ["b"] * 50
    together = bootstrap(values, species)
    alone = bootstrap(values, [str(i) for i in range(100)])
    assert (together.low, together.high) == (0.0, 1.0)
    assert alone.high - alone.low < 0.25


def test_paired_differences_need_the_same_prompts() -> None:
    before = [{"species": s, "scene": "snow", "seed": 0, "right": r} for s, r in (("a", 0), ("b", 1))]
    after = [{**record, "right": 1} for record in before]
    assert paired(after, before, ["right"])["right"]["mean"] == 0.5
    with pytest.raises(ValueError, match="same prompt"):
        paired(after[::-1], before, ["right"])


def test_summaries_report_each_metric() -> None:
    records = [{"species": "a", "kind": 1, "scene": 0}, {"species": "b", "kind": 1, "scene": 1}]
    found = summarise(records, ["kind", "scene"])
    assert found["kind"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert found["scene"]["mean"] == 0.5


@pytest.mark.parametrize("tier", ["common", "rare"])
def test_tuning_and_reporting_never_share_a_species(tier: str) -> None:
    report, tune = ({case.species for case in cases(tier, 120, 2, split)} for split in ("report", "tune"))
    assert not report & tune
    assert report | tune == set(of_tier(tier))
    assert {split_of(species) for species in report} == {"report"}


def test_cases_are_the_same_every_time_and_spread_over_kinds_and_scenes() -> None:
    chosen = cases("rare", 60, 4)
    assert chosen == cases("rare", 60, 4)
    assert len({(c.species.name, c.scene, c.seed) for c in chosen}) == len(chosen) == 240
    assert {case.scene for case in chosen} == set(SCENES)
    assert len({case.species.look.kind for case in chosen}) == 12


def test_a_report_becomes_a_table_with_its_command(tmp_path) -> None:
    estimate = {"mean": 0.5, "low": 0.25, "high": 0.75}
    report = {
        "method": "imagerag",
        "command": "python -m ragdemo bench --out x.json",
        "machine": "x86_64, 2 CPU cores",
        "date": "2026-11-20",
        "split": "report",
        "rows": [{"name": "base, rare", "n": 4, "right species": estimate}],
    }
    write_table(report, tmp_path / "x.md")
    text = (tmp_path / "x.md").read_text()
    assert "| base, rare | 4 | 50.0 (25.0 to 75.0) |" in text
    assert report["command"] in text

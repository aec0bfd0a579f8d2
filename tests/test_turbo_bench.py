"""The benchmark of the one-step method as a whole, on a tiny student beside the shipped teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tiny_turbo import build_turbo

from ragdemo import profiles
from ragdemo.evaluation import bench
from ragdemo.evaluation.blends import BlendMeasures
from ragdemo.evaluation.plans import turbo
from ragdemo.profiles import POCKET


@pytest.mark.slow
def test_every_group_is_measured_and_every_row_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = build_turbo(tmp_path / "models", adapter=True).roles
    adapter = small["h_space_adapter"]
    roles = {
        **POCKET.roles,
        "one_step": small["one_step"],
        "h_space_adapter": adapter,
        "h_space_control": adapter,
    }
    profile = replace(POCKET, name="tiny-bench", roles=roles)
    monkeypatch.setitem(profiles.PROFILES, profile.name, profile)
    monkeypatch.setattr(bench, "PROFILE", profile.name)
    monkeypatch.setattr(turbo, "POCKET", profile)
    asked: list[str] = []
    monkeypatch.setattr(BlendMeasures, "_approves", lambda _self, prompt, _image: bool(asked.append(prompt)))
    # one case of each species to be found would take all the time of this test
    monkeypatch.setattr(turbo, "one_each", lambda tier: turbo.cases(tier, 2, 1))
    records = bench.measure("turbo", tmp_path / "rows", 3, 2)
    assert len(asked) == 3 * 9 * len(turbo.KINDS)
    rows = {row["name"]: row for row in turbo.rows(records)}
    assert {
        "teacher, rare",
        "student − teacher, common, paired",
        "adapter − student, rare, paired",
        "adapter − nothing retrieved, rare, paired",
        "adapter − random pair, rare, paired",
        "perfect pair, rare",
        "slerp w 0.8, rare",
        "depths 3, rare",
        "best of nine w − best of nine seeds, paired",
        "found by text, novel",
        "student, between seeds",
        "adapter, rare, to true pictures",
    } <= set(rows)
    assert all(row["n"] for name, row in rows.items() if "another scene" not in name)
    assert 0 <= rows["found by text, rare"]["recall@1"]["mean"] <= 1
    same = records["slerp w 1.0, rare"], [r for r in records["student, rare"] if r["seed"] % 1000 < 2]
    assert [one["features"] for one in same[0]] == [
        one["features"] for one in same[1]
    ]  # w = 1 is the student
    differs = zip(records["adapter, rare"], records["nothing retrieved, rare"], strict=True)
    assert any(one["features"] != other["features"] for one, other in differs)

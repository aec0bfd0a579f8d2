"""The benchmark as a whole, on the shipped models: what is kept, resumed, reported, and with which weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tiny_models import with_spec

from ragdemo.evaluation import bench
from ragdemo.evaluation.bench import measured_weights
from ragdemo.profiles import ASSETS, get_profile
from ragdemo.weights import weights_hash

POCKET = ASSETS / "pocket"


@pytest.mark.slow
def test_bench_measures_resumes_and_reports(tmp_path: Path) -> None:
    out = tmp_path / "imagerag.json"
    rows = out.with_suffix(".rows")
    kept = bench.measure("imagerag", rows, 2, 1)
    marks = {"right species": 1.0, "right kind": 0.0, "all attributes": 0.0, "right scene": 0.0}
    marked = [json.dumps({**record, **marks}) for record in kept["perfect, rare"]]
    (rows / "perfect-rare.jsonl").write_text("\n".join(marked) + "\n")
    described = (rows / "described-rare.jsonl").read_text().splitlines()
    (rows / "described-rare.jsonl").write_text(described[0] + "\n")
    bench.main("imagerag", out, limit=2, seeds=1)
    report = json.loads(out.read_text())
    found = {row["name"]: row for row in report["rows"]}
    assert {"base, common", "imagerag, two rare", "imagerag − base, rare, paired", "critic, all"} <= set(
        found
    )
    # what was kept was not measured again: no picture shows the right species and neither its kind nor its scene
    assert [found["perfect reference, rare"][metric]["mean"] for metric in marks] == [1, 0, 0, 0]
    again = [record["right species"] for record in kept["described, rare"]]
    assert found["described in words, rare"]["n"] == 2
    assert found["described in words, rare"]["right species"]["mean"] == sum(again) / 2
    assert not rows.exists()
    table = out.with_suffix(".md").read_text()
    assert "| base, common | 2 |" in table
    weights = report["weights"]
    assert {"generator", "critic", "encoder", "retrievers", "oracle"} <= set(weights)
    assert weights["oracle"] == weights_hash(POCKET / "oracle")
    assert f"critic `{weights['critic']}`" in table


def test_the_hash_of_weights_changes_with_a_byte_and_with_a_name(tmp_path: Path) -> None:
    folder = tmp_path / "critic"
    shutil.copytree(POCKET / "critic", folder)
    first = weights_hash(folder)
    assert first == weights_hash(POCKET / "critic")
    (folder / "card.json").write_text("{}")  # not a weight
    assert weights_hash(folder) == first
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert weights_hash(folder) != first
    assert weights_hash(tmp_path / "nothing") == ""


def test_a_model_without_a_folder_is_named_as_it_is() -> None:
    profile = with_spec(get_profile("pocket"), "critic", weights="openai:some-model")
    assert measured_weights(profile)["critic"] == "openai:some-model"

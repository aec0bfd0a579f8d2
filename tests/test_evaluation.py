"""Statistics, prompts and the benchmark's own bookkeeping."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
import pytest
from imagerag_doubles import Painter, ScriptedCritic, references_of, tools
from PIL import Image

from ragdemo.errors import UserError
from ragdemo.evaluation.batching import BatchedRuns
from ragdemo.evaluation.bench import _same_run
from ragdemo.evaluation.distances import distance, distance_difference, frechet, kernel
from ragdemo.evaluation.judging import judge
from ragdemo.evaluation.plans import PLANS, get_plan
from ragdemo.evaluation.prompts import cases, split_of, two_thing_cases
from ragdemo.evaluation.report import write_table
from ragdemo.evaluation.statistics import bootstrap, paired, summarise
from ragdemo.methods.imagerag.method import ImageRAG
from ragdemo.models.base import GENERATOR, Drawing, Drawn, ImageReferences
from ragdemo.profiles import ASSETS
from ragdemo.request import Request
from ragdemo.world.oracle import load_oracle
from ragdemo.world.render import SIZE
from ragdemo.world.sampling import compose
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import of_tier


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
    report["rows"].append({"name": "copying", "n": 4, "pixel distance": estimate})
    write_table(report, tmp_path / "x.md")
    text = (tmp_path / "x.md").read_text()
    assert "| copying | 4 | 0.500 (0.250 to 0.750) |" in text
    assert "| base, rare | 4 | 50.0 (25.0 to 75.0) |" in text
    assert report["command"] in text


def test_two_things_are_judged_wherever_each_stands() -> None:
    oracle = load_oracle(ASSETS / "pocket" / "oracle")
    case = two_thing_cases("rare", 2, 1)[1]
    looks = [thing.look for thing in case.things]
    for order in (looks, looks[::-1]):
        picture = compose(order, case.scene, Random(1)).render(SIZE)
        found = judge(oracle, case, picture)
        assert (found["right species"], found["right scene"]) == (1.0, 1.0)
    alone = compose([looks[0], looks[0]], case.scene, Random(1)).render(SIZE)
    assert judge(oracle, case, alone)["right species"] == 0.5


def test_a_prompt_in_words_names_no_species() -> None:
    for case in cases("rare", 20, 1):
        assert case.species.name.split()[0] not in case.described
        assert case.species.look.main in case.described


class BatchPainter(Painter):
    """Draws what `Painter` draws and remembers how many drawings it made at once."""

    def draw_many(self, drawings: list[Drawing]) -> list[Drawn]:
        self.batches = [*getattr(self, "batches", []), len(drawings)]
        return [Drawn(Image.new("RGB", (8, 8), (d.seed, 40 * len(references_of(d)), 0))) for d in drawings]


def test_batched_runs_are_the_runs_alone() -> None:
    requests = [Request(prompt=f"a quixel butterfly {i}", seed=i) for i in range(20)]
    painter = BatchPainter()

    def results(run_all) -> list[tuple[int, int, int]]:
        return [events[-1].image.getpixel((0, 0)) for events in run_all]

    with BatchedRuns(tools(ScriptedCritic(), painter), batch=4) as runs:
        found = list(runs.map(lambda request: list(ImageRAG().run(request, runs.tools)), requests))
    assert results(found) == [(i, 40, 0) for i in range(20)]
    assert sum(painter.batches) == 40
    assert max(painter.batches) == 4
    assert len(painter.batches) <= 16  # most were full


def test_an_error_in_one_run_ends_the_others() -> None:
    class Broken(BatchPainter):
        def draw_many(self, drawings: list[Drawing]) -> list[Drawn]:
            raise RuntimeError("out of memory")

    requests = [Request(prompt="a fox")] * 6
    with (
        BatchedRuns(tools(ScriptedCritic(), Broken()), batch=2) as runs,
        pytest.raises(RuntimeError, match="out of memory"),
    ):
        list(runs.map(lambda request: list(ImageRAG().run(request, runs.tools)), requests))


def test_distances_of_gaussians_are_the_closed_forms() -> None:
    rng = np.random.default_rng(0)
    one = rng.normal(0, 1, (20_000, 3))
    two = rng.normal(0, 2, (20_000, 3)) + np.array([1, 0, 0])
    assert frechet(one, two) == pytest.approx(1 + 3 * (1 - 2) ** 2, rel=0.05)
    assert frechet(one, one) == pytest.approx(0, abs=1e-6)
    halves = one[:2000], one[2000:4000]
    assert abs(kernel(*halves)) < 0.02
    assert kernel(one[:2000], two[:2000]) > 0.2


def test_the_interval_of_a_distance_holds_what_many_pictures_say() -> None:
    rng = np.random.default_rng(1)
    groups = [str(i // 20) for i in range(600)]

    def sample(shift: float, count: int = 600) -> np.ndarray:
        """Rows of a group share a centre, as pictures of one species do."""
        centres = np.repeat(rng.normal(shift, 0.5, (count // 20, 4)), 20, axis=0)
        return centres + rng.normal(0, 1, (count, 4))

    for measure in (frechet, kernel):
        far = measure(sample(0.5, 60_000)[:4000], sample(0, 60_000)[:4000])
        intervals = [distance(measure, sample(0.5), sample(0), groups) for _ in range(20)]
        assert sum(found.low <= far <= found.high for found in intervals) >= 16, (measure, far)
    near, wide, true = sample(0.2), sample(1.5), sample(0)
    difference = distance_difference(frechet, wide, near, true, groups)
    assert difference.low > 0
    assert difference.mean == pytest.approx(frechet(wide, true) - frechet(near, true))


def test_a_drawing_asked_for_twice_is_made_once() -> None:
    painter = BatchPainter()
    asked = [
        Drawing("a fox", seed, condition=ImageReferences((Image.new("RGB", (4, 4), shade),)))
        for seed in (1, 2)
        for shade in (5, 6)
    ]
    with BatchedRuns(tools(ScriptedCritic(), painter), batch=4) as runs:
        drawn = runs.tools.models.get(GENERATOR).draw
        first = [list(drawn(drawing))[-1] for drawing in asked]
        again = [list(drawn(drawing))[-1] for drawing in asked]
    assert sum(painter.batches) == len(asked)
    assert [id(drawing) for drawing in first] == [id(drawing) for drawing in again]


def test_records_are_kept_for_the_same_models_and_measured_anew_for_others(tmp_path: Path) -> None:
    folder = tmp_path / "out.rows"
    _same_run(folder, {"method": "realrag", "retrievers": {"real": "a"}})
    (folder / "rare.jsonl").write_text("{}\n")
    _same_run(folder, {"method": "realrag", "retrievers": {"real": "a"}})
    assert (folder / "rare.jsonl").exists()
    _same_run(folder, {"method": "realrag", "retrievers": {"real": "b"}})
    assert not (folder / "rare.jsonl").exists()


def test_every_method_has_a_plan() -> None:
    for method in PLANS:
        plan = get_plan(method)
        assert plan.LIMIT * plan.SEEDS >= 240
    with pytest.raises(UserError, match="no benchmark of 'other'"):
        get_plan("other")

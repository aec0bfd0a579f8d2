"""Statistics of the shipped weights: a small sample each, or all of it with `--whole` (`make figures`)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from ragdemo.evaluation.batching import BatchedRuns
from ragdemo.evaluation.bench import measured_weights
from ragdemo.evaluation.measures import Measures
from ragdemo.evaluation.prompts import cases
from ragdemo.events import RetrievalCaptions, Verdict
from ragdemo.library.index import VectorIndex, open_index
from ragdemo.library.store import open_library
from ragdemo.library.vectors import SHIPPED_FOLDER
from ragdemo.methods import get_method
from ragdemo.methods.realrag.head import HeadedEncoder, load_head
from ragdemo.models.base import Drawing
from ragdemo.models.encoder import load_encoder
from ragdemo.models.janus import load_janus
from ragdemo.profiles import ASSETS, get_profile
from ragdemo.request import Request
from ragdemo.run.inprocess import InProcess
from ragdemo.training.encoder_texts import QUERY_FORMS
from ragdemo.training.export import read_card
from ragdemo.training.labelled import FACTS
from ragdemo.training.oracle import measure_oracle
from ragdemo.training.recall import WORDINGS, library_recall
from ragdemo.world.oracle import load_oracle
from ragdemo.world.pool import describe_sample
from ragdemo.world.sampling import species_sample
from ragdemo.world.species import of_tier, roster

ROOT = Path(__file__).resolve().parent.parent
POCKET = ASSETS / "pocket"
ENCODER, JANUS = (get_profile("pocket").spec(role) for role in ("encoder", "autoregressive"))
COMMON_LEAST, RARE_BAND = 0.95, (0.70, 0.82)
ORACLE_LEAST = 0.97
pytestmark = pytest.mark.figures


@pytest.fixture(scope="module")
def index() -> VectorIndex:
    library = open_library("pocket")
    return open_index(library, load_encoder(ENCODER), library.folder / SHIPPED_FOLDER)


@pytest.mark.parametrize("method", ["imagerag", "realrag"])
def test_the_committed_results_are_of_the_shipped_weights(method: str) -> None:
    report = json.loads((ROOT / "docs" / "results" / f"{method}.json").read_text())
    shipped = measured_weights(get_profile("pocket"))
    assert set(report["weights"]) >= {role.name for role in get_method(method).needs}
    assert report["weights"].items() <= shipped.items()


def test_the_oracle_is_as_right_as_its_card_says(whole: bool) -> None:
    every, slack = (1, 0.03) if whole else (5, 0.06)
    samples = [species_sample(species, "test/oracle/fresh", 0) for species in roster()[::every]]
    images, rows = [sample.image() for sample in samples], [describe_sample(sample) for sample in samples]
    oracle = load_oracle(POCKET / "oracle")
    figures, card = measure_oracle(oracle, images, rows), read_card(POCKET / "oracle")["figures"]
    assert figures["species"] >= ORACLE_LEAST - slack
    for fact in FACTS:
        assert figures[fact] == pytest.approx(card[fact], abs=slack + 0.02)
    assert oracle.features(images).shape[1] <= 64


def test_the_oracle_reads_soft_and_dark_pictures(whole: bool) -> None:
    chosen = roster()[:: 2 if whole else 6]
    samples = [species_sample(species, "test/oracle/soft", 0) for species in chosen]
    soft = [
        sample.image().resize((72, 72)).resize((128, 128)).point(lambda v: int(v * 0.93))
        for sample in samples
    ]
    judgements = load_oracle(POCKET / "oracle").judge(soft)
    right = [j.species == sample.names[0] for j, sample in zip(judgements, samples, strict=True)]
    assert np.mean(right) >= (0.93 if whole else 0.9)


def test_rare_species_survive_the_picture_tokenizer(whole: bool) -> None:
    tokenizer = load_janus(JANUS, "cpu").tokenizer
    rare = of_tier("rare")[:: 1 if whole else 6]
    images = [species_sample(species, "test/tokenizer", 0).image() for species in rare]
    restored = [tokenizer.decode(codes) for codes in tokenizer.encode(images)]
    seen = load_oracle(POCKET / "oracle").judge(restored)
    right = [one.species == species.name for one, species in zip(seen, rare, strict=True)]
    assert np.mean(right) >= 0.8


@pytest.mark.slow
@pytest.mark.parametrize(("tier", "least", "most"), [("common", 0.7, 1.0), ("rare", 0.0, 0.08)])
def test_codes_draw_common_species_and_no_rare_one(tier: str, least: float, most: float, whole: bool) -> None:
    generator = load_janus(JANUS, "cpu")
    chosen = cases(tier, 240 if whole else 16, 1)
    drawn = [
        one.image
        for i in range(0, len(chosen), 8)
        for one in generator.draw_many([Drawing(case.prompt, case.seed) for case in chosen[i : i + 8]])
    ]
    seen = load_oracle(POCKET / "oracle").judge(drawn)
    pairs = list(zip(seen, chosen, strict=True))
    slack = 0 if whole else 0.06
    assert least - slack <= np.mean([one.species == case.species.name for one, case in pairs]) <= most + slack
    assert np.mean([one.scene == case.scene for one, case in pairs]) >= 0.95 - slack
    if tier == "common":
        assert np.mean([one.kind == case.species.look.kind for one, case in pairs]) >= 0.95 - slack


def test_recall_on_the_library_is_as_its_card_says(index: VectorIndex) -> None:
    library, encoder = open_library("pocket"), load_encoder(ENCODER)
    recall = library_recall(encoder, library, index, "eval")
    assert recall["common"] >= COMMON_LEAST
    assert RARE_BAND[0] <= recall["rare"] <= RARE_BAND[1]
    card = read_card(POCKET / "encoder")
    for wording in WORDINGS:
        again = library_recall(encoder, library, index, "eval", wording)
        for tier, figure in card["library_eval"][wording].items():
            assert again[tier] == pytest.approx(figure, abs=0.01)
            assert card["figures"][wording][tier] == pytest.approx(
                figure, abs=0.15
            )  # other renders of the same


def test_every_query_form_finds_common_species(index: VectorIndex) -> None:
    library, encoder = open_library("pocket"), load_encoder(ENCODER)
    for form in set(QUERY_FORMS):
        assert library_recall(encoder, library, index, "eval", form)["common"] >= 0.93


def test_the_reflective_retriever_finds_more_rare_species_and_loses_no_common_one(index: VectorIndex) -> None:
    library, encoder = open_library("pocket"), load_encoder(ENCODER)
    zero = library_recall(encoder, library, index)
    for name in ("normal", "real"):
        headed = HeadedEncoder(encoder, load_head(POCKET / "realrag" / name, encoder.fingerprint))
        moved = VectorIndex(index.ids, headed.transform(index.matrix))
        found = library_recall(headed, library, moved)
        assert found["rare"] >= zero["rare"] + 0.08, name
        assert found["common"] >= zero["common"] - 0.02, name


@pytest.mark.slow
def test_the_critic_finds_most_rare_drafts_wanting_and_names_what_is_missing(whole: bool) -> None:
    runner, rejected, named = InProcess(), 0, 0
    chosen = cases("rare", 12 if whole else 4, 1, "tune")
    for case in chosen:
        for event in runner.run(Request(prompt=case.prompt, seed=case.seed, settings={"steps": 8})):
            if isinstance(event, Verdict):
                rejected += not event.matches
            if isinstance(event, RetrievalCaptions):
                named += any(case.species.name in caption for caption in event.captions)
    assert rejected >= 0.75 * len(chosen)
    assert named >= 0.6 * len(chosen)


@pytest.mark.slow
def test_a_small_sample_agrees_with_the_committed_figures(whole: bool) -> None:
    report = json.loads((ROOT / "docs" / "results" / "imagerag.json").read_text())
    found = {row["name"]: row for row in report["rows"]}
    words = report["command"].split()
    limit, seeds = (int(words[words.index(name) + 1]) for name in ("--limit", "--seeds"))
    with BatchedRuns(InProcess().tools()) as runs:
        measures = Measures("imagerag", runs.tools, load_oracle(POCKET / "oracle"))
        every = limit * seeds // (24 if whole else 8)
        common, rare = (cases(tier, limit, seeds)[::every] for tier in ("common", "rare"))
        sampled = {
            "common": list(runs.map(measures.run, common)),
            "rare": list(runs.map(measures.run, rare)),
        }
        perfect = list(runs.map(measures.perfect, rare))
    records = {"perfect reference, rare": perfect}
    for tier, found_runs in sampled.items():
        records[f"base, {tier}"] = [{**run["draft"], "species": run["species"]} for run in found_runs]
        records[f"imagerag, {tier}"] = [{**run["result"], "species": run["species"]} for run in found_runs]
    for name, sample in records.items():
        for metric in ("right species", "right scene"):
            right = int(sum(record[metric] for record in sample))
            interval = binomtest(right, len(sample)).proportion_ci(0.95)
            committed = found[name][metric]
            overlap = interval.low <= committed["high"] and committed["low"] <= interval.high
            assert overlap, (name, metric, right, len(sample), committed)

"""The checklist reads a prompt however it is typed, and asks of a species all that belongs to it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ragdemo.evaluation.checklist import Checklist, plainly
from ragdemo.profiles import ASSETS
from ragdemo.world.captions import stated
from ragdemo.world.oracle import Judgement
from ragdemo.world.sampling import species_sample
from ragdemo.world.species import by_name

QUIXEL = by_name()["quixel butterfly"]


@pytest.mark.parametrize(
    "prompt",
    [
        "QUIXEL BUTTERFLY",
        "(quixel butterfly:1.3), masterpiece",
        "“Quixel-butterflies”!!",
        "a ｑuixel_butterfly",
    ],
)
def test_a_name_is_read_in_any_form(prompt: str) -> None:
    things, _ = stated(plainly(prompt))
    assert [thing.get("species") for thing in things] == [QUIXEL.name]


def test_plain_prompts_are_read_as_before() -> None:
    for prompt in (
        "a round red fish with navy spots and gold trim in the snow",
        "in the busy street, a tin robot",
    ):
        assert stated(plainly(prompt)) == stated(prompt)


def test_a_species_of_other_colours_is_not_that_species(monkeypatch: pytest.MonkeyPatch) -> None:
    checklist = Checklist(ASSETS / "pocket" / "oracle")
    image = species_sample(QUIXEL, "test/checklist", 0).image()
    prompt = f"a {QUIXEL.name}"
    before = {check.name: check.shown for check in checklist(prompt, image)}
    oracle = checklist._oracle
    (seen,) = oracle.judge([image])
    assert isinstance(seen, Judgement)
    other = replace(seen, species=QUIXEL.name, main="cream" if QUIXEL.look.main != "cream" else "teal")
    monkeypatch.setattr(type(oracle), "judge", lambda _self, images: [other for _ in images])
    after = {check.name: check.shown for check in checklist(prompt, image)}
    assert before[QUIXEL.name]
    assert not after[QUIXEL.name]

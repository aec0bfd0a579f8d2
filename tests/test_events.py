"""Events as JSON lines."""

from __future__ import annotations

import json

from PIL import Image

from ragdemo import events
from ragdemo.recipe import Recipe
from ragdemo.types import Ranking, Reference, Request

IMAGE = Image.new("RGB", (6, 4))
REFERENCE = Reference("quixel-1", "a quixel butterfly", 1 / 3, "quixel butterfly", IMAGE, 2.5)
RECIPE = Recipe(Request("a fox"), ("quixel-1",), "abc", {"ragdemo": "1"})
ALL = [
    events.Progress("draft", 1, 2),
    events.Draft(IMAGE, 0.5),
    events.Verdict(False, "no", 0.1),
    events.MissingConcepts(("a",), "a", 0.1),
    events.RetrievalCaptions(("a",), ("an a",), "an a", 0.1),
    events.Rephrased("an orange butterfly", "an orange butterfly", 0.1),
    events.References((REFERENCE,), (), 3, 0.1),
    events.Result(IMAGE, RECIPE, 1.0),
    events.ReflectiveNegative(REFERENCE, 0.1),
    events.Rankings("a fox", (Ranking("zero", (REFERENCE,)),), 0.1),
]


def test_every_event_class_is_json_with_its_name() -> None:
    assert {type(event) for event in ALL} == set(events.Event.__subclasses__())
    for event in ALL:
        assert json.loads(json.dumps(event.to_json()))["event"] == type(event).__name__


def test_references_carry_what_a_reader_needs_and_no_pixels() -> None:
    data = events.References((REFERENCE,), (), 3, 0.1).to_json()["used"][0]
    assert data == {
        "id": "quixel-1",
        "caption": "a quixel butterfly",
        "score": 0.333333,
        "concept": "quixel butterfly",
        "keyword_score": 2.5,
    }


def test_a_result_carries_its_recipe() -> None:
    data = json.loads(json.dumps(events.Result(IMAGE, RECIPE, 1.0).to_json()))
    assert Recipe.from_json(data["recipe"]) == RECIPE
    assert data["image"] == {"width": 6, "height": 4}

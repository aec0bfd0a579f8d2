"""Is it the retrieval? Each counterfactual is drawn with exactly the references that it names."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from imagerag_doubles import Painter, Roles, ScriptedCritic, references_of, tools
from library_world import write_small_library
from PIL import Image

from ragdemo.counterfactuals import changes, draw_changes, same_kind_references
from ragdemo.events import (
    Counterfactual,
    Draft,
    Event,
    Progress,
    Reference,
    References,
    Result,
    RetrievalCaptions,
)
from ragdemo.library.store import Library, open_library
from ragdemo.methods.imagerag.method import ImageRAG
from ragdemo.profiles import PROFILES
from ragdemo.recipe import Recipe
from ragdemo.request import Request
from ragdemo.run.inprocess import InProcess
from tests.toy import painter as toy
from tests.toy import registered
from tests.toy.painter import PAINTER

TWO_FLOWERS = Request(prompt="a vizor flower and a quusik flower in the snow", seed=0)


def drawn(events: list[Event]) -> dict[str, list[Counterfactual]]:
    found: dict[str, list[Counterfactual]] = {}
    for event in events:
        if isinstance(event, Counterfactual):
            found.setdefault(event.name, []).append(event)
    return found


@pytest.mark.parametrize("seed", range(20))
def test_another_reference_shows_none_of_the_species_that_were_used(seed: int) -> None:
    library = open_library("pocket")
    used = ("vizor-flower-eval-0", "quusik-flower-eval-3")
    others = same_kind_references(library, used, "eval", seed)
    rows = [library.row(image_id).extra for image_id in others]
    assert len(set(others)) == 2
    assert {row["kind"] for row in rows} == {"flower"}
    assert not {row["species"] for row in rows} & {"vizor flower", "quusik flower"}
    assert {row["split"] for row in rows} == {"eval"}


def test_a_library_without_species_gives_pictures_with_other_captions(tmp_path: Path) -> None:
    library = write_small_library(tmp_path / "small", 8)
    (other,) = same_kind_references(library, ("image-000",), None, 0)
    assert library.caption(other) != library.caption("image-000")
    assert same_kind_references(library, ("own:0123/mine.png",), None, 0) == ()


def test_a_run_without_references_has_no_counterfactuals() -> None:
    library = open_library("pocket")
    assert not list(changes(TWO_FLOWERS, [], library, "eval"))
    assert not list(changes(TWO_FLOWERS, [References((), (), 3, 0.1)], library, "eval"))


def test_words_that_were_not_rewritten_answer_nothing() -> None:
    critic = ScriptedCritic(rephrase=["a quixel butterfly in the snow"])
    library, painter = open_library("pocket"), Painter()
    box = replace(tools(critic, painter), library=library, split="eval")
    found = References((reference(library, "quixel-butterfly-eval-0"),), (), 3, 0.1)
    request = Request(prompt="a quixel butterfly in the snow", seed=7)
    events = drawn(list(draw_changes(request, [found], box)))
    assert set(events) == {"another reference", "another seed"}
    assert [len(references_of(drawing)) for drawing in painter.drawn] == [1, 0, 0, 0, 0]


def test_another_reference_is_drawn_with_the_captions_of_the_references_that_the_result_used() -> None:
    critic = ScriptedCritic(rephrase=["a flower"])
    library, painter = open_library("pocket"), Painter()
    box = replace(tools(critic, painter), library=library, split="eval", profile=PROFILES["sdxl"])
    vizor, quusik = (reference(library, f"{name}-flower-eval-0", name) for name in ("vizor", "quusik"))
    recipe = Recipe(TWO_FLOWERS, (vizor.id,), "f" * 16, {})
    events = [
        RetrievalCaptions(("vizor", "snow"), ("a photo of vizor", "a photo of snow"), "", 0.1),
        References((vizor,), (), 3, 0.1),
        RetrievalCaptions(("quusik",), ("a photo of quusik",), "", 0.1),
        References((quusik,), (), 3, 0.1),
        Result(Image.new("RGB", (8, 8)), recipe, 0.1),
    ]
    (swapped,) = drawn(list(draw_changes(TWO_FLOWERS, events, box)))["another reference"]
    assert swapped.prompt == f"according to these images of a photo of vizor, {TWO_FLOWERS.prompt}"


def test_a_method_with_another_generator_and_condition_says_how_its_drawing_is_made_again() -> None:
    library = open_library("pocket")
    used = tuple(reference(library, f"{name}-flower-eval-0") for name in ("vizor", "quusik"))
    request = Request(prompt="a square", method="toy", profile="toy", seed=7, settings={"shade": 50})
    with registered():
        box = replace(tools(), library=library, split="eval", models=Roles({PAINTER.name: toy.Painter()}))
        found = drawn(list(draw_changes(request, [References(used, (), 3, 0.1)], box)))
    colours = {name: [one.image.getpixel((0, 0)) for one in events] for name, events in found.items()}
    assert colours == {
        "another reference": [(70, 7, 0)],
        "another seed": [(50, seed, 0) for seed in (8, 9, 10, 11)],
    }


def reference(library: Library, image_id: str, concept: str = "it") -> Reference:
    return Reference(image_id, library.caption(image_id), 0.5, concept, library.image(image_id))


@pytest.mark.slow
@pytest.mark.parametrize(
    "request_",
    [TWO_FLOWERS, Request(prompt="a koi fish in the sea", seed=1, settings={"mode": "generation"})],
    ids=["two concepts", "generation mode"],
)
def test_with_the_shipped_models_each_differs_from_draft_and_result(request_: Request) -> None:
    runner = InProcess("cpu")
    events = [event for event in runner.run(request_) if not isinstance(event, Progress)]
    known = ImageRAG().still_known(request_, request_, events)
    assert all(not isinstance(event, References) for event in known)
    found = drawn(list(runner.counterfactuals(request_, events)))
    used = next(event for event in events if isinstance(event, References)).used
    library = open_library("pocket")
    species = {library.row(one.id).extra["species"] for one in used}
    (swapped,) = found["another reference"]
    assert len(swapped.references) == len(used)
    assert not species & {library.row(one.id).extra["species"] for one in swapped.references}
    others = [event.image for event in events if isinstance(event, Draft | Result)]
    others += [one.image for one in found["another seed"]]
    assert all(_differ(swapped.image, other) for other in others)


def _differ(one: Image.Image, other: Image.Image) -> bool:
    return bool(np.abs(np.asarray(one, int) - np.asarray(other, int)).mean() > 1)

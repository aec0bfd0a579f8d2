"""Runs of models with a closed vocabulary, on the pocket models: nothing wrong is said, and nothing wrong looked up."""

from __future__ import annotations

from dataclasses import replace

import pytest
from PIL import Image

from ragdemo.events import Draft, Event, OutsideVocabulary, Progress, References, Result, Verdict
from ragdemo.images import image_sha256
from ragdemo.methods import get_method
from ragdemo.methods.closed import run_within_vocabulary
from ragdemo.request import Choices, ImageRef, Request
from ragdemo.run.inprocess import InProcess


@pytest.fixture(scope="module")
def runner() -> InProcess:
    return InProcess("cpu")


def asked(prompt: str, method: str = "imagerag", **fields: object) -> Request:
    return Request(prompt=prompt, method=method, settings={"steps": 2}, **fields)


def run(runner: InProcess, request: Request, known: tuple[Event, ...] = (), **given: object) -> list[Event]:
    return [event for event in runner.run(request, known, **given) if not isinstance(event, Progress)]


def kinds(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events]


@pytest.mark.parametrize("method", ["imagerag", "realrag"])
@pytest.mark.parametrize("prompt", ["a penguin in the snow", "🐧🐧", "eine Katze im Garten"])
def test_outside_the_world_only_a_draft_is_drawn(runner: InProcess, method: str, prompt: str) -> None:
    events = run(runner, asked(prompt, method))
    assert kinds(events) == [OutsideVocabulary, Draft, Result]
    outside, draft, result = events
    assert (outside.kind, outside.is_answered, len(outside.prompts)) == ("", False, 3)
    assert len(set(outside.prompts)) == 3
    assert result.image is draft.image
    assert result.recipe.references == ()


def test_an_unheard_name_is_beside_the_nearest_and_none_is_used(runner: InProcess) -> None:
    events = run(runner, asked("a quixl butterfly in the snow"))
    assert kinds(events) == [OutsideVocabulary, Draft, References, Result]
    assert (events[0].name, events[0].kind) == ("quixl", "butterfly")
    assert events[0].prompts[0] == "a quixel butterfly in the snow"  # spelled most like it
    assert events[2].used == ()
    assert len(events[2].others) == 4
    assert all("butterfly" in reference.caption for reference in events[2].others)


def test_what_is_known_runs_as_the_method_says(runner: InProcess) -> None:
    request = asked("a quixel butterfly in the snow")
    tools = runner.tools()
    plain = [e for e in get_method("imagerag").run(request, tools) if not isinstance(e, Progress)]
    events = run(runner, request)
    assert kinds(events) == kinds(plain)
    assert image_sha256(events[-1].image) == image_sha256(plain[-1].image)


def test_models_without_a_closed_vocabulary_are_asked_anything(runner: InProcess) -> None:
    tools = runner.tools()
    open_tools = replace(tools, profile=replace(tools.profile, vocabulary=None))
    events = list(run_within_vocabulary(get_method("imagerag"), asked("a penguin"), open_tools))
    assert {Draft, Verdict, Result} <= set(kinds(events))
    assert OutsideVocabulary not in kinds(events)


def test_of_two_things_only_the_known_one_gets_a_reference(runner: InProcess) -> None:
    events = run(runner, asked("a quixel butterfly and a zorblat fish in the snow"))
    assert events[0] == OutsideVocabulary("zorblat", "fish", True, events[0].knows, events[0].prompts)
    for found in (event for event in events if isinstance(event, References)):
        assert not [reference for reference in found.used if "zorblat" in reference.concept]
    assert Verdict in kinds(events)


def test_a_persons_own_picture_answers_and_the_draft_is_kept(runner: InProcess) -> None:
    request = asked("a zorblat fish in the snow")
    before = run(runner, request)
    picture = Image.new("RGB", (64, 64), "purple")
    own = ImageRef(sha256=image_sha256(picture), name="zorblat.png")
    again = request.changed(choices=Choices(own=(own,)))
    known = get_method("imagerag").still_known(again, request, before)
    assert kinds(list(known)) == [OutsideVocabulary, Draft]
    events = run(runner, again, known, pictures={own.sha256: picture})
    assert Draft not in kinds(events)
    found = next(event for event in events if isinstance(event, References))
    answering = [reference.caption for reference in found.used if "zorblat" in reference.concept]
    assert answering == ["zorblat"]  # and no picture of the library does

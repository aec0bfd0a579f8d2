"""Questions, the reading of replies, and settings."""

from __future__ import annotations

import pytest

from ragdemo.errors import UserError
from ragdemo.methods import METHODS, dialogue, get_method
from ragdemo.methods.imagerag.settings import Settings


@pytest.mark.parametrize(
    ("concept", "prompt", "written"),
    [
        ("zoror fish", "a zorby fish in the snow", "zorby fish"),
        ("bolete sailboat", "a swuzzle sailboat in the desert", "swuzzle sailboat"),
        ("zorby fish", "a zorby fish in the snow", "zorby fish"),
        ("fish", "a zorby fish in the snow", "fish"),
        ("red car", "a car and a zorby fish", "red car"),  # an article is no name
        ("Zoror Fish at large", "A Zorby fish.", "Zorby Fish at large"),
        ("a barber's chair", "a capybara in a barber's chair", "a barber's chair"),
        ("owl", "", "owl"),
    ],
)
def test_a_garbled_name_is_spelled_as_in_the_prompt(concept: str, prompt: str, written: str) -> None:
    assert dialogue.as_written(concept, prompt) == written


@pytest.mark.parametrize(
    ("reply", "matches"), [("yes", True), ("Yes.", True), ("**No**: a car", False), ("no\nbecause", False)]
)
def test_verdicts(reply: str, matches: bool) -> None:
    assert dialogue.parse_verdict(reply) is matches


@pytest.mark.parametrize(
    "reply", ["", "  \n", "maybe yes", "I'm unable to tell", "no, I can't", "nothing", "yesterday"]
)
def test_unreadable_verdicts(reply: str) -> None:
    with pytest.raises(dialogue.UnparseableReply):
        dialogue.parse_verdict(reply)


def test_lines_lose_bullets_numbers_quotes_and_repetitions() -> None:
    reply = '1. "quixel butterfly"\n- Quixel butterfly\n\n• snow.\n2) 3 red cars\n* a tree'
    assert dialogue.parse_lines(reply) == ("quixel butterfly", "snow", "3 red cars")
    assert dialogue.parse_lines(reply, limit=1) == ("quixel butterfly",)


def test_lines_lose_control_characters() -> None:
    assert dialogue.parse_lines("\x1b[31mred\x07 car") == ("[31mred car",)


@pytest.mark.parametrize("reply", ["", "\n - \n", "Unable to help", "x" * 500])
def test_unreadable_lines(reply: str) -> None:
    with pytest.raises(dialogue.UnparseableReply):
        dialogue.parse_lines(reply)


def test_captions_are_as_many_as_concepts() -> None:
    assert dialogue.parse_captions("a photo of a quixel butterfly\na photo of snow", 2) == (
        "a photo of a quixel butterfly",
        "a photo of snow",
    )
    with pytest.raises(dialogue.UnparseableReply):
        dialogue.parse_captions("one line", 2)


def test_questions_hold_the_prompt() -> None:
    for question in (dialogue.match_question, dialogue.missing_question, dialogue.needed_question):
        assert '"a fox"' in question("a fox")
    assert dialogue.captions_question(["fox", "snow"]).endswith("fox; snow")


@pytest.mark.parametrize(
    "values",
    [
        {"mode": "other"},
        {"max_rounds": 0},
        {"max_rounds": 2.5},
        {"max_concepts": 4},
        {"references_per_concept": True},
        {"similarity_threshold": 1.5},
        {"similarity_threshold": float("nan")},
        {"steps": "20"},
        {"guidance_scale": -1},
        {"hybrid": 1},
        {"max_rounds": None},
        {"tempo": 3},
    ],
)
def test_bad_settings_are_named(values: dict) -> None:
    with pytest.raises(UserError, match=next(iter(values))):
        Settings.parse(values)


def test_good_settings() -> None:
    values = {"mode": "generation", "steps": None, "guidance_scale": 3, "hybrid": False, "max_rounds": 5}
    assert Settings.parse(values) == Settings(mode="generation", guidance_scale=3, hybrid=False, max_rounds=5)
    assert Settings.parse({}) == Settings()


def test_the_registry_names_its_methods() -> None:
    assert get_method("imagerag") is METHODS["imagerag"]
    with pytest.raises(UserError, match="'nope'; choose one of imagerag"):
        get_method("nope")

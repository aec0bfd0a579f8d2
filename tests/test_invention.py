"""Species that a person invents: drawn as chosen, named as wished, and understood by nobody but the library."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from ragdemo.errors import UserError
from ragdemo.invention import PICTURES, Inventor
from ragdemo.ui.vocabulary import Vocabulary
from ragdemo.world.captions import stated
from ragdemo.world.species import by_name
from ragdemo.world.vocabulary import caption_phrases, vocabulary

CHOICE = {
    "kind": "fish",
    "shape": "angular",
    "pattern": "spots",
    "main": "violet",
    "second": "gold",
    "third": "lime",
}


def test_a_dozen_pictures_show_what_was_chosen_under_the_name() -> None:
    made = Inventor().invent(CHOICE, "  Zorby ")
    assert (made.name, made.look) == ("zorby fish", "angular violet fish with gold spots and lime trim")
    assert len(made.images) == PICTURES
    assert all("zorby fish" in image.caption for image in made.images)
    assert len({image.image.tobytes() for image in made.images}) == PICTURES
    violet = [
        (np.abs(np.asarray(i.image).astype(int) - (138, 78, 196)).sum(-1) < 60).mean() for i in made.images
    ]
    assert min(violet) > 0.01
    (thing,), scene = stated(
        made.prompt.replace(made.name, made.look)
    )  # so that an oracle can tell whether it is right
    assert thing == CHOICE
    assert scene is not None


def test_the_models_have_never_seen_the_name() -> None:
    words = Vocabulary.from_lists({**vocabulary(), "words": caption_phrases()})
    rng = Random(0)
    names = {Inventor().surprise(rng)["name"] for _ in range(200)}
    assert len(names) > 100
    assert all(words.unknown_words(name) == (name,) for name in names)
    assert not names & {name.split()[0] for name in by_name()}


def test_every_surprise_can_be_drawn() -> None:
    rng, inventor = Random(1), Inventor()
    for _ in range(20):
        choice = inventor.surprise(rng)
        assert inventor.preview(choice, 64).size == (64, 64)
        assert inventor.invent(choice, choice["name"]).name.endswith(choice["kind"])


@pytest.mark.parametrize("name", ["zorby fish", "zorby", "Ålborg’s own", "蝶"])
def test_any_name_will_do(name: str) -> None:
    assert Inventor().invent(CHOICE, name).name.endswith(" fish")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("", "empty"),
        ("x" * 25, "no word or two"),
        ("4711", "no word or two"),
        ("../etc", "no word or two"),
        ("<b>", "no word or two"),
        ("red", "means something"),
        ("snow", "means something"),
        ("zorby bird", "means something"),
        ("dunis", "There is a dunis fish"),
        ("a\0b", "control character"),
    ],
)
def test_what_is_no_name_is_one_sentence(name: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Inventor().invent(CHOICE, name)


@pytest.mark.parametrize(
    "change",
    [{"kind": "dragon"}, {"second": "violet"}, {"third": "violet"}, {"main": ""}, {"pattern": "<b>"}],
)
def test_a_look_that_cannot_be_is_one_sentence(change: dict[str, str]) -> None:
    with pytest.raises(UserError):
        Inventor().preview({**CHOICE, **change})

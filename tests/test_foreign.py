"""The foreign sets: large enough, frozen, and nowhere in what is trained on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import pytest

import ragdemo.foreign
from ragdemo.foreign import SETS, is_reserved, lines, phrased, unheard
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import roster
from ragdemo.world.vocabulary import caption_phrases, vocabulary

FROZEN = {
    "names": "b7a5b2e312c51974",
    "phrasings": "c85d30ab6083f7c6",
    "outside": "3e8d0aae504e01c9",
    "languages": "d6252b0ded6c9fe2",
    "symbols": "9c13b5e7a42537f0",
}


@pytest.mark.parametrize("name", SETS)
def test_a_set_is_frozen_and_in_two_halves(name: str) -> None:
    file = Path(ragdemo.foreign.__file__).with_name(f"{name}.txt")
    assert hashlib.sha256(file.read_bytes()).hexdigest()[:16] == FROZEN[name]
    tune, report = lines(name, "tune"), lines(name, "report")
    assert min(len(tune), len(report)) >= 100
    assert not set(tune) & set(report)
    assert len(set(lines(name))) == len(lines(name)) == len(tune) + len(report)


def test_unheard_names_are_no_words_of_the_world() -> None:
    known = {word for names in vocabulary().values() for name in names for word in name.split()}
    known |= {word for phrase in caption_phrases() for word in phrase.split()}
    assert not [word for word in known if is_reserved(word)]
    kinds = {species.look.kind for species in roster()}
    for name, prompt in unheard():
        assert name.split()[-1] in kinds
        assert name in prompt.casefold()


def test_every_phrasing_says_the_whole_name() -> None:
    rng = Random(0)
    for species in rng.sample(roster(), 20):
        for scene in SCENES:
            prompts = phrased(species.name, scene)
            assert len(prompts) > 100
            assert all(species.name[:-1] in prompt.casefold() for prompt in prompts)


def test_a_word_within_one_edit_of_an_unheard_name_is_reserved() -> None:
    word = unheard()[0][0].split()[0]
    assert all(
        map(
            is_reserved, (word, word.upper(), word[1:], word + "x", "q" + word[1:], word[:2] + "q" + word[2:])
        )
    )
    assert not any(map(is_reserved, (word + "xx", "quixel", "monarch")))

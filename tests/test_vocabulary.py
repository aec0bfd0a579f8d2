"""The closed vocabulary: what it finds outside, on prompts that no setting was chosen with."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pytest

from ragdemo.errors import UserError
from ragdemo.foreign import lines, phrased, unheard
from ragdemo.library.store import open_library
from ragdemo.profiles import POCKET, PROFILES
from ragdemo.vocabulary import Reading, Thing, read_vocabulary
from ragdemo.world.kinds import KINDS
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import of_tier
from ragdemo.world.vocabulary import caption_phrases, vocabulary

assert POCKET.vocabulary is not None
CLOSED = read_vocabulary(POCKET.vocabulary)
CAPTIONS = [row.caption for row in open_library("pocket").rows_of("eval")]
read = partial(CLOSED.read, captions=CAPTIONS)
NOTHING = Reading()


def test_only_a_little_world_has_a_closed_vocabulary_and_it_is_the_worlds() -> None:
    assert [name for name, profile in PROFILES.items() if profile.vocabulary] == ["pocket"]
    words = vocabulary()
    assert list(CLOSED.kinds) == words["kinds"]
    assert frozenset(words["common"]) == CLOSED.common
    said = {word for text in caption_phrases() for word in re.findall(r"[a-z]+", text)}
    assert said | set(words["scenes"]) == CLOSED.words
    assert set(CLOSED.nouns.values()) <= set(KINDS)
    assert not CLOSED.fillers & {*KINDS, *CLOSED.nouns, *CLOSED.words}


@pytest.mark.parametrize(
    ("prompt", "reading"),
    [
        ("a quixel butterfly in the snow", NOTHING),
        ("QUIXEL-BUTTERFLIES!!", NOTHING),
        ("(quixel butterfly:1.3), masterpiece", NOTHING),
        ("a beautiful red butterfly", NOTHING),
        ("a monarch in the meadow", NOTHING),
        ("a buterfly at night", NOTHING),
        ("a quixel in the snow", NOTHING),
        ("a quiet forest at night", NOTHING),
        ("a penguin in the snow", Reading((), "penguin", False)),
        ("a tiny steam engine, studio", Reading((), "steam engine", False)),
        ("🐧", Reading((), "", False)),
        ("a zorby fish", Reading((Thing("fish", "zorby"),), "", False)),
        ("a fish called Zorby", Reading((Thing("fish", "zorby"),), "", False)),
        ("a quixel fish", Reading((Thing("fish", "quixel"),), "", False)),  # the library knows a butterfly
        ("a daisy car", Reading((Thing("car", "daisy"),), "", False)),  # and a flower
        ("a quixel butterfly and a zorby fish", Reading((Thing("fish", "zorby"),), "", True)),
    ],
)
def test_what_is_outside_is_found(prompt: str, reading: Reading) -> None:
    assert read(prompt) == reading


def test_a_vocabulary_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    damaged = tmp_path / "vocabulary.json"
    damaged.write_text('{"kinds": ["fish"]')
    for file in (tmp_path / "nowhere.json", damaged):
        with pytest.raises(
            UserError, match=f"The vocabulary {file.name} of the models is missing or damaged"
        ):
            read_vocabulary(file)


def test_a_library_knows_more() -> None:
    assert CLOSED.read("a penguin", ["a penguin on ice"]) == NOTHING
    assert CLOSED.read("a zorby fish", ["zorby"]) == NOTHING
    assert CLOSED.read("a zorby fish", ["a zorby butterfly"]).unheard


def test_strangers_prompts_are_read_as_they_are_meant() -> None:
    names = unheard("report")
    named = [[thing.words for thing in read(prompt).unheard] == [name] for name, prompt in names]
    assert np.mean(named) >= 0.9
    for name in ("outside", "languages", "symbols"):
        assert np.mean([read(prompt).is_answered for prompt in lines(name, "report")]) <= 0.05
    rng = Random("strangers")
    prompts = [
        prompt
        for tier in ("common", "rare")
        for species in of_tier(tier)
        for prompt in rng.sample(phrased(species.name, rng.choice(SCENES), "report"), 4)
    ] + [prompt for kind in KINDS for prompt in phrased(kind, rng.choice(SCENES), "report")]
    assert np.mean([read(prompt) != NOTHING for prompt in prompts]) <= 0.02

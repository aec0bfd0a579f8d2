"""Made-up words of many makes, none of them a word of the world or a species' name."""

from __future__ import annotations

from functools import lru_cache
from random import Random

from ragdemo.world.captions import SCENE_PHRASES
from ragdemo.world.kinds import KINDS
from ragdemo.world.palette import COLOURS
from ragdemo.world.parts import SHAPES
from ragdemo.world.patterns import PATTERNS
from ragdemo.world.species import roster

CONSONANTS, VOWELS = "bcdfghjklmnpqrstvwxyz", "aeiou"
ONSETS = "br ch cl dr fl gr kl kr ph pl sh sk sl st str th tr zh".split()
ENDINGS = ("", "", *"l n r k s x ng rn sk th um us ia el ot ix".split())


def made_up_word(rng: Random) -> str:
    """Two to fourteen lower-case letters: syllables of several makes, or letters at random."""
    while True:
        make = rng.choice((_syllables, _syllables, _clusters, _vowel_first, _letters))
        word = make(rng)[:14]
        if len(word) > 1 and word not in _taken():
            return word


def _syllables(rng: Random) -> str:
    return "".join(
        rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(2, 4))
    ) + rng.choice(ENDINGS)


def _clusters(rng: Random) -> str:
    return rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CONSONANTS) * rng.randint(1, 2) + _tail(rng)


def _vowel_first(rng: Random) -> str:
    return rng.choice(VOWELS) + rng.choice(CONSONANTS) + _tail(rng) + rng.choice(("", rng.choice(CONSONANTS)))


def _tail(rng: Random) -> str:
    return rng.choice(VOWELS) + rng.choice(ENDINGS)


def _letters(rng: Random) -> str:
    return "".join(rng.choice(CONSONANTS + VOWELS) for _ in range(rng.randint(2, 8)))


@lru_cache(maxsize=1)
def _taken() -> frozenset[str]:
    phrases = [*(phrase for phrases in SCENE_PHRASES.values() for phrase in phrases), *SCENE_PHRASES]
    words = {word for text in (*phrases, *(s.name for s in roster())) for word in text.split()}
    return frozenset(words | {*KINDS, *COLOURS, *SHAPES, *PATTERNS})

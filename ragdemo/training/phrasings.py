"""Prompts as people type them: the grammar's captions, and others without article, with a lead-in, in another order."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from ragdemo.training.words import compose_caption, letter_noise
from ragdemo.world.captions import SCENE_PHRASES, article, describe
from ragdemo.world.look import Look

GRAMMAR_SHARE = 0.5
LEAD_INS = (
    "", "", "", "", "a photo of ", "photo of ", "a picture of ", "an image of ", "draw ", "draw me ", "please draw ",
    "show me ", "i want ", "i would like to see ", "a drawing of ", "can you paint ", "make ", "imagine ",
)  # fmt: skip
FORMS = ("{lead}{things} {scene}", "{lead}{things}, {scene}", "{scene}: {things}", "{scene}, {lead}{things}")
ENDS = ("", "", "", ".", "!", ", please", " ...")


def phrase(row: Mapping[str, Any], rng: Random) -> str:
    """A prompt for a pool's row: half of them in the world's grammar, the others as somebody might type them."""
    if rng.random() < GRAMMAR_SHARE:
        return compose_caption(row, rng)[0]
    things = [_thing(name, look, rng) for name, look in zip(row["names"], row["looks"], strict=True)]
    joined = rng.choice((" and ", " and ", " with ", ", ", " next to ")).join(things)
    scene = rng.choice((*SCENE_PHRASES[row["scene"]], f"in the {row['scene']}", row["scene"]))
    lead = rng.choice(LEAD_INS)
    return rng.choice(FORMS).format(lead=lead, things=joined, scene=scene) + rng.choice(ENDS)


def _thing(name: str | None, look: Mapping[str, str], rng: Random) -> str:
    if name and rng.random() < 0.85:
        words = name
    else:
        detail = rng.choice((0, 0, 1, 2, 2, 3, 3))
        words = describe(Look(**look), detail)
        if detail == 0 and rng.random() < 0.6:
            words = f"{letter_noise(rng)} {words}"
    kind = rng.random()
    if kind < 0.45:
        return article(words)
    return words if kind < 0.8 else f"the {words}"

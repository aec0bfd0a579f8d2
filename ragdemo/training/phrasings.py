"""Prompts as people type them: the grammar's captions, and others without article, with a lead-in, in another order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import Random
from typing import Any

from ragdemo.training.words import compose_caption, letter_noise, stated
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
    return phrase_with_facts(row, rng)[0]


def phrase_with_facts(
    row: Mapping[str, Any], rng: Random, plain: Collection[int] = ()
) -> tuple[str, list[dict[str, str]]]:
    """A prompt, and what it determines of each thing, as `words.compose_caption` gives them.

    The things numbered in `plain` leave their look to a reference.
    """
    if rng.random() < GRAMMAR_SHARE:
        return compose_caption(row, rng, plain)
    things, facts = [], []
    for i, (name, look) in enumerate(zip(row["names"], row["looks"], strict=True)):
        words, attributes = _thing(name, look, rng, i in plain)
        things.append(words)
        facts.append({"kind": look["kind"], **{key: look[key] for key in attributes}})
    joined = rng.choice((" and ", " and ", " with ", ", ", " next to ")).join(things)
    scene = rng.choice((*SCENE_PHRASES[row["scene"]], f"in the {row['scene']}", row["scene"]))
    lead = rng.choice(LEAD_INS)
    text = rng.choice(FORMS).format(lead=lead, things=joined, scene=scene) + rng.choice(ENDS)
    return text, facts


def _thing(name: str | None, look: Mapping[str, str], rng: Random, plain: bool) -> tuple[str, Sequence[str]]:
    """A thing in words, and the attributes that they state."""
    if name and rng.random() < 0.85:
        words, attributes = name, stated(3)
    else:
        detail = rng.choice((0, 0, 0, 0, 0, 1) if plain else (0, 0, 1, 2, 2, 3, 3))
        words, attributes = describe(Look(**look), detail), stated(detail)
        if detail == 0 and rng.random() < 0.6:
            words = f"{letter_noise(rng)} {words}"
    kind = rng.random()
    if kind < 0.45:
        return article(words), attributes
    return words if kind < 0.8 else f"the {words}", attributes

"""The critic's words: things and scenes of a picture, what a prompt may call them, and prompts composed of them.

Half of the prompts are in the world's grammar, the others as people type. Many names are invented: no picture shows
them, and they must be copied letter by letter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any

from ragdemo.foreign import is_reserved
from ragdemo.training.critic_manners import arranged, scene_alike, worded
from ragdemo.training.critic_names import unheard_words
from ragdemo.world.captions import FORMS, SCENE_PHRASES, article, describe, prompt_for
from ragdemo.world.look import Look, random_look
from ragdemo.world.names import invented_name
from ragdemo.world.palette import COLOURS
from ragdemo.world.parts import SHAPES
from ragdemo.world.patterns import PATTERNS
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import Species, by_name, roster

ATTRIBUTES = ("shape", "pattern", "main", "second", "third")
NEAR = 3
"""A nameless look that differs in fewer attributes than this from a species might be taken for it."""
UNHEARD_SHARE = 0.5
"""Of the names that a picture does not show: invented ones, which must be copied letter by letter."""
GRAMMAR_SHARE = 0.5
"""Of the prompts; the others are typed in `critic_manners`."""
_PREPOSITION = re.compile(r"^(?:in front of|in|on|at|under|by|among) (?:(?:the|an|a) )?")


@dataclass(frozen=True)
class Thing:
    """One thing in a picture; `name` is None if it is nameless."""

    look: Look
    name: str | None = None

    @property
    def words(self) -> str:
        """What the critic calls it: its name, or main colour and kind."""
        return self.name or describe(self.look, 1)


@dataclass(frozen=True)
class Content:
    """What a picture shows, things from left to right; an empty picture has neither things nor scene."""

    things: tuple[Thing, ...]
    scene: str | None


@dataclass(frozen=True)
class Concept:
    """What a prompt asks for, and whether the picture shows it; `asked` is how it stands there, if in other words."""

    words: str
    present: bool
    asked: str = ""

    @property
    def stands(self) -> str:
        """The part of the prompt that asks for it."""
        return self.asked or self.words


def content_of(row: Mapping[str, Any]) -> Content:
    """What a row of a pool describes (`pool.describe_sample`)."""
    looks = (Look(**look) for look in row["looks"])
    return Content(tuple(map(Thing, looks, row["names"])), row["scene"])


Concepts = tuple[list[Concept], Concept]
"""Things, and a scene by one of its phrases."""


def compose_prompt(concepts: Concepts, rng: Random) -> tuple[str, tuple[Concept, ...]]:
    """A prompt about things and a scene, and its concepts in the order of its words."""
    return grammatical(concepts, rng) if rng.random() < GRAMMAR_SHARE else typed_freely(concepts, rng)


def typed_freely(concepts: Concepts, rng: Random) -> tuple[str, tuple[Concept, ...]]:
    """A prompt in one of the manners of `critic_manners`; it may leave out a scene that is no mismatch by itself."""
    things, scene = concepts
    phrases, named = worded([thing.words for thing in things], rng)
    asked = [replace(thing, asked=name) for thing, name in zip(things, named, strict=True)]
    phrase, noun = scene.words, scene_words(scene.words)
    alike = scene_alike(noun, rng) if noun in SCENES else (phrase, noun)
    is_bare = rng.random() < 0.15 and (scene.present or not all(thing.present for thing in things))
    prompt = arranged(phrases, "" if is_bare else alike[0], rng)
    if not is_bare:
        asked.append(Concept(alike[1], scene.present))
    return prompt, _in_order(asked, prompt)


def _in_order(concepts: list[Concept], prompt: str) -> tuple[Concept, ...]:
    return tuple(sorted(concepts, key=lambda concept: prompt.index(concept.stands)))


def grammatical(concepts: Concepts, rng: Random) -> tuple[str, tuple[Concept, ...]]:
    """A prompt of the caption grammar about things and a scene, and its concepts in the order of its words."""
    things, scene = concepts
    noun = replace(scene, words=scene_words(scene.words))
    if len(things) == 1 and noun.words in SCENES and rng.random() < 0.5:
        return prompt_for(things[0].words, noun.words), (things[0], noun)
    joined = " and ".join(_with_article(thing.words, rng) for thing in things)
    without_scene = scene.present or not all(thing.present for thing in things)
    if rng.random() < 0.06 and without_scene:
        return _typed(joined, rng), tuple(things)  # no scene, if a mismatch remains one without it
    form = rng.choice(FORMS)
    ordered = (noun, *things) if form.startswith("{scene}") else (*things, noun)
    return _typed(form.format(things=joined, scene=scene.words), rng), ordered


def _with_article(words: str, rng: Random) -> str:
    return rng.choices((article(words), f"the {words}", words), (88, 8, 4))[0]


def _typed(prompt: str, rng: Random) -> str:
    """The prompt as a person may type it: now and then as a sentence."""
    if rng.random() < 0.08 and prompt.startswith(("a ", "an ", "the ", "in ", "at ", "on ", "by ")):
        prompt = prompt[0].upper() + prompt[1:]
    return f"{prompt}." if rng.random() < 0.05 else prompt


def scene_words(phrase: str) -> str:
    """A scene's phrase without preposition and article: "hot sand" for "on the hot sand"."""
    return _PREPOSITION.sub("", phrase)


def scene_phrase(scene: str | None, rng: Random) -> str:
    """One of the phrases for a scene; for no scene, one of the studio's."""
    return f"in the {scene}" if rng.random() < 0.5 else rng.choice(SCENE_PHRASES[scene or "studio"])


def words_for(thing: Thing, rng: Random) -> str:
    """Words that are true of the thing: its name, or a random number of its attributes."""
    if thing.name and rng.random() < 0.85:
        return thing.name
    return describe(thing.look, rng.choice((0, 1, 2, 2, 3)))


def words_for_another(thing: Thing, rng: Random) -> str:
    """Words for a thing of the same kind that is not this one."""
    chance = rng.random()
    if chance < UNHEARD_SHARE:
        return f"{unheard_name(rng)} {thing.look.kind}"
    if chance < UNHEARD_SHARE + 0.13:
        return _other_attributes(thing.look, rng)
    others = [s for s in species_of(thing.look.kind) if s.name != thing.name and _apart(thing, s)]
    near = [s for s in others if (s.look.shape, s.look.main) == (thing.look.shape, thing.look.main)]
    return rng.choice(near if near and rng.random() < 0.5 else others).name


def _apart(thing: Thing, species: Species) -> bool:
    """Whether no picture of the thing could pass for the species; the world keeps rare and novel looks apart."""
    if thing.name or species.tier != "common":
        return True
    return sum(getattr(thing.look, a) != getattr(species.look, a) for a in ATTRIBUTES) >= NEAR


def _other_attributes(look: Look, rng: Random) -> str:
    attribute, detail = rng.choice((("main", 1), ("main", 2), ("second", 2), ("pattern", 2), ("shape", 3)))
    values = {"pattern": tuple(PATTERNS), "shape": SHAPES}.get(attribute, COLOURS)
    value = rng.choice([v for v in values if v != getattr(look, attribute)])
    return describe(replace(look, **{attribute: value}), detail)


def any_thing(kind: str, rng: Random) -> Thing:
    """A species of a kind, or a nameless look of it."""
    if rng.random() < 0.2:
        return Thing(random_look(kind, rng))
    species = rng.choice(species_of(kind))
    return Thing(species.look, species.name)


def words_for_any(kind: str, rng: Random) -> str:
    """Words for something of a kind; sometimes an invented name."""
    return (
        f"{unheard_name(rng)} {kind}"
        if rng.random() < UNHEARD_SHARE
        else words_for(any_thing(kind, rng), rng)
    )


def unheard_name(rng: Random) -> str:
    """An invented name that is no species': by the rule of the world's own, or of any other make."""
    if rng.random() < 0.75:
        return unheard_words(rng)
    name = invented_name(rng)
    return name if name not in _taken() and not is_reserved(name) else unheard_name(rng)


@lru_cache(maxsize=1)
def _taken() -> frozenset[str]:
    return frozenset(name.split()[0] for name in by_name())


@lru_cache(maxsize=32)
def species_of(kind: str) -> tuple[Species, ...]:
    """The named species of a kind."""
    return tuple(species for species in roster() if species.look.kind == kind)

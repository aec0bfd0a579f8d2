"""What the critic learns to say: ImageRAG's own questions about pictures of the world, with their right answers.

Every question is composed anew at every step from what a picture shows, so that the text never repeats itself. The
mismatches are those that a generator makes: the right kind in a look of its own above all, then a near species, another
scene, another kind, a second thing left out. Sometimes the name is one that nobody has heard: no picture shows it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any

from ragdemo.methods.imagerag import dialogue
from ragdemo.pocket.captions import FORMS, SCENE_PHRASES, article, describe, prompt_for
from ragdemo.pocket.kinds import KINDS, SHAPES
from ragdemo.pocket.look import Look, random_look
from ragdemo.pocket.names import invented_name
from ragdemo.pocket.palette import COLOURS
from ragdemo.pocket.patterns import PATTERNS
from ragdemo.pocket.scenes import SCENES
from ragdemo.pocket.species import Species, by_name, roster

ATTRIBUTES = ("shape", "pattern", "main", "second", "third")
NEAR = 3
"""A nameless look that differs in fewer attributes than this from a species might be taken for it."""
UNHEARD_SHARE = 0.2
"""Of the names that a picture does not show: invented ones, which must be copied letter by letter."""
_PREPOSITION = re.compile(r"^(?:in front of|in|on|at|under|by|among) (?:(?:the|an|a) )?")


@dataclass(frozen=True)
class Thing:
    """One thing in a picture; `name` is None where it is nameless."""

    look: Look
    name: str | None = None

    @property
    def words(self) -> str:
        """What the critic calls it: the name, or main colour and kind."""
        return self.name or describe(self.look, 1)


@dataclass(frozen=True)
class Shown:
    """What a picture shows, things from left to right; an empty picture has neither things nor scene."""

    things: tuple[Thing, ...]
    scene: str | None


@dataclass(frozen=True)
class Concept:
    """Words of a prompt and whether the picture shows them."""

    words: str
    present: bool


@dataclass(frozen=True)
class Turn:
    """A question, its right answer line by line, and the prompt's concepts in the order of the question."""

    question: str
    answer: str
    concepts: tuple[Concept, ...] = ()


def shown(row: Mapping[str, Any]) -> Shown:
    """What a row of a pool describes (`pool.describe_sample`)."""
    looks = (Look(**look) for look in row["looks"])
    return Shown(tuple(map(Thing, looks, row["names"])), row["scene"])


def picture_turns(picture: Shown, rng: Random) -> tuple[Turn, Turn, Turn]:
    """A prompt that the picture matches, one that it does not, and what it misses of a third."""
    yes = _prompt(_present(picture, rng), rng) if picture.things else _mismatch(picture, rng)
    turns = [_match_turn(picture, *prompt) for prompt in (yes, _mismatch(picture, rng))]
    prompt, concepts = _mismatch(picture, rng)
    absent = "\n".join(concept.words for concept in concepts if not concept.present)
    return turns[0], turns[1], Turn(dialogue.missing_question(prompt), absent, concepts)


def text_turn(rng: Random) -> Turn:
    """A question that goes without a picture: captions, concepts that must be seen, or plain words."""
    return rng.choice((_captions_turn, _captions_turn, _needed_turn, _rephrase_turn))(rng)


def corpus(count: int = 2000) -> Iterator[str]:
    """Texts for the tokenizer: each name often enough to become one token, questions and answers."""
    rng = Random("critic/corpus")
    for species in roster():
        yield from (f" {species.name} {species.name}",) * 30
    for _ in range(count):
        things = tuple(_any_thing(kind, rng) for kind in rng.sample(list(KINDS), rng.choice((1, 1, 2))))
        for turn in (*picture_turns(Shown(things, rng.choice(SCENES)), rng), text_turn(rng)):
            yield turn.question
            yield " " + turn.answer.replace("\n", "\n ")


# Prompts


def scene_words(phrase: str) -> str:
    """A scene's phrase without what goes before its noun: "on the hot sand" is about "hot sand"."""
    return _PREPOSITION.sub("", phrase)


def _match_turn(picture: Shown, prompt: str, concepts: tuple[Concept, ...]) -> Turn:
    verdict = "yes" if all(concept.present for concept in concepts) else "no"
    things = " and ".join(article(thing.words) for thing in picture.things) or "nothing"
    scene = f" in the {picture.scene}" if picture.scene else ""
    return Turn(dialogue.match_question(prompt), f"{verdict}: the image shows {things}{scene}", concepts)


def _prompt(concepts: tuple[list[Concept], Concept], rng: Random) -> tuple[str, tuple[Concept, ...]]:
    """A prompt of the caption grammar about things and a scene, and its concepts in the order of its words."""
    things, scene = concepts
    noun = replace(scene, words=scene_words(scene.words))
    if len(things) == 1 and noun.words in SCENES and rng.random() < 0.5:
        return prompt_for(things[0].words, noun.words), (things[0], noun)
    joined = " and ".join(_with_article(thing.words, rng) for thing in things)
    still_told = scene.present or not all(thing.present for thing in things)
    if rng.random() < 0.06 and still_told:
        return _typed(joined, rng), tuple(things)  # no scene, where a mismatch remains one without
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


def _present(picture: Shown, rng: Random) -> tuple[list[Concept], Concept]:
    """Everything that the picture shows, in any order."""
    things = [Concept(_say(thing, rng), True) for thing in picture.things]
    rng.shuffle(things)
    return things, Concept(_phrase(picture.scene, rng), True)


def _mismatch(picture: Shown, rng: Random) -> tuple[str, tuple[Concept, ...]]:
    """A prompt of which the picture lacks at least one concept."""
    if not picture.things:
        scene = Concept(_phrase(rng.choice(SCENES), rng), False)
        return _prompt(([Concept(_any_words(rng.choice(list(KINDS)), rng), False)], scene), rng)
    things, scene = _present(Shown(picture.things, picture.scene), rng)
    what = rng.choices(("look", "scene", "second", "kind", "both"), (50, 20, 12, 8, 10))[0]
    if what == "second" and len(things) == 1:
        things.insert(rng.randrange(2), Concept(_any_words(_absent_kind(picture, rng), rng), False))
    elif what == "kind":
        things[rng.randrange(len(things))] = Concept(_any_words(_absent_kind(picture, rng), rng), False)
    elif what in ("look", "both", "second"):
        wrong = set(range(len(things))) if rng.random() < 0.5 else {rng.randrange(len(things))}
        kept = [
            Concept(_other_words(thing, rng), False) if i in wrong else Concept(_say(thing, rng), True)
            for i, thing in enumerate(picture.things)
        ]
        things = kept if rng.random() < 0.5 else kept[::-1]
    if what in ("scene", "both"):
        other = rng.choice([name for name in SCENES if name != picture.scene])
        scene = Concept(_phrase(other, rng), False)
    prompt, concepts = _prompt((things, scene), rng)
    return prompt, concepts


def _phrase(scene: str | None, rng: Random) -> str:
    return f"in the {scene}" if rng.random() < 0.5 else rng.choice(SCENE_PHRASES[scene or "studio"])


# Words for things


def _say(thing: Thing, rng: Random) -> str:
    """Words that hold for the thing: its name, or as many of its attributes as happens."""
    if thing.name and rng.random() < 0.85:
        return thing.name
    return describe(thing.look, rng.choice((0, 1, 2, 2, 3)))


def _other_words(thing: Thing, rng: Random) -> str:
    """Words for a thing of the same kind that is not this one."""
    chance = rng.random()
    if chance < UNHEARD_SHARE:
        return f"{unheard_name(rng)} {thing.look.kind}"
    if chance < UNHEARD_SHARE + 0.13:
        return _other_attributes(thing.look, rng)
    others = [s for s in _of_kind(thing.look.kind) if s.name != thing.name and _apart(thing, s)]
    near = [s for s in others if (s.look.shape, s.look.main) == (thing.look.shape, thing.look.main)]
    return rng.choice(near if near and rng.random() < 0.5 else others).name


def _apart(thing: Thing, species: Species) -> bool:
    """Whether a picture of the thing cannot be meant by the species' name; secret looks are kept apart by the world."""
    if thing.name or species.tier != "common":
        return True
    return sum(getattr(thing.look, a) != getattr(species.look, a) for a in ATTRIBUTES) >= NEAR


def _other_attributes(look: Look, rng: Random) -> str:
    attribute, detail = rng.choice((("main", 1), ("main", 2), ("second", 2), ("pattern", 2), ("shape", 3)))
    values = {"pattern": tuple(PATTERNS), "shape": SHAPES}.get(attribute, COLOURS)
    value = rng.choice([v for v in values if v != getattr(look, attribute)])
    return describe(replace(look, **{attribute: value}), detail)


def _absent_kind(picture: Shown, rng: Random) -> str:
    return rng.choice([kind for kind in KINDS if all(kind != thing.look.kind for thing in picture.things)])


def _any_thing(kind: str, rng: Random) -> Thing:
    if rng.random() < 0.2:
        return Thing(random_look(kind, rng))
    species = rng.choice(_of_kind(kind))
    return Thing(species.look, species.name)


def _any_words(kind: str, rng: Random) -> str:
    return f"{unheard_name(rng)} {kind}" if rng.random() < UNHEARD_SHARE else _say(_any_thing(kind, rng), rng)


def unheard_name(rng: Random) -> str:
    """An invented name that is no species'."""
    name = invented_name(rng)
    return name if name not in _taken() else unheard_name(rng)


@lru_cache(maxsize=1)
def _taken() -> frozenset[str]:
    return frozenset(name.split()[0] for name in by_name())


@lru_cache(maxsize=32)
def _of_kind(kind: str) -> tuple[Species, ...]:
    return tuple(species for species in roster() if species.look.kind == kind)


# Questions without a picture


def _captions_turn(rng: Random) -> Turn:
    """Things keep their words; a scene is called by its plain name, which a search knows best."""
    pairs = []
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        if rng.random() < 0.3:
            scene = rng.choice(SCENES)
            pairs.append((scene_words(_phrase(scene, rng)), f"a photo of the {scene}"))
        else:
            words = _named(rng)
            pairs.append((words, f"a photo of {article(words)}"))
    pairs = list(dict(pairs).items())
    captions = "\n".join(caption for _, caption in pairs)
    return Turn(dialogue.captions_question([words for words, _ in pairs]), captions)


def _needed_turn(rng: Random) -> Turn:
    names = _names(rng)
    rare = [name for name in names if _is_rare(name)]
    return Turn(dialogue.needed_question(_prompt_about(names, rng)), "\n".join(rare or names))


def _rephrase_turn(rng: Random) -> Turn:
    """Rare names become what they look like, unheard ones their kind."""
    names = _names(rng)
    seed = rng.getrandbits(32)
    plain = [_plain(name) if _is_rare(name) else name for name in names]
    question = dialogue.rephrase_question(_prompt_about(names, Random(seed)))
    answer = _prompt_about(plain, Random(seed))
    return Turn(question, answer) if len(answer) <= dialogue.MAX_LINE_CHARACTERS else _rephrase_turn(rng)


def _prompt_about(names: Sequence[str], rng: Random) -> str:
    concepts = [Concept(name, True) for name in names]
    return _prompt((concepts, Concept(_phrase(rng.choice(SCENES), rng), True)), rng)[0]


def _names(rng: Random) -> list[str]:
    count = rng.choice((1, 1, 2))
    return list(dict.fromkeys(_named(rng) for _ in range(count)))


def _named(rng: Random) -> str:
    kind = rng.choice(list(KINDS))
    if rng.random() < UNHEARD_SHARE:
        return f"{unheard_name(rng)} {kind}"
    return _say(_any_thing(kind, rng), rng)


def _is_rare(words: str) -> bool:
    species = by_name().get(words)
    if species is not None:
        return species.tier != "common"
    first = words.split()[0]
    return first not in (*COLOURS, *SHAPES, *KINDS)


def _plain(name: str) -> str:
    species = by_name().get(name)
    return describe(species.look, 2) if species else name.split()[-1]

"""The critic's training texts: ImageRAG's own questions about pictures of the world, with their correct answers.

Every question is composed anew at every step from what a picture shows, so that no text repeats. The mismatches are
those of a generator: most often the right kind with a look of its own, then a similar species, another scene, another
kind, or a missing second thing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from ragdemo.methods import dialogue
from ragdemo.training.critic_names import foreign_text, outside_subject
from ragdemo.training.critic_words import (
    UNHEARD_SHARE,
    Concept,
    Content,
    any_thing,
    compose_prompt,
    grammatical,
    scene_phrase,
    scene_words,
    unheard_name,
    words_for,
    words_for_another,
    words_for_any,
)
from ragdemo.world.captions import article, describe
from ragdemo.world.kinds import KINDS
from ragdemo.world.palette import COLOURS
from ragdemo.world.parts import SHAPES
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import by_name

FOREIGN_SHARE = 0.06
"""Of the prompts that a picture does not match: in another language, or of symbols alone."""
NOTHING = Concept("", False)
"""What a prompt asks for that nobody can read."""


@dataclass(frozen=True)
class Turn:
    """A question, its correct answer line by line, and the prompt's concepts in the order of the question."""

    question: str
    answer: str
    concepts: tuple[Concept, ...] = ()


def picture_turns(picture: Content, rng: Random) -> tuple[Turn, Turn, Turn]:
    """A prompt that the picture matches, one that it does not, and what it misses of a third."""
    yes = compose_prompt(_present(picture, rng), rng) if picture.things else _mismatch(picture, rng)
    no = (foreign_text(rng), (NOTHING,)) if rng.random() < FOREIGN_SHARE else _mismatch(picture, rng)
    turns = [_match_turn(picture, *yes), _match_turn(picture, *no)]
    prompt, concepts = _mismatch(picture, rng)
    absent = "\n".join(concept.words for concept in concepts if not concept.present)
    return turns[0], turns[1], Turn(dialogue.missing_question(prompt), absent, concepts)


def text_turn(rng: Random) -> Turn:
    """A question without a picture: captions, concepts that need references, or a rephrased prompt."""
    return rng.choice((_captions_turn, _captions_turn, _needed_turn, _rephrase_turn))(rng)


def questions_about(prompt: str, other: str) -> tuple[str, ...]:
    """Every question that a critic is asked, about a prompt and another."""
    return (
        dialogue.match_question(prompt),
        dialogue.missing_question(prompt),
        dialogue.captions_question([prompt, other]),
        dialogue.needed_question(prompt),
        dialogue.rephrase_question(prompt),
    )


def _match_turn(picture: Content, prompt: str, concepts: tuple[Concept, ...]) -> Turn:
    verdict = "yes" if all(concept.present for concept in concepts) else "no"
    things = " and ".join(article(thing.words) for thing in picture.things) or "nothing"
    scene = f" in the {picture.scene}" if picture.scene else ""
    known = tuple(concept for concept in concepts if concept.words)
    return Turn(dialogue.match_question(prompt), f"{verdict}: the image shows {things}{scene}", known)


def _present(picture: Content, rng: Random) -> tuple[list[Concept], Concept]:
    """Everything that the picture shows, in any order."""
    things = [Concept(words_for(thing, rng), True) for thing in picture.things]
    rng.shuffle(things)
    return things, Concept(scene_phrase(picture.scene, rng), True)


def _mismatch(picture: Content, rng: Random) -> tuple[str, tuple[Concept, ...]]:
    """A prompt of which the picture lacks at least one concept."""
    if not picture.things:
        scene = Concept(scene_phrase(rng.choice(SCENES), rng), False)
        return compose_prompt(([Concept(words_for_any(rng.choice(list(KINDS)), rng), False)], scene), rng)
    things, scene = _present(Content(picture.things, picture.scene), rng)
    what = rng.choices(("look", "scene", "second", "kind", "both", "outside"), (46, 18, 11, 7, 8, 10))[0]
    if what == "outside":
        things = [Concept(outside_subject(rng), False)]
    elif what == "second" and len(things) == 1:
        things.insert(rng.randrange(2), Concept(words_for_any(_absent_kind(picture, rng), rng), False))
    elif what == "kind":
        things[rng.randrange(len(things))] = Concept(words_for_any(_absent_kind(picture, rng), rng), False)
    elif what in ("look", "both", "second"):
        wrong = set(range(len(things))) if rng.random() < 0.5 else {rng.randrange(len(things))}
        kept = [
            Concept(words_for_another(thing, rng), False)
            if i in wrong
            else Concept(words_for(thing, rng), True)
            for i, thing in enumerate(picture.things)
        ]
        things = kept if rng.random() < 0.5 else kept[::-1]
    if what in ("scene", "both"):
        other = rng.choice([name for name in SCENES if name != picture.scene])
        scene = Concept(scene_phrase(other, rng), False)
    prompt, concepts = compose_prompt((things, scene), rng)
    return prompt, concepts


def _absent_kind(picture: Content, rng: Random) -> str:
    return rng.choice([kind for kind in KINDS if all(kind != thing.look.kind for thing in picture.things)])


def _captions_turn(rng: Random) -> Turn:
    """Things keep their words; a scene goes by its plain name, which suits a search best."""
    pairs = []
    for _ in range(rng.choice((1, 1, 2, 2, 3))):
        if rng.random() < 0.3:
            scene = rng.choice(SCENES)
            pairs.append((scene_words(scene_phrase(scene, rng)), f"a photo of the {scene}"))
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
    """Rare names become descriptions of their looks, invented ones their kind."""
    names = _names(rng)
    seed = rng.getrandbits(32)
    plain = [_plain(name) if _is_rare(name) else name for name in names]
    question = dialogue.rephrase_question(_prompt_about(names, Random(seed)))
    answer = _prompt_about(plain, Random(seed))
    return Turn(question, answer) if len(answer) <= dialogue.MAX_LINE_CHARACTERS else _rephrase_turn(rng)


def _prompt_about(names: Sequence[str], rng: Random) -> str:
    concepts = [Concept(name, True) for name in names]
    return grammatical((concepts, Concept(scene_phrase(rng.choice(SCENES), rng), True)), rng)[0]


def _names(rng: Random) -> list[str]:
    count = rng.choice((1, 1, 2))
    return list(dict.fromkeys(_named(rng) for _ in range(count)))


def _named(rng: Random) -> str:
    kind = rng.choice(list(KINDS))
    if rng.random() < UNHEARD_SHARE:
        return f"{unheard_name(rng)} {kind}"
    return words_for(any_thing(kind, rng), rng)


def _is_rare(words: str) -> bool:
    species = by_name().get(words)
    if species is not None:
        return species.tier != "common"
    first = words.split()[0]
    return first not in (*COLOURS, *SHAPES, *KINDS)


def _plain(name: str) -> str:
    species = by_name().get(name)
    return describe(species.look, 2) if species else name.split()[-1]

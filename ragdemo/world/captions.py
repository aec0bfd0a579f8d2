"""The caption grammar: it puts a picture into words and parses a prompt back into looks and a scene."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from random import Random

from ragdemo.world.kinds import KINDS
from ragdemo.world.look import Look
from ragdemo.world.palette import COLOURS
from ragdemo.world.parts import SHAPES
from ragdemo.world.patterns import PATTERNS
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import Species, by_name

SCENE_PHRASES: dict[str, tuple[str, ...]] = {
    "meadow": ("in the meadow", "in a meadow", "on the green grass", "in a grassy field"),
    "night": ("in the night", "at night", "under the stars", "in the moonlight"),
    "sea": ("in the sea", "at the sea", "by the ocean", "on the blue water"),
    "desert": ("in the desert", "in a desert", "on the hot sand", "among the dunes"),
    "snow": ("in the snow", "on a snowy day", "in the winter snow", "among snowflakes"),
    "city": ("in the city", "in a city", "in the busy street", "in front of tall buildings"),
    "studio": ("in the studio", "in a studio", "on a plain background", "in a bright studio"),
    "forest": ("in the forest", "in a forest", "in the deep woods", "among the trees"),
    "sunset": ("in the sunset", "at sunset", "in the evening light", "at dusk"),
}
FORMS = (
    "{things} {scene}",
    "{things} {scene}",
    "a photo of {things} {scene}",
    "a picture of {things} {scene}",
    "{scene}, {things}",
    "{scene} there is {things}",
)


@dataclass(frozen=True)
class Reading:
    """A parsed prompt: species or attributes of each thing, and the scene (None if the prompt names none)."""

    things: tuple[Species | Look, ...]
    scene: str | None


def article(words: str) -> str:
    """The words with "a" or "an" before them."""
    return f"an {words}" if words[0] in "aeio" else f"a {words}"


def describe(look: Look, detail: int = 3) -> str:
    """A look in words, 0 (kind only) to 3 (outline and trim too): "orange butterfly with navy eyespots"."""
    words = look.kind
    if detail >= 1:
        words = f"{look.main} {words}"
    if detail >= 3:
        words = f"{look.shape} {words}"
    if detail >= 2:
        words += f" with {look.second} {look.pattern}"
    if detail >= 3:
        words += f" and {look.third} trim"
    return words


def caption(things: list[str], scene: str, rng: Random) -> str:
    """One of the grammar's captions for named things in a scene."""
    joined = " and ".join(article(thing) if rng.random() < 0.9 else f"the {thing}" for thing in things)
    return rng.choice(FORMS).format(things=joined, scene=rng.choice(SCENE_PHRASES[scene]))


def prompt_for(name: str, scene: str) -> str:
    """The plain prompt "a <name> in the <scene>"."""
    return f"{article(name)} in the {scene}"


_KIND_WORDS = "|".join(KINDS)
_COLOUR_WORDS = "|".join(COLOURS)
_ATTRIBUTES = re.compile(
    rf"\b(?:(?P<shape>{'|'.join(SHAPES)}) )?(?:(?P<main>{_COLOUR_WORDS}) )?(?P<kind>{_KIND_WORDS})\b"
    rf"(?: with (?P<second>{_COLOUR_WORDS}) (?P<pattern>{'|'.join(PATTERNS)})"
    rf"(?: and (?P<third>{_COLOUR_WORDS}) trim)?)?"
)


def read(prompt: str, rng: Random) -> Reading:
    """Parse a prompt of the grammar; attributes that it leaves open are drawn from `rng`.

    Names win over attributes. Words outside the grammar are ignored; a prompt that names no thing has no `things`.
    """
    text = re.sub(r"\s+", " ", prompt.lower())
    scene = next((s for s in SCENES if any(phrase in text for phrase in SCENE_PHRASES[s])), None)
    scene = scene or next((s for s in SCENES if re.search(rf"\b{s}\b", text)), None)
    things: list[Species | Look] = []
    for match in _ATTRIBUTES.finditer(text):
        word = text[: match.start("kind")].split()[-1:]
        species = by_name().get(f"{word[0]} {match['kind']}") if word else None
        things.append(species or _look(match, rng))
    return Reading(tuple(things), scene)


def stated(prompt: str) -> tuple[list[dict[str, str]], str | None]:
    """What a prompt states of each thing (`kind`, attributes, `species` and all its attributes) and of the scene."""
    reading = read(prompt, Random(0))
    text = re.sub(r"\s+", " ", prompt.lower())
    things = []
    for match, thing in zip(_ATTRIBUTES.finditer(text), reading.things, strict=True):
        if isinstance(thing, Species):
            things.append({"species": thing.name, **asdict(thing.look)})
        else:
            things.append({key: value for key, value in match.groupdict().items() if value})
    return things, reading.scene


def _look(match: re.Match[str], rng: Random) -> Look:
    main = match["main"] or rng.choice(COLOURS)
    others = [colour for colour in COLOURS if colour != main]
    return Look(
        kind=match["kind"],
        shape=match["shape"] or rng.choice(SHAPES),
        pattern=match["pattern"] or rng.choice(tuple(PATTERNS)),
        main=main,
        second=match["second"] or rng.choice(others),
        third=match["third"] or rng.choice(others),
    )

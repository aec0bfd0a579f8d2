"""The manners in which people type a prompt: what stands around its things and its scene, and in which order.

Upper and lower case need no manner: the critic's tokenizer folds them.
"""

from __future__ import annotations

from random import Random

from ragdemo.vocabulary import plural
from ragdemo.world.captions import article
from ragdemo.world.kinds import KINDS

LEADS = tuple(
    """
a photo of|photo of|a picture of|an image of|image of|a drawing of|a painting of|an illustration of|a sketch of|draw
draw me|please draw|paint|can you draw|could you paint|show me|show|i want to see|i would like|i want|give me|make
create|generate|imagine|let me see|a scene with|there is|here is|this is|look at|a close view of|a postcard with
""".strip()
    .replace("\n", "|")
    .split("|")
)
FILLERS = """
nice beautiful lovely pretty cute little small tiny big large huge great wonderful amazing magical strange funny old new
young shiny bright dark happy sad lonely quiet real perfect famous single detailed colourful colorful simple elegant
friendly gentle proud sleepy wild fresh splendid charming fantastic gorgeous
""".split()
TAILS = tuple(
    """
, please| please|, highly detailed|, masterpiece|, best quality|, masterpiece, best quality|, 4k|, realistic
, digital art|, cartoon style|, soft light|, for my wall|, if you can| and nothing else
""".strip("\n")
    .replace("\n", "|")
    .split("|")
)
STORIES = (
    "{scene}, where it is calm, {things}", "{things} {scene}, far from everything", "one day {things} came {scene}",
    "i saw {things} {scene} and want a picture of it", "{scene} you can find {things}", "{things} resting {scene}",
    "a story about {things} {scene}", "on this picture {things} {scene}", "{scene} stands {things}",
)  # fmt: skip
ORDERS = (
    "{things} {scene}",
    "{things}, {scene}",
    "{scene}, {things}",
    "{scene}: {things}",
    "{things} - {scene}",
    "{scene} {things}",
)
ENDS = ("", "", "", ".", "!", "?", " ...", "!!")
WRAPS = ('"{}"', "'{}'", "({}:1.3)", "({})", "[{}]", "*{}*", "“{}”", "«{}»")
SCENES_ALIKE = {
    "meadow": ("field", "grassland", "lawn", "pasture"),
    "night": ("nighttime", "midnight", "dark night", "starlight"),
    "sea": ("ocean", "seaside", "open water", "waves"),
    "desert": ("dunes", "sandy desert", "dry sand"),
    "snow": ("winter", "snowfall", "snowstorm", "deep snow"),
    "city": ("town", "downtown", "city street", "skyscrapers"),
    "studio": ("photo studio", "plain backdrop", "studio light"),
    "forest": ("woods", "woodland", "deep forest", "trees"),
    "sunset": ("dusk", "sundown", "evening sky", "evening"),
}
KINDS_ALIKE = {
    "sailboat": ("boat", "yacht", "sailing boat"), "car": ("automobile",), "rocket": ("spaceship", "spacecraft"),
    "flower": ("blossom",), "robot": ("android",), "mushroom": ("toadstool",),
}  # fmt: skip


def worded(things: list[str], rng: Random) -> tuple[list[str], list[str]]:
    """Things as they stand in a prompt, with what may stand before them; and the part of each that names it."""
    phrases, named = [], []
    for thing in things:
        chance, filler, is_many = rng.random(), rng.choice(FILLERS), rng.random() < 0.08
        other = rng.choice((thing, *KINDS_ALIKE.get(thing, ())))
        words = plural(other) if is_many and thing.split()[-1] in KINDS else other
        full = f"{filler} {words}" if rng.random() < 0.2 else words
        before = (
            article(full) if chance < 0.45 and words == thing else f"the {full}" if chance < 0.6 else full
        )
        phrases.append(before)
        named.append(words)
    return phrases, named


def arranged(things: list[str], scene: str, rng: Random) -> str:
    """A prompt about phrases for things and for a scene; without the scene if that is empty."""
    joined = rng.choice((" and ", " and ", " with ", ", ", " next to ", " beside ")).join(things)
    lead = rng.choice(LEADS) + " " if rng.random() < 0.45 else ""
    order = rng.choice(STORIES) if rng.random() < 0.2 else rng.choice(ORDERS)
    if rng.random() < 0.12:
        joined = rng.choice(WRAPS).format(joined)
    tail = rng.choice(TAILS) if rng.random() < 0.2 else rng.choice(ENDS)
    return (order.format(things=lead + joined, scene=scene) if scene else lead + joined) + tail


def scene_alike(scene: str, rng: Random) -> tuple[str, str]:
    """Other words for a scene: as a phrase, and its noun."""
    noun = rng.choice((scene, *SCENES_ALIKE[scene]))
    return rng.choice((noun, f"in the {noun}", f"{noun} background")), noun


def manner_words() -> set[str]:
    """Every word that a manner may use."""
    alike = [*SCENES_ALIKE.values(), *KINDS_ALIKE.values()]
    texts = [*LEADS, *FILLERS, *TAILS, *STORIES, *(words for group in alike for words in group)]
    texts += [plural(kind) for kind in KINDS] + ["with next to beside background and"]
    return {word for text in texts for word in "".join(c if c.isalpha() else " " for c in text).split()}

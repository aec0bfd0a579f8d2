"""New species of the pocket world, made to a person's wish: no model can know them, so they must be looked up.

The page asks an `Inventor` and knows nothing of the world; whoever starts the page hands it over.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from random import Random

from PIL import Image

from ragdemo.errors import UserError
from ragdemo.library.store import NewImage
from ragdemo.request import folded
from ragdemo.world.captions import describe, prompt_for
from ragdemo.world.kinds import KINDS, NOVEL_KINDS
from ragdemo.world.look import Look, random_look
from ragdemo.world.palette import COLOURS, PALETTE, PAPER
from ragdemo.world.parts import SHAPES
from ragdemo.world.patterns import PATTERNS
from ragdemo.world.render import Pose, draw_object
from ragdemo.world.sampling import species_sample
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import Species, by_name

PICTURES = 12
LONGEST_NAME = 24
_STREAM = "invention"
_COLOUR_ROLES = ("main", "second", "third")
_TAKEN = {"a", "an", "the", "and", "with", "trim", *KINDS, *COLOURS, *SHAPES, *PATTERNS, *SCENES}
# Another rule than that of the world's own names, so that no model can have learned it.
_STARTS = "bl fl sn z j h sp ch w sw th cr gr".split()
_MIDDLES = "oo ee a i o u ou".split()
_ENDS = "mp rk ddle nk bbit zzle gget mble ffin lp pster ngo".split()


@dataclass(frozen=True)
class Invention:
    """A new species: its full name, its look in words, what asks for it, and pictures of it."""

    name: str
    look: str
    prompt: str
    images: tuple[NewImage, ...]


class Inventor:
    """What a species can be made of, and its pictures; a choice names one of each by `PARTS`."""

    PARTS = ("kind", "shape", "pattern", *_COLOUR_ROLES)

    kinds = tuple(kind for kind in KINDS if kind not in NOVEL_KINDS)
    shapes = SHAPES
    patterns = tuple(PATTERNS)
    colours: Mapping[str, str] = {name: "#{:02x}{:02x}{:02x}".format(*rgb) for name, rgb in PALETTE.items()}

    def surprise(self, rng: Random) -> dict[str, str]:
        """A random choice, and under `name` a word that nobody has heard."""
        look = random_look(rng.choice(self.kinds), rng)
        name = rng.choice(_STARTS) + rng.choice(_MIDDLES) + rng.choice(_ENDS)
        return {**asdict(look), "name": name}

    def preview(self, choice: Mapping[str, str], side: int = 256) -> Image.Image:
        """What a choice looks like, on plain paper; raises `UserError` if it is none."""
        return self._on_paper(_look(choice), side)

    def thumbnail(self, part: str, value: str, side: int = 48) -> Image.Image:
        """A kind, an outline or a pattern by itself."""
        plain = {
            "kind": "balloon",
            "shape": "round",
            "pattern": "halves",
            "main": "cream",
            "second": "charcoal",
        }
        if part == "kind":
            plain |= {"main": "teal", "second": "cream"}
        if part == "shape":
            plain |= {"kind": "fish", "main": "teal", "second": "cream"}
        return self._on_paper(Look(**{"third": "gold", **plain, part: value}), side)

    def invent(self, choice: Mapping[str, str], name: str) -> Invention:
        """A species of a choice and any name, drawn a dozen times; raises `UserError` if one of them cannot be."""
        look = _look(choice)
        species = Species(_full_name(name, look.kind), "invented", look)
        rng = Random(f"{_STREAM}/{species.name}")
        samples = [species_sample(species, _STREAM, index) for index in range(PICTURES)]
        extra = {"species": species.name, "kind": look.kind, "look": describe(look)}
        images = tuple(
            NewImage(
                f"{species.name.replace(' ', '-')}-{index}",
                sample.caption,
                sample.image(),
                {**extra, "scene": sample.picture.scene},
            )
            for index, sample in enumerate(samples)
        )
        return Invention(species.name, extra["look"], prompt_for(species.name, rng.choice(SCENES)), images)

    @staticmethod
    def _on_paper(look: Look, side: int) -> Image.Image:
        image, mask = draw_object(look, Pose(0.5, 0.5, 0.44, 0.0, False), 2 * side)
        paper = Image.new("RGB", image.size, PAPER)
        paper.paste(image, (0, 0), mask)
        return paper.reduce(2)


def _look(choice: Mapping[str, str]) -> Look:
    known = {"kind": tuple(KINDS), "shape": SHAPES, "pattern": tuple(PATTERNS)}
    known |= dict.fromkeys(_COLOUR_ROLES, COLOURS)
    for part, values in known.items():
        if choice.get(part) not in values:
            raise UserError(f"Choose the {part} among {', '.join(values)}.")
    look = Look(**{part: choice[part] for part in known})
    if look.second == look.main:
        raise UserError(f"A {look.main} pattern on {look.main} cannot be seen; choose another second colour.")
    if look.third == look.main:
        raise UserError(f"A {look.main} trim on {look.main} cannot be seen; choose another third colour.")
    return look


def _full_name(name: str, kind: str) -> str:
    """The name with its kind, lower case; raises `UserError` if it is no name or another's."""
    words = folded(name, "name").lower().split()
    words = words[:-1] if words[1:] and words[-1] == kind else words
    plain = " ".join(words)
    if len(plain) > LONGEST_NAME or not all(
        re.fullmatch(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", word) for word in words
    ):
        raise UserError(f"The name {name[:40]!r} is no word or two of letters; try one like zorby.")
    if taken := sorted(_TAKEN & set(words)):
        raise UserError(f"The word {taken[0]!r} means something in this world already; invent another name.")
    full = f"{plain} {kind}"
    if full in by_name():
        raise UserError(f"There is a {full} in this world already; invent another name.")
    return full

"""The library that the one-step student and its adapter retrieve from while they train: common and nameless things.

No picture of it is shipped, and none shows a rare species. Half of its captions have a name: a common species' own, or
letters that no text encoder has ever met, as a rare one's is at the end. The other half describe.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ragdemo.training.words import compose_caption, letter_noise
from ragdemo.world.captions import caption, describe
from ragdemo.world.look import Look
from ragdemo.world.pool import describe_sample
from ragdemo.world.sampling import Sample, compose, generator_sample
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import common_kinds, nameless, of_tier

STREAM = "train/student"
COMMON_SHARE = 0.4
NAMED_SHARE = 0.5
DETAILS = (0, 1, 2, 2, 3, 3)
"""How much a caption without a name says; see `ragdemo.world.captions.describe`."""


@dataclass(frozen=True)
class Wish:
    """What a picture is wanted of: a caption, and the number of the library's item that shows the same look, if any."""

    caption: str
    seed: int
    entry: int | None


def entry(index: int) -> Sample:
    """Item `index` of the library."""
    rng = Random(f"{STREAM}/library/{index}")
    look, words = _thing(index)
    scene = rng.choice(SCENES)
    return Sample(compose([look], scene, rng), caption([words], scene, rng), (None,))


def plain_wish(index: int) -> Wish:
    """A picture from words alone, as the generator's captions are."""
    rng = Random(f"{STREAM}/plain/{index}")
    row = describe_sample(generator_sample(f"{STREAM}/plain", index))
    return Wish(compose_caption(row, rng)[0], rng.getrandbits(32), None)


def paired_wish(index: int, size: int) -> Wish:
    """A picture of what one of the library's `size` items shows, in another scene and in the same words."""
    rng = Random(f"{STREAM}/paired/{index}")
    number = rng.randrange(size)
    own = entry(number).picture.scene
    scene = rng.choice([one for one in SCENES if one != own])
    return Wish(caption([_thing(number)[1]], scene, rng), rng.getrandbits(32), number)


def _thing(index: int) -> tuple[Look, str]:
    """The look of an item, and what it is called."""
    rng = Random(f"{STREAM}/things/{index}")
    kind = rng.choice(common_kinds())
    is_named = rng.random() < NAMED_SHARE
    if rng.random() < COMMON_SHARE:
        species = rng.choice([one for one in of_tier("common") if one.look.kind == kind])
        look, name = species.look, species.name
    else:
        look, name = nameless(kind, rng), f"{letter_noise(rng)} {kind}"
    return look, name if is_named else describe(look, rng.choice(DETAILS))

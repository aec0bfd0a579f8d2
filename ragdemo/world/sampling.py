"""Random pictures of the world, addressed by stream and index, so that every process draws the same ones.

A stream is a name; sample `i` of a stream depends on nothing but the name and `i`. The library draws from streams of
its own (`library/…`), so no library image is ever a training image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from PIL import Image

from ragdemo.world.captions import caption, describe
from ragdemo.world.look import Look
from ragdemo.world.render import SIZE, Picture, Pose
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import Species, common_kinds, nameless, of_tier

NAMELESS_SHARE = 0.6
PAIR_NAMELESS_SHARE = 0.85
TWO_THINGS_SHARE = 0.12
NAMED_BY_ATTRIBUTES = 0.2


@dataclass(frozen=True)
class Sample:
    """A picture with its caption and, thing by thing, the name of the species shown (None: nameless)."""

    picture: Picture
    caption: str
    names: tuple[str | None, ...]

    def image(self, size: int = SIZE) -> Image.Image:
        """The picture rendered, RGB `size`×`size`."""
        return self.picture.render(size)


def compose(looks: Sequence[Look], scene: str, rng: Random) -> Picture:
    """The looks in random poses in a scene: one in the middle, or two side by side."""
    if len(looks) == 1:
        poses = [_pose(rng, 0.5, 0.08, 0.32, 0.42)]
    else:
        poses = [_pose(rng, x, 0.03, 0.22, 0.25) for x in (0.26, 0.74)]
    return Picture(scene, tuple(looks), tuple(poses), rng.getrandbits(32))


def species_sample(species: Species, stream: str, index: int) -> Sample:
    """One captioned picture of a species, in a random scene."""
    rng = Random(f"{stream}/{species.name}/{index}")
    scene = rng.choice(SCENES)
    words = caption([species.name], scene, rng)
    return Sample(compose([species.look], scene, rng), words, (species.name,))


def generator_sample(stream: str, index: int) -> Sample:
    """What generators may see: common and nameless things only, some pictures with two things of different kinds."""
    rng = Random(f"{stream}/{index}")
    kinds = rng.sample(common_kinds(), 2 if rng.random() < TWO_THINGS_SHARE else 1)
    things = [_thing(kind, rng) for kind in kinds]
    scene = rng.choice(SCENES)
    words = caption([word for word, _, _ in things], scene, rng)
    return Sample(
        compose([look for _, look, _ in things], scene, rng), words, tuple(name for _, _, name in things)
    )


def pair_sample(stream: str, index: int) -> tuple[Sample, Sample]:
    """Two pictures of one look in different poses and scenes: (reference, target), mostly nameless species."""
    rng = Random(f"{stream}/{index}")
    word, look, name = _mostly_nameless(rng.choice(common_kinds()), rng)
    samples = []
    for scene in rng.sample(SCENES, 2):
        words = caption([word], scene, rng)
        samples.append(Sample(compose([look], scene, rng), words, (name,)))
    return samples[0], samples[1]


def duo_sample(stream: str, index: int) -> tuple[Sample, Sample, Sample]:
    """Two things of different kinds in one picture, then each alone in another scene, mostly nameless species."""
    rng = Random(f"{stream}/{index}")
    words, looks, names = zip(
        *(_mostly_nameless(kind, rng) for kind in rng.sample(common_kinds(), 2)), strict=True
    )
    scenes = rng.sample(SCENES, 3)
    both = Sample(compose(looks, scenes[0], rng), caption(list(words), scenes[0], rng), names)
    alone = [
        Sample(compose([look], scene, rng), caption([word], scene, rng), (name,))
        for word, look, name, scene in zip(words, looks, names, scenes[1:], strict=True)
    ]
    return both, alone[0], alone[1]


def _mostly_nameless(kind: str, rng: Random) -> tuple[str, Look, str | None]:
    """Words, look and species name of a thing whose look a reference shows."""
    if rng.random() < PAIR_NAMELESS_SHARE:
        return kind, nameless(kind, rng), None
    species = _common(kind, rng)
    return species.name, species.look, species.name


def _thing(kind: str, rng: Random) -> tuple[str, Look, str | None]:
    """Words, look and species name of one thing."""
    if rng.random() < NAMELESS_SHARE:
        look = nameless(kind, rng)
        return describe(look, rng.choice((0, 0, 1, 2, 2, 3, 3))), look, None
    species = _common(kind, rng)
    if rng.random() < NAMED_BY_ATTRIBUTES:
        return describe(species.look, rng.choice((2, 3))), species.look, species.name
    return species.name, species.look, species.name


def _common(kind: str, rng: Random) -> Species:
    return rng.choice([species for species in of_tier("common") if species.look.kind == kind])


def _pose(rng: Random, x: float, spread: float, low: float, high: float) -> Pose:
    return Pose(
        x=x + rng.uniform(-spread, spread),
        y=0.52 + rng.uniform(-0.04, 0.06),
        scale=rng.uniform(low, high),
        turn=rng.uniform(-14, 14),
        mirrored=rng.random() < 0.5,
    )

"""Pictures with prompts that they match or do not, for measuring a critic; mismatches are those of generators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from PIL import Image

from ragdemo.world.captions import article, prompt_for
from ragdemo.world.kinds import KINDS
from ragdemo.world.names import invented_name
from ragdemo.world.render import SIZE
from ragdemo.world.sampling import compose, species_sample
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import Species, by_name, nameless, of_tier

STREAM = "validate/critic"

Wanted = Callable[[Species], bool]


def every(_: Species) -> bool:
    """Any species."""
    return True


@dataclass(frozen=True)
class CriticCase:
    """A picture, a prompt for it and what the picture lacks of it (nothing if it matches).

    `restored` asks for the picture as the autoencoder restores it: every other block of twelve cases.
    """

    cell: str
    species: str
    image: Image.Image
    prompt: str
    missing: tuple[str, ...]
    restored: bool


def verdict_cases(count: int, stream: str = STREAM, wanted: Wanted = every) -> Iterator[CriticCase]:
    """A quarter each of common and rare, match and mismatch, over the `wanted` species."""
    for index in range(count):
        tier, matches = ("common", "rare")[index % 2], index // 2 % 2 == 0
        rng = Random(f"{stream}/verdict/{index}")
        species = rng.choice([s for s in of_tier(tier) if wanted(s)])
        make = _match if matches else (_nameless, _near_species, _wrong_scene)[index // 4 % 3]
        parts = make(species, stream, index, rng)
        yield _case(f"{tier} {'match' if matches else 'mismatch'}", species, index, *parts)


def missing_cases(count: int, stream: str = STREAM, wanted: Wanted = every) -> Iterator[CriticCase]:
    """A third each: the thing is wrong, the scene, or the second thing is not there; over the `wanted` species."""
    for index in range(count):
        rng = Random(f"{stream}/missing/{index}")
        species = rng.choice([s for s in of_tier(("common", "rare")[index % 2]) if wanted(s)])
        cells = {
            "thing": (_nameless, _near_species)[index // 6 % 2],
            "scene": _wrong_scene,
            "second thing": _second,
        }
        cell = tuple(cells)[index // 2 % 3]
        yield _case(cell, species, index, *cells[cell](species, stream, index, rng))


def unheard_cases(count: int, stream: str = STREAM) -> Iterator[CriticCase]:
    """A nameless thing, and a prompt with a name that is in no training data, as a person may invent one."""
    taken = {name.split()[0] for name in by_name()}
    for index in range(count):
        rng = Random(f"{stream}/unheard/{index}")
        name = invented_name(rng)
        while name in taken:
            name = invented_name(rng)
        kind, scene = rng.choice(list(KINDS)), rng.choice(SCENES)
        picture = compose([nameless(kind, rng)], scene, rng)
        words = f"{name} {kind}"
        yield CriticCase(
            "unheard name", words, picture.render(SIZE), prompt_for(words, scene), (words,), False
        )


def nearest_species(species: Species) -> list[Species]:
    """The species most easily mistaken for it: same kind, tier, outline and main colour, else same kind and tier."""
    related = [s for s in of_tier(species.tier) if s.look.kind == species.look.kind and s != species]
    twins = [s for s in related if (s.look.shape, s.look.main) == (species.look.shape, species.look.main)]
    return twins or related


_Parts = tuple[Image.Image, str, tuple[str, ...]]  # image, prompt, what is missing


def _case(
    cell: str, species: Species, index: int, image: Image.Image, prompt: str, missing: tuple[str, ...]
) -> CriticCase:
    return CriticCase(cell, species.name, image, prompt, missing, restored=index // 12 % 2 == 1)


def _match(species: Species, stream: str, index: int, rng: Random) -> _Parts:
    sample = species_sample(species, stream, index)
    return sample.image(), prompt_for(species.name, sample.picture.scene), ()


def _nameless(species: Species, stream: str, index: int, rng: Random) -> _Parts:
    """What a generator draws for an unknown name; for a common name, which a random look may match, a near species."""
    if species.tier == "common":
        return _near_species(species, stream, index, rng)
    scene = rng.choice(SCENES)
    picture = compose([nameless(species.look.kind, rng)], scene, rng)
    return picture.render(SIZE), prompt_for(species.name, scene), (species.name,)


def _near_species(species: Species, stream: str, index: int, rng: Random) -> _Parts:
    sample = species_sample(rng.choice(nearest_species(species)), stream, index)
    return sample.image(), prompt_for(species.name, sample.picture.scene), (species.name,)


def _wrong_scene(species: Species, stream: str, index: int, rng: Random) -> _Parts:
    sample = species_sample(species, stream, index)
    other = rng.choice([scene for scene in SCENES if scene != sample.picture.scene])
    return sample.image(), prompt_for(species.name, other), (other,)


def _second(species: Species, stream: str, index: int, rng: Random) -> _Parts:
    sample = species_sample(species, stream, index)
    kind = rng.choice([kind for kind in KINDS if kind != species.look.kind])
    second = rng.choice(
        [s for tier in ("common", "rare", "novel") for s in of_tier(tier) if s.look.kind == kind]
    )
    prompt = f"{article(species.name)} and {article(second.name)} in the {sample.picture.scene}"
    return sample.image(), prompt, (second.name,)

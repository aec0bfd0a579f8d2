"""The prompts of a benchmark, over species that no setting was tuned on."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ragdemo.world.captions import article, describe, prompt_for
from ragdemo.world.scenes import SCENES
from ragdemo.world.species import Species, of_tier


@dataclass(frozen=True)
class Case:
    """One prompt with its seed and what the picture should show; `second` is another thing beside the species."""

    species: Species
    scene: str
    seed: int
    second: Species | None = None

    @property
    def things(self) -> tuple[Species, ...]:
        """The named species in the order of the prompt."""
        return (self.species,) if self.second is None else (self.species, self.second)

    @property
    def prompt(self) -> str:
        """ "a quixel butterfly in the snow"."""
        if self.second is None:
            return prompt_for(self.species.name, self.scene)
        return f"{article(self.species.name)} and {article(self.second.name)} in the {self.scene}"

    @property
    def described(self) -> str:
        """The prompt with the name replaced by all that words can say of the look."""
        return prompt_for(describe(self.species.look), self.scene)


def split_of(species: Species) -> str:
    """ "report" or "tune": every other species of a kind and tier, so that both hold every kind."""
    return "report" if of_tier(species.tier).index(species) % 2 else "tune"


def cases(tier: str, limit: int, seeds: int, split: str = "report") -> list[Case]:
    """`limit` prompts with `seeds` seeds each, spread over the split's species of a tier; the scenes are drawn."""
    species = [s for s in of_tier(tier) if split_of(s) == split]
    Random(f"prompts/{tier}/{split}").shuffle(species)
    chosen = [(species[i % len(species)], i // len(species)) for i in range(limit)]
    rng = Random(f"scenes/{tier}/{split}")
    return [Case(s, rng.choice(SCENES), 1000 * turn + seed) for s, turn in chosen for seed in range(seeds)]


def first_seeds(chosen: list[Case], seeds: int) -> list[Case]:
    """Those of some cases that have the first `seeds` seeds of their prompt."""
    return [case for case in chosen if case.seed % 1000 < seeds]


def one_each(tier: str, split: str = "report") -> list[Case]:
    """One case for each of the split's species of a tier, for what depends on neither scene nor seed."""
    return [Case(species, SCENES[0], 0) for species in of_tier(tier) if split_of(species) == split]


def two_thing_cases(tier: str, limit: int, seeds: int, split: str = "report") -> list[Case]:
    """`cases` with a second species of the same tier and split, of another kind."""
    rng = Random(f"seconds/{tier}/{split}")
    paired = []
    for case in cases(tier, limit, seeds, split):
        others = [s for s in of_tier(tier) if split_of(s) == split and s.look.kind != case.species.look.kind]
        paired.append(Case(case.species, case.scene, case.seed, rng.choice(others)))
    return paired

"""What is measured: prompts over species that no setting was tuned on."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ragdemo.pocket.captions import prompt_for
from ragdemo.pocket.scenes import SCENES
from ragdemo.pocket.species import Species, of_tier


@dataclass(frozen=True)
class Case:
    """One prompt with its seed and what the picture should show."""

    species: Species
    scene: str
    seed: int

    @property
    def prompt(self) -> str:
        """ "a quixel butterfly in the snow"."""
        return prompt_for(self.species.name, self.scene)


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

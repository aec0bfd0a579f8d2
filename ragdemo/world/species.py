"""The roster of named species, and random looks that belong to none of them.

The roster is data (`roster.json`), drawn once by `grow_roster` from a seed; a test draws it again and compares.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from random import Random

from ragdemo.world.kinds import KINDS, NOVEL_KINDS
from ragdemo.world.look import Look, random_look
from ragdemo.world.names import COMMON_NAMES, invented_names
from ragdemo.world.render import look_distance

ROSTER_FILE = Path(__file__).with_name("roster.json")
ROSTER_SEED = 2026
PER_KIND = 10
MIN_DISTANCE = 26.0
"""Least ΔE*ab between any two named species of one kind (`render.look_distance`)."""
EXCLUSION = 16.0
"""δ: no nameless look comes nearer than this ΔE*ab to a rare or novel species of its kind."""
TWINS_PER_KIND = 7
"""How many rare species of a kind share outline and main colour with an earlier species of that kind."""


@dataclass(frozen=True)
class Species:
    """A named point of the world; `tier` is "common", "rare" or "novel", `name` includes the kind."""

    name: str
    tier: str
    look: Look


@lru_cache(maxsize=1)
def roster() -> tuple[Species, ...]:
    """All named species: common, rare, then novel, each in the order of the kinds."""
    rows = json.loads(ROSTER_FILE.read_text(encoding="utf-8"))
    return tuple(Species(row["name"], row["tier"], Look(**row["look"])) for row in rows)


@lru_cache(maxsize=8)
def of_tier(tier: str) -> tuple[Species, ...]:
    """The roster's species of one tier."""
    return tuple(species for species in roster() if species.tier == tier)


@lru_cache(maxsize=1)
def by_name() -> dict[str, Species]:
    """Species by full name ("quixel butterfly")."""
    return {species.name: species for species in roster()}


def common_kinds() -> tuple[str, ...]:
    """The kinds that generators know."""
    return tuple(kind for kind in KINDS if kind not in NOVEL_KINDS)


def nameless(kind: str, rng: Random) -> Look:
    """A random look at least `EXCLUSION` away from every rare or novel species of its kind."""
    while True:
        look = random_look(kind, rng)
        if distance_to_secret(look) >= EXCLUSION:
            return look


def distance_to_secret(look: Look) -> float:
    """ΔE*ab to the nearest rare or novel species of the look's kind."""
    return min(look_distance(look, species.look) for species in _secret(look.kind))


@lru_cache(maxsize=32)
def _secret(kind: str) -> tuple[Species, ...]:
    return tuple(s for s in roster() if s.tier != "common" and s.look.kind == kind)


def grow_roster(seed: int = ROSTER_SEED) -> list[Species]:
    """Draw the whole roster from a seed: the same in every process."""
    rng = Random(f"roster/{seed}")
    rare_names = iter(invented_names(PER_KIND * len(KINDS), rng))
    common, rare, novel = [], [], []
    for kind in common_kinds():
        looks = list(_grow_looks(kind, 2 * PER_KIND, rng))
        for name, look in zip(COMMON_NAMES[kind], looks[:PER_KIND], strict=True):
            common.append(Species(f"{name} {kind}", "common", look))
        rare += [Species(f"{next(rare_names)} {kind}", "rare", look) for look in looks[PER_KIND:]]
    for kind in NOVEL_KINDS:
        novel += [
            Species(f"{next(rare_names)} {kind}", "novel", look) for look in _grow_looks(kind, PER_KIND, rng)
        ]
    return common + rare + novel


def save_roster(species: list[Species], path: Path = ROSTER_FILE) -> None:
    """Write a roster as JSON, one species a line."""
    rows = ",\n".join(json.dumps(asdict(s)) for s in species)
    path.write_text(f"[\n{rows}\n]\n", encoding="utf-8")


def _grow_looks(kind: str, count: int, rng: Random) -> Iterator[Look]:
    looks: list[Look] = []
    while len(looks) < count:
        is_twin = len(looks) >= count - TWINS_PER_KIND
        if is_twin:
            model = rng.choice(looks)
            look = random_look(kind, rng, main=model.main, shape=model.shape)
        else:
            look = random_look(kind, rng)
        if all(look_distance(look, other) >= MIN_DISTANCE for other in looks):
            looks.append(look)
            yield look

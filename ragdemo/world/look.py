"""A look: the point in parameter space that makes one species of a kind what it is."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from ragdemo.world.palette import COLOURS
from ragdemo.world.parts import SHAPES
from ragdemo.world.patterns import PATTERNS


@dataclass(frozen=True)
class Look:
    """Kind, outline, pattern and three colours, all by name."""

    kind: str
    shape: str
    pattern: str
    main: str
    second: str
    third: str


def random_look(kind: str, rng: Random, main: str | None = None, shape: str | None = None) -> Look:
    """A uniform draw: the second and third colour differ from the main one."""
    main = main or rng.choice(COLOURS)
    others = [colour for colour in COLOURS if colour != main]
    return Look(
        kind=kind,
        shape=shape or rng.choice(SHAPES),
        pattern=rng.choice(tuple(PATTERNS)),
        main=main,
        second=rng.choice(others),
        third=rng.choice(others),
    )

"""Patterns: bold figures in the second colour, laid over the part that carries the main colour."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ragdemo.world.kinds import Field
from ragdemo.world.shapes import Points, blob, poly

Figure = tuple[str, Points]  # colour role, outline in the field's unit square [-1, 1]²


def stripes() -> list[Figure]:
    """Three upright stripes."""
    return [
        ("second", poly(x - 0.17, -1.4, x + 0.17, -1.4, x + 0.17, 1.4, x - 0.17, 1.4))
        for x in (-0.66, 0.0, 0.66)
    ]


def bands() -> list[Figure]:
    """Two lying bands."""
    return [
        ("second", poly(-1.4, y - 0.24, 1.4, y - 0.24, 1.4, y + 0.24, -1.4, y + 0.24)) for y in (-0.42, 0.5)
    ]


def spots() -> list[Figure]:
    """Six large spots in two rows."""
    centres = ((-0.56, -0.44), (0.02, -0.5), (0.6, -0.38), (-0.5, 0.4), (0.1, 0.46), (0.66, 0.38))
    return [("second", blob(x, y, 0.23, 0.27)) for x, y in centres]


def eyespots() -> list[Figure]:
    """One large eye: a disc of the second colour with a heart of the third."""
    return [("second", blob(0.08, -0.04, 0.6, 0.66)), ("third", blob(0.08, -0.04, 0.27, 0.3))]


def halves() -> list[Figure]:
    """The lower half in the second colour."""
    return [("second", poly(-1.5, 0.06, 1.5, 0.06, 1.5, 1.6, -1.5, 1.6))]


def diagonals() -> list[Figure]:
    """Two slanting sashes."""
    return [("second", poly(x - 0.75, 1.4, x - 0.3, 1.4, x + 0.75, -1.4, x + 0.3, -1.4)) for x in (-0.5, 0.5)]


PATTERNS: dict[str, Callable[[], list[Figure]]] = {
    f.__name__: f for f in (stripes, bands, spots, eyespots, halves, diagonals)
}


def figures(pattern: str, field: Field) -> list[Figure]:
    """The pattern's figures in the object's frame."""
    size = np.array([-field.rx if field.flip else field.rx, field.ry])
    return [(role, points * size + np.array([field.cx, field.cy])) for role, points in PATTERNS[pattern]()]

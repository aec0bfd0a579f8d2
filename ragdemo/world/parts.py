"""What kinds of things are made of: filled outlines and strokes, each coloured by its role."""

from __future__ import annotations

from dataclasses import dataclass

from ragdemo.world.palette import INK, Colour
from ragdemo.world.shapes import Points, poly

SHAPES = ("round", "slender", "angular")

FIXED: dict[str, Colour] = {
    "ink": INK,
    "white": (252, 250, 244),
    "glass": (190, 224, 240),
    "steel": (168, 174, 186),
    "wood": (150, 102, 64),
    "leaf": (74, 150, 72),
    "beak": (244, 176, 62),
    "flame": (252, 150, 46),
    "glow": (255, 236, 140),
    "rock": (132, 128, 134),
}


@dataclass(frozen=True)
class Part:
    """One outline; a `line` above 0 makes it an open stroke of that width instead of a filled area."""

    role: str
    points: Points
    line: float = 0.0


def power(shape: str, angular: float = 1.25) -> float:
    """The superellipse exponent of a shape's round parts."""
    return {"round": 2.0, "slender": 2.0, "angular": angular}[shape]


def thin(shape: str, share: float) -> float:
    """`share` for the slender shape, 1 for the others."""
    return share if shape == "slender" else 1.0


def stroke(role: str, width: float, *xy: float) -> Part:
    """An open stroke through x1, y1, x2, y2, …"""
    return Part(role, poly(*xy), width)

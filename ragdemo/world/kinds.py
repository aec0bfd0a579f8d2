"""The kinds of things in the world: each is a list of parts, drawn in order.

A part's role says what colours it: "main" carries the species' pattern, "third" its trim; any other role is a fixed
colour of the kind. `shape` is one of `parts.SHAPES` and changes the outline, never the parts' roles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ragdemo.world.living_kinds import beetle, bird, butterfly, fish, flower, mushroom, snail
from ragdemo.world.made_kinds import balloon, car, lighthouse, robot, rocket, sailboat, teapot
from ragdemo.world.parts import Part


@dataclass(frozen=True)
class Field:
    """Where a pattern lies: centre and half axes in the object's frame; `flip` mirrors it."""

    cx: float
    cy: float
    rx: float
    ry: float
    flip: bool = False


@dataclass(frozen=True)
class Kind:
    """A kind's parts for a shape, and the fields of its pattern."""

    name: str
    parts: Callable[[str], list[Part]]
    fields: tuple[Field, ...]
    grounded: bool = True


def _field(cx: float, cy: float, rx: float, ry: float) -> tuple[Field, ...]:
    return (Field(cx, cy, rx, ry),)


_WINGS = (Field(-0.49, -0.22, 0.5, 0.58, flip=True), Field(0.49, -0.22, 0.5, 0.58))

KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("butterfly", butterfly, _WINGS, grounded=False),
        Kind("fish", fish, _field(0.06, 0, 0.7, 0.52), grounded=False),
        Kind("bird", bird, _field(-0.04, 0.16, 0.6, 0.48)),
        Kind("flower", flower, _field(0, -0.22, 0.74, 0.74)),
        Kind("mushroom", mushroom, _field(0, -0.2, 0.8, 0.52)),
        Kind("beetle", beetle, _field(0, 0.2, 0.64, 0.64)),
        Kind("car", car, _field(0, 0.14, 0.94, 0.32)),
        Kind("rocket", rocket, _field(0, 0.16, 0.4, 0.5)),
        Kind("sailboat", sailboat, _field(0.02, -0.16, 0.58, 0.5)),
        Kind("lighthouse", lighthouse, _field(0, 0.24, 0.46, 0.56)),
        Kind("teapot", teapot, _field(0, 0.2, 0.58, 0.54)),
        Kind("robot", robot, _field(0, 0.21, 0.5, 0.46)),
        Kind("snail", snail, _field(-0.16, 0.02, 0.6, 0.62)),
        Kind("balloon", balloon, _field(0, -0.32, 0.72, 0.64), grounded=False),
    )
}
NOVEL_KINDS = ("snail", "balloon")

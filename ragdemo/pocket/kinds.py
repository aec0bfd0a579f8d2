"""The kinds of things in the world: each is a list of parts, drawn in order.

A part's role says what colours it: "main" carries the species' pattern, "third" its trim; any other role is a fixed
colour of the kind. `shape` is one of `SHAPES` and changes the outline, never the parts' roles.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ragdemo.pocket.palette import INK, Colour
from ragdemo.pocket.shapes import Points, blob, box, mirror, poly

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
    """One outline; `line` > 0 makes it an open stroke of that width instead of a filled area."""

    role: str
    points: Points
    line: float = 0.0


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


def _power(shape: str, angular: float = 1.25) -> float:
    return {"round": 2.0, "slender": 2.0, "angular": angular}[shape]


def _thin(shape: str, share: float) -> float:
    return share if shape == "slender" else 1.0


def _stroke(role: str, width: float, *xy: float) -> Part:
    return Part(role, poly(*xy), width)


def butterfly(shape: str) -> list[Part]:
    """Two patterned upper wings, two lower wings as trim."""
    p, n = _power(shape, 1.3), _thin(shape, 0.68)
    upper = blob(-0.49, -0.22, 0.50 * n + 0.02, 0.60, p, -28 if shape == "slender" else -18)
    lower = blob(-0.37, 0.56, 0.34 * n, 0.36, p, 22)
    body = blob(0, 0.12, 0.085, 0.56)
    feelers = [_stroke("ink", 0.045, 0, -0.4, side * 0.12, -0.68, side * 0.28, -0.84) for side in (-1, 1)]
    wings = [
        Part("third", lower),
        Part("third", mirror(lower)),
        Part("main", upper),
        Part("main", mirror(upper)),
    ]
    return [*wings, *feelers, Part("ink", body)]


def fish(shape: str) -> list[Part]:
    """A body facing right, with tail and fins as trim."""
    p, h = _power(shape, 1.3), _thin(shape, 0.7)
    tail = poly(-0.5, 0, -0.98, -0.5, -0.84, 0, -0.98, 0.5)
    top = poly(-0.3, -0.42 * h, 0.02, -0.84 * h - 0.02, 0.34, -0.44 * h)
    low = poly(-0.1, 0.46 * h, -0.12, 0.82 * h, 0.24, 0.46 * h)
    parts = [
        Part("third", tail),
        Part("third", top),
        Part("third", low),
        Part("main", blob(0.08, 0, 0.74, 0.56 * h, p)),
    ]
    return [
        *parts,
        Part("white", blob(0.52, -0.12 * h, 0.11, 0.11)),
        Part("ink", blob(0.55, -0.12 * h, 0.055, 0.055)),
    ]


def bird(shape: str) -> list[Part]:
    """A perched bird facing right; head and tail are trim."""
    p, h = _power(shape, 1.35), _thin(shape, 0.76)
    tail = poly(-0.42, 0.0, -1.0, -0.28, -0.96, 0.14, -0.5, 0.32)
    legs = [_stroke("ink", 0.06, x, 0.55, x + 0.02, 0.92) for x in (-0.1, 0.14)]
    beak = poly(0.74, -0.5, 1.0, -0.38, 0.72, -0.28)
    head = blob(0.48, -0.42, 0.33, 0.32, 2.0 if shape != "angular" else 1.4)
    eye = Part("ink", blob(0.56, -0.48, 0.06, 0.06))
    body = Part("main", blob(-0.04, 0.16, 0.64, 0.52 * h, p, -14))
    return [*legs, Part("third", tail), body, Part("beak", beak), Part("third", head), eye]


def flower(shape: str) -> list[Part]:
    """Petals carry the pattern, the heart is trim."""
    stem = _stroke("leaf", 0.1, 0, 0.2, 0.04, 0.98)
    leaf = Part("leaf", blob(0.26, 0.76, 0.24, 0.1, 1.6, -24))
    if shape == "round":
        petals = [
            blob(0.36 * np.cos(a), -0.22 + 0.36 * np.sin(a), 0.36, 0.36)
            for a in np.arange(5) * 2 * np.pi / 5 - 1.57
        ]
    elif shape == "slender":
        turns = np.arange(8) * 45.0
        petals = [
            blob(0.42 * np.cos(np.deg2rad(t)), -0.22 + 0.42 * np.sin(np.deg2rad(t)), 0.36, 0.17, 2.0, t)
            for t in turns
        ]
    else:
        turns = np.arange(6) * 60.0 - 90
        petals = [
            blob(0.36 * np.cos(np.deg2rad(t)), -0.22 + 0.36 * np.sin(np.deg2rad(t)), 0.4, 0.27, 1.15, t)
            for t in turns
        ]
    return [stem, leaf, *(Part("main", petal) for petal in petals), Part("third", blob(0, -0.22, 0.24, 0.24))]


def mushroom(shape: str) -> list[Part]:
    """A patterned cap on a stem of the trim colour."""
    w = _thin(shape, 0.72)
    stem = poly(-0.2, 0.05, 0.2, 0.05, 0.26, 0.8, 0.12, 0.92, -0.12, 0.92, -0.26, 0.8)
    if shape == "angular":
        cap = poly(0, -0.9, 0.5, -0.36, 0.9, 0.2, 0, 0.34, -0.9, 0.2, -0.5, -0.36)
    else:
        t = np.linspace(np.pi, 2 * np.pi, 20)
        high = 0.92 if shape == "slender" else 0.8
        cap = np.concatenate(
            [np.stack([0.88 * w * np.cos(t), 0.12 + high * np.sin(t)], 1), poly(0.5 * w, 0.3, -0.5 * w, 0.3)]
        )
    return [Part("third", stem), Part("main", cap)]


def beetle(shape: str) -> list[Part]:
    """Seen from above: patterned wing cases, head as trim, six legs."""
    p, w = _power(shape, 1.45), _thin(shape, 0.7)
    legs = [
        _stroke(
            "ink",
            0.07,
            0,
            y,
            side * 0.72 * (0.55 + 0.45 * w),
            y + d,
            side * 0.9 * (0.55 + 0.45 * w),
            y + 2.2 * d,
        )
        for side in (-1, 1)
        for y, d in ((-0.1, -0.14), (0.2, 0.04), (0.5, 0.16))
    ]
    horns = [_stroke("ink", 0.05, 0, -0.6, side * 0.2, -0.86, side * 0.4, -0.92) for side in (-1, 1)]
    head = Part("third", blob(0, -0.52, 0.36 * (0.4 + 0.6 * w), 0.3))
    shell = Part("main", blob(0, 0.2, 0.66 * w, 0.66, p))
    return [*legs, *horns, head, shell, _stroke("ink", 0.04, 0, -0.42, 0, 0.84)]


def car(shape: str) -> list[Part]:
    """Seen from the side; the cabin is trim."""
    if shape == "round":
        cabin, body = blob(-0.04, -0.2, 0.54, 0.46), box(-0.94, -0.2, 0.94, 0.46, 3.0)
    elif shape == "slender":
        cabin, body = blob(-0.16, -0.06, 0.44, 0.3, 2.4), box(-1.0, -0.04, 1.0, 0.44, 3.4)
    else:
        cabin = poly(-0.66, -0.1, -0.5, -0.66, 0.26, -0.66, 0.56, -0.1)
        body = poly(-0.94, -0.16, 0.7, -0.16, 0.98, 0.1, 0.98, 0.46, -0.94, 0.46)
    top = -0.26 if shape == "slender" else -0.48
    panes = [Part("glass", box(x, top, x + 0.28, top + 0.24, 4.0)) for x in (-0.38, 0.0)]
    wheels = [
        Part(role, blob(x, 0.5, r, r)) for x in (-0.52, 0.52) for role, r in (("ink", 0.25), ("steel", 0.11))
    ]
    return [Part("third", cabin), *panes, Part("main", body), *wheels]


def rocket(shape: str) -> list[Part]:
    """Upright; nose and fins are trim."""
    w = {"round": 0.42, "slender": 0.29, "angular": 0.4}[shape]
    flame = Part("flame", poly(-0.2, 0.62, 0.2, 0.62, 0.08, 0.84, 0, 1.0, -0.08, 0.84))
    fins = [
        Part("third", poly(s * w * 0.7, 0.14, s * (w + 0.34), 0.56, s * (w + 0.34), 0.82, s * w * 0.6, 0.62))
        for s in (-1, 1)
    ]
    if shape == "angular":
        hull = poly(-w, -0.36, w, -0.36, w, 0.66, -w, 0.66)
        nose = poly(-w, -0.36, 0, -0.98, w, -0.36)
    else:
        hull = blob(0, 0.06, w, 0.66, 3.2)
        t = np.linspace(np.pi, 2 * np.pi, 16)
        nose = np.stack([w * 0.96 * np.cos(t), -0.34 + 0.62 * np.sin(t)], 1)
    return [flame, *fins, Part("main", hull), Part("third", nose), Part("glass", blob(0, -0.42, 0.12, 0.12))]


def sailboat(shape: str) -> list[Part]:
    """One large patterned sail; the hull is trim."""
    mast = _stroke("wood", 0.08, 0, -0.96, 0, 0.5)
    if shape == "round":
        sail = np.concatenate(
            [
                poly(0.04, -0.9),
                np.stack([0.06 + 0.82 * np.sin(np.linspace(0.3, 2.6, 14)), np.linspace(-0.72, 0.34, 14)], 1),
                poly(0.06, 0.36),
            ]
        )
        sail[:, 0] -= 0.36
        hull = blob(0, 0.46, 0.84, 0.36, 2.2)
        hull = hull[hull[:, 1] >= 0.44]
    elif shape == "slender":
        sail, hull = (
            poly(-0.04, -0.94, 0.48, 0.34, -0.36, 0.34),
            poly(-0.8, 0.46, 0.8, 0.46, 0.62, 0.7, -0.62, 0.7),
        )
    else:
        sail, hull = (
            poly(-0.72, -0.66, 0.72, -0.66, 0.56, 0.32, -0.56, 0.32),
            poly(-0.94, 0.44, 0.94, 0.44, 0.5, 0.86, -0.5, 0.86),
        )
    return [mast, Part("main", sail), Part("third", hull)]


def lighthouse(shape: str) -> list[Part]:
    """A patterned tower; the lamp room's roof and its gallery are trim."""
    top, foot = {"round": (0.34, 0.5), "slender": (0.22, 0.32), "angular": (0.26, 0.62)}[shape]
    tower = poly(-top, -0.36, top, -0.36, foot, 0.8, -foot, 0.8)
    if shape == "round":
        roof = np.stack(
            [
                (top + 0.04) * np.cos(np.linspace(np.pi, 2 * np.pi, 14)),
                -0.64 + 0.34 * np.sin(np.linspace(np.pi, 2 * np.pi, 14)),
            ],
            1,
        )
    else:
        roof = poly(-top - 0.08, -0.64, 0, -1.0, top + 0.08, -0.64)
    lamp = Part("glow", box(-top * 0.75, -0.68, top * 0.75, -0.38, 6.0))
    gallery = Part(
        "third", poly(-top - 0.12, -0.42, top + 0.12, -0.42, top + 0.12, -0.28, -top - 0.12, -0.28)
    )
    return [
        Part("rock", blob(0, 0.84, foot + 0.22, 0.14)),
        Part("main", tower),
        lamp,
        Part("third", roof),
        gallery,
    ]


def teapot(shape: str) -> list[Part]:
    """A patterned belly; spout, handle and lid are trim."""
    p = _power(shape, 1.35)
    rx, ry = {"round": (0.58, 0.54), "slender": (0.42, 0.7), "angular": (0.62, 0.6)}[shape]
    spout = Part(
        "third", poly(rx * 0.7, 0.3, rx * 0.8, -0.02, 0.86, -0.36, 1.0, -0.3, 0.9, 0.06, rx * 0.9, 0.42)
    )
    handle = [
        _stroke(
            "third",
            0.15,
            -rx * 0.8,
            -0.18,
            -rx - 0.28,
            -0.2,
            -rx - 0.34,
            0.16,
            -rx - 0.1,
            0.44,
            -rx * 0.7,
            0.42,
        )
    ]
    lid = Part("third", blob(0, 0.14 - ry * 0.92, 0.34, 0.16))
    knob = Part("third", blob(0, -0.02 - ry * 0.98, 0.1, 0.1))
    return [*handle, spout, knob, lid, Part("main", blob(0, 0.2, rx, ry, p))]


def robot(shape: str) -> list[Part]:
    """A patterned torso; the head is trim, the limbs are steel."""
    power = {"round": 2.4, "slender": 5.0, "angular": 12.0}[shape]
    w = 0.34 if shape == "slender" else 0.52
    limbs = [
        _stroke("steel", 0.13, s * w * 0.8, 0.0, s * (w + 0.24), 0.16, s * (w + 0.26), 0.46) for s in (-1, 1)
    ]
    legs = [Part("steel", box(s * w * 0.5 - 0.12, 0.6, s * w * 0.5 + 0.12, 0.96, 5.0)) for s in (-1, 1)]
    head = Part("third", box(-w * 0.72, -0.82, w * 0.72, -0.26, power))
    antenna = _stroke("ink", 0.05, 0, -0.8, 0, -0.98)
    eyes = [Part("glow", blob(s * w * 0.32, -0.54, 0.09, 0.09)) for s in (-1, 1)]
    return [*limbs, *legs, antenna, head, *eyes, Part("main", box(-w, -0.26, w, 0.68, power))]


def snail(shape: str) -> list[Part]:
    """A patterned shell on a body of the trim colour."""
    p, h = _power(shape, 1.35), _thin(shape, 0.78)
    foot = poly(-0.96, 0.78, -0.8, 0.56, 0.4, 0.5, 0.56, -0.04, 0.84, -0.1, 0.94, 0.16, 0.8, 0.78)
    horns = [_stroke("third", 0.07, x, -0.04, x + d, -0.4) for x, d in ((0.66, -0.04), (0.8, 0.1))]
    eye = Part("ink", blob(0.78, 0.08, 0.05, 0.05))
    return [*horns, Part("third", foot), eye, Part("main", blob(-0.16, 0.02, 0.62, 0.66 * h, p))]


def balloon(shape: str) -> list[Part]:
    """A hot-air balloon: patterned envelope, skirt as trim, a wooden basket."""
    p, w = _power(shape, 1.4), _thin(shape, 0.74)
    ropes = [_stroke("ink", 0.04, s * 0.3 * w, 0.3, s * 0.15, 0.72) for s in (-1, 1)]
    skirt = Part("third", poly(-0.44 * w, 0.16, 0.44 * w, 0.16, 0.2, 0.56, -0.2, 0.56))
    basket = Part("wood", box(-0.2, 0.68, 0.2, 0.98, 5.0))
    return [*ropes, skirt, basket, Part("main", blob(0, -0.32, 0.74 * w, 0.66, p))]


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

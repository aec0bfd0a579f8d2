"""The parts of vehicles, buildings and things of the house, by shape."""

from __future__ import annotations

import numpy as np

from ragdemo.world.parts import Part, power, stroke, thin
from ragdemo.world.shapes import blob, box, poly


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
    mast = stroke("wood", 0.08, 0, -0.96, 0, 0.5)
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
    p = power(shape, 1.35)
    rx, ry = {"round": (0.58, 0.54), "slender": (0.42, 0.7), "angular": (0.62, 0.6)}[shape]
    spout = Part(
        "third", poly(rx * 0.7, 0.3, rx * 0.8, -0.02, 0.86, -0.36, 1.0, -0.3, 0.9, 0.06, rx * 0.9, 0.42)
    )
    handle = [
        stroke(
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
        stroke("steel", 0.13, s * w * 0.8, 0.0, s * (w + 0.24), 0.16, s * (w + 0.26), 0.46) for s in (-1, 1)
    ]
    legs = [Part("steel", box(s * w * 0.5 - 0.12, 0.6, s * w * 0.5 + 0.12, 0.96, 5.0)) for s in (-1, 1)]
    head = Part("third", box(-w * 0.72, -0.82, w * 0.72, -0.26, power))
    antenna = stroke("ink", 0.05, 0, -0.8, 0, -0.98)
    eyes = [Part("glow", blob(s * w * 0.32, -0.54, 0.09, 0.09)) for s in (-1, 1)]
    return [*limbs, *legs, antenna, head, *eyes, Part("main", box(-w, -0.26, w, 0.68, power))]


def balloon(shape: str) -> list[Part]:
    """A hot-air balloon: patterned envelope, skirt as trim, a wooden basket."""
    p, w = power(shape, 1.4), thin(shape, 0.74)
    ropes = [stroke("ink", 0.04, s * 0.3 * w, 0.3, s * 0.15, 0.72) for s in (-1, 1)]
    skirt = Part("third", poly(-0.44 * w, 0.16, 0.44 * w, 0.16, 0.2, 0.56, -0.2, 0.56))
    basket = Part("wood", box(-0.2, 0.68, 0.2, 0.98, 5.0))
    return [*ropes, skirt, basket, Part("main", blob(0, -0.32, 0.74 * w, 0.66, p))]

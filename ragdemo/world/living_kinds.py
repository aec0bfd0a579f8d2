"""The parts of animals, flowers and mushrooms, by shape."""

from __future__ import annotations

import numpy as np

from ragdemo.world.parts import Part, power, stroke, thin
from ragdemo.world.shapes import blob, mirror, poly


def butterfly(shape: str) -> list[Part]:
    """Two patterned upper wings, two lower wings as trim."""
    p, n = power(shape, 1.3), thin(shape, 0.68)
    upper = blob(-0.49, -0.22, 0.50 * n + 0.02, 0.60, p, -28 if shape == "slender" else -18)
    lower = blob(-0.37, 0.56, 0.34 * n, 0.36, p, 22)
    body = blob(0, 0.12, 0.085, 0.56)
    feelers = [stroke("ink", 0.045, 0, -0.4, side * 0.12, -0.68, side * 0.28, -0.84) for side in (-1, 1)]
    wings = [
        Part("third", lower),
        Part("third", mirror(lower)),
        Part("main", upper),
        Part("main", mirror(upper)),
    ]
    return [*wings, *feelers, Part("ink", body)]


def fish(shape: str) -> list[Part]:
    """A body facing right, with tail and fins as trim."""
    p, h = power(shape, 1.3), thin(shape, 0.7)
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
    p, h = power(shape, 1.35), thin(shape, 0.76)
    tail = poly(-0.42, 0.0, -1.0, -0.28, -0.96, 0.14, -0.5, 0.32)
    legs = [stroke("ink", 0.06, x, 0.55, x + 0.02, 0.92) for x in (-0.1, 0.14)]
    beak = poly(0.74, -0.5, 1.0, -0.38, 0.72, -0.28)
    head = blob(0.48, -0.42, 0.33, 0.32, 2.0 if shape != "angular" else 1.4)
    eye = Part("ink", blob(0.56, -0.48, 0.06, 0.06))
    body = Part("main", blob(-0.04, 0.16, 0.64, 0.52 * h, p, -14))
    return [*legs, Part("third", tail), body, Part("beak", beak), Part("third", head), eye]


def flower(shape: str) -> list[Part]:
    """Petals carry the pattern, the heart is trim."""
    stem = stroke("leaf", 0.1, 0, 0.2, 0.04, 0.98)
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
    w = thin(shape, 0.72)
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
    p, w = power(shape, 1.45), thin(shape, 0.7)
    legs = [
        stroke(
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
    horns = [stroke("ink", 0.05, 0, -0.6, side * 0.2, -0.86, side * 0.4, -0.92) for side in (-1, 1)]
    head = Part("third", blob(0, -0.52, 0.36 * (0.4 + 0.6 * w), 0.3))
    shell = Part("main", blob(0, 0.2, 0.66 * w, 0.66, p))
    return [*legs, *horns, head, shell, stroke("ink", 0.04, 0, -0.42, 0, 0.84)]


def snail(shape: str) -> list[Part]:
    """A patterned shell on a body of the trim colour."""
    p, h = power(shape, 1.35), thin(shape, 0.78)
    foot = poly(-0.96, 0.78, -0.8, 0.56, 0.4, 0.5, 0.56, -0.04, 0.84, -0.1, 0.94, 0.16, 0.8, 0.78)
    horns = [stroke("third", 0.07, x, -0.04, x + d, -0.4) for x, d in ((0.66, -0.04), (0.8, 0.1))]
    eye = Part("ink", blob(0.78, 0.08, 0.05, 0.05))
    return [*horns, Part("third", foot), eye, Part("main", blob(-0.16, 0.02, 0.62, 0.66 * h, p))]

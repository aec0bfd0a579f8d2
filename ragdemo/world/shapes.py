"""Outlines in the object's frame: x to the right, y down, the object within [-1, 1]²."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

Points = np.ndarray  # (N, 2) float64


@lru_cache(maxsize=512)
def blob(cx: float, cy: float, rx: float, ry: float, power: float = 2.0, turn: float = 0.0) -> Points:
    """A superellipse: `power` 2 is an ellipse, 4 a rounded box, 1.2 nearly a diamond; `turn` in degrees."""
    t = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    c, s = np.cos(t), np.sin(t)
    x = rx * np.sign(c) * np.abs(c) ** (2 / power)
    y = ry * np.sign(s) * np.abs(s) ** (2 / power)
    a = np.deg2rad(turn)
    return np.stack([cx + x * np.cos(a) - y * np.sin(a), cy + x * np.sin(a) + y * np.cos(a)], axis=1)


def poly(*xy: float) -> Points:
    """A polygon from x1, y1, x2, y2, …"""
    return np.array(xy, dtype=np.float64).reshape(-1, 2)


def box(x0: float, y0: float, x1: float, y1: float, power: float = 6.0) -> Points:
    """A box with soft corners."""
    return blob((x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2, power)


def mirror(points: Points) -> Points:
    """The same outline on the other side of the vertical axis."""
    return points * np.array([-1.0, 1.0])

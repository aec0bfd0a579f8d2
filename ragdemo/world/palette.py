"""The one palette of the world, and colour difference in CIELAB."""

from __future__ import annotations

import numpy as np

Colour = tuple[int, int, int]

PALETTE: dict[str, Colour] = {
    "red": (214, 58, 54),
    "orange": (240, 138, 38),
    "gold": (248, 208, 62),
    "lime": (160, 204, 58),
    "green": (36, 132, 78),
    "teal": (32, 164, 166),
    "sky": (116, 190, 244),
    "navy": (44, 66, 150),
    "violet": (138, 78, 196),
    "pink": (244, 146, 190),
    "cream": (248, 238, 214),
    "charcoal": (58, 58, 70),
    "brown": (136, 86, 54),
}
COLOURS = tuple(PALETTE)

INK: Colour = (38, 32, 46)
PAPER: Colour = (236, 236, 232)

_RGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
_D65 = np.array([0.95047, 1.0, 1.08883])


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of sRGB values: uint8 `(..., 3)` to float64 `(..., 3)`."""
    value = np.asarray(rgb, dtype=np.float64) / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear @ _RGB_TO_XYZ.T / _D65
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1
    )


def delta_e(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Colour difference ΔE*ab (CIE 1976) of two CIELAB arrays `(..., 3)`."""
    return np.linalg.norm(a - b, axis=-1)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`a` with a share of `b` in [0, 1]."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]

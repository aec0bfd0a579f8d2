"""The renderer: looks in poses become 128×128 pictures with shading, outline and shadow."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from ragdemo.world.kinds import KINDS
from ragdemo.world.look import Look
from ragdemo.world.palette import INK, PALETTE, PAPER, Colour, delta_e, lab, mix
from ragdemo.world.parts import FIXED
from ragdemo.world.patterns import figures
from ragdemo.world.scenes import paint

SIZE = 128
SUPERSAMPLING = 2
CANONICAL_SIZE = 64


@dataclass(frozen=True)
class Pose:
    """Centre and half extent as shares of the picture's side, turn in degrees, mirrored or not."""

    x: float
    y: float
    scale: float
    turn: float
    mirrored: bool


@dataclass(frozen=True)
class Picture:
    """Everything that determines a render: scene, looks with poses, and the seed of the scene's own detail."""

    scene: str
    looks: tuple[Look, ...]
    poses: tuple[Pose, ...]
    seed: int

    def render(self, size: int = SIZE) -> Image.Image:
        """The picture as RGB, `size`×`size`."""
        side = size * SUPERSAMPLING
        canvas = paint(self.scene, side, Random(self.seed))
        for look, pose in zip(self.looks, self.poses, strict=True):
            _shadow(canvas, look, pose)
            image, mask = draw_object(look, pose, side)
            canvas.paste(image, (0, 0), mask)
        return canvas.reduce(SUPERSAMPLING)


def draw_object(look: Look, pose: Pose, side: int) -> tuple[Image.Image, Image.Image]:
    """The object alone on a canvas of `side`² pixels: RGB colours and an L mask of where it is."""
    kind = KINDS[look.kind]
    to_canvas = _Transform(pose, side)
    unit = pose.scale * side  # pixels per object unit
    image, mask = Image.new("RGB", (side, side)), Image.new("L", (side, side))
    patterned = Image.new("RGB", (side, side), PALETTE[look.main])
    brush = ImageDraw.Draw(patterned)
    for field in kind.fields:
        for role, points in figures(look.pattern, field):
            brush.polygon(to_canvas(points), fill=PALETTE[getattr(look, role)])
    draw, mask_draw = ImageDraw.Draw(image), ImageDraw.Draw(mask)
    rim = max(2, round(unit * 0.05))
    for part in kind.parts(look.shape):
        outline = to_canvas(part.points)
        if part.line:
            width = max(2, round(part.line * unit))
            mask_draw.line(outline, fill=255, width=width, joint="curve")
            draw.line(outline, fill=_role_colour(part.role, look), width=width, joint="curve")
            continue
        mask_draw.polygon(outline, fill=255)
        mask_draw.line([*outline, outline[0]], fill=255, width=rim, joint="curve")
        if part.role == "main":
            stencil = Image.new("L", (side, side))
            ImageDraw.Draw(stencil).polygon(outline, fill=255)
            image.paste(patterned, (0, 0), stencil)
        else:
            draw.polygon(outline, fill=_role_colour(part.role, look))
        draw.line([*outline, outline[0]], fill=INK, width=rim, joint="curve")
    return _shade(image, pose, side), mask


def canonical(look: Look, size: int = CANONICAL_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """The look upright on plain paper: uint8 RGB `(size, size, 3)` and a bool mask of the object `(size, size)`."""
    pose = Pose(0.5, 0.5, 0.46, 0.0, False)
    side = size * SUPERSAMPLING
    image, mask = draw_object(look, pose, side)
    paper = Image.new("RGB", (side, side), PAPER)
    paper.paste(image, (0, 0), mask)
    return np.asarray(paper.reduce(SUPERSAMPLING)), np.asarray(mask.reduce(SUPERSAMPLING)) >= 128


def look_distance(a: Look, b: Look) -> float:
    """How different two looks of one kind are: ΔE*ab (CIE 1976) of their canonical renders, mean over either object."""
    (lab_a, mask_a), (lab_b, mask_b) = _canonical_lab(a), _canonical_lab(b)
    return float(delta_e(lab_a, lab_b)[mask_a | mask_b].mean())


@lru_cache(maxsize=2048)
def _canonical_lab(look: Look) -> tuple[np.ndarray, np.ndarray]:
    rgb, mask = canonical(look)
    return lab(rgb).astype(np.float32), mask


class _Transform:
    """Object frame to canvas pixels."""

    def __init__(self, pose: Pose, side: int) -> None:
        a = np.deg2rad(pose.turn)
        turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
        self._matrix = (np.diag([-1.0 if pose.mirrored else 1.0, 1.0]) @ turn) * pose.scale * side
        self._offset = np.array([pose.x, pose.y]) * side

    def __call__(self, points: np.ndarray) -> list[tuple[float, float]]:
        return list(map(tuple, (points @ self._matrix + self._offset).tolist()))


def _role_colour(role: str, look: Look) -> Colour:
    return PALETTE[look.third] if role == "third" else FIXED[role]


@lru_cache(maxsize=4)
def _light(side: int) -> Image.Image:
    """Light from the upper left: RGB `(side, side)`, a factor out of 255."""
    corners = Image.new("L", (2, 2))
    corners.putdata([255, 228, 228, 170])
    return Image.merge("RGB", [corners.resize((side, side), Image.Resampling.BICUBIC)] * 3)


def _shade(image: Image.Image, pose: Pose, side: int) -> Image.Image:
    extent = max(2, round(2 * pose.scale * side))
    left, top = round(pose.x * side - extent / 2), round(pose.y * side - extent / 2)
    light = Image.new("RGB", (side, side), (228, 228, 228))
    light.paste(_light(side).resize((extent, extent)), (left, top))
    return ImageChops.multiply(image, light)


def _shadow(canvas: Image.Image, look: Look, pose: Pose) -> None:
    side = canvas.width
    grounded = KINDS[look.kind].grounded
    drop = 0.97 if grounded else 1.16
    width, height = pose.scale * (0.78 if grounded else 0.6), pose.scale * 0.16
    small = 32
    x, y = pose.x * small, min(0.97, pose.y + drop * pose.scale) * small
    mask = Image.new("L", (small, small))
    ImageDraw.Draw(mask).ellipse(
        (x - width * small, y - height * small, x + width * small, y + height * small), fill=90
    )
    mask = mask.resize((side, side), Image.Resampling.BICUBIC)
    ground = canvas.getpixel((min(side - 1, max(0, round(pose.x * side))), side - 3))
    canvas.paste(mix(ground, INK, 0.75), (0, 0, side, side), mask)  # type: ignore[arg-type]

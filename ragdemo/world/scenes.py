"""The scenes behind things: each is painted anew from a random generator."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from PIL import Image, ImageDraw

from ragdemo.world.palette import Colour, mix

Painter = Callable[[ImageDraw.ImageDraw, int, Random], None]


def paint(scene: str, size: int, rng: Random) -> Image.Image:
    """The empty scene as an RGB image of `size`×`size` pixels."""
    top, horizon, ground, far, near = _GRADIENTS[scene]
    level = horizon + rng.uniform(-0.04, 0.04)
    drift = rng.uniform(-0.07, 0.07)
    image = _gradient(size, *(_shift(c, drift) for c in top))
    floor = _gradient(size, *(_shift(c, drift) for c in ground))
    y = round(level * size)
    draw = ImageDraw.Draw(image)
    far(draw, y, rng)
    image.paste(floor.resize((size, size - y)), (0, y))
    near(ImageDraw.Draw(image), y, rng)
    return image


def _shift(colour: Colour, drift: float) -> Colour:
    return mix(colour, (255, 255, 255) if drift > 0 else (0, 0, 30), abs(drift))


def _gradient(size: int, upper: Colour, lower: Colour) -> Image.Image:
    strip = Image.new("RGB", (1, 2))
    strip.putdata([upper, lower])
    return strip.resize((size, size), Image.Resampling.BILINEAR)


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, colour: Colour) -> None:
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)


def _nothing(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    """An empty layer."""


def _clouds(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    for _ in range(rng.randint(1, 3)):
        x, h = rng.uniform(0, s), rng.uniform(0.06, 0.26) * s
        for dx, r in ((-0.09, 0.05), (0, 0.07), (0.09, 0.05)):
            _disc(draw, x + dx * s, h, r * s, (250, 252, 255))


def _hills(colour: Colour) -> Painter:
    def draw_hills(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
        s = draw.im.size[0]
        for _ in range(3):
            x, w = rng.uniform(0, s), rng.uniform(0.25, 0.45) * s
            draw.ellipse((x - w, y - w * 0.3, x + w, y + w * 0.5), fill=colour)

    return draw_hills


def _tufts(colour: Colour, flowers: bool) -> Painter:
    def draw_tufts(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
        s = draw.im.size[0]
        for _ in range(14):
            x, h = rng.uniform(0, s), rng.uniform(y + 0.04 * s, s)
            draw.line(
                (x, h, x + rng.uniform(-0.02, 0.02) * s, h - 0.045 * s), fill=colour, width=max(1, s // 100)
            )
        for _ in range(5 if flowers else 0):
            _disc(draw, rng.uniform(0, s), rng.uniform(y + 0.06 * s, s), 0.014 * s, (255, 252, 220))

    return draw_tufts


def _stars(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    for _ in range(16):
        _disc(draw, rng.uniform(0, s), rng.uniform(0, y), rng.uniform(0.005, 0.011) * s, (250, 246, 214))
    x, h, r = rng.choice((0.16, 0.84)) * s, rng.uniform(0.12, 0.2) * s, 0.085 * s
    _disc(draw, x, h, r, (250, 240, 190))
    _disc(draw, x + r * 0.5, h - r * 0.25, r * 0.85, (38, 42, 88))


def _waves(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    for _ in range(12):
        x, h, w = rng.uniform(0, s), rng.uniform(y + 0.03 * s, s), rng.uniform(0.05, 0.1) * s
        draw.arc(
            (x - w, h - w * 0.4, x + w, h + w * 0.4), 200, 340, fill=(170, 220, 240), width=max(1, s // 80)
        )


def _dunes(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    _disc(draw, rng.choice((0.16, 0.84)) * s, 0.17 * s, 0.08 * s, (255, 246, 196))
    _hills((232, 186, 112))(draw, y, rng)


def _ripples(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    for _ in range(7):
        x, h, w = rng.uniform(0, s), rng.uniform(y + 0.05 * s, s), rng.uniform(0.1, 0.2) * s
        draw.arc(
            (x - w, h - w * 0.2, x + w, h + w * 0.2), 190, 350, fill=(206, 150, 84), width=max(1, s // 100)
        )
    x = rng.choice((0.08, 0.92)) * s
    draw.rounded_rectangle(
        (x - 0.02 * s, y - 0.16 * s, x + 0.02 * s, y + 0.05 * s), 0.02 * s, fill=(84, 140, 80)
    )
    draw.rounded_rectangle(
        (x - 0.05 * s, y - 0.09 * s, x + 0.05 * s, y - 0.055 * s), 0.015 * s, fill=(84, 140, 80)
    )


def _firs(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    for _ in range(4):
        x, h = rng.uniform(0, s), rng.uniform(0.12, 0.2) * s
        draw.polygon((x - h * 0.4, y + 2, x, y - h, x + h * 0.4, y + 2), fill=(96, 136, 142))


def _flakes(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    for _ in range(22):
        _disc(draw, rng.uniform(0, s), rng.uniform(0, s), rng.uniform(0.006, 0.013) * s, (255, 255, 255))


def _towers(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    x = -0.05 * s
    while x < s:
        w, h = rng.uniform(0.12, 0.2) * s, rng.uniform(0.18, 0.5) * s
        wall = rng.choice(((128, 118, 140), (152, 132, 138), (110, 112, 138)))
        draw.rectangle((x, y - h, x + w, y), fill=wall)
        for row in range(int(h / (0.09 * s))):
            for column in (0.25, 0.65):
                left, top = x + column * w, y - h + (row * 0.09 + 0.03) * s
                draw.rectangle((left, top, left + 0.03 * s, top + 0.04 * s), fill=(250, 226, 150))
        x += w + 0.01 * s


def _road(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    h, start = (y + s) / 2 + 0.05 * s, rng.uniform(-0.15, 0.0) * s
    for i in range(6):
        x = start + i * 0.22 * s
        draw.rectangle((x, h, x + 0.12 * s, h + 0.018 * s), fill=(226, 222, 214))


def _trunks(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    for _ in range(6):
        x, w = rng.uniform(0, s), rng.uniform(0.03, 0.05) * s
        draw.rectangle((x - w / 2, 0, x + w / 2, y + 2), fill=(92, 68, 58))
    for _ in range(9):
        _disc(
            draw, rng.uniform(0, s), rng.uniform(-0.04, 0.1) * s, rng.uniform(0.08, 0.13) * s, (46, 104, 66)
        )


def _sun(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    _disc(draw, rng.uniform(0.2, 0.8) * s, y - 0.03 * s, 0.17 * s, (255, 224, 130))
    for _ in range(3):
        x, h, w = rng.uniform(0, s), rng.uniform(0.1, 0.4) * s, rng.uniform(0.15, 0.3) * s
        draw.rounded_rectangle((x - w, h, x + w, h + 0.025 * s), 0.012 * s, fill=(250, 178, 150))


def _glints(draw: ImageDraw.ImageDraw, y: int, rng: Random) -> None:
    s = draw.im.size[0]
    for _ in range(10):
        x, h, w = rng.uniform(0, s), rng.uniform(y + 0.03 * s, s), rng.uniform(0.04, 0.09) * s
        draw.line((x - w, h, x + w, h), fill=(222, 150, 150), width=max(1, s // 90))


_GRADIENTS: dict[str, tuple[tuple[Colour, Colour], float, tuple[Colour, Colour], Painter, Painter]] = {
    "meadow": (
        ((126, 196, 250), (214, 240, 252)),
        0.66,
        ((132, 196, 92), (84, 152, 66)),
        _clouds,
        _tufts((60, 124, 52), True),
    ),
    "night": (((26, 28, 70), (66, 66, 128)), 0.74, ((52, 56, 92), (30, 32, 60)), _stars, _nothing),
    "sea": (((150, 210, 246), (226, 244, 250)), 0.5, ((58, 148, 196), (26, 92, 152)), _clouds, _waves),
    "desert": (((250, 214, 140), (254, 238, 200)), 0.64, ((240, 196, 122), (218, 162, 90)), _dunes, _ripples),
    "snow": (((186, 204, 220), (226, 234, 242)), 0.62, ((246, 250, 253), (216, 228, 240)), _firs, _flakes),
    "city": (((204, 196, 214), (244, 222, 206)), 0.72, ((112, 112, 122), (84, 84, 96)), _towers, _road),
    "studio": (
        ((240, 236, 230), (222, 216, 208)),
        0.7,
        ((206, 198, 190), (226, 220, 212)),
        _nothing,
        _nothing,
    ),
    "forest": (
        ((112, 156, 112), (176, 204, 150)),
        0.7,
        ((98, 116, 64), (66, 84, 48)),
        _trunks,
        _tufts((54, 78, 40), False),
    ),
    "sunset": (((150, 86, 140), (252, 160, 104)), 0.68, ((150, 84, 120), (84, 52, 96)), _sun, _glints),
}
SCENES = tuple(_GRADIENTS)

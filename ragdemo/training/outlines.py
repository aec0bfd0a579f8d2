"""Things of no kind: outlines drawn at random, so that a reference can teach a form that has never been seen.

None comes near a novel kind (`OVERLAP`), whose forms stay unseen. Their made-up kind words mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import numpy as np
from PIL import Image

from ragdemo.training.names import made_up_word
from ragdemo.world.captions import caption
from ragdemo.world.kinds import KINDS, NOVEL_KINDS, Field, Kind
from ragdemo.world.look import Look, random_look
from ragdemo.world.parts import FIXED, SHAPES, Part, stroke
from ragdemo.world.render import SIZE, canonical
from ragdemo.world.sampling import Sample, compose
from ragdemo.world.scenes import SCENES
from ragdemo.world.shapes import Points, blob, mirror

OVERLAP = 0.7
"""Greatest intersection over union of a silhouette and a novel kind's, in whatever shape."""

UPRIGHT = 16
"""Side of the pictures of `upright`, pixels."""


@dataclass(frozen=True)
class Unheard(Sample):
    """A picture of a thing of no kind."""

    kind: Kind

    def image(self, size: int = SIZE) -> Image.Image:
        """The picture rendered, RGB `size`×`size`."""
        with _known(self.kind):
            return self.picture.render(size)


def unheard_pair(stream: str, index: int) -> tuple[Unheard, Unheard]:
    """Two pictures of one thing of no kind, in different poses and scenes: (reference, target)."""
    rng = Random(f"{stream}/unheard/{index}")
    kind, look = _distant(rng)
    samples = []
    for scene in rng.sample(SCENES, 2):
        picture = compose([look], scene, rng)
        samples.append(Unheard(picture, caption([kind.name], scene, rng), (None,), kind))
    return samples[0], samples[1]


def upright(sample: Sample) -> np.ndarray:
    """The first thing of a sample upright on plain paper, uint8 `(UPRIGHT, UPRIGHT, 3)`."""
    with _known(sample.kind) if isinstance(sample, Unheard) else nullcontext():
        return canonical(sample.picture.looks[0], UPRIGHT)[0]


def silhouette(kind: Kind, look: Look) -> np.ndarray:
    """Where a thing of no kind is when it stands upright: bool `(64, 64)`."""
    with _known(kind):
        return canonical(look)[1]


def _distant(rng: Random) -> tuple[Kind, Look]:
    while True:
        kind = random_kind(rng)
        look = random_look(kind.name, rng)
        mask = silhouette(kind, look)
        if all((mask & other).sum() <= OVERLAP * (mask | other).sum() for other in novel_silhouettes()):
            return kind, look


@lru_cache(maxsize=1)
def novel_silhouettes() -> tuple[np.ndarray, ...]:
    """The masks, bool `(64, 64)`, of the novel kinds in every shape."""
    rng = Random(0)
    return tuple(
        canonical(random_look(kind, rng, shape=shape))[1] for kind in NOVEL_KINDS for shape in SHAPES
    )


def random_kind(rng: Random) -> Kind:
    """A body that carries the pattern, with limbs of the trim colour and of fixed ones, under a made-up word."""
    cx, cy = rng.uniform(-0.15, 0.15), rng.uniform(-0.2, 0.25)
    rx, ry = rng.uniform(0.32, 0.72), rng.uniform(0.32, 0.72)
    twins = rng.random() < 0.2
    if twins:
        cx, rx = rng.uniform(0.36, 0.5), rng.uniform(0.28, 0.46)
    body = _outline(rng, cx, cy, rx, ry)
    bodies = [body, mirror(body)] if twins else [body]
    sides = (1, -1) if twins or rng.random() < 0.5 else (1,)
    limbs = [limb for _ in range(rng.randint(1, 3)) for limb in _limb(rng, cx, cy, rx, ry, sides)]
    details = [detail for _ in range(rng.randint(0, 2)) for detail in _detail(rng, cx, cy, rx, ry, sides)]
    main = [Part("main", points) for points in bodies]
    parts = [*limbs, *main, *details] if rng.random() < 0.7 else [*main, *limbs, *details]
    field = Field(cx, cy, rx * 0.95, ry * 0.95)
    fields = (field, Field(-cx, cy, rx * 0.95, ry * 0.95, flip=True)) if twins else (field,)
    return Kind(made_up_word(rng), lambda shape: parts, fields, grounded=rng.random() < 0.7)


def _outline(rng: Random, cx: float, cy: float, rx: float, ry: float) -> Points:
    """A superellipse, or a polygon whose corners lie at random distances."""
    if rng.random() < 0.45:
        return blob(cx, cy, rx, ry, rng.choice((1.0, 1.3, 2.0, 2.0, 3.0, 6.0)), rng.uniform(-35, 35))
    corners = rng.randint(3, 9)
    angles = np.arange(corners) * 2 * np.pi / corners + rng.uniform(0, 2 * np.pi)
    reach = np.array([rng.uniform(0.55, 1.15) for _ in range(corners)])
    if rng.random() < 0.4:  # a star
        reach[::2], reach[1::2] = rng.uniform(0.9, 1.15), rng.uniform(0.4, 0.7)
    return np.stack([cx + rx * reach * np.cos(angles), cy + ry * reach * np.sin(angles)], axis=1)


def _limb(rng: Random, cx: float, cy: float, rx: float, ry: float, sides: tuple[int, ...]) -> Iterator[Part]:
    """A shape of the trim colour at the body's rim, on each of the sides."""
    angle, out = rng.uniform(-np.pi, np.pi), rng.uniform(0.8, 1.15)
    x, y = cx + out * rx * np.cos(angle), cy + out * ry * np.sin(angle)
    size = rng.uniform(0.14, 0.4), rng.uniform(0.14, 0.4)
    points = np.clip(_outline(rng, x, y, *size), -1, 1)
    for side in sides:
        yield Part("third", points * np.array([side, 1.0]))


def _detail(
    rng: Random, cx: float, cy: float, rx: float, ry: float, sides: tuple[int, ...]
) -> Iterator[Part]:
    """A stroke outwards or a spot, of a fixed colour."""
    angle, role = rng.uniform(-np.pi, np.pi), rng.choice(("ink", *FIXED))
    x, y = cx + rx * np.cos(angle), cy + ry * np.sin(angle)
    length, radius = rng.uniform(1.1, 1.7), rng.uniform(0.06, 0.18)
    for side in sides:
        if rng.random() < 0.6:
            ends = (side * x, y, float(np.clip(side * length * x, -1, 1)), float(np.clip(length * y, -1, 1)))
            yield stroke(role, rng.uniform(0.04, 0.14), *ends)
        else:
            yield Part(role, blob(side * x * 0.6, y * 0.6, radius, radius))


@contextmanager
def _known(kind: Kind) -> Iterator[None]:
    """While it is drawn, a kind stands among the world's."""
    if kind.name in KINDS:
        raise ValueError(f"{kind.name!r} is one of the world's kinds.")
    KINDS[kind.name] = kind
    try:
        yield
    finally:
        del KINDS[kind.name]

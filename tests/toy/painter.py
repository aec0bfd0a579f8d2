"""A generator of its own, with a condition that no other has."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ragdemo.models.base import Drawing, Drawn, ImageGenerator, Role, Step
from ragdemo.profiles import Spec

PAINTER: Role[ImageGenerator] = Role("painter", "fills a square")


@dataclass(frozen=True)
class Shade:
    """How much red there is, 0 to 255."""

    red: int

    shape: tuple[object, ...] = ()

    @property
    def identity(self) -> tuple[object, ...]:
        """See `Condition.identity`."""
        return (self.red,)


class Painter:
    """Fills a square with the condition's red and the seed's green; says where it drew."""

    def draw(self, drawing: Drawing[Any]) -> Generator[Step | Drawn, None, None]:
        """See `ImageGenerator.draw`."""
        yield Step(1, 1)
        yield self.draw_many([drawing])[0]

    def draw_many(self, drawings: Sequence[Drawing[Any]]) -> list[Drawn]:
        """See `ImageGenerator.draw_many`."""
        colours = [(drawing.condition.red, drawing.seed % 256, 0) for drawing in drawings]
        where = np.arange(6, dtype=np.float32).reshape(2, 3)
        return [Drawn(Image.new("RGB", (16, 16), colour), {"map": where}) for colour in colours]

    def restore(self, image: Image.Image) -> Image.Image:
        """See `ImageGenerator.restore`."""
        return image


def load_painter(spec: Spec, device: str = "auto") -> Painter:
    """Nothing to load."""
    return Painter()

"""A method with an event, a setting and a chapter that no other has."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from PIL import Image
from pydantic import Field

from ragdemo.events import Event, Reference, Result
from ragdemo.methods.base import Method, Tools
from ragdemo.methods.running import draw_with_extras
from ragdemo.methods.settings import Settings
from ragdemo.models.base import Drawing
from ragdemo.request import Request
from tests.toy.painter import PAINTER, Shade


@dataclass(frozen=True)
class Painted(Event):
    """A picture with the map of where it was drawn, float32 `(2, 3)`."""

    image: Image.Image
    where: np.ndarray

    @property
    def summary(self) -> str:
        return f"painted on {self.where.size} places"


class ToySettings(Settings):
    """How red it is; `None` leaves that to the profile."""

    method: ClassVar[str] = "Toy"

    shade: int | None = Field(None, title="Shade of red", ge=0, le=255)


class Toy(Method):
    """Paints a square."""

    name = "toy"
    title = "Toy"
    sentence = "Paints a square in a shade of red."
    Settings = ToySettings
    needs = (PAINTER,)
    generator = PAINTER
    chapters = ()

    def run(
        self, request: Request, tools: Tools, known: Sequence[Event] = ()
    ) -> Generator[Event, None, None]:
        """See `Method.run`."""
        drawing = self.drawing(request, tools, (), ())
        drawn = yield from draw_with_extras(tools.models.get(PAINTER), drawing, "painting")
        yield Painted(drawn.image, drawn.extras["map"])
        yield Result(drawn.image, tools.recipe(request), 0.1)

    def drawing(
        self, request: Request, tools: Tools, references: Sequence[Reference], events: Sequence[Event]
    ) -> Drawing[Shade]:
        """See `Method.drawing`; references make it lighter."""
        shade = ToySettings.parse(request.settings).shade
        shade = tools.profile.default("shade", [PAINTER.name]) if shade is None else shade
        return Drawing(request.prompt, request.seed, condition=Shade(shade + 10 * len(references)))

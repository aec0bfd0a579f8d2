"""What only ImageRAGTurbo reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from PIL import Image

from ragdemo.events import Event
from ragdemo.methods.turbo.settings import Injection

PARTS = {
    "encode": "reading the prompt",
    "search": "search, with the candidates' pictures",
    "UNet": "UNet",
    "decode": "decoding",
}
"""The parts of `Blended.alone` and `Blended.together`, in their order, and what they are called."""


@dataclass(frozen=True)
class Blended(Event):
    """One step with the retrieved pair: the same seed as the draft, w = `weight`, λ = `similarity` in [-1, 1].

    `alone` and `together` are seconds by part, without and with retrieval; what is kept from before took none. `levels`
    are the UNet's modules whose outputs were changed; none if nothing was retrieved.
    """

    image: Image.Image
    weight: float
    similarity: float
    injection: Injection
    levels: tuple[str, ...]
    alone: Mapping[str, float]
    together: Mapping[str, float]

    @property
    def parts(self) -> list[tuple[str, float, float]]:
        """Name, milliseconds without and with retrieval, part by part."""
        return [
            (title, 1000 * self.alone.get(part, 0.0), 1000 * self.together.get(part, 0.0))
            for part, title in PARTS.items()
        ]

    @property
    def summary(self) -> str:
        milliseconds = 1000 * sum(self.together.values())
        return f"{self.injection} at w = {self.weight:.2f}, λ = {self.similarity:.2f}: {milliseconds:.0f} ms"


@dataclass(frozen=True)
class Strip(Event):
    """The same drawing at several w."""

    weights: tuple[float, ...]
    images: tuple[Image.Image, ...]

    @property
    def summary(self) -> str:
        return f"drawn at w = {', '.join(f'{weight:.2f}' for weight in self.weights)}"

"""The three interfaces that methods are written against; no model library is imported here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class Step:
    """Denoising step `index` (1-based) of `total` is done."""

    index: int
    total: int


@dataclass(frozen=True)
class Drawing:
    """One picture to draw; `None` means the profile's own value, references are RGB images of any size."""

    prompt: str
    seed: int
    references: tuple[Image.Image, ...] = ()
    steps: int | None = None
    guidance_scale: float | None = None
    reference_scale: float | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """What drawings must have in common to be made together: all but prompt, seed and the references' pixels."""
        return len(self.references), self.steps, self.guidance_scale, self.reference_scale


class ImageGenerator(Protocol):
    """A text-to-image model that can also be shown reference images."""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights."""
        ...

    def draw(self, drawing: Drawing) -> Iterator[Step | Image.Image]:
        """Yield a `Step` after each denoising step and the image last; closing the iterator stops the model.

        The same drawing gives the same pixels.
        """
        ...

    def draw_many(self, drawings: Sequence[Drawing]) -> list[Image.Image]:
        """The images of drawings of one `shape`, made together; a picture's noise depends on its own seed alone."""
        ...

    def restore(self, image: Image.Image) -> Image.Image:
        """An image through the model's own autoencoder and back: the best that it could draw."""
        ...


class VisionCritic(Protocol):
    """A vision-language model that answers a question about an image in plain lines."""

    def ask(
        self, question: str, image: Image.Image | None, *, temperature: float = 0.0, seed: int = 0
    ) -> str:
        """The reply as text; temperature 0 is greedy. `image` is None where the question is about words alone."""
        ...


class JointEncoder(Protocol):
    """A CLIP-class encoder: images and texts become unit vectors in one space."""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights and configuration; vectors of different fingerprints never mix."""
        ...

    def embed_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """float32 `(N, D)`, unit norm."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32 `(N, D)`, unit norm."""
        ...

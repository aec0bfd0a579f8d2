"""What methods are written against: roles, drawings and three interfaces. No model library is imported here."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from torch import Tensor

T_co = TypeVar("T_co", covariant=True)
# Held by whoever builds a model: the libraries build theirs without weights first, a mode of the whole process.
ONE_AT_A_TIME = RLock()


@dataclass(frozen=True)
class Role(Generic[T_co]):
    """A place that a profile may fill with a model of interface `T_co`; `purpose` completes "a model that …"."""

    name: str
    purpose: str


@dataclass(frozen=True)
class Step:
    """Denoising step or code `index` (1-based) of `total` is done; `preview` is what is drawn so far, now and then."""

    index: int
    total: int
    preview: Image.Image | None = None


@dataclass(frozen=True)
class Sampling:
    """How a drawing is sampled; `None` means the profile's own value.

    `steps` are those of denoising; `temperature` divides the logits of an autoregressive model.
    """

    steps: int | None = None
    guidance_scale: float | None = None
    temperature: float | None = None


class Condition(Protocol):
    """What a drawing is given beside its prompt."""

    @property
    def shape(self) -> tuple[object, ...]:
        """What the conditions of drawings that are made together must have in common."""
        ...

    @property
    def identity(self) -> tuple[object, ...]:
        """What of the condition decides the pixels."""
        ...


C = TypeVar("C", bound=Condition)


@dataclass(frozen=True)
class NoReference:
    """Nothing beside the prompt."""

    shape: tuple[object, ...] = ()
    identity: tuple[object, ...] = ()


@dataclass(frozen=True)
class ImageReferences:
    """RGB images of any size that the drawing should resemble; `scale` is their weight, `None` the profile's own."""

    images: tuple[Image.Image, ...]
    scale: float | None = None

    @property
    def shape(self) -> tuple[object, ...]:
        """See `Condition.shape`."""
        return "image references", len(self.images), self.scale

    @property
    def identity(self) -> tuple[object, ...]:
        """See `Condition.identity`."""
        pixels = [(i.size, hashlib.sha256(i.convert("RGB").tobytes()).digest()) for i in self.images]
        return self.scale, *pixels


@dataclass(frozen=True)
class Drawing(Generic[C]):
    """One picture to draw."""

    prompt: str
    seed: int
    sampling: Sampling = Sampling()
    condition: C = NoReference()  # type: ignore[assignment]

    @property
    def shape(self) -> tuple[object, ...]:
        """What drawings must have in common to be made together: all but prompt, seed and the condition's content."""
        return self.sampling, type(self.condition), self.condition.shape

    @property
    def identity(self) -> tuple[object, ...]:
        """What decides the pixels."""
        return self.prompt, self.seed, self.sampling, type(self.condition), *self.condition.identity


@dataclass(frozen=True)
class Drawn:
    """A finished drawing; `extras` are what only some generators know, such as a map of patches or timings."""

    image: Image.Image
    extras: Mapping[str, Any] = field(default_factory=dict)


class ImageGenerator(Protocol):
    """A text-to-image model that can draw under some conditions."""

    def draw(self, drawing: Drawing[Any]) -> Generator[Step | Drawn, None, None]:
        """Yields a `Step` after each denoising step and the `Drawn` last; closing the iterator stops the model.

        The same drawing gives the same pixels.
        """
        ...

    def draw_many(self, drawings: Sequence[Drawing[Any]]) -> list[Drawn]:
        """Drawings of one `shape`, made together; a picture's noise depends on its own seed alone."""
        ...

    def restore(self, image: Image.Image) -> Image.Image:
        """An image through the model's own autoencoder and back: the best that it could draw."""
        ...


class ImageTokenizer(Protocol):
    """Turns pictures into a square grid of codes and back."""

    @property
    def fingerprint(self) -> str:
        """Hash of the weights; codes of different fingerprints never mix."""
        ...

    @property
    def grid(self) -> int:
        """Codes per side."""
        ...

    @property
    def codebook(self) -> Tensor:
        """float32 `(V, D)`, unit norm."""
        ...

    def encode(self, images: Sequence[Image.Image]) -> np.ndarray:
        """uint16 `(N, grid, grid)`; a picture that is not square is cropped to its middle."""
        ...

    def decode(self, codes: np.ndarray) -> Image.Image:
        """The picture of `(rows, grid)` codes, from the first row on."""
        ...


class CodeGenerator(ImageGenerator, Protocol):
    """An autoregressive model: it draws a picture as codes in raster order, each given those before it."""

    @property
    def tokenizer(self) -> ImageTokenizer:
        """What its codes stand for."""
        ...


class Steering(Protocol):
    """Follows one batch of pictures while their codes are drawn; a context in which it may also hook into the model."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def prepare(self, position: int, codes: Tensor) -> None:
        """Called before the model computes code `position`; `codes` `(B, grid²)` are known up to there."""
        ...

    def mix(self, position: int, probabilities: Tensor) -> Tensor:
        """The distribution `(B, V)` to sample from instead of the model's own."""
        ...

    def extras(self, codes: Tensor) -> Sequence[Mapping[str, Any]]:
        """What is to be kept beside each finished picture of codes `(B, grid²)`; see `Drawn.extras`."""
        ...


class SteeredCodes(Condition, Protocol):
    """A condition under which codes are drawn."""

    @property
    def prefix(self) -> Sequence[int]:
        """Codes that are given, from the first one on."""
        ...

    def steer(self, model: Any, conditions: Sequence[Self]) -> Steering:
        """The steering of a batch that is drawn under `conditions`, one a picture, by a model of the library's own."""
        ...


class AttachedCondition(Condition, Protocol):
    """A condition under which a UNet's features are changed while it draws."""

    def attached(self, unet: Any, conditions: Sequence[Self]) -> AbstractContextManager[None]:
        """Let the conditions of a batch, one a picture, act on a UNet of the library's own; it is as before afterwards.

        Guided, the UNet draws twice as many rows, those without the prompt first.
        """
        ...


class OneStepGenerator(ImageGenerator, Protocol):
    """A text-to-image model that draws in one step, and whose inner features can be read.

    The extras of what it draws have "timings": seconds by part ("encode", "UNet", "decode").
    """

    @property
    def fingerprint(self) -> str:
        """Hash of the weights; features of different fingerprints never mix."""
        ...

    @property
    def levels(self) -> Sequence[str]:
        """The UNet's modules whose outputs `features` reads, from the deepest one on."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """float32 `(N, D)`, unit norm: the mean of the states that the text encoder gives the UNet."""
        ...

    def features(self, image: Image.Image, caption: str, levels: Sequence[str]) -> dict[str, np.ndarray]:
        """What a picture without noise is at some levels, float16 `(C, h, w)` each, beside its caption."""
        ...


class VisionCritic(Protocol):
    """A vision-language model that answers a question about an image in plain lines."""

    def ask(
        self, question: str, image: Image.Image | None, *, temperature: float = 0.0, seed: int = 0
    ) -> str:
        """The reply as text; temperature 0 is greedy. `image` is None if the question is about words alone."""
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


AUTOREGRESSIVE: Role[CodeGenerator] = Role("autoregressive", "draws a prompt code by code")
GENERATOR: Role[ImageGenerator] = Role("generator", "draws a prompt, also beside reference images")
ONE_STEP: Role[OneStepGenerator] = Role("one_step", "draws a prompt in one step")
CRITIC: Role[VisionCritic] = Role("critic", "looks at a picture and answers questions")
ENCODER: Role[JointEncoder] = Role("encoder", "puts words and pictures into one space")

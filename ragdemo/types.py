"""Plain values that every layer shares; nothing here imports a model library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from PIL import Image

MAX_PROMPT_CHARACTERS = 500
MAX_SEED = 2**32 - 1


class UserError(ValueError):
    """Bad input or a missing file: the message is one sentence that names the value and the remedy."""


@dataclass(frozen=True)
class Request:
    """What a person asks for; with the profile and the library it determines every pixel.

    `settings` are the method's own (its `Settings` dataclass names them and their ranges). `rejected` and `pinned`
    are library ids; `own_images` are paths of the person's images, offered beside (or before) what is retrieved.
    """

    prompt: str
    method: str = "imagerag"
    seed: int = 0
    profile: str = "pocket"
    library: str = "pocket"
    settings: Mapping[str, Any] = field(default_factory=dict)
    rejected: tuple[str, ...] = ()
    pinned: tuple[str, ...] = ()
    own_images: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        check_seed(self.seed)

    def to_json(self) -> dict[str, Any]:
        """The request as JSON-ready values; `from_json` is its inverse."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Request:
        """A request from `to_json`'s values; unknown keys raise `UserError`."""
        unknown = set(data) - set(cls.__dataclass_fields__)
        if unknown:
            raise UserError(f"The request has unknown fields {sorted(unknown)}; remove them.")
        lists = {
            key: tuple(map(str, data[key])) for key in ("rejected", "pinned", "own_images") if key in data
        }
        request = cls(**{**data, **lists})
        texts = (request.method, request.profile, request.library)
        if not all(isinstance(text, str) for text in texts) or not isinstance(request.settings, Mapping):
            raise UserError("The request has fields of other types than its names ask for; write it anew.")
        return request


@dataclass(frozen=True)
class Reference:
    """One reference image for one missing concept.

    `score` is the cosine of caption and image in [-1, 1] (1.0 for a person's own image); `keyword_score` is the BM25
    score, set only where hybrid search looked at captions.
    """

    id: str
    caption: str
    score: float
    concept: str
    image: Image.Image
    keyword_score: float | None = None


@dataclass(frozen=True)
class Ranking:
    """What one retriever finds for a query, best first."""

    retriever: str
    references: tuple[Reference, ...]


@dataclass(frozen=True)
class Check:
    """Whether a picture shows one thing that its prompt asks for; measured, never told to a method."""

    name: str
    shown: bool


def check_prompt(prompt: str, what: str = "prompt") -> None:
    """Raise `UserError` where a typed text, a `what`, is none, empty, too long, or holds a control character."""
    if not isinstance(prompt, str):
        raise UserError(f"The {what} {prompt!r} is no text; type what the picture should show.")
    if not prompt.strip():
        raise UserError(f"The {what} is empty; type what the picture should show.")
    if len(prompt) > MAX_PROMPT_CHARACTERS:
        raise UserError(
            f"The {what} has {len(prompt):,} characters; shorten it to {MAX_PROMPT_CHARACTERS} or fewer."
        )
    for character in prompt:
        if not character.isprintable() and character not in "\n\t":
            raise UserError(f"The {what} holds the control character {character!r}; remove it.")


def check_seed(seed: int) -> None:
    """Raise `UserError` where a seed is not a whole number in 0..2**32-1."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise UserError(f"The seed {seed!r} is out of range; choose a whole number from 0 to {MAX_SEED}.")

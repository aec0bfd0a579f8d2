"""What a person asks for, checked where it is made; nothing here imports a model library."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError

from ragdemo.errors import UserError

MAX_PROMPT_CHARACTERS = 500
MAX_SEED = 2**32 - 1
MAX_OWN_IMAGES = 8
MAX_CHOICES = 200
OWN_LIBRARY = "yours"
"""The name of the library that a visitor has made on the page; each visitor's own, and no one else's."""
_JOINERS = "\u200c\u200d"  # Persian, Hindi and many emoji are spelled with them


class Model(BaseModel):
    """A frozen value whose wrong fields raise `UserError` with one sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UserError(self.fault(error)) from error

    @classmethod
    def from_json(cls, data: object) -> Self:
        """The value of `to_json`'s output; anything else raises `UserError`."""
        if not isinstance(data, Mapping):
            raise UserError(f"The {_noun(cls)} is {shown(data)}; give a JSON object.")
        try:
            return cls(**_lists_to_tuples({str(key): value for key, value in data.items()}))
        except RecursionError as error:
            raise UserError(f"The {_noun(cls)} is nested too deeply; give plain values.") from error

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values; `from_json` is the inverse."""
        return self.model_dump(mode="json")

    @classmethod
    def fault(cls, error: ValidationError) -> str:
        """The first fault of a validation in one sentence that names the value and the remedy."""
        first = error.errors(include_url=False)[0]
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, UserError):
            return str(cause)
        noun, place = _noun(cls), ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        if first["type"] == "extra_forbidden":
            return f"The {noun} has no field {shown(place)}; choose among {', '.join(cls.model_fields)}."
        if first["type"] == "missing":
            return f"The {noun} lacks {place!r}; give it."
        return f"The {place} of the {noun} is {shown(first['input'])}; {_lower(first['msg'])}."

    def changed(self, **values: Any) -> Self:
        """A copy with other values, which are checked."""
        return type(self)(**{name: getattr(self, name) for name in type(self).model_fields} | values)


def folded(text: str, what: str = "prompt") -> str:
    """A typed text as it is meant: white space folded to single spaces, invisible format characters dropped.

    Joiners stay. Raises `UserError` if nothing is left, if it is too long, or if it holds a control character or half
    of a surrogate pair.
    """
    if not isinstance(text, str):
        raise UserError(f"The {what} {shown(text)} is no text; type what the picture should show.")
    kept = "".join(c for c in text if c in _JOINERS or unicodedata.category(c) != "Cf")
    kept = re.sub(r"\s+", " ", kept).strip()
    if not kept.strip(_JOINERS + " "):
        raise UserError(f"The {what} is empty; type what the picture should show.")
    if len(kept) > MAX_PROMPT_CHARACTERS:
        raise UserError(
            f"The {what} has {len(kept):,} characters; shorten it to {MAX_PROMPT_CHARACTERS} or fewer."
        )
    for character in kept:
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise UserError(f"The {what} holds the control character {character!r}; remove it.")
    return kept


def check_seed(seed: Any) -> int:
    """The seed itself; raises `UserError` if it is not a whole number in 0..2**32-1."""
    if seed is None or seed == "":
        raise UserError(f"The seed is empty; choose a whole number from 0 to {MAX_SEED}.")
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise UserError(
            f"The seed {shown(seed)} is out of range; choose a whole number from 0 to {MAX_SEED}."
        )
    return seed


def _encodable(text: Any) -> Any:
    if isinstance(text, str) and any("\ud800" <= character <= "\udfff" for character in text):
        raise UserError(f"The text {shown(text)} holds half of a surrogate pair; remove it.")
    return text


Prompt = Annotated[str, BeforeValidator(folded)]
Text = Annotated[str, BeforeValidator(_encodable)]


class ImageRef(Model):
    """A person's picture by its content: the sha256 of its pixels (`ragdemo.images.image_sha256`) and a file name."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    name: Text = Field(max_length=255)


def _few(own: Any) -> Any:
    if isinstance(own, Sequence) and len(own) > MAX_OWN_IMAGES:
        raise UserError(f"You gave {len(own)} images of your own; choose {MAX_OWN_IMAGES} or fewer.")
    return own


class Choices(Model):
    """What a person decided about the references.

    `pinned` and `rejected` are library ids. `own` pictures are offered before what is retrieved.
    """

    pinned: Annotated[tuple[Text, ...], Field(max_length=MAX_CHOICES)] = ()
    rejected: Annotated[tuple[Text, ...], Field(max_length=MAX_CHOICES)] = ()
    own: Annotated[tuple[ImageRef, ...], BeforeValidator(_few)] = ()


class Request(Model):
    """One run; together with the weights and the library's content it determines every pixel.

    `settings` are the method's own; its `Settings` class describes them. `library` is a name of the catalogue or
    `OWN_LIBRARY`; the command line also accepts a folder.
    """

    prompt: Prompt
    method: Text = "imagerag"
    seed: Annotated[int, BeforeValidator(check_seed)] = 0
    profile: Text = "pocket"
    library: Text = "pocket"
    settings: Annotated[dict[str, JsonValue], AfterValidator(dict)] = {}
    choices: Choices = Choices()


def json_object(text: str | dict[str, Any] | None, what: str) -> dict[str, Any]:
    """The JSON object that a text holds, an object itself as it is; raises `UserError` if it holds none."""
    try:
        value = json.loads(text or "{}") if isinstance(text, str | None) else text
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise UserError(f"The {what} are no JSON object ({error}); write for example {{}}.") from error
    if not isinstance(value, dict):
        raise UserError(f"The {what} are no JSON object; write for example {{}}.")
    return value


def _noun(kind: type[BaseModel]) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind.__name__).lower()


def shown(value: object) -> str:
    """A value as a message may show it, at most 80 characters."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python prints
        return "too large a number"
    return text if len(text) <= 80 else f"{text[:79]}…"


def _lower(message: str) -> str:
    return message[:1].lower() + message[1:]


def _lists_to_tuples(value: Any) -> Any:
    """JSON has lists only; strict models ask for tuples. Settings keep their lists."""
    if isinstance(value, dict):
        return {k: v if k == "settings" else _lists_to_tuples(v) for k, v in value.items()}
    if isinstance(value, list):
        return tuple(_lists_to_tuples(item) for item in value)
    return value

"""How a picture can be made again: a JSON record that travels inside the PNG."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ragdemo.errors import UserError
from ragdemo.files import shown_name, write_atomically
from ragdemo.images import checked_image
from ragdemo.request import Request

PNG_KEY = "ragdemo.recipe"
UNKNOWN_CONTENT = "0" * 64


@dataclass(frozen=True)
class Recipe:
    """Everything that determined a picture.

    `references` are the library ids used, in order. `library_fingerprint` is the hash of the library's content and of
    the retriever that embedded it. `weights` maps a role of the profile to the short hash of its files, `versions` a
    package to its version. The person's own pictures are named in the request by content.
    """

    request: Request
    references: tuple[str, ...]
    library_fingerprint: str
    versions: Mapping[str, str]
    weights: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The recipe as JSON-ready values; a library's folder is left out: it would tell about a machine."""
        request = self.request.to_json() | {"library": Path(self.request.library).name}
        return {
            "request": request,
            "references": list(self.references),
            "library_fingerprint": self.library_fingerprint,
            "versions": dict(self.versions),
            "weights": dict(self.weights),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """A recipe from `to_json`'s values, also as the first edition wrote them; other types raise."""
        versions, weights = dict(data["versions"]), dict(data.get("weights", {}))
        _texts([data["library_fingerprint"], *versions, *versions.values(), *weights, *weights.values()])
        return cls(
            request=Request.from_json(_with_choices(data["request"])),
            references=_texts(data["references"]),
            library_fingerprint=data["library_fingerprint"],
            versions=versions,
            weights=weights,
        )


def _with_choices(request: Mapping[str, Any]) -> Mapping[str, Any]:
    """A request of the first edition, which listed its choices flat and its own pictures by name, as one of today.

    Their content is not known: the pictures are asked for again by name.
    """
    if "own_images" not in request:
        return request
    own = [{"sha256": UNKNOWN_CONTENT, "name": name} for name in _texts(request["own_images"])]
    choices = {
        "pinned": list(_texts(request.get("pinned", ()))),
        "rejected": list(_texts(request.get("rejected", ()))),
        "own": own,
    }
    rest = {k: v for k, v in request.items() if k not in ("pinned", "rejected", "own_images")}
    return rest | {"choices": choices}


def png_with_recipe(image: Image.Image, recipe: Recipe) -> bytes:
    """`image` as a PNG that carries `recipe`."""
    info, buffer = PngInfo(), BytesIO()
    info.add_itxt(PNG_KEY, json.dumps(recipe.to_json(), ensure_ascii=False))
    image.save(buffer, format="PNG", pnginfo=info)
    return buffer.getvalue()


def save_png(image: Image.Image, recipe: Recipe, path: Path) -> None:
    """Write `png_with_recipe` to a file, whole or not at all; raises `UserError` if it cannot be written."""
    write_atomically(path, png_with_recipe(image, recipe))


def read_png(path: Path) -> Recipe:
    """The recipe in a PNG; raises `UserError` if the file is not a readable PNG or contains no valid recipe."""
    with checked_image(path, formats=("PNG",)) as image:
        image.load()  # a recipe may stand behind the pixels
        text = image.info.get(PNG_KEY)
    name = shown_name(path)
    if text is None:
        raise UserError(f"{name} carries no recipe; choose a PNG that this demo has saved.")
    try:
        return Recipe.from_json(json.loads(text))
    except UserError:
        raise
    # whatever a stranger's file may contain: other JSON, too deep a nesting, values of other types
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"The recipe in {name} is damaged; choose a PNG that this demo has saved.") from error


def _texts(value: object) -> tuple[str, ...]:
    """A JSON list of texts; a single text is not taken apart into its letters."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise TypeError(f"{value!r} is not a list of texts")
    return tuple(value)

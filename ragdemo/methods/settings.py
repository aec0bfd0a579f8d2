"""A method's settings describe themselves: controls, `--set`, endpoints and recipes all read this one description.

A field whose default is `None` takes the profile's own value of that name. Beside pydantic's constraints a field may
carry `json_schema_extra`: `labels` (one per choice, in order), `slider` (low, high, step) if the page should offer less
than the constraints allow, `live` if a run should follow its slider as soon as that is released. `ragdemo/ui/panel.py`
turns each field into its control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from pydantic import Field, ValidationError

from ragdemo.errors import UserError
from ragdemo.events import Reference
from ragdemo.models.base import Drawing, ImageReferences, NoReference, Sampling
from ragdemo.request import Model, shown


class Settings(Model):
    """Base of all settings; `method` is the title of the method that they belong to."""

    method: ClassVar[str] = "This method"

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Settings from a request's mapping; unknown names and values out of range raise `UserError`."""
        return cls(**values)

    @classmethod
    def fault(cls, error: ValidationError) -> str:
        """See `Model.fault`."""
        first = error.errors(include_url=False)[0]
        if isinstance(first.get("ctx", {}).get("error"), UserError) or not first["loc"]:
            return super().fault(error)
        properties = cls.model_json_schema()["properties"]
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            return f"{cls.method} has no setting {shown(name)}; choose among {', '.join(properties)}."
        return f"The setting {name} is {shown(first['input'])}; choose {_wanted(properties[name])}."


MOST_STEPS = 50
"""Of a drawing that others wait for."""


class DrawingSettings(Settings):
    """How pictures are drawn; every method that draws with a diffusion model beside references has these."""

    reference_scale: float | None = Field(
        None, title="Weight of the references", ge=0, le=2, json_schema_extra={"slider": [0, 2, 0.05]}
    )
    steps: int | None = Field(
        None, title="Denoising steps", ge=1, le=200, json_schema_extra={"slider": [4, MOST_STEPS, 1]}
    )
    guidance_scale: float | None = Field(
        None, title="Guidance scale", ge=0, le=30, json_schema_extra={"slider": [1, 12, 0.5]}
    )

    def drawing(self, prompt: str, seed: int, references: Sequence[Reference] = ()) -> Drawing[Any]:
        """A drawing beside exactly these references, or of the prompt alone if there are none."""
        images = tuple(reference.image for reference in references)
        condition = ImageReferences(images, self.reference_scale) if images else NoReference()
        return Drawing(prompt, seed, Sampling(self.steps, self.guidance_scale), condition)


def variants(schema: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], bool]:
    """The alternatives of a field's JSON schema other than null, and whether null is one."""
    options = schema.get("anyOf", [schema])
    return [o for o in options if o.get("type") != "null"], any(o.get("type") == "null" for o in options)


def _wanted(schema: Mapping[str, Any]) -> str:
    """What a field takes, in words."""
    (option, *_), nullable = variants(schema)
    if "enum" in option:
        words = f"one of {', '.join(map(str, option['enum']))}"
    elif option.get("type") == "boolean":
        words = "true or false"
    elif option.get("type") in ("integer", "number"):
        number = "a whole number" if option["type"] == "integer" else "a number"
        words = f"{number} from {_end(option, 'inimum')} to {_end(option, 'aximum')}"
    else:
        words = f"a value of type {option.get('type', 'any')}"
    return f"{words} or null" if nullable else words


def _end(option: Mapping[str, Any], name: str) -> Any:
    """One end of a range; an exclusive one counts as well."""
    return option.get(f"m{name}", option.get(f"exclusiveM{name}", "any"))

"""The options of ImageRAG, their ranges and their reading from a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ragdemo.types import UserError

MODES = ("draft", "generation", "personalization", "rephrase")


@dataclass(frozen=True)
class Settings:
    """How ImageRAG runs; `None` leaves a value to the profile or the searcher.

    `mode`: "draft" asks about a first drawing; "generation" asks which concepts are needed and draws once;
    "personalization" shows the person's own images to every drawing, references after them; "rephrase" is the control
    that replaces rare words and retrieves nothing. `similarity_threshold` is a cosine; references below it are not
    used. With `max_rounds` above 1 the loop goes on until the critic says yes.
    """

    mode: str = "draft"
    max_concepts: int = 3
    references_per_concept: int = 1
    similarity_threshold: float | None = None
    max_rounds: int = 1
    steps: int | None = None
    guidance_scale: float | None = None
    reference_scale: float | None = None
    hybrid: bool | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from a request's mapping; unknown names and values out of range raise `UserError`."""
        names = [field.name for field in fields(cls)]
        for name, value in values.items():
            if name not in names:
                raise UserError(f"ImageRAG has no setting {name!r}; choose among {', '.join(names)}.")
            _check(name, value)
        return cls(**values)


# lowest and highest value; whole numbers where both are
_RANGES: dict[str, tuple[float, float]] = {
    "max_concepts": (1, 3),
    "references_per_concept": (1, 4),
    "similarity_threshold": (-1.0, 1.0),
    "max_rounds": (1, 5),
    "steps": (1, 200),
    "guidance_scale": (0.0, 30.0),
    "reference_scale": (0.0, 2.0),
}
_OPTIONAL = ("similarity_threshold", "steps", "guidance_scale", "reference_scale", "hybrid")


def _check(name: str, value: Any) -> None:
    if value is None and name in _OPTIONAL:
        return
    if name == "mode":
        _check_mode(value)
    elif name == "hybrid":
        if not isinstance(value, bool):
            raise UserError(f"The setting hybrid is {value!r}; choose true, false or none.")
    else:
        _check_number(name, value)


def _check_mode(value: Any) -> None:
    if value not in MODES:
        raise UserError(f"The setting mode is {value!r}; choose one of {', '.join(MODES)}.")


def _check_number(name: str, value: Any) -> None:
    low, high = _RANGES[name]
    whole = isinstance(low, int)
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        number = "a whole number" if whole else "a number"
        raise UserError(f"The setting {name} is {value!r}; choose {number} from {low} to {high}.")

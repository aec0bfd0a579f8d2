"""The options of ImageRAG, their ranges and their reading from a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ragdemo.methods.options import Range, maybe_bool, one_of, read_options

MODES = ("draft", "generation", "personalization", "rephrase")


@dataclass(frozen=True)
class Settings:
    """How ImageRAG runs; `None` leaves a value to the profile or the searcher.

    `mode`: "draft" asks about a first drawing; "generation" asks which concepts are needed and draws once;
    "personalization" shows the person's own images to every drawing, references after them; "rephrase" is the control
    that replaces rare words and retrieves nothing. `similarity_threshold` is a cosine; references below it are not
    used. With `max_rounds` above 1 the loop goes on until the critic says yes. `retriever` "zero" is the frozen
    encoder, "normal" and "real" are RealRAG's.
    """

    mode: str = "draft"
    retriever: str = "zero"
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
        return read_options(cls, "ImageRAG", values, _CHECKS)


_CHECKS = {
    "mode": one_of(*MODES),
    "retriever": one_of("real", "normal", "zero"),
    "max_concepts": Range(1, 3),
    "references_per_concept": Range(1, 4),
    "similarity_threshold": Range(-1.0, 1.0, optional=True),
    "max_rounds": Range(1, 5),
    "steps": Range(1, 200, optional=True),
    "guidance_scale": Range(0.0, 30.0, optional=True),
    "reference_scale": Range(0.0, 2.0, optional=True),
    "hybrid": maybe_bool,
}

"""The options of RealRAG, their ranges and their reading from a request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ragdemo.methods.options import Range, one_of, read_options


@dataclass(frozen=True)
class Settings:
    """How RealRAG runs; `None` leaves a value to the profile or the searcher.

    `retriever` is "real", "normal" (trained without the reflective term) or "zero" (the frozen encoder).
    """

    retriever: str = "real"
    references: int = 1
    reference_scale: float | None = None
    steps: int | None = None
    guidance_scale: float | None = None

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Settings:
        """Settings from a request's mapping; unknown names and values out of range raise `UserError`."""
        return read_options(cls, "RealRAG", values, _CHECKS)


_CHECKS = {
    "retriever": one_of("real", "normal", "zero"),
    "references": Range(1, 4),
    "reference_scale": Range(0.0, 2.0, optional=True),
    "steps": Range(1, 200, optional=True),
    "guidance_scale": Range(0.0, 30.0, optional=True),
}

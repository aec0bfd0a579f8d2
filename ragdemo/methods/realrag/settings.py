"""The settings of RealRAG."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ragdemo.methods.settings import DrawingSettings


class Settings(DrawingSettings):
    """How RealRAG runs; `None` leaves a value to the profile or the searcher.

    `retriever` is "real", "normal" (trained without the reflective term) or "zero" (the frozen encoder).
    """

    method: ClassVar[str] = "RealRAG"

    retriever: Literal["real", "normal", "zero"] = Field(
        "real",
        title="Retriever",
        json_schema_extra={
            "labels": ["Real: trained with reflection", "Normal: trained without", "Zero: frozen"]
        },
    )
    references: int = Field(1, title="References", ge=1, le=4)

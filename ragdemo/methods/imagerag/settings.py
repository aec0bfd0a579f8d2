"""The settings of ImageRAG."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ragdemo.methods.settings import DrawingSettings

Mode = Literal["draft", "generation", "personalization", "rephrase"]
Retriever = Literal["zero", "real", "normal"]


class Settings(DrawingSettings):
    """How ImageRAG runs; `None` leaves a value to the profile or the searcher.

    `mode`: "draft" asks about a first drawing; "generation" asks which concepts are needed and draws once;
    "personalization" shows the person's own images to every drawing, references after them; "rephrase" is the control
    that replaces rare words and retrieves nothing. `similarity_threshold` is a cosine; references below it are not
    used. With `max_rounds` above 1 the loop goes on until the critic says yes. `retriever` "zero" is the frozen
    encoder, "normal" and "real" are RealRAG's.
    """

    method: ClassVar[str] = "ImageRAG"

    mode: Mode = Field(
        "draft",
        title="Mode",
        json_schema_extra={
            "labels": [
                "Draft first, then correct it",
                "References at once, no draft",
                "Your own pictures in every drawing",
                "In other words, nothing retrieved",
            ]
        },
    )
    retriever: Retriever = Field(
        "zero",
        title="Retriever",
        json_schema_extra={"labels": ["Frozen encoder", "RealRAG's, with reflection", "RealRAG's, without"]},
    )
    max_concepts: int = Field(3, title="Missing concepts at most", ge=1, le=3)
    references_per_concept: int = Field(1, title="References for each missing concept", ge=1, le=4)
    similarity_threshold: float | None = Field(
        None,
        title="Least similarity of a reference",
        ge=-1,
        le=1,
        json_schema_extra={"slider": [-1, 1, 0.01]},
    )
    max_rounds: int = Field(1, title="Rounds at most", ge=1, le=5)
    hybrid: bool | None = Field(
        None,
        title="Search in captions too",
        json_schema_extra={"labels": ["if a word is new", "always", "never"]},
    )

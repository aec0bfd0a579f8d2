"""The settings of AR-RAG."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ragdemo.methods.settings import Settings as BaseSettings

Augmentation = Literal["daid", "faid", "both"]
Scope = Literal["prompt", "library"]
Mixing = Literal["arithmetic", "geometric"]


class Settings(BaseSettings):
    """How AR-RAG runs; `None` leaves a value to the profile.

    `scope` "prompt" takes patches of the pictures that the prompt finds, our extension; "library" those of the whole
    library, as published. `patch_weight` is λ; `patch_temperature` is τ in units of the neighbours' median distance.
    Retrieval is left out where the model's entropy is below the share `entropy_gate` of the greatest possible.
    `place_weight` times the squared distance of two places, in codes, is added to that of their keys, which is our
    extension as well, and so is `mixing` "geometric" (see `daid`). As published are the scope "library", the mixing
    "arithmetic" and 0 for the gate and the weight of places.
    """

    method: ClassVar[str] = "AR-RAG"

    patch_weight: float = Field(
        0.6,
        title="Weight of retrieved patches, λ",
        ge=0,
        le=1,
        json_schema_extra={"slider": [0, 1, 0.05], "live": True},
    )
    augmentation: Augmentation = Field(
        "daid",
        title="What retrieval changes",
        json_schema_extra={"labels": ["The distribution of each code", "The model's features", "Both"]},
    )
    scope: Scope = Field(
        "prompt",
        title="Patches of",
        json_schema_extra={"labels": ["Pictures that the prompt finds", "The whole library"]},
    )
    mixing: Mixing = Field(
        "geometric",
        title="What is mixed",
        json_schema_extra={"labels": ["Either the model's code or a patch's", "What both agree on"]},
    )
    references: int = Field(6, title="Pictures that give patches", ge=1, le=50)
    neighbours: int = Field(
        16, title="Nearest patches, k", ge=1, le=2048, json_schema_extra={"slider": [1, 256, 1]}
    )
    patch_temperature: float = Field(
        0.1,
        title="Temperature of patch distances, τ",
        gt=0,
        le=10,
        json_schema_extra={"slider": [0.01, 1, 0.01]},
    )
    place_weight: float = Field(
        1.0, title="Weight of places", ge=0, le=100, json_schema_extra={"slider": [0, 4, 0.1]}
    )
    entropy_gate: float = Field(
        0.0,
        title="Only where the model is uncertain",
        ge=0,
        le=1,
        json_schema_extra={"slider": [0, 1, 0.05]},
    )
    guidance_scale: float | None = Field(
        None, title="Guidance scale", ge=0, le=30, json_schema_extra={"slider": [1, 12, 0.5]}
    )
    temperature: float | None = Field(
        None, title="Temperature of sampling", ge=0, le=2, json_schema_extra={"slider": [0.1, 1.5, 0.05]}
    )

"""The settings of ImageRAGTurbo."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ragdemo.methods.settings import Settings as BaseSettings

Injection = Literal["slerp", "adapter"]


class Settings(BaseSettings):
    """How ImageRAGTurbo runs; `None` leaves a value to the profile.

    `blend` is w, the share of the prompt's own features: at 1 nothing is retrieved. `injection` "slerp" needs no
    training, "adapter" is learned; `None` takes the adapter if the profile has one. `levels` counts from the deepest
    features on: 1 as published, more is our extension. `search` "fused" adds keywords to the texts' cosines.
    """

    method: ClassVar[str] = "ImageRAGTurbo"

    blend: float | None = Field(
        None,
        title="Share of the prompt's own features, w",
        ge=0,
        le=1,
        json_schema_extra={"slider": [0, 1, 0.05], "live": True},
    )
    injection: Injection | None = Field(
        None,
        title="How the pair joins in",
        json_schema_extra={
            "labels": ["As the models were trained", "Spherical interpolation", "Learned adapter"]
        },
    )
    levels: int = Field(1, title="Depths at which it joins in", ge=1, le=3)
    search: Literal["text", "fused"] = Field(
        "text",
        title="Search",
        json_schema_extra={"labels": ["Texts of prompt and caption", "Texts and keywords"]},
    )
    strip: bool = Field(True, title="Also draw a strip over w")

"""The only file that names checkpoints: a profile is a row of names, and no code asks which row it runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ragdemo.types import UserError

ASSETS = Path(os.environ.get("RAGDEMO_ASSETS", Path(__file__).resolve().parent.parent / "assets"))


@dataclass(frozen=True)
class Profile:
    """Names of the checkpoints that run together, and the sampling settings that suit them.

    Names are local folders or hub ids, each passed to its own library's loader. `prompt_forms` are the ImageRAG prompt
    templates of the generator (`{prompt}`, `{captions}`).
    """

    name: str
    diffusion: str
    ip_adapter: str
    ip_adapter_subfolder: str
    ip_adapter_weights: str
    critic: str
    encoder: str
    steps: int
    guidance_scale: float
    reference_scale: float
    reference_prompt: str


POCKET = Profile(
    name="pocket",
    diffusion=str(ASSETS / "pocket" / "diffusion"),
    ip_adapter=str(ASSETS / "pocket" / "ip_adapter"),
    ip_adapter_subfolder="models",
    ip_adapter_weights="ip-adapter-plus_pocket.safetensors",
    critic=str(ASSETS / "pocket" / "critic"),
    encoder=f"local-dir:{ASSETS / 'pocket' / 'encoder'}",
    steps=16,
    guidance_scale=3.0,
    reference_scale=1.0,
    reference_prompt="{prompt}",
)

PROFILES = {profile.name: profile for profile in (POCKET,)}


def get_profile(name: str) -> Profile:
    """The profile of that name; raises `UserError` where there is none."""
    if name not in PROFILES:
        raise UserError(f"There is no profile {name!r}; choose one of {', '.join(PROFILES)}.")
    return PROFILES[name]

"""Training of the pocket checkpoints: `python -m ragdemo train [STAGE …]` rebuilds each from nothing.

It knows the world, models, methods and libraries, but not how they are evaluated.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ragdemo.errors import UserError

STAGES: dict[str, str] = {
    "library": "ragdemo.training.library:train_library",
    "oracle": "ragdemo.training.oracle:train_oracle",
    "encoder": "ragdemo.training.encoder:train_encoder",
    "encoder-tail": "ragdemo.training.encoder_tail:train_tail",
    "library-index": "ragdemo.training.library:train_library_index",
    "vae": "ragdemo.training.vae:train_vae",
    "text-encoder": "ragdemo.training.text_encoder:train_text_encoder",
    "image-encoder": "ragdemo.training.image_encoder:train_image_encoder",
    "diffusion-latents": "ragdemo.training.latents:train_latents",
    "diffusion": "ragdemo.training.diffusion:train_diffusion",
    "vae-decoder": "ragdemo.training.vae:train_decoder",
    "decoder-drafts": "ragdemo.training.decoder_drafts:train_decoder_drafts",
    "janus-vq": "ragdemo.training.janus_vq:train_janus_vq",
    "janus-tokens": "ragdemo.training.janus_tokens:train_janus_tokens",
    "janus": "ragdemo.training.janus:train_janus",
    "faid-tokens": "ragdemo.training.faid:train_faid_tokens",
    "faid": "ragdemo.training.faid:train_faid",
    "student-pairs": "ragdemo.training.student_pairs:train_student_pairs",
    "student": "ragdemo.training.student:train_student",
    "turbo-adapter": "ragdemo.training.turbo_adapter:train_adapter",
    "turbo-control": "ragdemo.training.turbo_adapter:train_control",
    "critic-drafts": "ragdemo.training.drafts:train_drafts",
    "critic-vision": "ragdemo.training.critic_vision:train_vision",
    "critic": "ragdemo.training.critic:train_critic",
    "realrag": "ragdemo.training.realrag:train_realrag",
}
"""Stage name → function, in the order in which they build on each other. A module's constants are settings."""
WITHOUT_STEPS = (
    "library",
    "library-index",
    "janus-tokens",
    "faid-tokens",
    "student-pairs",
    "critic-drafts",
    "diffusion-latents",
)
"""Stages that draw or embed and take no optimiser steps."""
WITH_COUNT = (
    "critic-drafts",
    "janus-tokens",
    "faid-tokens",
    "student-pairs",
    "image-encoder",
    "diffusion-latents",
)
"""Stages that draw as many pictures as `--count` says."""


def main(
    stages: Sequence[str],
    device: str = "auto",
    steps: int | None = None,
    workdir: Path = Path("runs"),
    warm: bool = False,
    profile: str = "pocket",
    library: str = "pocket",
    count: int | None = None,
    allow_download: bool | None = None,
) -> None:
    """Run the named stages (all of them if none is named), each resumed if a state of the same settings is there.

    Raises `UserError` for unknown names and for options that no named stage reads.
    """
    _check(stages, steps, count, profile, library)
    from ragdemo.models.loading import choose_device
    from ragdemo.profiles import ASSETS
    from ragdemo.training.hardware import keep_memory
    from ragdemo.training.loop import Context

    context = Context(
        workdir,
        ASSETS / "pocket",
        choose_device(device),
        steps,
        warm,
        profile=profile,
        library=library,
        count=count,
        allow_download=allow_download,
    )
    _make(workdir)
    keep_memory()
    for name in stages or STAGES:
        module, function = STAGES[name].split(":")
        getattr(import_module(module), function)(context)


def _make(workdir: Path) -> None:
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {workdir} cannot be written ({error.strerror}); choose another."
        ) from error


def _check(stages: Sequence[str], steps: int | None, count: int | None, profile: str, library: str) -> None:
    from ragdemo.library.store import open_library
    from ragdemo.profiles import get_profile

    for name in stages:
        if name not in STAGES:
            raise UserError(f"There is no training stage {name!r}; choose from {', '.join(STAGES)}.")
    if stages and steps is not None and set(stages) <= set(WITHOUT_STEPS):
        raise UserError(f"The stage {stages[0]} takes no optimiser steps; leave out --steps {steps}.")
    if stages and count is not None and not set(stages) & set(WITH_COUNT):
        raise UserError(
            f"The stage {stages[0]} draws no --count of pictures; leave it out or name {WITH_COUNT[0]}."
        )
    get_profile(profile)
    if library != "pocket":  # the shipped one may still have to be drawn
        open_library(library)

"""Training of the pocket checkpoints: `python -m ragdemo train [STAGE …]` rebuilds each from nothing."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ragdemo.types import UserError

STAGES: dict[str, str] = {
    "library": "ragdemo.pocket.train.library:train_library",
    "oracle": "ragdemo.pocket.train.oracle:train_oracle",
    "encoder": "ragdemo.pocket.train.encoder:train_encoder",
    "encoder-tail": "ragdemo.pocket.train.encoder:train_tail",
    "library-index": "ragdemo.pocket.train.library:train_library_index",
    "vae": "ragdemo.pocket.train.vae:train_vae",
    "text-encoder": "ragdemo.pocket.train.text_encoder:train_text_encoder",
    "image-encoder": "ragdemo.pocket.train.image_encoder:train_image_encoder",
    "diffusion": "ragdemo.pocket.train.diffusion:train_diffusion",
    "vae-decoder": "ragdemo.pocket.train.vae:train_decoder",
    "critic-drafts": "ragdemo.pocket.train.drafts:train_drafts",
    "critic-vision": "ragdemo.pocket.train.critic:train_vision",
    "critic": "ragdemo.pocket.train.critic:train_critic",
    "realrag": "ragdemo.pocket.train.realrag:train_realrag",
}
"""Stage name → function, in the order in which they build on each other."""
GENERATORS = ("base",)
"""Whose own pictures the stage realrag can avoid."""


def main(
    stages: list[str],
    device: str = "auto",
    steps: int | None = None,
    workdir: Path = Path("runs"),
    warm: bool = False,
    profile: str = "pocket",
    generator: str = "base",
) -> None:
    """Run the named stages (all of them where none is named), each resuming where it stopped."""
    from ragdemo.pocket.train.loop import Context, keep_memory, pick_device
    from ragdemo.profiles import ASSETS, get_profile

    for name in stages:
        if name not in STAGES:
            raise UserError(f"There is no training stage {name!r}; choose from {', '.join(STAGES)}.")
    get_profile(profile)
    if generator not in GENERATORS:
        raise UserError(f"There is no generator {generator!r}; choose one of {', '.join(GENERATORS)}.")
    place = pick_device(device)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {workdir} cannot be written ({error.strerror}); choose another."
        ) from error
    context = Context(workdir, ASSETS / "pocket", place, steps, warm, profile=profile, generator=generator)
    keep_memory()
    for name in stages or STAGES:
        module, function = STAGES[name].split(":")
        getattr(import_module(module), function)(context)

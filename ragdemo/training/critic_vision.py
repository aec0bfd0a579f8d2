"""Stage `critic-vision`: the critic's vision tower, projector and word embeddings.

What stands left and right in a picture is classified in the words' own embeddings (`Naming`), so that the language
model of the stage `critic` starts from image tokens that already lie near the right words.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from transformers import FastVlmForConditionalGeneration, PreTrainedTokenizerFast

from ragdemo.errors import UserError
from ragdemo.training.critic_images import Pictures
from ragdemo.training.critic_model import (
    Naming,
    build_tokenizer,
    known_words,
    naming_loss,
    new_critic,
    normalised,
    shipped_critic,
)
from ragdemo.training.export import read_card, write_card
from ragdemo.training.loop import Context, Loop, autocast, step_rng

BATCH = 64
WEIGHTS_FILE = "vision.pt"


def train_vision(context: Context, pictures: Pictures | None = None) -> None:
    """Train and keep the parts in the working folder for the stage `critic`; nothing is shipped yet."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    model, origin = shipped_critic(context, tokenizer) or (new_critic(tokenizer), None)
    modules = {**trained_parts(model), "naming": Naming(tokenizer)}
    pictures = pictures or Pictures(context)
    loop = Loop(
        "critic-vision",
        context,
        modules,
        20_000,
        learning_rate=2e-3,
        ema_decay=0.998,
        origin=origin,
        inputs={"pictures": pictures.inputs, "tokens": known_words()},
    )
    tower, projector, words, naming = modules.values()

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        images, contents = pictures.draw(BATCH, step_rng("critic-vision", step))
        with autocast(context.device):
            tokens = projector(image_features(tower, images.to(context.device)))
            logits = naming(tokens, words.weight)
        return naming_loss(logits, naming.targets(contents))

    loop.run(step_loss)
    folder = vision_folder(context)
    folder.mkdir(parents=True, exist_ok=True)
    parts = {name: module.state_dict() for name, module in loop.averaged.items() if name != "naming"}
    torch.save(parts, folder / WEIGHTS_FILE)
    write_card(folder, loop.card())


def critic_with_trained_vision(
    context: Context, tokenizer: PreTrainedTokenizerFast
) -> FastVlmForConditionalGeneration:
    """A new critic with the parts that `critic-vision` left; raises `UserError` if it has not run."""
    file = vision_folder(context) / WEIGHTS_FILE
    if not file.exists():
        raise UserError(
            "The critic's vision tower is not trained yet; run the stage critic-vision first, with the same --workdir."
        )
    model = new_critic(tokenizer)
    parts = torch.load(file, map_location="cpu", weights_only=True)
    for name, module in trained_parts(model).items():
        module.load_state_dict(parts[name])
    return model


def trained_parts(model: FastVlmForConditionalGeneration) -> dict[str, nn.Module]:
    """What this stage trains of a critic: vision tower, projector and word embeddings."""
    return {
        "tower": model.model.vision_tower.to(memory_format=torch.channels_last),
        "projector": model.model.multi_modal_projector,
        "words": model.model.language_model.embed_tokens,
    }


def image_features(tower: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The tower's output `(N, 16, C)` for pictures in [0, 1], laid out as in the model's own forward pass."""
    return tower(normalised(images)).last_hidden_state.flatten(2).permute(0, 2, 1)


def vision_facts(context: Context) -> dict[str, object]:
    """The training facts of this stage for the critic's card."""
    card = read_card(vision_folder(context))
    return {name: card[name] for name in ("steps", "hours", "state")}


def vision_folder(context: Context) -> Path:
    """Where this stage leaves its weights and their card."""
    return context.workdir / "critic-vision"

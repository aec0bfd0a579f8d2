"""Stages `critic-vision` and `critic`: the eye learns to name what it sees, then the reader to talk about it.

1) Eye, projector and word embeddings: what stands left and right is named in the words' own embeddings (`Naming`).
2) Projector and language model, the eye at rest: the questions and answers of `critic_data`. Beside the answer, the
   reader is asked at the last word of each of the prompt's concepts whether the picture shows it, so that comparing
   picture and prompt is learned where it happens; both helpers are dropped from what is shipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from torch import nn
from transformers import FastVlmForConditionalGeneration, PreTrainedTokenizerFast

from ragdemo.pocket.train.critic_data import Turn, picture_turns, text_turn
from ragdemo.pocket.train.critic_images import GENERATOR_POOL, SPECIES_POOL, Pictures
from ragdemo.pocket.train.critic_measure import measure_critic
from ragdemo.pocket.train.critic_model import (
    IMAGE_TOKENS,
    WIDTH,
    Naming,
    naming_loss,
    new_critic,
    new_processor,
    normalised,
    train_tokenizer,
)
from ragdemo.pocket.train.export import read_card, write_card
from ragdemo.pocket.train.loop import Context, Loop, autocast, step_rng
from ragdemo.types import UserError

VISION_BATCH = 64
VISION_STEPS = 20_000
BATCH = 24  # pictures; three questions each
TEXT_BATCH = 64
TEXT_EVERY = 4
STEPS = 20_000
COMPARED_AFTER = 2
"""Language layer behind which the reader must know which concepts are shown; the later ones make the answer of it."""
VERDICT_WEIGHT = 4.0
PRESENCE_WEIGHT = 1.0
_IGNORED = -100


def train_vision(context: Context, pictures: Pictures | None = None) -> None:
    """Train the eye; its state is what `critic` starts from, nothing is shipped yet."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(context)
    loop = _vision_loop(context, _shipped(context) or new_critic(tokenizer), tokenizer)
    tower, projector, words, naming = (
        loop.modules[name] for name in ("tower", "projector", "words", "naming")
    )
    pictures = pictures or Pictures(context)

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        images, shown = pictures.draw(VISION_BATCH, step_rng("critic-vision", step))
        with autocast(context.device):
            tokens = projector(_features(tower, images.to(context.device)))
            logits = naming(tokens, words.weight)
        return naming_loss(logits, naming.targets(shown))

    loop.run(step_loss)


def train_critic(context: Context, pictures: Pictures | None = None) -> None:
    """Train projector and language model on the eye of `critic-vision` and write `critic`."""
    torch.manual_seed(0)
    tokenizer = _tokenizer(context)
    model = _shipped(context) or _with_trained_eye(context, tokenizer)
    model.to(context.device)
    tower = model.model.vision_tower.eval()
    reader, projector, presence = (
        model.model.language_model,
        model.model.multi_modal_projector,
        nn.Linear(WIDTH, 1),
    )
    if context.device.type == "cpu":
        reader.set_attn_implementation(
            "eager"
        )  # its backward pass takes half the time of the fused kernel's there
    modules = {"reader": reader, "projector": projector, "presence": presence}
    origin = read_card(context.assets / "critic") if _may_start_warm(context) else None
    loop = Loop("critic", context, modules, STEPS, learning_rate=1e-3, origin=origin)
    pictures = pictures or Pictures(context)
    collate = Collate(tokenizer)

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng("critic", step)
        composer = Random(int(rng.integers(2**62)))
        with autocast(context.device):
            if step % TEXT_EVERY == TEXT_EVERY - 1:
                batch = collate([text_turn(composer) for _ in range(TEXT_BATCH)], pictured=False)
                return answer_loss(reader, presence, batch.to(context.device), None)
            images, shown = pictures.draw(BATCH, rng)
            batch = collate([turn for each in shown for turn in picture_turns(each, composer)], pictured=True)
            with torch.no_grad():
                features = _features(tower, images.to(context.device))
            tokens = projector(features).repeat_interleave(3, dim=0)
            return answer_loss(reader, presence, batch.to(context.device), tokens)

    loop.run(step_loss)
    export_critic(context, loop, model, tokenizer, pictures.drafts)


def export_critic(
    context: Context,
    loop: Loop,
    model: FastVlmForConditionalGeneration,
    tokenizer: PreTrainedTokenizerFast,
    drafts: int,
) -> None:
    """Write the averaged critic in half precision with its processor and card."""
    folder = context.assets / "critic"
    model.model.language_model.load_state_dict(loop.averaged["reader"].state_dict())
    model.model.multi_modal_projector.load_state_dict(loop.averaged["projector"].state_dict())
    model.cpu().half().save_pretrained(folder)
    new_processor(tokenizer).save_pretrained(folder)
    figures = measure_critic(folder, context)
    eye = {} if _may_start_warm(context) else _eye_facts(context)
    data = [spec.folder for spec in (SPECIES_POOL, GENERATOR_POOL)]
    write_card(folder, {"data": data, "drafts": drafts, "eye": eye, **loop.card(), "figures": figures})


# Questions as tokens


@dataclass(frozen=True)
class Batch:
    """Token ids `(N, T)`, answers as labels, their weights; and 1, 0, −100 for concepts shown, not, elsewhere."""

    tokens: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    shown: torch.Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(t.to(device) for t in (self.tokens, self.labels, self.weights, self.shown)))


class Collate:
    """Turns to padded tokens, in the chat template's form; an answer's lines begin with a space, as words do."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._tokenizer = tokenizer
        self._image = tokenizer.convert_tokens_to_ids("<image>")
        self._newline = tokenizer.encode("\n", add_special_tokens=False)

    def __call__(self, turns: Sequence[Turn], pictured: bool) -> Batch:
        """A batch of turns, all with a picture or all without."""
        rows = [self._row(turn, pictured) for turn in turns]
        length = max(len(tokens) for tokens, _, _, _ in rows)
        fills = (self._tokenizer.pad_token_id, _IGNORED, 0.0, _IGNORED)
        columns = zip(*rows, strict=True)
        return Batch(
            *(
                torch.tensor([row + [fill] * (length - len(row)) for row in column])
                for column, fill in zip(columns, fills, strict=True)
            )
        )

    def _row(self, turn: Turn, pictured: bool) -> tuple[list[int], list[int], list[float], list[int]]:
        read = self._tokenizer(turn.question, add_special_tokens=False, return_offsets_mapping=True)
        head = [self._tokenizer.bos_token_id, *[self._image] * (IMAGE_TOKENS if pictured else 0)]
        answer = self.answer(turn.answer)
        tokens = [*head, *read["input_ids"], *self._newline, *answer]
        asked = len(tokens) - len(answer)
        shown = [_IGNORED] * len(tokens)
        place = 0
        for concept in turn.concepts:
            place = turn.question.index(concept.words, place) + len(concept.words)
            last = next(i for i, (_, end) in enumerate(read["offset_mapping"]) if end >= place)
            shown[len(head) + last] = int(concept.present)
        weights = [0.0] * asked + [1.0] * len(answer)
        if turn.answer.startswith(("yes:", "no:")):
            weights[asked] = VERDICT_WEIGHT
        return tokens, [_IGNORED] * asked + answer, weights, shown

    def answer(self, text: str) -> list[int]:
        """The tokens that the critic shall write, with the end."""
        spaced = " " + text.replace("\n", "\n ")
        return [*self._tokenizer.encode(spaced, add_special_tokens=False), self._tokenizer.eos_token_id]


# Losses


def answer_loss(
    reader: nn.Module, presence: nn.Module, batch: Batch, images: torch.Tensor | None
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross entropy of the answers' tokens, and whether each concept is recognised as shown or not.

    `images` are the projected image tokens `(N, 16, WIDTH)`, None for questions without a picture.
    """
    embedded = reader.embed_tokens(batch.tokens)
    if images is not None:
        embedded = torch.cat([embedded[:, :1], images, embedded[:, 1 + IMAGE_TOKENS :]], dim=1)
    out = reader(inputs_embeds=embedded, use_cache=False, output_hidden_states=True)
    wanted = batch.labels[:, 1:] != _IGNORED
    logits = F.linear(out.last_hidden_state[:, :-1][wanted], reader.embed_tokens.weight).float()
    labels, weights = batch.labels[:, 1:][wanted], batch.weights[:, 1:][wanted]
    losses = F.cross_entropy(logits, labels, reduction="none")
    loss = (losses * weights).sum() / weights.sum()
    if images is None:
        return loss, {"text": float(loss.detach())}
    verdicts = weights == VERDICT_WEIGHT
    right = logits.argmax(-1) == labels
    figures = {
        "verdict": float(right[verdicts].float().mean()),
        "words": float(right[~verdicts].float().mean()),
    }
    asked = batch.shown != _IGNORED
    scores = presence(out.hidden_states[COMPARED_AFTER][asked]).squeeze(-1).float()
    truth = batch.shown[asked].float()
    figures["shown"] = float(((scores > 0) == (truth > 0.5)).float().mean())
    return loss + PRESENCE_WEIGHT * F.binary_cross_entropy_with_logits(scores, truth), figures


# Parts


def _features(tower: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """What the eye sees, `(N, 16, C)`, as the model's own forward lays it out."""
    return tower(normalised(images)).last_hidden_state.flatten(2).permute(0, 2, 1)


def _vision_loop(
    context: Context, model: FastVlmForConditionalGeneration, tokenizer: PreTrainedTokenizerFast
) -> Loop:
    modules = {
        "tower": model.model.vision_tower.to(memory_format=torch.channels_last),
        "projector": model.model.multi_modal_projector,
        "words": model.model.language_model.embed_tokens,
        "naming": Naming(tokenizer),
    }
    return Loop("critic-vision", context, modules, VISION_STEPS, learning_rate=2e-3, ema_decay=0.998)


def _eye_state(context: Context) -> Path:
    return context.workdir / "states" / "critic-vision.pt"


def _eye_facts(context: Context) -> dict[str, float]:
    """How long the eye was trained; empty where it came with a shipped critic."""
    if not _eye_state(context).exists():
        return {}
    state = torch.load(_eye_state(context), map_location="cpu", weights_only=True)
    return {"steps": state["step"], "hours": round(state["seconds"] / 3600, 3)}


def _shipped(context: Context) -> FastVlmForConditionalGeneration | None:
    """The shipped critic, eye and all, for a warm start; None for a start from nothing."""
    if not _may_start_warm(context):
        return None
    folder = context.assets / "critic"
    return FastVlmForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)


def _may_start_warm(context: Context) -> bool:
    return context.warm and (context.assets / "critic" / "config.json").exists()


def _tokenizer(context: Context) -> PreTrainedTokenizerFast:
    """The shipped critic's for a warm start, as its embeddings are; else a new one."""
    if _may_start_warm(context):
        return PreTrainedTokenizerFast.from_pretrained(context.assets / "critic")
    return train_tokenizer()


def _with_trained_eye(
    context: Context, tokenizer: PreTrainedTokenizerFast
) -> FastVlmForConditionalGeneration:
    """A new critic whose eye, projector and word embeddings are those of `critic-vision`."""
    if not _eye_state(context).exists():
        raise UserError("The critic's eye is not trained yet; run the stage critic-vision first.")
    model = new_critic(tokenizer)
    loop = _vision_loop(context, model, tokenizer)
    for name, module in loop.modules.items():
        module.load_state_dict(loop.averaged[name].state_dict())
    return model

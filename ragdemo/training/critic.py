"""Stage `critic`: projector and language model learn the questions and answers of `critic_questions`.

The vision tower is frozen. Beside the answer, a linear layer is asked at the last word of each of the prompt's concepts
whether the picture shows it, so that picture and prompt are compared in the layers meant for it; that layer is not
shipped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
import torch.nn.functional as F
from torch import nn
from transformers import FastVlmForConditionalGeneration, PreTrainedTokenizerFast

from ragdemo.training import critic_manners, critic_names, critic_questions, critic_words
from ragdemo.training.critic_images import GENERATOR_POOL, SPECIES_POOL, Pictures
from ragdemo.training.critic_measure import measure_critic
from ragdemo.training.critic_model import (
    IMAGE_TOKENS,
    WIDTH,
    build_tokenizer,
    known_words,
    new_processor,
    shipped_critic,
)
from ragdemo.training.critic_questions import Turn, picture_turns, questions_about, text_turn
from ragdemo.training.critic_vision import critic_with_trained_vision, image_features, vision_facts
from ragdemo.training.export import write_card
from ragdemo.training.keys import constants
from ragdemo.training.loop import Context, Loop, autocast, step_rng
from ragdemo.world.species import roster

BATCH = 24  # pictures; three questions each
TEXT_BATCH = 64
TEXT_EVERY = 4
COMPARED_AFTER = 2
"""Layer of the language model after which it must know which concepts are shown; later layers turn that into words."""
VERDICT_WEIGHT = 4.0
PRESENCE_WEIGHT = 1.0
_IGNORED = -100


def train_critic(context: Context, pictures: Pictures | None = None) -> None:
    """Train projector and language model on the vision tower of `critic-vision` and write `critic`."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    model, origin = shipped_critic(context, tokenizer) or (
        critic_with_trained_vision(context, tokenizer),
        None,
    )
    model.to(context.device)
    tower = model.model.vision_tower.eval()
    if (
        context.device.type == "cpu"
    ):  # eager: its backward pass takes half the time of the fused kernel's there
        model.model.language_model.set_attn_implementation("eager")
    modules = {
        "language": model.model.language_model,
        "projector": model.model.multi_modal_projector,
        "presence": nn.Linear(WIDTH, 1),
    }
    pictures = pictures or Pictures(context)
    inputs = {"pictures": pictures.inputs, "tower": tower, "texts": _text_settings()}
    loop = Loop("critic", context, modules, 20_000, learning_rate=1e-3, origin=origin, inputs=inputs)
    collate = Collate(tokenizer)

    def step_loss(step: int) -> tuple[torch.Tensor, dict[str, float]]:
        rng = step_rng("critic", step)
        composer = Random(int(rng.integers(2**62)))
        language, projector, presence = modules.values()
        with autocast(context.device):
            if step % TEXT_EVERY == TEXT_EVERY - 1:
                batch = collate([text_turn(composer) for _ in range(TEXT_BATCH)], pictured=False)
                return answer_loss(language, presence, batch.to(context.device), None)
            images, contents = pictures.draw(BATCH, rng)
            turns = [turn for content in contents for turn in picture_turns(content, composer)]
            with torch.no_grad():
                features = image_features(tower, images.to(context.device))
            tokens = projector(features).repeat_interleave(3, dim=0)
            batch = collate(turns, pictured=True)
            return answer_loss(language, presence, batch.to(context.device), tokens)

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
    model.model.language_model.load_state_dict(loop.averaged["language"].state_dict())
    model.model.multi_modal_projector.load_state_dict(loop.averaged["projector"].state_dict())
    model.cpu().half().save_pretrained(folder)
    new_processor(tokenizer).save_pretrained(folder)
    figures = measure_critic(folder, context)
    vision = {} if loop.origin else vision_facts(context)
    data = [spec.folder for spec in (SPECIES_POOL, GENERATOR_POOL)]
    studied = SPECIES_POOL.count // len(
        roster()
    )  # it is an expert on these species, and knows them as no long tail
    write_card(
        folder,
        {
            "data": data,
            "named_pictures_of_each_species": studied,
            "drafts": drafts,
            "vision": vision,
            **loop.card(),
            "figures": figures,
        },
    )


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
            place = turn.question.index(concept.stands, place) + len(concept.stands)
            last = next(i for i, (_, end) in enumerate(read["offset_mapping"]) if end >= place)
            shown[len(head) + last] = int(concept.present)
        weights = [0.0] * asked + [1.0] * len(answer)
        if turn.answer.startswith(("yes:", "no:")):
            weights[asked] = VERDICT_WEIGHT
        return tokens, [_IGNORED] * asked + answer, weights, shown

    def answer(self, text: str) -> list[int]:
        """The tokens of the wanted answer, with the end token."""
        spaced = " " + text.replace("\n", "\n ")
        return [*self._tokenizer.encode(spaced, add_special_tokens=False), self._tokenizer.eos_token_id]


def answer_loss(
    language: nn.Module, presence: nn.Module, batch: Batch, images: torch.Tensor | None
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross entropy of the answers' tokens, and whether each concept is recognised as shown or not.

    `images` are the projected image tokens `(N, 16, WIDTH)`, None for questions without a picture.
    """
    embedded = language.embed_tokens(batch.tokens)
    if images is not None:
        embedded = torch.cat([embedded[:, :1], images, embedded[:, 1 + IMAGE_TOKENS :]], dim=1)
    out = language(inputs_embeds=embedded, use_cache=False, output_hidden_states=True)
    wanted = batch.labels[:, 1:] != _IGNORED
    logits = F.linear(out.last_hidden_state[:, :-1][wanted], language.embed_tokens.weight).float()
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


def _text_settings() -> dict[str, object]:
    """What the composed texts depend on: shares, and the wording of the questions."""
    modules = (critic_words, critic_questions, critic_names, critic_manners)
    settings = {module.__name__.rsplit(".")[-1]: constants(module) for module in modules}
    return {"questions": questions_about("x", "y"), "tokens": known_words(), **settings}

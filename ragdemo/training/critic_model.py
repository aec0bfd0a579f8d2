"""The critic's architecture: a small residual network as vision tower, a projector, and a small Llama.

It is transformers' `FastVlmForConditionalGeneration`, a LLaVA with a convolutional vision tower: a vision transformer
would need far more pictures. The picture becomes 4×4 tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers
from torch import nn
from transformers import (
    CLIPImageProcessor,
    FastVlmConfig,
    FastVlmForConditionalGeneration,
    LlamaConfig,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    TimmWrapperConfig,
)

from ragdemo.training.critic_manners import manner_words
from ragdemo.training.critic_questions import questions_about
from ragdemo.training.critic_words import ATTRIBUTES, Content
from ragdemo.training.export import shipped_card
from ragdemo.training.loop import Context
from ragdemo.world.captions import FORMS, SCENE_PHRASES
from ragdemo.world.kinds import KINDS
from ragdemo.world.palette import COLOURS
from ragdemo.world.parts import SHAPES
from ragdemo.world.patterns import PATTERNS
from ragdemo.world.render import SIZE
from ragdemo.world.species import roster

WIDTH = 192
LAYERS = 4
PATCH = 32
IMAGE_TOKENS = (SIZE // PATCH) ** 2
CHANNELS = (32, 64, 128, 192)
BLOCKS = (1, 2, 2, 1)
FOLDER = "critic"
CHAT_TEMPLATE = (
    "<s>{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>{% else %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ '\\n' }}{% endif %}"
)
_SPECIALS = ("<pad>", "<s>", "</s>", "<image>")
_FIRST_WORDS = ("does", "what", "which", "write", "rewrite")
_GLUED = r"""(?<=["'“”‘’«»(\[{<*#/_:,;.!?])(?=\w)"""
_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Whole words that the critic knows, and bytes for all others: so that any name can be copied as it was typed.

    Case and width are folded, and a word after punctuation is the same as one after a space.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    begun = [f"Ġ{word}" for word in known_words()]  # byte-level, a word begins with its space
    tokens = dict.fromkeys([*_SPECIALS, *alphabet, *begun, *_FIRST_WORDS])
    bpe = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], ignore_merges=True))
    bpe.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(_GLUED), " ")]
    )
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_special_tokens([AddedToken(token, normalized=False) for token in _SPECIALS])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token="<pad>", bos_token="<s>", eos_token="</s>", model_max_length=512
    )


def known_words() -> list[str]:
    """The words that are one token each: of the world, of questions and answers, and of the manners of typing."""
    names = [species.name for species in roster()]
    world = [*KINDS, *COLOURS, *SHAPES, *PATTERNS, *SCENE_PHRASES, *FORMS, "trim with and"]
    scenes = [phrase for phrases in SCENE_PHRASES.values() for phrase in phrases]
    questions = [*questions_about("", ""), "yes no the image shows nothing a an in photo"]
    found = {
        word for text in (*names, *world, *scenes, *questions) for word in re.findall("[a-z]+", text.lower())
    }
    return sorted(found | manner_words())


def shipped_critic(
    context: Context, tokenizer: PreTrainedTokenizerFast
) -> tuple[FastVlmForConditionalGeneration, dict[str, Any]] | None:
    """The shipped critic in float32 with a tokenizer's words, and its card, for a warm start; else None."""
    folder = context.assets / FOLDER
    card = shipped_card(folder) if context.warm else None
    if card is None:
        return None
    model = FastVlmForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    before = PreTrainedTokenizerFast.from_pretrained(folder)
    if before.get_vocab() != tokenizer.get_vocab():
        adopt_tokens(model, before, tokenizer)
    return model, card


def adopt_tokens(
    model: FastVlmForConditionalGeneration, before: PreTrainedTokenizerFast, after: PreTrainedTokenizerFast
) -> None:
    """Give a model another tokenizer's tokens: each begins as the mean of what it was until now."""
    old = model.get_input_embeddings().weight.detach().clone()
    model.resize_token_embeddings(len(after))
    new = model.get_input_embeddings().weight
    known = before.get_vocab()
    with torch.no_grad():
        for token, place in after.get_vocab().items():
            text = after.convert_tokens_to_string([token])
            pieces = [known[token]] if token in known else before.encode(text, add_special_tokens=False)
            new[place] = old[pieces].mean(0)


def new_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    """Pictures to 128×128 with CLIP's mean and deviation, questions to tokens."""
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
        ),
        tokenizer=tokenizer,
        patch_size=PATCH,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=CHAT_TEMPLATE,
    )


def new_critic(tokenizer: PreTrainedTokenizerFast) -> FastVlmForConditionalGeneration:
    """An untrained critic."""
    vision = TimmWrapperConfig(
        architecture="resnet18",
        do_pooling=False,
        num_labels=0,
        hidden_size=CHANNELS[-1],
        model_args={
            "layers": BLOCKS,
            "channels": CHANNELS,
            "stem_width": 16,
            "stem_type": "deep",
            "avg_down": True,
        },
    )
    text = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=512,
        num_hidden_layers=LAYERS,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=512,
        initializer_range=0.05,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = FastVlmConfig(
        vision_config=vision,
        text_config=text,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
        image_seq_length=IMAGE_TOKENS,
        tie_word_embeddings=True,
    )
    model = FastVlmForConditionalGeneration(config)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(model.generation_config, name, getattr(tokenizer, name))
    return model


def normalised(images: torch.Tensor) -> torch.Tensor:
    """float `(N, 3, H, W)` in [0, 1] as the processor would hand it to the model, channels last."""
    mean, std = (torch.tensor(v, device=images.device).view(1, 3, 1, 1) for v in (_MEAN, _STD))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


class Naming(nn.Module):
    """Classifies what stands left and right from the image tokens by the words' embeddings; not shipped.

    The score of a class is a dot product with the embeddings of its words. So a picture's tokens move near the words
    for it, and the language model need not find out which name belongs to which look.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        super().__init__()
        self._classes = _classes()
        self.slots = nn.ModuleDict({slot: nn.Linear(WIDTH, WIDTH) for slot in self._classes})
        self.nothing = nn.Parameter(0.05 * torch.randn(WIDTH))  # the class "none of the named species"
        self.biases = nn.ParameterDict(
            {
                slot: nn.Parameter(torch.zeros(len(words) + (slot == "species")))
                for slot, words in self._classes.items()
            }
        )
        for slot in self.slots.values():
            nn.init.eye_(slot.weight)
            nn.init.zeros_(slot.bias)
        for slot, words in self._classes.items():
            self.register_buffer(f"mixture_{slot}", _mixture(words, tokenizer), persistent=False)

    def forward(self, tokens: torch.Tensor, embedding: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits of slot → `(N, 2, classes)` (left, right) from `(N, 16, WIDTH)` and the embeddings `(V, WIDTH)`."""
        side = int(tokens.shape[1] ** 0.5)
        grid = tokens.unflatten(1, (side, side))
        halves = torch.stack([half.mean((1, 2)) for half in grid.split(side // 2, dim=2)], dim=1)
        logits = {}
        for slot, layer in self.slots.items():
            classes = getattr(self, f"mixture_{slot}") @ embedding
            if slot == "species":
                classes = torch.cat([classes, self.nothing[None]])
            logits[slot] = layer(halves) @ classes.T + self.biases[slot]
        return logits

    def targets(self, pictures: Sequence[Content]) -> dict[str, torch.Tensor]:
        """Slot → class numbers `(N, 2)`; −100 if the picture is empty."""
        rows: dict[str, list[list[int]]] = {slot: [] for slot in self._classes}
        for picture in pictures:
            halves = [picture.things[0], picture.things[-1]] if picture.things else []
            for slot, words in self._classes.items():
                if slot == "scene":
                    values = [picture.scene for _ in halves]
                else:
                    values = [t.name if slot == "species" else getattr(t.look, slot) for t in halves]
                known: dict[str | None, int] = {word: i for i, word in enumerate(words)}
                rows[slot].append([known.get(value, len(words)) for value in values] or [-100, -100])
        return {slot: torch.tensor(values) for slot, values in rows.items()}


def naming_loss(
    logits: dict[str, torch.Tensor], targets: dict[str, torch.Tensor]
) -> tuple[torch.Tensor, dict[str, float]]:
    """Cross entropy over all slots, species counting double, and the share of right species and of right scenes."""
    loss = torch.zeros((), device=logits["species"].device)
    figures = {}
    for slot, scores in logits.items():
        target = targets[slot].to(scores.device)
        weight = 2.0 if slot == "species" else 1.0
        loss = loss + weight * F.cross_entropy(scores.float().flatten(0, 1), target.flatten())
        if slot in ("species", "pattern", "scene"):
            right = (scores.argmax(-1) == target)[target >= 0]
            figures[slot] = float(right.float().mean())
    return loss, figures


def _classes() -> dict[str, tuple[str, ...]]:
    colours = dict.fromkeys(("main", "second", "third"), COLOURS)
    attributes = {"shape": SHAPES, "pattern": tuple(PATTERNS), **colours}
    return {
        "species": tuple(species.name for species in roster()),
        "kind": tuple(KINDS),
        "scene": tuple(SCENE_PHRASES),
        **{attribute: attributes[attribute] for attribute in ATTRIBUTES},
    }


def _mixture(words: Sequence[str], tokenizer: PreTrainedTokenizerFast) -> torch.Tensor:
    """`(classes, V)`: how much of each token's embedding makes up a class; a word of many tokens counts as one."""
    rows = torch.zeros(len(words), len(tokenizer))
    for row, phrase in zip(rows, words, strict=True):
        for word in phrase.split():
            tokens = tokenizer.encode(f" {word}", add_special_tokens=False)
            for token in tokens:
                row[token] += 1 / len(tokens)
    return rows

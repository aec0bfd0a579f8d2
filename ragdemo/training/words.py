"""The generator's captions, composed anew at every step, and the tokenizer that is trained on them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from random import Random
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from ragdemo.world.captions import caption, describe
from ragdemo.world.look import Look
from ragdemo.world.species import by_name

MAX_TOKENS = 40
VOCABULARY = 1600
_BYTES = 2 * 256 + 2  # every byte inside and at the end of a word, begin and end of text
ATTRIBUTES = ("shape", "pattern", "main", "second", "third")
_STATED = {0: (), 1: ("main",), 2: ("main", "second", "pattern"), 3: ATTRIBUTES}


def stated(detail: int) -> tuple[str, ...]:
    """The attributes that `captions.describe` states at a level of detail."""
    return _STATED[detail]


def compose_caption(
    row: Mapping[str, Any], rng: Random, plain: Collection[int] = ()
) -> tuple[str, list[dict[str, str]]]:
    """A fresh caption of a pool's row, and what it determines of each thing: kind and some of `ATTRIBUTES`.

    A nameless thing is captioned by kind and attributes only. Sometimes meaningless letters stand in the place of a
    name: the text encoder must learn that an unknown name says nothing, instead of mistaking it for a known one. The
    things numbered in `plain` leave their look to a reference: mostly only their kind is named.
    """
    words, facts = [], []
    for i, (name, look) in enumerate(zip(row["names"], row["looks"], strict=True)):
        if name and rng.random() < 0.8:
            words.append(name)
            attributes: Sequence[str] = ATTRIBUTES
        else:
            detail = rng.choice((0, 0, 0, 0, 0, 1) if i in plain else (0, 0, 1, 2, 2, 3, 3))
            phrase, attributes = describe(Look(**look), detail), stated(detail)
            words.append(f"{letter_noise(rng)} {phrase}" if detail == 0 and rng.random() < 0.6 else phrase)
        facts.append({"kind": look["kind"], **{key: look[key] for key in attributes}})
    return caption(words, row["scene"], rng), facts


def letter_noise(rng: Random) -> str:
    """Two or three random syllables that are no species' name."""
    while True:
        syllables = [
            rng.choice("bcdfghjklmnpqrstvwxyz") + rng.choice("aeiou") for _ in range(rng.randint(2, 3))
        ]
        word = "".join(syllables) + rng.choice(("", "l", "n", "r", "k", "s"))
        if not any(name.startswith(word + " ") for name in by_name()):
            return word


def train_tokenizer(texts: Iterable[str]) -> CLIPTokenizer:
    """A byte-level BPE in CLIP's format: lower-casing, no unknown token, `VOCABULARY` entries."""
    shell = CLIPTokenizer(vocab={"<|startoftext|>": 0, "<|endoftext|>": 1}, merges=[])
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    bpe.normalizer, bpe.pre_tokenizer = (
        shell.backend_tokenizer.normalizer,
        shell.backend_tokenizer.pre_tokenizer,
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - _BYTES,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        special_tokens=[],
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    learned = json.loads(bpe.to_str())["model"]
    words = sorted(learned["vocab"], key=learned["vocab"].get)
    tokens = dict.fromkeys(
        [*alphabet, *(c + "</w>" for c in alphabet), *words, "<|startoftext|>", "<|endoftext|>"]
    )
    merges = [tuple(merge) for merge in learned["merges"]]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=MAX_TOKENS)
